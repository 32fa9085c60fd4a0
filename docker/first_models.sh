#!/usr/bin/env bash
# Runs in the api image before the api starts: trains two versions if the model registry is empty.
# With --wait it trains nothing, and ends when there is a version, as pods of Kubernetes do.
set -euo pipefail

is_empty() {
  local published
  published="$(python -m app models --json)"
  python -I -c 'import json, sys; sys.exit(bool(json.loads(sys.argv[1])["versions"]))' "$published"
}

await_models() {
  while is_empty; do
    printf '%s\n' "The model registry is empty: waiting for the Job first-models."
    sleep 2
  done
}

main() {
  if [ "${1:-}" = --wait ]; then
    await_models
  elif is_empty; then
    exec python -m app train
  else
    printf '%s\n' "The model registry already has versions: nothing to train."
  fi
}

main "$@"
