"""The client of S3: signatures as AWS publishes them, credentials from where AWS's tools take them, reasons."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from app.inference import aws, s3
from app.inference.aws import Credentials, CredentialSource
from app.inference.s3 import S3Client, signature_headers

# AWS's own examples: "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")  # pragma: allowlist secret
AT = time.strptime("20130524T000000Z", "%Y%m%dT%H%M%SZ")
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
NOWHERE = {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true"}


SIGNATURES = {
    "lifecycle=": "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",  # pragma: allowlist secret
    "max-keys=2&prefix=J": (
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"  # pragma: allowlist secret
    ),
}


@pytest.mark.parametrize(("query", "signature"), SIGNATURES.items())
def test_signatures_are_those_that_aws_publishes(query, signature):
    base = "https://examplebucket.s3.amazonaws.com"
    headers = signature_headers("GET", base, "/", query, b"", EXAMPLE, "us-east-1", AT)
    assert headers["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={EXAMPLE.key_id}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}"
    )


class Answers:
    """A server that gives the prepared answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = [*answers], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, dict(self.headers)))
                given = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                status, headers, text = given
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answering(monkeypatch):
    monkeypatch.setattr(s3, "_PAUSE_S", 0.0)
    servers = []

    def answers(*given):
        servers.append(Answers(*given))
        return servers[-1]

    yield answers
    for server in servers:
        server.close()


def client(server, place="s3://bucket/some/prefix"):
    return S3Client(place, {**KEYS, "AWS_ENDPOINT_URL": server.url, "AWS_REGION": "eu-west-1"})


def error(status, code):
    return status, {}, f"<Error><Code>{code}</Code></Error>".encode()


def test_a_server_that_is_busy_is_asked_again_and_told_of_after_three_times(answering):
    server = answering(error(503, "SlowDown"), (200, {"ETag": '"x"'}, b""))
    assert client(server).put("a", b"data") == '"x"'
    method, path, headers = server.asked[-1]
    assert (method, path, headers["If-None-Match"]) == ("PUT", "/bucket/some/prefix/a", "*")
    busy = answering(error(503, "SlowDown"))
    with pytest.raises(OSError, match="was refused by S3 with 503 SlowDown"):
        client(busy).get("a")
    assert len(busy.asked) == 3


def test_a_condition_that_is_not_met_is_no_error_and_one_in_the_making_is_tried_again(answering):
    server = answering(error(409, "ConditionalRequestConflict"), error(412, "PreconditionFailed"))
    assert client(server).put("a", b"data", '"old"') is None
    assert [headers["If-Match"] for _, _, headers in server.asked] == ['"old"', '"old"']


def test_all_pages_of_a_listing_are_read(answering):
    page = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents><Key>some/prefix/{}</Key><ETag>"e"</ETag></Contents>{}</ListBucketResult>'
    more = "<NextContinuationToken>a+b/=</NextContinuationToken>"
    server = answering(*((200, {}, page.format(*each).encode()) for each in (("a", more), ("b/c", ""))))
    assert client(server).etags() == {"a": '"e"', "b/c": '"e"'}
    assert "continuation-token=a%2Bb%2F%3D&list-type=2&prefix=some%2Fprefix%2F" in server.asked[1][1]


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (error(403, "AccessDenied"), "with 403 AccessDenied: the credentials need s3:ListBucket", PermissionError),
        (error(404, "NoSuchBucket"), "with 404 NoSuchBucket: there is no such bucket", OSError),
        ((200, {}, b"<html>"), r"does not answer as S3 does: is AWS_ENDPOINT_URL right\?", OSError),
        ((404, {}, b"not here"), r"with 404: is AWS_ENDPOINT_URL right\?", OSError),
    ],
)
def test_a_refusal_says_where_and_what_to_do(answering, answer, reason, kind):
    with pytest.raises(kind, match=reason) as told:
        client(answering(answer)).etags()
    assert told.value.filename == "s3://bucket/some/prefix"


def test_a_bucket_of_another_region_is_asked_there(monkeypatch):
    asked = []

    def sent(self, *_):
        asked.append(self._address())
        answer = s3.requests.Response()
        answer.status_code, answer._content = (301, b"") if len(asked) == 1 else (404, b"")
        answer.headers["x-amz-bucket-region"] = "eu-central-1"
        return answer

    monkeypatch.setattr(S3Client, "_sent", sent)
    assert S3Client("s3://bucket", KEYS).get("a") is None
    assert [base for base, _ in asked] == [
        "https://bucket.s3.us-east-1.amazonaws.com",
        "https://bucket.s3.eu-central-1.amazonaws.com",
    ]
    assert S3Client("s3://my.bucket", KEYS)._address() == ("https://s3.us-east-1.amazonaws.com", "/my.bucket/")


