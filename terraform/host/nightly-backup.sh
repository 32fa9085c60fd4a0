#!/usr/bin/env bash
# Run by bakeoff-backup.service: backs up the running stack and uploads the backup to the bucket.
set -euo pipefail
umask 077

RELEASE=/opt/bakeoff
CONFIG=/etc/bakeoff
REGION="" BACKUP_BUCKET="" NAME="" ALARMS=""
WORK=""

fail() {
  printf 'bakeoff backup: %s\n' "$*" >&2
  exit 1
}

# The size in bytes of the newest backup in the bucket; 0 where there is none, which aws ends with 1.
newest_bytes() {
  local found status=0
  found="$(aws s3 ls --region "$REGION" "s3://$BACKUP_BUCKET/backups/")" || status=$?
  [ "$status" -le 1 ] || return "$status"
  awk 'NF { print $NF, $3 }' <<<"$found" | LC_ALL=C sort | awk 'END { print $2 + 0 }'
}

# The packed backup must not fill the disk of the host. For the copy of the log, inside the stack, looks `bakeoff backup`.
require_room() {
  local bytes free_mb needed_mb
  bytes="$(newest_bytes)" ||
    fail "the bucket $BACKUP_BUCKET could not be read, see above: nothing was backed up. May the host's role list it?"
  needed_mb=$((bytes * 3 / 2 / 1048576 + 512))
  free_mb=$(($(df -Pk /var/tmp | awk 'NR == 2 { print $4 }') / 1024))
  [ "$free_mb" -ge "$needed_mb" ] ||
    fail "$free_mb MB are free in /var/tmp, and $needed_mb are needed (half more than the newest backup, and 512): nothing
was backed up. Remove old images (docker image prune -a) or files, or make the volume larger (terraform/README.md)."
}

# On a host whose release was rolled back, backup.sh may be older and stamp at once.
make_backup() {
  local later=(--no-stamp)
  grep -q -e --no-stamp "$RELEASE/docker/backup.sh" || later=()
  "$RELEASE/docker/backup.sh" ${later[@]+"${later[@]}"} "$1" || fail "the backup failed; see above."
}

# Only a backup in the bucket counts for the alert BackupOld.
stamp() {
  ! grep -q -e --no-stamp "$RELEASE/docker/backup.sh" || "$RELEASE/docker/backup.sh" --stamp ||
    fail "the backup is in the bucket, but the alert BackupOld was not told of it; see above."
}

# The alarm of terraform/alarms.tf fires where no night has told of its backup.
tell_cloudwatch() {
  [ "$ALARMS" = yes ] || return 0
  aws cloudwatch put-metric-data --region "$REGION" --namespace Bakeoff --metric-name BackupUploaded \
    --dimensions "Deployment=$NAME" --value 1 || fail "the backup is in the bucket, but CloudWatch was not told of it; see above."
}

main() {
  if [ "${1:-}" = --help ]; then
    printf 'Usage: nightly-backup.sh\nBacks up the stack to the bucket that %s/host.conf names.\n' "$CONFIG"
    return
  fi
  [ -r "$CONFIG/host.conf" ] ||
    fail "$CONFIG/host.conf is missing, or only root can read it: nothing was backed up. Run this as root."
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
  command -v aws >/dev/null 2>&1 ||
    fail "the AWS CLI is not installed: nothing was backed up. Install it (Debian: awscli)."
  require_room
  WORK="$(mktemp -d /var/tmp/bakeoff-backup.XXXXXX)"
  trap 'rm -rf "$WORK"' EXIT
  local name
  name="backups/$(date -u +%Y-%m-%dT%H%M%SZ)-$(uname -n).tar.gz"
  make_backup "$WORK/backup.tar.gz"
  aws s3 cp --only-show-errors --region "$REGION" "$WORK/backup.tar.gz" "s3://$BACKUP_BUCKET/$name" ||
    fail "the upload to $BACKUP_BUCKET failed, and the backup was removed; see above. May the host's role write there?"
  printf 'bakeoff backup: s3://%s/%s\n' "$BACKUP_BUCKET" "$name"
  stamp
  tell_cloudwatch
}

main "$@"
