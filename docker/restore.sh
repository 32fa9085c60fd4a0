#!/usr/bin/env bash
# Puts a backup back into the stack's volumes: the service is stopped meanwhile, and started again whatever comes of it.
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

Verifies FILE and puts its log, key and shelf back, whole or not at all. The api, the monitor and the dashboard are
stopped for it and started again. What was there is kept beside it in the volumes; without --force nothing is replaced.

  --force  move what is there aside
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
  [ -n "$FILE" ] || bad_usage "name the file"
  [ -r "$FILE" ] || fail "$FILE is not there, or may not be read."
  gzip -t "$FILE" 2>/dev/null || fail "$FILE is not a whole backup; nothing was stopped."
}

stop_service() {
  local service
  for service in ui monitor api; do
    mapfile -t -O "${#STOPPED[@]}" STOPPED < <(containers_of "$service" --all=false)
  done
  if [ "${#STOPPED[@]}" -eq 0 ]; then return; fi
  [ "${#FORCE[@]}" -gt 0 ] || fail "a service with data of its own runs: --force moves them aside. Nothing was stopped."
  trap start_service EXIT
  say "Stopping the service ..."
  docker stop -t 35 "${STOPPED[@]}" >/dev/null
}

start_service() {
  say "Starting it again ..."
  docker start "${STOPPED[@]}" >/dev/null
}

main() {
  parse_arguments "$@"
  require_docker
  stop_service
  start_database
  compose run --rm --no-deps -T api python -m app restore - ${FORCE[@]+"${FORCE[@]}"} <"$FILE" ||
    fail "the backup was not put back; see above."
  if [ "${#STOPPED[@]}" -gt 0 ]; then
    trap - EXIT
    start_service
    wait_healthy 90 || fail "the backup was put back, but the service does not come up; see above."
  fi
  say "$FILE was put back."
}

main "$@"
