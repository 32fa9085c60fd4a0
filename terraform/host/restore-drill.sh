#!/usr/bin/env bash
# Run by bakeoff-restore-drill.service: proves that the newest backup of the bucket can be restored.
set -euo pipefail
umask 077

RELEASE=/opt/bakeoff
CONFIG=/etc/bakeoff
MAX_AGE_HOURS=48
REGION="" BACKUP_BUCKET=""
WORK=""

fail() {
  printf 'bakeoff restore drill: %s\n' "$*" >&2
  exit 1
}

# NAME BYTES of the newest one: their names begin with the time. Nothing where there is none, which aws ends with 1.
newest_backup() {
  local found status=0
  found="$(aws s3 ls --region "$REGION" "s3://$BACKUP_BUCKET/backups/")" || status=$?
  [ "$status" -le 1 ] || return "$status"
  awk 'NF { print $NF, $3 }' <<<"$found" | LC_ALL=C sort | tail -n 1
}

# require_room BYTES: the drill must not fill the disk of the stack. The room to unpack it checks docker/restore_drill.sh.
require_room() {
  local free_kb
  free_kb="$(df -Pk /var/tmp | awk 'NR == 2 { print $4 }')"
  [ "$free_kb" -ge $(($1 / 1024 + 512 * 1024)) ] ||
    fail "$((free_kb / 1024)) MB are free in /var/tmp: this backup needs $(($1 / 1048576 + 512)) MB. Nothing was copied."
}

main() {
  if [ "${1:-}" = --help ]; then
    printf 'Usage: restore-drill.sh\nRestores the newest backup of the bucket beside the stack, checks it and removes the copy.\n'
    return
  fi
  [ -r "$CONFIG/host.conf" ] || fail "$CONFIG/host.conf is missing, or only root can read it. Run this as root."
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
  local newest name bytes
  newest="$(newest_backup)" || fail "the backups of $BACKUP_BUCKET could not be listed; see above."
  read -r name bytes <<<"$newest"
  [ -n "$name" ] || fail "there is no backup in $BACKUP_BUCKET: systemctl start bakeoff-backup makes one."
  require_room "$bytes"
  WORK="$(mktemp -d /var/tmp/bakeoff-drill.XXXXXX)"
  trap 'rm -rf "$WORK"' EXIT
  aws s3 cp --only-show-errors --region "$REGION" "s3://$BACKUP_BUCKET/backups/$name" "$WORK/$name" ||
    fail "$name could not be read from $BACKUP_BUCKET; see above."
  "$RELEASE/docker/restore_drill.sh" "$WORK/$name" --max-age "$MAX_AGE_HOURS" ||
    fail "the backup $name must not be relied on; see above, and docs/runbooks.md#restoredrillold."
}

main "$@"
