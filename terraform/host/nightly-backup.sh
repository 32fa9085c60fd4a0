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
  WORK="$(mktemp -d /var/tmp/bakeoff-backup.XXXXXX)"
  trap 'rm -rf "$WORK"' EXIT
  local name
  name="backups/$(date -u +%Y-%m-%dT%H%M%SZ)-$(uname -n).tar.gz"
  "$RELEASE/docker/backup.sh" "$WORK/backup.tar.gz" || fail "the backup failed; see above."
  aws s3 cp --only-show-errors --region "$REGION" "$WORK/backup.tar.gz" "s3://$BACKUP_BUCKET/$name" ||
    fail "the upload to $BACKUP_BUCKET failed, and the backup was removed; see above. May the host's role write there?"
  printf 'bakeoff backup: s3://%s/%s\n' "$BACKUP_BUCKET" "$name"
  tell_cloudwatch
}

main "$@"
