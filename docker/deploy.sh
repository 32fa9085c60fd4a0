#!/usr/bin/env bash
# Deploys a release, here or on another host, without a failed request. On any failure the old release keeps serving.
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
REGISTRY=""
BUILD=no
DRY_RUN=no
BACKUP=yes
SMOKE=old
LEAST_FREE_MB="${LEAST_FREE_MB:-500}"
DONE=no

usage() {
  cat <<'TEXT'
Usage: docker/deploy.sh local|[USER@]HOST [OPTION]...

Deploys the images bakeoff-api:TAG and bakeoff-ui:TAG. The new api is tested beside the old one, then the edge proxy
moves the traffic to it. On any failure the old release keeps serving and the exit status is 1. docker/rollback.sh
returns to the previous release.

  local              deploy on this host, in the folder of docker-compose.yml
  [USER@]HOST        deploy over ssh, in /opt/bakeoff there; images that the host lacks are sent to it
  --tag TAG          the images' tag (default: BAKEOFF_TAG, from the environment or .env, or local)
  --registry ECR     instead of sending our images, push them to this registry of ECR, and pull them where they are
                     deployed: ACCOUNT.dkr.ecr.REGION.amazonaws.com, with a prefix where it has one
  --build            build the images on this machine first
  --build-there      send the sources and build the images on the host
  --no-backup        skip the backup of log, key and model registry (backups/ keeps the last five)
  --smoke old|new    which image computes the expected answers of the smoke test: the running release (default), or
                     the new one, for a release that changes predictions on purpose
  --dry-run          check everything and print what would be done; change nothing
  --ssh-option OPT   an option for ssh, such as -p2222 or -iKEY; may be repeated
  --no-compress      send the images uncompressed, for a fast network
  --options WORDS    some of --smoke, --build-there, --no-backup, --no-compress and --dry-run in one text, for a pipeline:
                     any other word in it is refused
  --help             show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --tag | --registry | --smoke | --ssh-option | --options)
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
    --registry) REGISTRY="$2" ;;
    --smoke) SMOKE="$2" ;;
    --ssh-option) take_ssh_option "$2" ;;
    --options) take_options "$2" ;;
  esac
}

# take_options WORDS: for a pipeline, whose users choose among these options only, not the host, the tag or ssh's options.
take_options() {
  local words
  read -r -d '' -a words <<<"$1" || true
  set -- ${words[@]+"${words[@]}"}
  while [ $# -gt 0 ]; do
    case "$1 ${2:-}" in
      "--smoke old" | "--smoke new")
        SMOKE="$2"
        shift
        ;;
      "--build-there "*) BUILD=there ;;
      "--no-backup "*) BACKUP=no ;;
      "--no-compress "*) COMPRESS=no ;;
      "--dry-run "*) DRY_RUN=yes ;;
      *)
        bad_usage "--options: '$1' is none of --smoke old, --smoke new, --build-there, --no-backup, --no-compress and" \
          "--dry-run"
        ;;
    esac
    shift
  done
}

