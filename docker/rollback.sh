#!/usr/bin/env bash
# Returns to the previous release the way deploy.sh deploys: tested first, and without a failed request.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/release.sh
source "$(dirname "${BASH_SOURCE[0]}")/release.sh"
# shellcheck source=docker/images.sh
source "$(dirname "${BASH_SOURCE[0]}")/images.sh"
# shellcheck source=docker/ship.sh
source "$(dirname "${BASH_SOURCE[0]}")/ship.sh"

TARGET=local
OPTIONS=()

usage() {
  cat <<'TEXT'
Usage: docker/rollback.sh [local|[USER@]HOST] [OPTION]...

Deploys the release that ran before the last deployment. Running it again returns to the newer one. The log and the
model registry are kept: an older release runs on a newer schema. To restore older data, use docker/restore.sh.

  --no-backup        skip the backup
  --dry-run          print what would be done; change nothing
  --ssh-option OPT   an option for ssh; may be repeated
  --help             show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --no-backup | --dry-run) OPTIONS+=("$1") ;;
      --ssh-option)
        [ $# -ge 2 ] || bad_usage "--ssh-option needs a value"
        take_ssh_option "$2"
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) TARGET="$1" ;;
    esac
    shift
  done
  require_host_name
}

roll_back_here() {
  local tag
  require_docker
  [ -n "$(recorded TAG)" ] || fail "docker/deploy.sh has not deployed here yet: there is no previous release."
  [ -n "$(before PREVIOUS_TAG)" ] || fail "no release was deployed here before $(recorded TAG)."
  tag="$(tag_of_images "$(before PREVIOUS_TAG)" "$(before PREVIOUS_API)" "$(before PREVIOUS_UI)")" ||
    fail "the images of $(before PREVIOUS_TAG) are gone from this host: build or load them, then run docker/deploy.sh local --tag $(before PREVIOUS_TAG)."
  say "Rolling back from $(recorded TAG) to $tag ..."
  "$PROJECT_ROOT/docker/deploy.sh" local --tag "$tag" --smoke new ${OPTIONS[@]+"${OPTIONS[@]}"}
}

main() {
  parse_arguments "$@"
  if [ "$TARGET" = local ]; then
    roll_back_here
  else
    on_host_as_root docker/rollback.sh local ${OPTIONS[@]+"${OPTIONS[@]}"}
  fi
}

main "$@"