SOON = "2000-01-01T00:00:00Z"
ROLE = {"AccessKeyId": "k", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}


def test_credentials_come_from_the_environment_and_a_profile(tmp_path):
    assert CredentialSource({**KEYS, "AWS_SESSION_TOKEN": "t"}, "r").now() == Credentials("a", "b", "t")
    (tmp_path / "file").write_text("[default]\n[mine]\naws_access_key_id=k\naws_secret_access_key=s%\n")
    profile = {**NOWHERE, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "file"), "AWS_PROFILE": "mine"}
    assert CredentialSource(profile, "r").now() == Credentials("k", "s%")


def test_credentials_of_a_pod_are_renewed_before_they_end(answering, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    server = answering(*((200, {}, json.dumps({**ROLE, **end}).encode()) for end in ({"Expiration": SOON}, {})))
    environ = {**NOWHERE, "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url}
    source = CredentialSource({**environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token")}, "r")
    assert [source.now().token for _ in range(3)] == ["t", "t", "t"]
    assert [headers["Authorization"] for _, _, headers in server.asked] == ["secret", "secret"]


def test_credentials_that_cannot_be_renewed_are_used_until_they_end(answering, monkeypatch):
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    monkeypatch.setattr(aws, "datetime", SimpleNamespace(now=lambda _: now, fromisoformat=datetime.fromisoformat))
    end = json.dumps({**ROLE, "Expiration": "2026-11-28T12:10:00Z"}).encode()
    server = answering((200, {}, end), (500, {}, b""))
    source = CredentialSource({**NOWHERE, "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url}, "r")
    for minute, asked in ((0, 1), (4, 1), (5, 2), (5, 2), (9, 3)):
        now = now.replace(minute=minute)
        assert (source.now().token, len(server.asked)) == ("t", asked)
    now = now.replace(minute=10)
    with pytest.raises(PermissionError, match=r"no credentials for S3: .*\(container: 500 Server Error"):
        source.now()


@pytest.mark.parametrize("text", [b"<torn", b"[]", b'{"Expiration": null}', b""])
def test_an_answer_that_has_no_credentials_says_who_gave_it_and_how_to_give_them(answering, tmp_path, text):
    (tmp_path / "token").write_text("web")
    server = answering((200, {}, text))
    kubernetes = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn"}
    for environ, way in (
        ({**kubernetes, "AWS_ENDPOINT_URL_STS": server.url}, "web identity"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url}, "container"),
    ):
        with pytest.raises(PermissionError, match=rf"no credentials for S3: .*\({way}: "):
            CredentialSource({**NOWHERE, **environ}, "r").now()


def test_a_host_without_a_role_or_a_home_has_no_credentials(answering, monkeypatch):
    monkeypatch.setattr(aws, "_HOST", answering((200, {}, b"")).url)
    with pytest.raises(PermissionError, match=r"\(host: "):
        CredentialSource({"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}, "r").now()
    with pytest.raises(PermissionError, match=r"\(profile: "):
        CredentialSource({**NOWHERE, "AWS_SHARED_CREDENTIALS_FILE": "~nobody-here/file"}, "r").now()


def test_credentials_of_a_service_account_of_kubernetes(answering, tmp_path):
    (tmp_path / "token").write_text("web")
    fields = {"AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2999-01-01T00:00:00Z"}
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    text = f'<A xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><B><Credentials>{inside}</Credentials></B></A>'
    server = answering((200, {}, text.encode()))
    environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn"}
    found = CredentialSource({**environ, "AWS_ENDPOINT_URL_STS": server.url}, "r").now()
    assert (found.key_id, found.secret, found.token) == ("k", "s", "t")


def test_credentials_of_a_host_on_ec2(answering, monkeypatch):
    server = answering((200, {}, b"session"), (200, {}, b"role\n"), (200, {}, json.dumps(ROLE).encode()))
    monkeypatch.setattr(aws, "_HOST", server.url)
    found = CredentialSource({"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}, "r").now()
    assert (found.key_id, found.token) == ("k", "t")
    assert server.asked[2][1] == "/meta-data/iam/security-credentials/role"


def test_without_credentials_the_error_says_how_to_give_them():
    with pytest.raises(PermissionError, match="no credentials for S3: set AWS_ACCESS_KEY_ID"):
        CredentialSource(NOWHERE, "r").now()
    assert "s" not in repr(Credentials("k", "s")).removeprefix("Credentials")
