#!/usr/bin/env bash
# Prints the path of Python $1 (such as 3.13), from pyenv's versions or the PATH; nothing where there is none.
set -euo pipefail
for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "python$1"; do
  # a shim of pyenv's is on the PATH even where its version is not active
  if command -v "$found" >/dev/null && "$found" -c 'import venv, ensurepip' 2>/dev/null; then
    command -v "$found"
    exit 0
  fi
done
