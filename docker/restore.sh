#!/usr/bin/env bash
# Restores a backup into the stack's volumes. The service is stopped meanwhile and started again, even on a failure.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

FORCE=()
FILE=""
STOPPED=()

usage() {
  cat <<'TEXT'
Usage: docker/restore.sh FILE.tar.gz [--force]

Verifies FILE and restores its log, key and model registry, all of it or nothing. The api, the monitor and the
dashboard are stopped meanwhile and started again afterwards. Without --force, existing data are never replaced.

  --force  move existing data aside first; they stay in the volumes
  --help   show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --force) FORCE=(--force) ;;
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
  gzip -t "$FILE" 2>/dev/null || fail "$FILE is not a complete backup. Nothing was stopped."
}

stop_service() {
  local service
  for service in ui monitor api; do
    mapfile -t -O "${#STOPPED[@]}" STOPPED < <(containers_of "$service" --all=false)
  done
  if [ "${#STOPPED[@]}" -eq 0 ]; then return; fi
  [ "${#FORCE[@]}" -gt 0 ] ||
    fail "the service is running and has data of its own: --force moves them aside. Nothing was stopped."
  trap start_service EXIT
  say "Stopping the service ..."
  docker stop -t 35 "${STOPPED[@]}" >/dev/null
}

start_service() {
  say "Starting the service again ..."
  docker start "${STOPPED[@]}" >/dev/null
}

main() {
  parse_arguments "$@"
  require_docker
  stop_service
  start_database
  compose run --rm --no-deps -T api python -m app restore - ${FORCE[@]+"${FORCE[@]}"} <"$FILE" ||
    fail "the backup was not restored; see above."
  if [ "${#STOPPED[@]}" -gt 0 ]; then
    trap - EXIT
    start_service
    wait_healthy 90 || fail "the backup was restored, but the service is not healthy after 90 s; see above."
  fi
  say "$FILE was restored."
}

main "$@"
