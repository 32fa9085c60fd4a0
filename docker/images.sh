# shellcheck shell=bash
# The images of releases: which run, by which names they can be had again, and which nobody needs any more. Sourced after
# lib.sh and release.sh.

# What deployments put here and have not removed yet: a name and an id a line.
IMAGES_FILE="$PROJECT_ROOT/.images"

image_id() { docker image inspect -f '{{ .Id }}' "$1" 2>/dev/null; }

# running_image SERVICE: the id of the image that its first container runs.
running_image() {
  local container
  container="$(containers_of "$1" | head -n 1)"
  [ -z "$container" ] || docker inspect -f '{{ .Image }}' "$container"
}

# running_tag SERVICE: the tag under which its first container was started.
running_tag() {
  local container image
  container="$(containers_of "$1" | head -n 1)"
  image="$(docker inspect -f '{{ .Config.Image }}' "$container")"
  say "${image##*:}"
}

# tag_of_images TAG API-ID UI-ID: a tag that stands for these very images: TAG, or where it was given to newer ones
# since, one of its own.
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

# remember_images TAG: they came here for a deployment, and are ours to remove one day.
remember_images() {
  local image
  {
    [ ! -f "$IMAGES_FILE" ] || cat "$IMAGES_FILE"
    for image in "bakeoff-api:$1" "bakeoff-ui:$1"; do say "$image $(image_id "$image")"; done
  } | LC_ALL=C sort -u | replace_file "$IMAGES_FILE"
}

# remove_older_images TAG...: of what deployments put here, all but the images of these tags and those that a container
# uses. What was built or loaded by hand is left alone.
remove_older_images() {
  local names image id left=() removed=()
  names=" $(names_to_keep "$@" | tr '\n' ' ') "
  while read -r image id; do
    if is_forgotten "$image" "$id"; then continue; fi
    if [[ "$names" != *" $image "* || "$(image_id "$image")" != "$id" ]] && remove_image "$image" "$id"; then
      removed+=("$image")
    else
      left+=("$image $id")
    fi
  done <"$IMAGES_FILE"
  printf '%s\n' ${left[@]+"${left[@]}"} | replace_file "$IMAGES_FILE"
  [ "${#removed[@]}" -eq 0 ] || say "Removed the images of earlier releases: ${removed[*]}."
}

# What a stack of this host would look for: also one that is stopped.
names_to_keep() {
  local tag
  docker ps -aq | xargs -r docker inspect -f '{{ .Config.Image }}'
  for tag in "$@"; do printf 'bakeoff-%s\n' "api:$tag" "ui:$tag"; done
}

# is_forgotten NAME ID: it is gone, or somebody gave it a name of their own and this one to another.
is_forgotten() {
  local names
  names="$(docker image inspect -f '{{ join .RepoTags " " }}' "$2" 2>/dev/null)" || return 0
  [ -n "$names" ] && [[ " $names " != *" $1 "* ]]
}

# remove_image NAME ID: by its name; by its id where the name stands for a newer one. Docker refuses what is in use.
remove_image() {
  local what="$1"
  if [ "$(image_id "$1")" != "$2" ]; then what="$2"; fi
  docker rmi "$what" >/dev/null 2>&1
}
