"""HTTPS at the edge: the real HAProxy with docker/haproxy.cfg and a certificate of an authority of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.infra.edge_container import Edge
from tests.infra.fake_upstream import FakeUpstream
from tests.stack import output

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
NO_HOST = "a request without Host cannot be redirected to HTTPS: send Host, or use HTTPS"
TLS = {"TLS_CERT_FILE": "edge.pem", "TLS_BIND": "0.0.0.0:8443"}
Secure = tuple[Edge, Path, FakeUpstream]


def certificate(folder: Path) -> Path:
    """Writes edge.pem, the certificate and key of localhost; returns the certificate of its authority."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority, request, names = folder / "ca.crt", folder / "edge.csr", folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    by = ("-CA", str(authority), "-CAkey", str(folder / "ca.key"), "-CAcreateserial")
    output(
        "openssl", "req", "-x509", *key, "-subj", "/CN=ca", "-keyout", str(folder / "ca.key"), "-out", str(authority)
    )
    output("openssl", "req", *key, "-subj", "/CN=e", "-keyout", str(folder / "edge.key"), "-out", str(request))
    options = ("-days", "2", "-extfile", str(names), "-out", str(folder / "edge.crt"))
    output("openssl", "x509", "-req", "-in", str(request), *by, *options)
    pem = folder / "edge.pem"
    pem.write_text((folder / "edge.crt").read_text() + (folder / "edge.key").read_text())
    pem.chmod(0o644)
    return authority


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder, upstream = tmp_path_factory.mktemp("tls"), FakeUpstream()
    folder.chmod(0o755)
    authority = certificate(folder)
    edge = Edge(folder, upstream.port, ADMIN_BIND="127.0.0.1:5001", ACME_THUMBPRINT="thumb", **TLS)
    yield edge, authority, upstream
    edge.stop()
    upstream.stop()


@contextmanager
def another(folder: Path, upstream: FakeUpstream, **settings: str) -> Iterator[tuple[Edge, Path]]:
    """An edge with other settings, and the certificate of its authority."""
    folder.chmod(0o755)
    authority = certificate(folder)
    edge = Edge(folder, upstream.port, **{**TLS, **settings})
    try:
        yield edge, authority
    finally:
        edge.stop()


def test_with_a_certificate_the_service_is_https(secure: Secure) -> None:
    edge, authority, upstream = secure
    upstream.reset()
    answer = requests.post(f"https://localhost:{edge.tls_port}/predict", json={}, verify=str(authority), timeout=5)
    assert answer.ok
    assert "Strict-Transport-Security" not in answer.headers
    assert (upstream.asked[0].path, upstream.asked[0].headers["x-listener"]) == ("/predict", "public")


@pytest.mark.parametrize(
    ("host", "there"),
    [
        ("ask.example", "https://ask.example:8443"),
        ("ask.example:80", "https://ask.example:8443"),
        ("[::1]:80", "https://[::1]:8443"),
    ],
)
def test_http_leads_to_https_with_the_method_and_the_query(secure: Secure, host: str, there: str) -> None:
    answer = requests.post(
        f"{secure[0].url}/feedback?partial=true", headers={"Host": host}, allow_redirects=False, timeout=5
    )
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{there}/feedback?partial=true")
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(("bind", "port"), [("443", ""), ("8443", ":8443"), ("[::]:443", ""), ("10.1.2.3:444", ":444")])
def test_the_redirect_has_the_port_of_https_however_it_is_written(tmp_path: Path, bind: str, port: str) -> None:
    upstream = FakeUpstream()
    with another(tmp_path, upstream, TLS_BIND=bind) as (edge, _authority):
        answer = requests.get(f"{edge.url}/x", headers={"Host": "a.example"}, allow_redirects=False, timeout=5)
    upstream.stop()
    assert answer.headers["Location"] == f"https://a.example{port}/x"


def test_browsers_are_told_to_use_https_alone_where_the_operator_asks_for_it(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    with another(tmp_path, upstream, TLS_HSTS="3600") as (edge, authority):
        answer = requests.get(f"https://localhost:{edge.tls_port}/config", verify=str(authority), timeout=5)
        plain = requests.get(f"{edge.url}/config", allow_redirects=False, timeout=5)
    upstream.stop()
    assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
    assert "Strict-Transport-Security" not in plain.headers


def test_what_the_edge_answers_itself_has_the_requests_id(secure: Secure) -> None:
    url, mine = secure[0].url, {"X-Request-Id": "q-1"}
    for path in ("/config", "/.well-known/acme-challenge/token"):
        answer = requests.get(f"{url}{path}", headers=mine, allow_redirects=False, timeout=5)
        assert answer.headers["X-Request-Id"] == "q-1"
        assert requests.get(f"{url}{path}", allow_redirects=False, timeout=5).headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/health/", "/health/live", "/v2/health/live", "/v2/health/ready", "/ping"])
def test_probes_of_all_protocols_are_answered_in_plain_http(secure: Secure, path: str) -> None:
    assert requests.get(f"{secure[0].url}{path}", allow_redirects=False, timeout=5).status_code == 200


def test_health_and_an_authoritys_challenge_are_answered_in_plain_http(secure: Secure) -> None:
    url = secure[0].url
    assert requests.get(f"{url}/health/ready", allow_redirects=False, timeout=5).status_code == 200
    challenge = f"{url}/.well-known/acme-challenge/t-o_Ken"
    assert requests.get(challenge, timeout=5).text == "t-o_Ken.thumb"
    assert "thumb" not in requests.get(f"{challenge}/x%0d%0a", allow_redirects=False, timeout=5).text


def test_a_request_without_a_name_is_not_led_anywhere(secure: Secure) -> None:
    for path, error in (("/config", {"code": "bad_request", "message": NO_HOST}), ("/v2/models", NO_HOST)):
        head, _, body = secure[0].send(f"GET {path} HTTP/1.0\r\nX-Request-Id: q-1\r\n\r\n").partition("\r\n\r\n")
        assert " 400 " in head.splitlines()[0]
        assert "x-request-id: q-1" in head.lower()
        assert json.loads(body)["error"] == error


def test_the_other_containers_and_administration_go_on_without_tls(secure: Secure) -> None:
    answer = requests.get(f"{secure[0].own_url}/config", allow_redirects=False, timeout=5)
    assert (answer.status_code, answer.headers.get("Strict-Transport-Security")) == (200, None)
