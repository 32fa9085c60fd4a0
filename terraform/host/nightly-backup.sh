#!/usr/bin/env bash
# What bakeoff-backup.service calls: makes a backup of the running stack and puts it into the bucket.
set -euo pipefail
umask 077

RELEASE=/opt/bakeoff
CONFIG=/etc/bakeoff
REGION="" BACKUP_BUCKET=""
WORK=""

fail() {
  printf 'bakeoff backup: %s\n' "$*" >&2
  exit 1
}

main() {
  if [ "${1:-}" = --help ]; then
    printf 'Usage: nightly-backup.sh\nMakes a backup and puts it into the bucket named in %s/host.conf.\n' "$CONFIG"
    return
  fi
  [ -r "$CONFIG/host.conf" ] || fail "$CONFIG/host.conf is missing or needs root: nothing was saved."
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
  command -v aws >/dev/null 2>&1 || fail "the AWS CLI is not installed: nothing was saved. Install it (Debian: awscli)."
  WORK="$(mktemp -d /var/tmp/bakeoff-backup.XXXXXX)"
  trap 'rm -rf "$WORK"' EXIT
  local name
  name="backups/$(date -u +%Y-%m-%dT%H%M%SZ)-$(uname -n).tar.gz"
  "$RELEASE/docker/backup.sh" "$WORK/backup.tar.gz" || fail "the backup could not be made; what it said is above."
  aws s3 cp --only-show-errors --region "$REGION" "$WORK/backup.tar.gz" "s3://$BACKUP_BUCKET/$name" ||
    fail "the backup could not be put into $BACKUP_BUCKET: may the role write there?"
  printf 'bakeoff backup: s3://%s/%s\n' "$BACKUP_BUCKET" "$name"
}

main "$@"
