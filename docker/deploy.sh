#!/usr/bin/env bash
# Puts a release into service, here or on another host, without a failed request; on any failure the old one stays.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/release.sh
source "$(dirname "${BASH_SOURCE[0]}")/release.sh"
# shellcheck source=docker/images.sh
source "$(dirname "${BASH_SOURCE[0]}")/images.sh"
# shellcheck source=docker/roll.sh
source "$(dirname "${BASH_SOURCE[0]}")/roll.sh"
# shellcheck source=docker/configuration.sh
source "$(dirname "${BASH_SOURCE[0]}")/configuration.sh"
# shellcheck source=docker/ship.sh
source "$(dirname "${BASH_SOURCE[0]}")/ship.sh"

TARGET=""
TAG=""
BUILD=no
DRY_RUN=no
BACKUP=yes
SMOKE=old
LEAST_FREE_MB="${LEAST_FREE_MB:-500}"
DONE=no

usage() {
  cat <<'TEXT'
Usage: docker/deploy.sh local|[USER@]HOST [OPTION]...

Puts the images bakeoff-api:TAG and bakeoff-ui:TAG into service. The new api is tried beside the old, then takes over
from it through the edge; on any failure the old one goes on, and the exit status is 1. docker/rollback.sh goes back.

  local              on this host, in the folder of docker-compose.yml
  [USER@]HOST        by ssh, in /opt/bakeoff there; images that the host lacks are sent to it
  --tag TAG          the images' tag (BAKEOFF_TAG, that of .env, or local)
  --build            build them here first
  --build-there      send the sources and build on the host
  --no-backup        do not back up the log, the key and the shelf first (backups/ keeps the last five)
  --smoke old|new    which image judges the new one's answers: the one that runs now (default), or the new one itself,
                     for a release that changes what is right
  --dry-run          check everything, say what would be done, change nothing
  --ssh-option OPT   an option for ssh, such as -p2222 or -iKEY; may be given several times
  --no-compress      send the images as they are: for a near host
  --help             show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --tag | --smoke | --ssh-option)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        take_value "$1" "$2"
        shift
        ;;
      --build) BUILD=here ;;
      --build-there) BUILD=there ;;
      --no-backup) BACKUP=no ;;
      --dry-run) DRY_RUN=yes ;;
      --no-compress) COMPRESS=no ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *)
        [ -z "$TARGET" ] || bad_usage "one target at a time: $TARGET or $1?"
        TARGET="$1"
        ;;
    esac
    shift
  done
  check_arguments
}

take_value() {
  case "$1" in
    --tag) TAG="$2" ;;
    --smoke) SMOKE="$2" ;;
    --ssh-option) SSH_OPTIONS+=("$2") ;;
  esac
}

