#!/usr/bin/env bash
# Copies the stack's log, key and shelf into one file, while it runs.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

DRAFT=""

usage() {
  cat <<'TEXT'
Usage: docker/backup.sh [FILE.tar.gz|FOLDER/]

Writes everything that cannot be made again (the log, the deployment's key, the shelf) to FILE, or to a file named by
the time in FOLDER (default: here). Nothing is stopped. The file can be read by you alone: whoever has it has the key.
TEXT
}

target_of() {
  if [ -d "$1" ]; then
    say "${1%/}/bakeoff-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
  else
    say "$1"
  fi
}

# A file without the end of an archive is none: it gets its name when it is whole.
write_backup() {
  umask 077
  DRAFT="$(mktemp "$1.XXXXXX")" || fail "cannot write to $(dirname "$1"): name another place."
  trap 'rm -f "$DRAFT"' EXIT
  compose run --rm --no-deps -T api python -m app backup --to - </dev/null >"$DRAFT" ||
    fail "no backup was made; see above."
  gzip -t "$DRAFT" 2>/dev/null || fail "the backup did not arrive whole (is the disk full?); it was removed."
  mv "$DRAFT" "$1"
  say "Backed up to $1 ($(du -h "$1" | cut -f 1))."
}

main() {
  case "${1:-.}" in
    --help | -h)
      usage
      return
      ;;
    -*)
      usage >&2
      warn "unknown option: $1"
      exit 2
      ;;
  esac
  require_docker
  start_database
  write_backup "$(target_of "${1:-.}")"
}

main "$@"
