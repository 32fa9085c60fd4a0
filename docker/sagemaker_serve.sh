#!/bin/sh
# SageMaker's container contract: it runs the image with the command `serve`, and asks /ping and /invocations on port
# 8080. It unpacks the model archive to /opt/ml/model: the model registry is `models` in it, and `keys` the key that signed
# it. What else a start needs comes from the environment of the endpoint.
set -eu

ARCHIVE="${ARCHIVE:-/opt/ml/model}"

main() {
  if [ -d "$ARCHIVE/models" ]; then
    export MODEL_DIR="$ARCHIVE/models"
    [ -r "$ARCHIVE/keys/deployment.key" ] || {
      printf 'serve: %s cannot be read: the archive needs the deployment key beside models, readable for the user 10001\n' \
        "$ARCHIVE/keys/deployment.key" >&2
      exit 1
    }
    # The archive is read-only; DATA_DIR is not.
    mkdir -p "$DATA_DIR/keys"
    install -m 600 "$ARCHIVE/keys/deployment.key" "$DATA_DIR/keys/deployment.key"
  fi
  API_PORT=8080 exec python -m app serve
}

main
