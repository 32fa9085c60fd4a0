#!/usr/bin/env bash
# Proves that a backup can be restored: restores it into volumes of its own, beside the running stack, and removes them.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PLACE="$PROJECT_ROOT/backups"
MAX_AGE_HOURS=""
FILE=""
EVIDENCE="is equal"
STACK="$COMPOSE_PROJECT_NAME"
HEALTHY_SECONDS="${HEALTHY_SECONDS:-180}"

usage() {
  cat <<'TEXT'
Usage: docker/restore_drill.sh [FILE.tar.gz|FOLDER/] [--max-age HOURS]

Restores FILE, or the newest bakeoff-*.tar.gz of FOLDER (default: backups/), into a project of its own, and checks that
  - all of it is restored, and what `bakeoff doctor` checks holds,
  - the evidence that is computed anew from the restored log equals the restored evidence to the last bit,
  - an api that starts on it answers as its models did when they were published.
Prints the backup's age. The running stack goes on and is not touched; the copy is removed afterwards. Needs room for
the restored data twice, and the memory of one more api, as a deployment does. Exit status 1: the backup must not be
relied on; the reason is above.

  --max-age HOURS  also fail if the backup is older
  --help           show this text

After a success the file restore_drill.stamp in the DATA_DIR of the stack has the time, which is the metric
last_restore_drill_timestamp_seconds.
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --max-age)
        [ $# -ge 2 ] || bad_usage "--max-age needs a value"
        MAX_AGE_HOURS="$2"
        [[ "$2" =~ ^[0-9]{1,6}$ ]] || bad_usage "--max-age: '$2' is not a number of hours"
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) PLACE="$1" ;;
    esac
    shift
  done
}

choose_file() {
  FILE="$PLACE"
  if [ -d "$PLACE" ]; then
    FILE="$(find "$PLACE" -maxdepth 1 -name 'bakeoff-*.tar.gz' -type f | LC_ALL=C sort | tail -n 1)"
  fi
  [ -n "$FILE" ] || fail "there is no bakeoff-*.tar.gz in $PLACE: make a backup (docker/backup.sh $PLACE/)."
  [ -r "$FILE" ] || fail "$FILE does not exist or is not readable."
}

# The drill must not fill the disk of the stack that it is there to protect.
require_room() {
  local bytes free_kb place
  bytes="$(gzip -dc "$FILE" 2>/dev/null | wc -c)" || fail "$FILE is damaged: it cannot be unpacked."
  place="$(docker info -f '{{ .DockerRootDir }}' 2>/dev/null || true)"
  [ -d "$place" ] || return 0
  free_kb="$(df -Pk "$place" | awk 'NR == 2 { print $4 }')"
  [ "$free_kb" -ge $((bytes * 2 / 1024 + 512 * 1024)) ] ||
    fail "$((free_kb / 1024)) MB are free in $place: a copy of this backup needs $((bytes * 2 / 1048576 + 512)) MB."
}

# A project of its own. Nothing of it may reach what belongs to the stack: its database server, bucket or receivers.
use_scratch_project() {
  export COMPOSE_PROJECT_NAME="$STACK-restore-drill"
  export DATABASE_URL="" LITESTREAM_BUCKET="" KEEP_LOG="" NOTIFY_WEBHOOK_URL="" HEARTBEAT_URL="" ADMIN_BIND=""
}

# Each drill removes what an earlier one has left: a second one at the same time would take the copy of the first.
lock_drills() {
  command -v flock >/dev/null 2>&1 || return 0
  exec 9>"$PROJECT_ROOT/.restore_drill.lock" || fail "cannot write to $PROJECT_ROOT: run this as its owner."
  flock -n 9 || fail "another restore drill is running in $PROJECT_ROOT: wait until it has finished."
}

# one_off COMMAND...: a command of bakeoff on the restored data.
one_off() { compose run --rm --no-deps -T api python -m app "$@"; }

remove_copy() {
  compose down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 ||
    warn "the copy was not removed: docker compose -p $COMPOSE_PROJECT_NAME down --volumes"
}

restore() {
  local said made_s hours
  say "Restoring $FILE beside the stack ..."
  said="$(one_off restore - <"$FILE")" || {
    say "$said"
    fail "$FILE was not restored, or is not whole; see above."
  }
  say "$said"
  made_s="$(date -d "$(sed -n 's/^Restored: .* of \(20[^,]*\), written by .*/\1/p' <<<"$said")" +%s)"
  hours=$((($(date +%s) - made_s) / 3600))
  say "The backup is $hours hours old."
  [ -z "$MAX_AGE_HOURS" ] || [ "$hours" -le "$MAX_AGE_HOURS" ] ||
    fail "the newest backup is $hours hours old, and $MAX_AGE_HOURS are allowed: are backups still made, and do they arrive?"
}

compare_evidence() {
  local said
  say "Computing its evidence anew ..."
  said="$(one_off monitor --rebuild </dev/null)" || {
    say "$said"
    fail "the evidence could not be computed from the restored log, or differs from the restored evidence; see above."
  }
  say "$said"
  # It may where outcomes were corrected or erased, or another release counted: `monitor` has said which of these.
  case "$said" in *DIFFERENT*) EVIDENCE="differs for the reason above (so that nothing is proven of it)" ;; esac
}

ask_an_api() {
  say "Starting an api on it ..."
  compose up -d --no-deps --no-build api >&2 || fail "no api started on the restored data."
  wait_healthy "$HEALTHY_SECONDS" || fail "the api on the restored data is not healthy; see above."
  one_off smoke http://api:5000 </dev/null || fail "the api on the restored data does not answer as it should; see above."
}

stamp() {
  local id
  id="$(COMPOSE_PROJECT_NAME="$STACK" containers_of api --all=false | head -n 1)"
  { [ -n "$id" ] && docker exec "$id" touch /data/restore_drill.stamp; } ||
    warn "the drill succeeded, but alerts do not learn of it: /data/restore_drill.stamp could not be written."
}

main() {
  parse_arguments "$@"
  require_docker
  choose_file
  require_room
  use_scratch_project
  lock_drills
  trap remove_copy EXIT
  remove_copy
  restore
  compare_evidence
  ask_an_api
  stamp
  say "$FILE can be relied on: restored, its evidence $EVIDENCE, and an api answers from it."
}

main "$@"
