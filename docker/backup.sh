#!/usr/bin/env bash
# Copies the stack's log, key and model registry into one file, without stopping the stack.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

DRAFT=""

usage() {
  cat <<'TEXT'
Usage: docker/backup.sh [FILE.tar.gz|FOLDER/]

Writes everything that cannot be recreated (the log, the deployment's key, the model registry) to FILE, or to a file in
FOLDER named after the current time (default: the current folder). Nothing is stopped. Only you can read the file; keep
it safe, because it contains the deployment's key.
TEXT
}

target_of() {
  if [ -d "$1" ]; then
    say "${1%/}/bakeoff-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
  else
    say "$1"
  fi
}

# Writes to a temporary file and renames it once it is complete: a truncated archive must never look like a backup.
write_backup() {
  umask 077
  DRAFT="$(mktemp "$1.XXXXXX")" || fail "cannot write to $(dirname "$1"): choose another folder."
  trap 'rm -f "$DRAFT"' EXIT
  compose run --rm --no-deps -T api python -m app backup --to - </dev/null >"$DRAFT" ||
    fail "no backup was made; see above."
  gzip -t "$DRAFT" 2>/dev/null || fail "the backup is incomplete (is the disk full?) and was removed."
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
