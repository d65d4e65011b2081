# What the scripts beside this file share. Sourced, never run.

# Caches live outside the tree, so that `git clean` and a fresh clone cost nothing.
cache=${WATCHBELL_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/watchbell}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'services: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The folder of PostgreSQL's server programs: on Debian they are not on PATH.
postgres_bin() {
  local found
  found=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
  [ -n "$found" ] && dirname "$found"
}

# Kafka's jars, in a folder named after the pom that lists them: a changed pom is a new folder.
kafka_home() { printf '%s/kafka-%s' "$cache" "$(cksum <"$here/pom.xml" | cut -d ' ' -f 1)"; }

# Every log starts anew with its process: readiness is a line of this start, not of the one before.
log_to() {
  [ ! -e "$1/log" ] || mv "$1/log" "$1/log.before"
  exec >"$1/log" 2>&1 </dev/null
  echo "$$" >"$1/pid"
}
