# A host with dnf and a small repository in /srv/rpm. It identifies itself as Amazon Linux 2023; a test can change that
# in /etc/os-release and /etc/yum.repos.d.
FROM bakeoff-host:docker AS packages
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends rpm createrepo-c >/dev/null
COPY rpm /usr/local/bin/rpm-repository
RUN rpm-repository /srv/rpm

FROM bakeoff-host:plain
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends dnf >/dev/null && rm -rf /var/lib/apt/lists/* \
    && mkdir /usr/lib/hidden && mv /usr/bin/apt-get /usr/bin/apt-cache /usr/lib/hidden/ \
    && rm -f /etc/os-release
COPY --from=packages /srv/rpm /srv/rpm
COPY --from=packages /usr/local/lib/docker/cli-plugins/docker-compose /srv/compose/docker-compose
RUN printf 'NAME="Amazon Linux"\nVERSION_ID="2023"\nID="amzn"\nID_LIKE="fedora"\nPRETTY_NAME="Amazon Linux 2023"\n' \
        >/etc/os-release \
    && printf '[main]\ngpgcheck=0\nreposdir=/etc/yum.repos.d\n' >/etc/dnf/dnf.conf \
    && mkdir -p /etc/yum.repos.d /etc/dnf/vars && echo 2023 >/etc/dnf/vars/releasever \
    && printf '[amazonlinux]\nname=Amazon Linux 2023\nbaseurl=file:///srv/rpm/amazon\nenabled=1\ngpgcheck=0\n' \
        >/etc/yum.repos.d/amazonlinux.repo
