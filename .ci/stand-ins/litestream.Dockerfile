# Stand-in for litestream/litestream, with the same path and entry point.
FROM python:3.11-slim-bookworm
COPY litestream /usr/local/bin/litestream
ENTRYPOINT ["/usr/local/bin/litestream"]
