#!/usr/bin/env bash
# Sets the traffic split of the running stack on this host.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: docker/split.sh VERSION=WEIGHT ...

Sets the traffic split at once, within the current experiment. A version that is not listed gets 0. Prints the active
configuration as JSON.
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
      warn "expected VERSION=WEIGHT, got '$share'"
      exit 2
    }
  done
  require_docker
  compose exec -T api python -I - split "$@" <"$PROJECT_ROOT/docker/steer.py"
}

main "$@"
