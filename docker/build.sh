#!/usr/bin/env bash
# Builds the images bakeoff-api and bakeoff-ui. Safe to run again: Docker's cache skips unchanged steps.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TAG="${BAKEOFF_TAG:-local}"
PRINT_HASH=no
IF_CHANGED=no
BOOSTING="${BOOSTING:-}"
readonly ALL_BOOSTING="lightgbm xgboost-cpu catboost onnxmltools"

usage() {
  cat <<'TEXT'
Usage: docker/build.sh [--tag TAG] [--boosting PACKAGES] [--if-changed] [--print-hash]

Builds bakeoff-api:TAG and bakeoff-ui:TAG.

  --tag TAG            the images' tag (default: BAKEOFF_TAG, or local)
  --boosting PACKAGES  also install these into the API image, for models of LightGBM, XGBoost and CatBoost: all, or
                       some of "lightgbm xgboost-cpu catboost onnxmltools" (default: BOOSTING, or none)
  --if-changed         build an image only if it is missing or its source files have changed
  --print-hash         print the checksum of the images' source files and build nothing
  --help               show this text

PIP_INDEX_URL: the package index to install from (default: pip's).
PYTHON_IMAGE: the base image (default: the tag and digest in the Dockerfiles; where this host has that tag without a
digest, because it was loaded and not pulled, that image).
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --tag)
        [ $# -ge 2 ] || bad_usage "--tag needs a value"
        TAG="$2"
        shift
        ;;
      --boosting)
        [ $# -ge 2 ] || bad_usage "--boosting needs a value"
        BOOSTING="$2"
        shift
        ;;
      --if-changed) IF_CHANGED=yes ;;
      --print-hash) PRINT_HASH=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) bad_usage "unknown option: $1" ;;
    esac
    shift
  done
  [[ "$TAG" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || bad_usage "--tag: '$TAG' is not a valid image tag"
  [ "$BOOSTING" != all ] || BOOSTING="$ALL_BOOSTING"
  local package
  for package in $BOOSTING; do
    case " $ALL_BOOSTING " in
      *" $package "*) ;;
      *) bad_usage "--boosting: '$package' is none of $ALL_BOOSTING" ;;
    esac
  done
}

# Lists the images' source files, sorted: what .dockerignore lets in, the Dockerfiles and .dockerignore itself.
sources() {
  local let_in
  # shellcheck disable=SC2046,SC2086  # patterns of .dockerignore, which the shell must expand; none has a space
  let_in="$(sed -n 's/^!//p' .dockerignore)" && find $let_in docker/Dockerfile.* .dockerignore -type f \
    ! -path '*/__pycache__/*' ! -name '*.pyc' | LC_ALL=C sort
}

sources_hash() {
  local checksum=(sha256sum)
  command -v sha256sum >/dev/null 2>&1 || checksum=(shasum -a 256)
  (cd "$PROJECT_ROOT" && sources | tr '\n' '\0' | xargs -0 "${checksum[@]}" | "${checksum[@]}" | cut -c 1-16)
}

revision() {
  git -C "$PROJECT_ROOT" describe --always --dirty --abbrev=12 2>/dev/null || say unknown
}

version() {
  sed -n 's/^version = "\(.*\)"$/\1/p' "$PROJECT_ROOT/pyproject.toml" 2>/dev/null || say unknown
}

is_current() {
  [ "$(docker image inspect -f '{{ index .Config.Labels "bakeoff.sources" }}' "$1" 2>/dev/null)" = "$2" ]
}

# base_image DOCKERFILE: the image to build on in place of the Dockerfile's own; prints nothing where that one is to be
# used. An image that was loaded or imported has no digest, by which the engine would find it.
base_image() {
  local pinned tag
  pinned="$(sed -n 's/^ARG PYTHON_IMAGE=//p' "$PROJECT_ROOT/docker/$1")"
  tag="${pinned%@*}"
  if [ -n "${PYTHON_IMAGE:-}" ]; then
    say "$PYTHON_IMAGE"
  elif [ "$(docker image inspect -f '{{ len .RepoDigests }}' "$tag" 2>/dev/null)" = 0 ]; then
    say "$tag"
  fi
}

other_base() {
  say " If its base image could not be pulled: with PYTHON_IMAGE=NAME this builds on one that is here,"
  say "whose digest is then not checked."
}

# build IMAGE DOCKERFILE HASH
build() {
  local image="$1:$TAG" arguments=() base
  if [ "$IF_CHANGED" = yes ] && is_current "$image" "$3"; then
    say "$image is up to date."
    return
  fi
  [ -z "${PIP_INDEX_URL:-}" ] || arguments+=(--build-arg PIP_INDEX_URL)
  [ "$1" != bakeoff-api ] || [ -z "$BOOSTING" ] || arguments+=(--build-arg "BOOSTING=$BOOSTING")
  base="$(base_image "$2")"
  [ -z "$base" ] || arguments+=(--build-arg "PYTHON_IMAGE=$base")
  [ -z "${BUILD_NETWORK:-}" ] || arguments+=(--network "$BUILD_NETWORK")
  say "Building $image${base:+ on $base, whose digest is not checked} ..."
  docker build --quiet -t "$image" -f "$PROJECT_ROOT/docker/$2" --label "bakeoff.sources=$3" \
    --build-arg "REVISION=$(revision)" --build-arg "VERSION=$(version)" \
    ${arguments[@]+"${arguments[@]}"} "$PROJECT_ROOT" >/dev/null ||
    fail "$image could not be built; see above.$(if [ -z "$base" ]; then other_base; fi)"
}

main() {
  local hash
  parse_arguments "$@"
  hash="$(sources_hash)"
  if [ "$PRINT_HASH" = yes ]; then
    say "$hash"
    return
  fi
  require_docker
  # With other packages it is another image, also where no source file has changed.
  build bakeoff-api Dockerfile.api "$hash${BOOSTING:+ with $BOOSTING}"
  build bakeoff-ui Dockerfile.streamlit "$hash"
}

main "$@"