check_arguments() {
  [ -n "$TARGET" ] || bad_usage "say local, or a host"
  require_host_name
  [ -n "$TAG" ] || TAG="$(configured_tag)"
  [[ "$TAG" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || bad_usage "--tag: '$TAG' is not a tag"
  [[ "$SMOKE" =~ ^(old|new)$ ]] || bad_usage "--smoke: say old or new"
  if [ "$TARGET" = local ] && [ "$BUILD" = there ]; then BUILD=here; fi
}

# --- here -------------------------------------------------------------------------------------------------------------

require_images() {
  local image
  for image in "bakeoff-api:$TAG" "bakeoff-ui:$TAG"; do
    image_id "$image" >/dev/null || fail "there is no image $image here: docker/build.sh --tag $TAG, or --build."
  done
}

# Where Docker keeps its things, and here: both are written to.
require_room() {
  local place free_mb
  for place in "$(docker info -f '{{ .DockerRootDir }}' 2>/dev/null || true)" "$PROJECT_ROOT"; do
    [ -d "$place" ] || continue
    free_mb="$(($(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1024))"
    [ "$free_mb" -ge "$LEAST_FREE_MB" ] ||
      fail "$free_mb MB are free at $place, $LEAST_FREE_MB are needed: remove old images (docker image prune) or backups."
  done
}

require_writable() {
  [ -w "$PROJECT_ROOT" ] || fail "$(id -un) may not write to $PROJECT_ROOT: run this as its owner ($(stat -c %U "$PROJECT_ROOT"))."
}

back_up() {
  if [ "$BACKUP" = no ]; then return 0; fi
  mkdir -p "$PROJECT_ROOT/backups" && chmod 700 "$PROJECT_ROOT/backups"
  say "Backing up ..."
  BAKEOFF_TAG="$1" "$PROJECT_ROOT/docker/backup.sh" "$PROJECT_ROOT/backups/" 9>&- || {
    warn "without a backup nothing is deployed (--no-backup does without)."
    return 1
  }
  find "$PROJECT_ROOT/backups" -name 'bakeoff-*.tar.gz' -type f | LC_ALL=C sort | head -n -5 | xargs -r rm -f
}

first_deployment() {
  say "Nothing runs yet: starting bakeoff-api:$TAG and all around it ..."
  if ! { quietly compose_as "$TAG" up -d --no-build && wait_healthy "$HEALTHY_SECONDS" && smoke_from "$TAG" http://edge:5000; }; then
    compose_as "$TAG" stop >/dev/null 2>&1 || true
    fail "bakeoff $TAG did not come up; see above. It was stopped; its volumes are as they are."
  fi
  record_release "$TAG" "" "" ""
  say "bakeoff $TAG is in service."
}

# At every end but a good one: as it was.
put_back() {
  local status=$?
  if [ "$DONE" = yes ]; then return; fi
  trap - EXIT
  undo "$OLD_TAG"
  warn "bakeoff $TAG was NOT deployed; $OLD_TAG goes on serving."
  exit "$((status == 0 ? 1 : status))"
}

next_deployment() {
  local old_api old_ui judge
  old_api="$(running_image api)"
  old_ui="$(running_image ui)"
  OLD_TAG="$(tag_of_images "$(running_tag api)" "$old_api" "${old_ui:-$(image_id "bakeoff-ui:$TAG")}")" ||
    fail "the images that run now are gone from this host, so nothing could be put back."
  remember_images "$OLD_TAG"
  judge="$OLD_TAG"
  if [ "$SMOKE" = new ]; then judge="$TAG"; fi
  trap put_back EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  back_up "$OLD_TAG" || exit 1
  try_candidate "$TAG" "$judge" || exit 1
  start_beside "$TAG" || exit 1
  shift_traffic "$judge" || exit 1
  replace_others "$TAG" || exit 1
  DONE=yes
  remove_old
  record_release "$TAG" "$OLD_TAG" "$old_api" "$old_ui"
  remove_older_images "$TAG" "$OLD_TAG" || warn "images of earlier releases may be left: docker image ls 'bakeoff-*'"
  say "bakeoff $TAG is in service; before it was $OLD_TAG (docker/rollback.sh goes back)."
}

deploy_here() {
  require_docker
  if [ "$BUILD" = here ] && [ "$DRY_RUN" = no ]; then "$PROJECT_ROOT/docker/build.sh" --tag "$TAG"; fi
  [ "$DRY_RUN$BUILD" = yeshere ] || require_images
  require_room
  require_writable
  if [ "$DRY_RUN" = yes ]; then
    say "Would put bakeoff $TAG into service here; now it is $COMPOSE_PROJECT_NAME $(recorded TAG), with $(running_apis | wc -l) api(s). Nothing was changed."
    return
  fi
  take_turn
  remember_images "$TAG"
  if [ -z "$(running_apis)" ]; then first_deployment; else next_deployment; fi
}

main() {
  parse_arguments "$@"
  if [ "$TARGET" = local ]; then deploy_here; else deploy_there; fi
}

main "$@"
