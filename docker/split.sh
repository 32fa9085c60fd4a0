#!/usr/bin/env bash
# Sets the split of the running stack on this host: which share of the traffic each version gets.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: docker/split.sh VERSION=WEIGHT ...

Sets the split at once, in the same experiment; a version that is not named gets 0. Prints as JSON what is in force.
For example: docker/split.sh v1=90 v2=10. On another host: docker/on_host.sh HOST split.sh v1=90 v2=10

  --help  show this text
TEXT
}

main() {
  local share
  if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    usage
    exit 0
  fi
  for share in "${@:-}"; do
    [[ "$share" =~ ^[a-z0-9_]+=[0-9]+(\.[0-9]+)?$ ]] || {
      usage >&2
      warn "'$share' is not VERSION=WEIGHT"
      exit 2
    }
  done
  require_docker
  compose exec -T api python -I - split "$@" <"$PROJECT_ROOT/docker/steer.py"
}

main "$@"
