#!/bin/sh
# Starts MLflow in its container: makes the bucket for its files if there is none, then runs the server.
set -eu

[ -n "${TRACKING_PASSWORD:-}" ] || { echo "TRACKING_PASSWORD is empty: set it in .env" >&2; exit 1; }
# As variables and not in addresses, which logs and process lists show.
export PGPASSWORD="$TRACKING_PASSWORD" AWS_ACCESS_KEY_ID=mlflow AWS_SECRET_ACCESS_KEY="$TRACKING_PASSWORD"

python - <<'PYTHON'
import os

import boto3

s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
if "mlflow" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket="mlflow")
PYTHON

# One worker: each is a whole copy of MLflow in memory.
exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 \
  --backend-store-uri postgresql+psycopg2://bakeoff@mlflow-db/bakeoff --artifacts-destination s3://mlflow
