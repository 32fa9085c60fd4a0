# Stands for prom/alertmanager: same paths, user and arguments.
FROM python:3.11-slim-bookworm
COPY prometheus-alertmanager /bin/alertmanager
COPY amtool /bin/amtool
RUN mkdir -p /alertmanager /etc/alertmanager && chown nobody:nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
