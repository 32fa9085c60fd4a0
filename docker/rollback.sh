#!/usr/bin/env bash
# Goes back to the release before, in the same way as forward: tried first, and without a failed request.
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

Puts the release that ran before the last deployment back into service; once more returns to the newer one. The log
and the shelf stay as they are: an older release runs on a newer schema. To go back in data: docker/restore.sh.

  --no-backup        do not back up first
  --dry-run          say what would be done, change nothing
  --ssh-option OPT   an option for ssh; may be given several times
  --help             show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --no-backup | --dry-run) OPTIONS+=("$1") ;;
      --ssh-option)
        [ $# -ge 2 ] || bad_usage "--ssh-option needs a value"
        SSH_OPTIONS+=("$2")
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
  [ -n "$(recorded PREVIOUS_TAG)" ] || fail "no release ran before $(recorded TAG) here: there is nothing to go back to."
  tag="$(tag_of_images "$(recorded PREVIOUS_TAG)" "$(recorded PREVIOUS_API)" "$(recorded PREVIOUS_UI)")" ||
    fail "the images of $(recorded PREVIOUS_TAG) are gone from this host: build or load them, then docker/deploy.sh local --tag $(recorded PREVIOUS_TAG)."
  say "Going back from $(recorded TAG) to $tag ..."
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
