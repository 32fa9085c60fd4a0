# A freshly installed Debian 12 that boots in a container; .ci/host builds bakeoff-host:base.
FROM bakeoff-host:base
COPY begin /usr/local/sbin/begin
# Each host creates its own ssh host keys at its first start. Units that need hardware are masked.
RUN systemctl mask systemd-udevd.service systemd-udev-trigger.service systemd-modules-load.service \
        sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount sys-fs-fuse-connections.mount \
        getty.target console-getty.service systemd-logind.service \
    && systemctl enable ssh.service \
    && mkdir -p /etc/systemd/system/ssh.service.d \
    && printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
        >/etc/systemd/system/ssh.service.d/host-keys.conf \
    && rm -f /etc/machine-id && touch /etc/machine-id
ENV container=docker LANG=C.UTF-8
STOPSIGNAL SIGRTMIN+3
CMD ["/usr/local/sbin/begin"]
