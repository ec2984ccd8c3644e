#!/usr/bin/env bash
# Checks that the built wheel works alone: .ci/wheel.sh PYTHON [TEST PATHS...]
# It builds the wheel, installs it into a fresh environment, and trains on the digits in an empty directory.
# With test paths, it installs the newest JAX that the package allows for this Python, and runs those tests.
set -euo pipefail
python=$(command -v "$1")
shift
case "$python" in /*) ;; *) python="$PWD/$python" ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cp "$root/constraints.txt" "$place/constraints.txt"
extra=""
if [ $# -gt 0 ]; then
  extra="[dev]"
  # constraints.txt has one JAX for 3.12 and newer; here each Python takes the newest that it can get
  grep -vE '^(jax|jaxlib|flax|numpy|scipy)==' "$root/constraints.txt" > "$place/constraints.txt"
fi

"$python" -m venv "$place/venv"
"$place/venv/bin/pip" wheel -q --no-deps -w "$place/dist" "$root"
wheel=$(ls "$place"/dist/jaxlabel-*.whl)
"$place/venv/bin/pip" install -q -c "$place/constraints.txt" "$wheel$extra"

mkdir "$place/empty"
cd "$place/empty"
"$place/venv/bin/jaxlabel" train --config.code_steps=100 --config.classifier_steps=200 --config.map=none \
  --workdir=out
[ -s out/report.html ]
"$place/venv/bin/python" -c 'import jax, jaxlabel, sys
assert "site-packages" in jaxlabel.__file__, jaxlabel.__file__
print("the wheel trains: Python", sys.version.split()[0], "jax", jax.__version__)'

if [ $# -gt 0 ]; then
  cd "$root"
  # a cache of its own: programs that another jaxlib compiled are of no use
  JAX_COMPILATION_CACHE_DIR="$place/xla" "$place/venv/bin/python" -m pytest -q -n 2 -p no:cacheprovider "$@"
fi
