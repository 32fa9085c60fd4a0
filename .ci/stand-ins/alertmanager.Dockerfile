# Stand-in for prom/alertmanager, with the same paths, user and arguments.
FROM python:3.11-slim-bookworm
COPY prometheus-alertmanager /bin/alertmanager
COPY amtool /bin/amtool
# Debian's build reads its default templates from files; the upstream binary embeds them.
RUN apt-get update -qq && cd /tmp && apt-get download -qq prometheus-alertmanager && dpkg-deb -x prometheus-alertmanager_*.deb all \
    && mkdir -p /usr/share/prometheus && mv all/usr/share/prometheus/alertmanager /usr/share/prometheus/ \
    && rm -rf all prometheus-alertmanager_*.deb /var/lib/apt/lists/*
RUN mkdir -p /alertmanager /etc/alertmanager && chown nobody:nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
