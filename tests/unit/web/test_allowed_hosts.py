import pytest

from app.errors import Misdirected
from app.settings import Settings
from app.web.allowed_hosts import AllowedHosts, ListenerHosts

ALWAYS = [None, "", "localhost", "LOCALHOST:5000", "a.localhost", "127.0.0.1", "10.1.2.3:5000", "[::1]", "[fe80::1]:80"]
OF_OTHERS = ["evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", "EVIL.EXAMPLE."]
NO_NAMES = ["[::1]evil", "[::1].evil.example", "a:b:c", "good.example:x", "evil.example,good.example", "\xff.\xff"]


PUBLIC, OWN = {"HTTP_X_LISTENER": "public"}, {}  # as the edge proxy has them, with ADMIN_BIND


def allows(host, environ=OWN, **environment):
    try:
        ListenerHosts(Settings.from_environ(environment)).check({**environ, "HTTP_HOST": host})
    except Misdirected:
        return False
    return True


@pytest.mark.parametrize("host", ALWAYS)
@pytest.mark.parametrize("names", ["", "good.example"])
def test_addresses_and_localhost_are_no_names_of_other_sites(host, names):
    assert allows(host, ALLOWED_HOSTS=names)


@pytest.mark.parametrize("host", [*OF_OTHERS, *NO_NAMES])
@pytest.mark.parametrize("names", ["", "good.example,other"])
def test_a_name_of_another_site_is_refused(host, names):
    assert not allows(host, ALLOWED_HOSTS=names)


@pytest.mark.parametrize("host", ["good.example", "Good.Example:443", "good.example.", "good.example.:5000", "other"])
def test_the_listed_names_are_allowed_with_any_port(host):
    assert allows(host, ALLOWED_HOSTS="Good.example, other")


@pytest.mark.parametrize(
    ("environment", "reached_by_this_host_only"),
    [
        ({}, True),
        ({"HOST": "localhost"}, True),
        ({"HOST": "::1"}, True),
        ({"HOST": "0.0.0.0"}, False),
        ({"HOST": "10.1.2.3"}, False),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1"}, True),
        ({"HOST": "127.0.0.1", "PUBLISHED_ON": "0.0.0.0"}, False),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1,"}, True),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "::1,[::1]:443"}, True),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1,127.0.0.1:443"}, True),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1,0.0.0.0:443"}, False),
        ({"HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1,443"}, False),
        ({"ALLOWED_HOSTS": "*"}, False),
    ],
)
def test_without_a_list_names_with_a_dot_are_refused_where_only_this_host_reaches_it(
    environment, reached_by_this_host_only
):
    assert allows("evil.example", **environment) is not reached_by_this_host_only
    assert allows("edge:5000", **environment)


@pytest.mark.parametrize("reached_by", ["127.0.0.1", "0.0.0.0"])
def test_the_names_of_containers_are_no_names_of_other_sites(reached_by):
    assert allows("api:5000", ALLOWED_HOSTS="good.example", PUBLISHED_ON=reached_by)


@pytest.mark.parametrize(
    ("public", "own", "public_by_any", "own_by_any"),
    [
        ("0.0.0.0", "127.0.0.1:5001", True, False),
        ("127.0.0.1", "10.0.0.5:5001", False, True),
        ("127.0.0.1,0.0.0.0:443", "[::1]:5001", True, False),
    ],
)
def test_behind_a_proxy_each_listener_is_checked_by_who_reaches_it(public, own, public_by_any, own_by_any):
    environment = {"HOST": "0.0.0.0", "PUBLISHED_ON": public, "ADMIN_PUBLISHED_ON": own}
    assert allows("ops.corp", PUBLIC, **environment) is public_by_any
    assert allows("ops.corp", OWN, **environment) is own_by_any


@pytest.mark.parametrize(
    ("host", "own", "public_by_any", "own_by_any"),
    [("0.0.0.0", "127.0.0.1:5001", True, False), ("127.0.0.1", "10.0.0.5:5001", False, True)],
)
def test_without_a_proxy_the_port_says_which_listener_it_is(host, own, public_by_any, own_by_any):
    environment = {"HOST": host, "ADMIN_BIND": own}
    assert allows("ops.corp", {"SERVER_PORT": "5000"}, **environment) is public_by_any
    assert allows("ops.corp", {"SERVER_PORT": "5001"}, **environment) is own_by_any


def test_the_hosts_of_its_own_addresses_are_its_names():
    own = {"HOST": "box.lan", "API_URL": "http://edge.lan:5000", "PUBLIC_API_URL": "https://Ask.Example/api"}
    for host in ("box.lan", "edge.lan:5000", "ask.example"):
        assert allows(host, ALLOWED_HOSTS="good.example", **own)


def test_a_host_that_varies_forever_is_checked_and_not_kept():
    hosts = AllowedHosts(())
    for number in range(1000):
        hosts.check(f"127.0.0.1:{number}")
    assert len(hosts._seen) < 1000
