# Stand-in for ghcr.io/mlflow/mlflow with its drivers: the packages of .ci/mlflow.lock, as .ci/tools has installed them.
FROM python:3.11-slim-bookworm
COPY site-packages /usr/local/lib/python3.11/dist-packages
RUN printf '#!/bin/sh\nexec python -m mlflow "$@"\n' >/usr/local/bin/mlflow && chmod 755 /usr/local/bin/mlflow
EXPOSE 5000
CMD ["python3"]
