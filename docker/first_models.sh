#!/usr/bin/env bash
# Runs in the api image before the api starts: trains two versions if the model registry is empty.
set -euo pipefail

is_empty() {
  python -I -c 'import json, sys; sys.exit(bool(json.loads(sys.argv[1])["versions"]))' "$1"
}

main() {
  local published
  published="$(python -m app models --json)"
  if is_empty "$published"; then exec python -m app train; fi
  printf '%s\n' "The model registry already has versions: nothing to train."
}

main "$@"
