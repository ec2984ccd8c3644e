#!/usr/bin/env bash
# Starts a private, throw-away PostgreSQL server on this machine and prints its URL:
#   export JAXLABEL_TEST_POSTGRES="$(.ci/postgres.sh)"
# Started again, it prints the URL of the server that runs. `.ci/postgres.sh stop` ends it and
# removes its files. As root it installs PostgreSQL if there is none (Debian, Ubuntu).
set -euo pipefail

home="${JAXLABEL_POSTGRES_DIR:-/tmp/jaxlabel-postgres-$(id -u)}"
port="${JAXLABEL_POSTGRES_PORT:-54329}"

say() { echo "postgres.sh: $*" >&2; }

find_bin() {  # the newest server's programs: Debian keeps them out of the PATH
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -V | tail -n 1 || true)
  if [ -n "$found" ] && [ -x "$found/initdb" ]; then echo "$found"
  elif command -v initdb >/dev/null; then dirname "$(command -v initdb)"
  fi
}

as_owner() {  # the server refuses to run as root
  if [ "$(id -u)" = 0 ]; then (cd "$home" && runuser -u "$owner" -- "$@"); else "$@"; fi
}

bin=$(find_bin)
if [ -z "$bin" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "PostgreSQL is not installed: install the package postgresql, then start this again"
    exit 1
  fi
  say "installing PostgreSQL"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -q && apt-get install -y -q --no-install-recommends postgresql; } >&2
  bin=$(find_bin)
fi
owner=$(id -un)
if [ "$owner" = root ]; then
  owner=nobody
  if id postgres >/dev/null 2>&1; then owner=postgres; fi
fi

if [ "${1:-}" = stop ]; then
  if [ -d "$home/data" ]; then as_owner "$bin/pg_ctl" -D "$home/data" -m immediate stop >&2 || true; fi
  rm -rf "$home"
  exit 0
fi

if [ ! -f "$home/data/PG_VERSION" ] || [ ! -f "$home/port" ]; then
  rm -rf "$home"
  mkdir -p "$home"
  chmod 700 "$home"
  echo jaxlabel > "$home/password"
  if [ "$(id -u)" = 0 ]; then chown -R "$owner" "$home"; fi
  as_owner "$bin/initdb" -D "$home/data" -U jaxlabel -E UTF8 --locale=C -A scram-sha-256 \
    --pwfile="$home/password" -N >/dev/null
  while (: < "/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port" > "$home/port"
fi
port=$(cat "$home/port")
if ! as_owner "$bin/pg_ctl" -D "$home/data" status >/dev/null 2>&1; then
  # fsync=off: what a test wrote need not outlive the machine, only the processes that are killed
  as_owner "$bin/pg_ctl" -D "$home/data" -l "$home/log" -w -t 30 start -o \
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" >&2 || {
    say "the server did not start:"; tail -n 20 "$home/log" >&2; exit 1
  }
fi
echo "postgresql://jaxlabel:jaxlabel@127.0.0.1:$port/postgres"