check_arguments() {
  [ -n "$TARGET" ] || bad_usage "give a target: local, or a host"
  require_host_name
  [ -n "$TAG" ] || TAG="$(configured_tag)"
  [[ "$TAG" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || bad_usage "--tag: '$TAG' is not a valid image tag"
  if [ -n "$REGISTRY" ]; then
    require_ecr "$REGISTRY"
    [ "$BUILD" != there ] || bad_usage "--build-there builds the images on the host, which then pulls none: leave --registry out"
    [ "$TARGET$BUILD" != localhere ] || bad_usage "local with --registry pulls the images: leave --build out"
  fi
  [[ "$SMOKE" =~ ^(old|new)$ ]] || bad_usage "--smoke: expected old or new, got '$SMOKE'"
  if [ "$TARGET" = local ] && [ "$BUILD" = there ]; then BUILD=here; fi
}

# --- here -------------------------------------------------------------------------------------------------------------

require_images() {
  local image
  for image in "bakeoff-api:$TAG" "bakeoff-ui:$TAG"; do
    image_id "$image" >/dev/null ||
      fail "there is no image $image here: build it (docker/build.sh --tag $TAG), or pass --build."
  done
}

# A deployment writes to Docker's data folder and to this one.
require_room() {
  local place free_mb
  for place in "$(docker info -f '{{ .DockerRootDir }}' 2>/dev/null || true)" "$PROJECT_ROOT"; do
    [ -d "$place" ] || continue
    free_mb="$(($(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1024))"
    [ "$free_mb" -ge "$LEAST_FREE_MB" ] ||
      fail "$free_mb MB are free in $place, $LEAST_FREE_MB are needed: remove old images (docker image prune) or backups."
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
    warn "the backup failed, so nothing was deployed; see above. --no-backup deploys without one."
    return 1
  }
  find "$PROJECT_ROOT/backups" -name 'bakeoff-*.tar.gz' -type f | LC_ALL=C sort | head -n -5 | xargs -r rm -f
}

# Compose says which container ended, and not why.
start_all() {
  local ended
  quietly compose_as "$TAG" up -d --no-build || {
    ended="$(lagging_containers | grep -E '^[^ ]+ [^ ]+ (Exited|Restarting)' || true)"
    [ -z "$ended" ] || show_lagging "$ended"
    return 1
  }
}

first_deployment() {
  say "No api is running: starting the whole stack with bakeoff-api:$TAG ..."
  if ! { start_all && wait_healthy "$HEALTHY_SECONDS" && smoke_from "$TAG" http://edge:5000; }; then
    compose_as "$TAG" stop >/dev/null 2>&1 || true
    fail "bakeoff $TAG did not start; see above. It was stopped; its volumes were kept."
  fi
  record_release "$TAG" "" "" ""
  say "bakeoff $TAG is in service."
}

# Runs on exit. Unless the deployment succeeded, restores the old release.
restore_old_release() {
  local status=$?
  if [ "$DONE" = yes ]; then return; fi
  trap - EXIT
  undo "$OLD_TAG"
  if [ "${#OLD[@]}" -eq 0 ] || wait_for_edge "${#OLD[@]}"; then
    warn "bakeoff $TAG was NOT deployed; $OLD_TAG keeps serving."
  else
    warn "bakeoff $TAG was NOT deployed. $OLD_TAG runs, but THE EDGE PROXY DOES NOT REACH IT, so nobody is answered: see above, and" \
      "'docker compose logs edge', correct $PROJECT_ROOT/.env, then: docker compose up -d --no-deps edge"
  fi
  exit "$((status == 0 ? 1 : status))"
}

next_deployment() {
  local old_api old_ui smoke_tag previous
  old_api="$(running_image api)"
  old_ui="$(running_image ui)"
  OLD_TAG="$(tag_of_images "$(running_tag api)" "$old_api" "${old_ui:-$(image_id "bakeoff-ui:$TAG")}")" ||
    fail "the images of the running release are gone from this host, so a failed deployment could not be undone.
Nothing was changed. To deploy with downtime instead, stop the stack first: docker compose stop"
  remember_images "$OLD_TAG"
  smoke_tag="$OLD_TAG"
  if [ "$SMOKE" = new ]; then smoke_tag="$TAG"; fi
  trap restore_old_release EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  check_edge "$TAG" || exit 1
  back_up "$OLD_TAG" || exit 1
  try_candidate "$TAG" "$smoke_tag" || exit 1
  start_beside "$TAG" || exit 1
  shift_traffic "$smoke_tag" || exit 1
  replace_others "$TAG" || exit 1
  DONE=yes
  remove_old
  record_release "$TAG" "$OLD_TAG" "$old_api" "$old_ui"
  previous="$(before PREVIOUS_TAG)"
  remove_older_images "$TAG" ${previous:+"$previous"} ||
    warn "not all images of earlier releases could be removed; list them with: docker image ls 'bakeoff-*'"
  if [ -n "$previous" ]; then previous="the previous release was $previous (docker/rollback.sh returns to it)"; fi
  say "bakeoff $TAG is in service; ${previous:-no other release was deployed here before it}."
}

deploy_here() {
  local running
  require_docker
  if [ "$BUILD" = here ] && [ "$DRY_RUN" = no ]; then "$PROJECT_ROOT/docker/build.sh" --tag "$TAG"; fi
  if [ -n "$REGISTRY" ] && [ "$DRY_RUN" = no ]; then pull_images "$REGISTRY" "$TAG"; fi
  [ "$DRY_RUN$BUILD" = yeshere ] || [ -n "$REGISTRY" ] || require_images
  require_room
  require_writable
  if [ "$DRY_RUN" = yes ]; then
    running="$(recorded TAG)"
    say "Would deploy bakeoff $TAG here. Last deployed: ${running:-nothing}; api containers running in project" \
      "$COMPOSE_PROJECT_NAME: $(running_apis | wc -l). Nothing was changed."
    return
  fi
  lock_deployments
  remember_images "$TAG"
  if [ -z "$(running_apis)" ]; then first_deployment; else next_deployment; fi
}

main() {
  parse_arguments "$@"
  if [ "$TARGET" = local ]; then deploy_here; else deploy_there; fi
}

main "$@"
