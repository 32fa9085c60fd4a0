"""A client of S3 for small files: list, get, and put on a condition, which only one of several writers can meet.

Requests are signed as AWS documents (Signature Version 4). It keeps no connection and no thread, so it may be used
before a fork. All failures are `OSError`, as those of a disk.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree  # nosec B405 - reads what S3 answers, and nothing of callers

import msgspec
import requests

from app.clock import now_us
from app.inference.aws import Credentials, CredentialSource

_TRIES = 3
_CONNECT_S = 2.0
_ANSWER_S = {"GET": 5.0, "PUT": 20.0}  # between two pieces; S3 answers a large PUT only after it has stored it
_PAUSE_S = 0.2
_AGAIN = (500, 502, 503, 504)
_ADVICE = {
    "AccessDenied": "the credentials need s3:ListBucket, s3:GetObject and, to publish, s3:PutObject",
    "NoSuchBucket": "there is no such bucket",
}


class Stored(msgspec.Struct, frozen=True):
    """An object's content, its ETag, and its age in seconds by S3's own clock."""

    data: bytes
    etag: str
    age_s: float


class S3Client:
    """The objects of one bucket under a prefix, by their names below it. Every call raises `OSError`.

    `environ` has the variables of AWS: AWS_REGION, AWS_ENDPOINT_URL and the like. Making one touches nothing.
    """

    def __init__(self, place: str, environ: Mapping[str, str]) -> None:
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        self.place = place.rstrip("/")
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._certificates: str | bool = environ.get("AWS_CA_BUNDLE") or True
        self._credentials = CredentialSource(environ, self._region)

    def etags(self) -> dict[str, str]:
        """The names of all objects, each with its ETag."""
        found: dict[str, str] = {}
        query = {"list-type": "2", "prefix": self._prefix}
        while True:
            page = self._parsed(self._asked("GET", "", query).content)
            for each in page.iterfind("{*}Contents"):
                key, etag = each.findtext("{*}Key") or "", each.findtext("{*}ETag") or ""
                found[key[len(self._prefix) :]] = etag
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return found
            query["continuation-token"] = token

    def get(self, name: str) -> Stored | None:
        """An object; None where there is none."""
        answer = self._asked("GET", name, missing=True)
        if answer.status_code == 404:
            return None
        now, written = (parsedate_to_datetime(answer.headers[each]) for each in ("Date", "Last-Modified"))
        return Stored(answer.content, answer.headers["ETag"], (now - written).total_seconds())

    def put(self, name: str, data: bytes, etag: str | None = None) -> str | None:
        """Write an object that must not exist yet, or must still have this ETag; its new ETag, None where it is not so.

        None also where a first try wrote it and its answer was lost: `get` shows whether the content is one's own.
        """
        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}
        for left in reversed(range(_TRIES)):
            answer = self._asked("PUT", name, data=data, headers=condition, unmet=True)
            if answer.status_code == 200:
                return answer.headers["ETag"]
            if answer.status_code != 409:  # 404: what must have this ETag is gone
                return None
            time.sleep(_PAUSE_S * (_TRIES - left))  # S3 works on another writer's condition, and says nothing of ours
        raise self._failed(f"{name} cannot be written: other writers were busy with it each time", errno.EAGAIN)

    def _asked(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        missing: bool = False,
        unmet: bool = False,
    ) -> requests.Response:
        """The answer: of status 200, 404 where it may be `missing`, 412 and the like where `unmet`."""
        accepted = {200} | ({404} if missing else set()) | ({404, 409, 412} if unmet else set())
        for left in reversed(range(_TRIES)):
            try:
                answer = self._sent(method, name, query or {}, data, headers or {})
            except requests.RequestException as error:
                if not left:
                    raise self._failed(f"cannot be reached ({type(error).__name__})") from error
            else:
                moved = answer.headers.get("x-amz-bucket-region", self._region)
                code = self._code(answer)
                if answer.status_code in accepted and code != "NoSuchBucket":
                    return answer
                if moved != self._region and not self._endpoint:
                    self._region = moved
                    return self._asked(method, name, query, data, headers, missing=missing, unmet=unmet)
                if answer.status_code not in _AGAIN or not left:
                    raise self._refused(answer.status_code, code)
            time.sleep(_PAUSE_S * (_TRIES - left))
        raise AssertionError("unreachable")

    def _sent(
        self, method: str, name: str, query: Mapping[str, str], data: bytes, headers: Mapping[str, str]
    ) -> requests.Response:
        base, path = self._address()
        path += quote(self._prefix + name, safe="/-_.~") if name else ""
        text = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        signed = signature_headers(
            method, base, path, text, data, self._credentials.now(), self._region, time.gmtime(now_us() // 1_000_000)
        )
        with requests.Session() as session:
            session.trust_env = False  # a .netrc must not replace the signature
            return session.request(
                method,
                f"{base}{path}" + (f"?{text}" if text else ""),
                data=data or None,
                headers={**headers, **signed},
                timeout=(_CONNECT_S, _ANSWER_S.get(method, 5.0)),
                allow_redirects=False,
                verify=self._certificates,
            )

    def _address(self) -> tuple[str, str]:
        """The server, and the path of the bucket on it: in the name of AWS's own server, unless the bucket has dots."""
        domain = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        if not self._endpoint and "." not in self._bucket:
            return f"https://{self._bucket}.s3.{self._region}.{domain}", "/"
        base = self._endpoint or f"https://s3.{self._region}.{domain}"
        return base.rstrip("/"), f"/{self._bucket}/"

    def _code(self, answer: requests.Response) -> str:
        """The code of an error; empty where the answer has none."""
        if answer.status_code == 200 or not answer.content.lstrip().startswith(b"<"):
            return ""
        return self._parsed(answer.content).findtext("{*}Code") or self._parsed(answer.content).findtext("Code") or ""

    def _parsed(self, text: bytes) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(text)  # noqa: S314 # nosec B314 - S3's own answer
        except ElementTree.ParseError as error:
            raise self._failed("does not answer as S3 does: is AWS_ENDPOINT_URL right?") from error

    def _refused(self, status: int, code: str) -> OSError:
        advice = _ADVICE.get(code, "is AWS_ENDPOINT_URL right?" if not code else "see the documentation of S3")
        kind = errno.EACCES if status in (401, 403) else errno.EIO
        return self._failed(f"was refused by S3 with {status} {code}".rstrip() + f": {advice}", kind)

    def _failed(self, reason: str, kind: int = errno.EIO) -> OSError:
        return OSError(kind, reason, self.place)


def signature_headers(
    method: str,
    base: str,
    path: str,
    query: str,
    data: bytes,
    credentials: Credentials,
    region: str,
    at: time.struct_time,
) -> dict[str, str]:
    """The headers of Signature Version 4 for S3. `path` and `query` are quoted, the query is sorted, `at` is UTC."""
    stamp, digest = time.strftime("%Y%m%dT%H%M%SZ", at), hashlib.sha256(data).hexdigest()
    headers = {"x-amz-content-sha256": digest, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    signed = {"host": urlsplit(base).netloc, **headers}
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
    canonical = "\n".join([method, path, query, *lines, "", names, digest])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    proof = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope},SignedHeaders={names},Signature={proof}"
    )
    return headers
