#!/usr/bin/env bash
# Restores a backup into the stack's volumes. The service is stopped meanwhile and started again, even on a failure.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

FORCE=()
FILE=""
LOG_FROM=""
STOPPED=()
RESTORED=/data/.litestream.sqlite

usage() {
  cat <<'TEXT'
Usage: docker/restore.sh FILE.tar.gz [--force] [--log-from-litestream]

Verifies FILE and restores its log, key and model registry, all of it or nothing. The api, the monitor, the dashboard
and Litestream are stopped meanwhile and started again afterwards. Without --force, existing data are never replaced.

  --force                move existing data aside first; they stay in the volumes
  --log-from-litestream  take the log from LITESTREAM_BUCKET; FILE has the key and the models, and may have an older log
  --help                 show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --force) FORCE=(--force) ;;
      --log-from-litestream) LOG_FROM=litestream ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) FILE="$1" ;;
    esac
    shift
  done
  [ -n "$FILE" ] || bad_usage "give the backup file"
  [ -r "$FILE" ] || fail "$FILE does not exist or is not readable. Nothing was stopped."
  [ ! -d "$FILE" ] || fail "$FILE is a folder: name one of the backups in it. Nothing was stopped."
  gzip -t "$FILE" 2>/dev/null || fail "$FILE is not a complete backup. Nothing was stopped."
}

stop_service() {
  local service
  for service in litestream ui monitor api; do
    mapfile -t -O "${#STOPPED[@]}" STOPPED < <(containers_of "$service" --all=false)
  done
  if [ "${#STOPPED[@]}" -eq 0 ]; then return; fi
  [ "${#FORCE[@]}" -gt 0 ] ||
    fail "the service is running and has data of its own: --force moves them aside. Nothing was stopped."
  trap start_service EXIT
  say "Stopping the service ..."
  docker stop -t 35 "${STOPPED[@]}" >/dev/null
}

refuse_litestream_without_its_settings() {
  if [ -z "$LOG_FROM" ]; then return; fi
  [ -n "$(setting LITESTREAM_BUCKET)" ] ||
    fail "LITESTREAM_BUCKET is empty: set it and the other LITESTREAM_ settings in .env. Nothing was stopped."
  [ -z "$(setting DATABASE_URL)" ] || fail "DATABASE_URL names another place for the log. Nothing was stopped."
}

# Beside the log, so that a copy that cannot be restored, or is corrupt, changes nothing.
fetch_log() {
  if [ -z "$LOG_FROM" ]; then return; fi
  say "Reading the log from the bucket ..."
  discard_log
  compose run --rm --no-deps -T litestream restore -integrity-check full -o "$RESTORED" /data/bakeoff.sqlite </dev/null ||
    fail "the log was not restored, and nothing was changed; see above. An earlier moment may be intact: docs/deploying.md."
}

discard_log() {
  compose run --rm --no-deps -T api rm -f "$RESTORED" "$RESTORED-wal" "$RESTORED-shm" </dev/null
}

put_log_in_place() {
  if [ -z "$LOG_FROM" ]; then return; fi
  compose run --rm --no-deps -T api mv "$RESTORED" /data/bakeoff.sqlite </dev/null ||
    fail "the backup was restored, but the log from the bucket was not put in its place; see above."
}

start_service() {
  say "Starting the service again ..."
  docker start "${STOPPED[@]}" >/dev/null
}

main() {
  parse_arguments "$@"
  require_docker
  refuse_litestream_without_its_settings
  stop_service
  start_database
  fetch_log
  compose run --rm --no-deps -T api python -m app restore - ${FORCE[@]+"${FORCE[@]}"} <"$FILE" ||
    fail "the backup was not restored; see above."
  put_log_in_place
  if [ "${#STOPPED[@]}" -gt 0 ]; then
    trap - EXIT
    start_service
    wait_healthy 90 || fail "the backup was restored, but the service is not healthy after 90 s; see above."
  fi
  say "$FILE was restored."
}

main "$@"
