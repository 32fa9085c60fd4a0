#!/usr/bin/env bash
# Copies the stack's log, key and model registry into one file, without stopping the stack.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

DRAFT=""
TARGET="."
PARTS=()
STAMP=yes

usage() {
  cat <<'TEXT'
Usage: docker/backup.sh [--without-log] [--no-stamp] [FILE.tar.gz|FOLDER/]
       docker/backup.sh --stamp

Writes everything that cannot be recreated (the log, the deployment's key, the model registry) to FILE, or to a file in
FOLDER named after the current time (default: the current folder). Nothing is stopped. Only you can read the file; keep
it safe, because it contains the deployment's key.

  --without-log  only the key, the admin token and the model registry, for a log that Litestream copies
  --no-stamp     do not tell the alerts on missing backups of this one: it has to be copied elsewhere first
  --stamp        tell them now that a backup is where it should be; makes none
  --help         show this text
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
  compose run --rm --no-deps -T api python -m app backup ${PARTS[@]+"${PARTS[@]}"} --to - </dev/null >"$DRAFT" ||
    fail "no backup was made; see above."
  gzip -t "$DRAFT" 2>/dev/null || fail "the backup is incomplete (is the disk full?) and was removed."
  mv "$DRAFT" "$1"
  say "Backed up to $1 ($(du -h "$1" | cut -f 1))."
}

# The time of this file is the metric last_backup_timestamp_seconds. The backup is complete whether or not it is written.
stamp() {
  compose run --rm --no-deps -T api touch /data/backup.stamp </dev/null ||
    warn "the backup is complete, but alerts do not learn of it: /data/backup.stamp could not be written."
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --without-log) PARTS=(--without-log) ;;
      --no-stamp) STAMP=no ;;
      --stamp) STAMP=only ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) TARGET="$1" ;;
    esac
    shift
  done
}

main() {
  parse_arguments "$@"
  require_docker
  if [ "$STAMP" = only ]; then
    stamp
    return
  fi
  start_database
  write_backup "$(target_of "$TARGET")"
  [ "${#PARTS[@]}" -gt 0 ] || [ "$STAMP" = no ] || stamp
}

main "$@"
