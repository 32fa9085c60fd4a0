#!/usr/bin/env bash
# Runs in the api image before the api starts: trains two versions if the model registry is empty.
# With --wait it trains nothing, and ends when there is a version, as pods of Kubernetes do.
# A registry that cannot be read ends both with an error: it may have versions.
set -euo pipefail

# The number of versions. `set -e` holds neither in $(…) nor in a condition, so a failure is passed on by hand.
versions() {
  local published
  published="$(python -m app models --json)" || return
  python -I -c 'import json, sys; print(len(json.loads(sys.argv[1])["versions"]))' "$published"
}

main() {
  local number
  number="$(versions)"
  if [ "${1:-}" = --wait ]; then
    while [ "$number" = 0 ]; do
      printf '%s\n' "The model registry is empty: waiting for the Job first-models."
      sleep 2
      number="$(versions)"
    done
  elif [ "$number" = 0 ]; then
    exec python -m app train
  else
    printf '%s\n' "The model registry already has versions: nothing to train."
  fi
}

main "$@"
