# shellcheck shell=bash
# The images of releases: which are running, under which tags a release can be started again, and which can be removed.
# Sourced after lib.sh and release.sh.

# The images that deployments brought to this host and have not removed yet: a name and an id per line.
IMAGES_FILE="$PROJECT_ROOT/.images"

image_id() { docker image inspect -f '{{ .Id }}' "$1" 2>/dev/null; }

# running_image SERVICE: the image id of the service's newest container.
running_image() {
  local container
  container="$(containers_of "$1" | head -n 1)"
  [ -z "$container" ] || docker inspect -f '{{ .Image }}' "$container"
}

# running_tag SERVICE: the tag under which the service's newest container was started.
running_tag() {
  local container image
  container="$(containers_of "$1" | head -n 1)"
  image="$(docker inspect -f '{{ .Config.Image }}' "$container")"
  say "${image##*:}"
}

# tag_of_images TAG API-ID UI-ID: prints a tag that refers to exactly these images: TAG, or a new tag if TAG has been
# moved to newer images.
tag_of_images() {
  if [ "$(image_id "bakeoff-api:$1")" = "$2" ] && [ "$(image_id "bakeoff-ui:$1")" = "$3" ]; then
    say "$1"
    return
  fi
  local api="${2#sha256:}" ui="${3#sha256:}" own
  own="was-${api:0:12}-${ui:0:12}"
  { docker tag "$2" "bakeoff-api:$own" && docker tag "$3" "bakeoff-ui:$own"; } >/dev/null 2>&1 || return 1
  say "$own"
}

# remember_images TAG: records that a deployment brought these images here, so that a later one may remove them.
remember_images() {
  local image
  {
    [ ! -f "$IMAGES_FILE" ] || cat "$IMAGES_FILE"
    for image in "bakeoff-api:$1" "bakeoff-ui:$1"; do say "$image $(image_id "$image")"; done
  } | LC_ALL=C sort -u | replace_file "$IMAGES_FILE"
}

# remove_older_images TAG...: removes the images that deployments brought here, except those of the given tags and those
# that a container uses. Images built or loaded by hand are left alone.
remove_older_images() {
  local names image id left=() removed=()
  names=" $(names_to_keep "$@" | tr '\n' ' ') "
  while read -r image id; do
    if is_obsolete "$image" "$id"; then continue; fi
    if [[ "$names" != *" $image "* || "$(image_id "$image")" != "$id" ]] && remove_image "$image" "$id"; then
      removed+=("$image")
    else
      left+=("$image $id")
    fi
  done <"$IMAGES_FILE"
  printf '%s\n' ${left[@]+"${left[@]}"} | replace_file "$IMAGES_FILE"
  [ "${#removed[@]}" -eq 0 ] || say "Removed the images of earlier releases: ${removed[*]}."
}

# The image names that any stack on this host needs, stopped stacks included.
names_to_keep() {
  local tag
  docker ps -aq | xargs -r docker inspect -f '{{ .Config.Image }}'
  for tag in "$@"; do printf 'bakeoff-%s\n' "api:$tag" "ui:$tag"; done
}

# is_obsolete NAME ID: the record no longer applies: the image is gone, or its name was moved and it got another one.
is_obsolete() {
  local names
  names="$(docker image inspect -f '{{ join .RepoTags " " }}' "$2" 2>/dev/null)" || return 0
  [ -n "$names" ] && [[ " $names " != *" $1 "* ]]
}

# remove_image NAME ID: removes an image by name, or by id if the name was moved. Docker refuses if it is in use.
remove_image() {
  local reference="$1"
  if [ "$(image_id "$1")" != "$2" ]; then reference="$2"; fi
  docker rmi "$reference" >/dev/null 2>&1
}

# require_ecr REGISTRY: rejects what is no registry of ECR. The pattern is that of terraform/ (image_registry).
require_ecr() {
  [[ "$1" =~ ^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?(/[a-z0-9._/-]*[a-z0-9])?$ ]] ||
    bad_usage "'$1' is no registry of ECR, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/team"
}

# with_ecr REGISTRY COMMAND...: runs the command with a login to the registry, by the role of this host or the credentials
# of its user, which is forgotten afterwards.
with_ecr() {
  local host="${1%%/*}" status=0
  shift
  command -v aws >/dev/null 2>&1 || fail "ECR needs the command aws, which is not installed here."
  aws ecr get-login-password --region "$(cut -d. -f4 <<<"$host")" |
    docker login --username AWS --password-stdin "$host" >/dev/null 2>&1 ||
    fail "could not log in to $host: may this host's role, or its user's credentials, do ecr:GetAuthorizationToken?"
  "$@" || status="$?"
  docker logout "$host" >/dev/null 2>&1 || true
  return "$status"
}

# push_images REGISTRY TAG: our two images, from here.
push_images() {
  say "Pushing bakeoff-api:$2 and bakeoff-ui:$2 to $1 ..."
  with_ecr "$1" push_both "$1" "$2" || fail "the images could not be pushed to $1; see above. Each needs a repository there:
aws ecr create-repository --region $(cut -d. -f4 <<<"$1") --repository-name $(sed 's|^[^/]*/*||; s|.$|&/|' <<<"$1")bakeoff-api
and the same for bakeoff-ui"
}

push_both() {
  local image
  for image in bakeoff-api bakeoff-ui; do
    docker tag "$image:$2" "$1/$image:$2" && docker push --quiet "$1/$image:$2" >/dev/null || return
    docker rmi "$1/$image:$2" >/dev/null || true # a name, not the image
  done
}

# pull_images REGISTRY TAG: our two images, under the names that Compose has for them.
pull_images() {
  say "Pulling bakeoff-api:$2 and bakeoff-ui:$2 from $1 ..."
  with_ecr "$1" pull_both "$1" "$2" || fail "the images could not be pulled from $1; see above."
}

pull_both() {
  local image
  for image in bakeoff-api bakeoff-ui; do
    docker pull --quiet "$1/$image:$2" >/dev/null && docker tag "$1/$image:$2" "$image:$2" || return
    docker rmi "$1/$image:$2" >/dev/null || true
  done
}
