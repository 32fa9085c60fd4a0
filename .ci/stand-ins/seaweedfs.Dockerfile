# Stand-in for chrislusf/seaweedfs, with the program of the Python package at the same path.
FROM python:3.11-slim-bookworm
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends wget >/dev/null && rm -rf /var/lib/apt/lists/*
COPY weed /usr/bin/weed
VOLUME /data
EXPOSE 8333
ENTRYPOINT ["/usr/bin/weed"]
