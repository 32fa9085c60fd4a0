# The plain host with the Docker engine and both generations of Compose.
FROM bakeoff-host:plain
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io docker-compose rsync >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
COPY docker-compose /usr/local/lib/docker/cli-plugins/docker-compose
