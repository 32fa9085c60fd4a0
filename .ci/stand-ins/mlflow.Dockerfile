# Stand-in for ghcr.io/mlflow/mlflow with its drivers: the packages of .ci/mlflow.lock, as .ci/tools has installed them.
FROM python:3.11-slim-bookworm
COPY site-packages /usr/local/lib/python3.11/dist-packages
# Compiled here, as pip does for the real image: its file system is read-only, and each start would do it anew.
RUN python3 -m compileall -q -j 0 /usr/local/lib/python3.11/dist-packages || true
RUN printf '#!/bin/sh\nexec python -m mlflow "$@"\n' >/usr/local/bin/mlflow && chmod 755 /usr/local/bin/mlflow
EXPOSE 5000
CMD ["python3"]
