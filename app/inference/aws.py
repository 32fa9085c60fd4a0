"""AWS's credentials, looked for where its own tools look: the environment, a profile, the role of a pod or a host."""

from __future__ import annotations

import configparser
import errno
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree  # nosec B405 - reads what AWS answers

import msgspec
import requests

_CONTAINER = "http://169.254.170.2"
_HOST = "http://169.254.169.254/latest"
_TIMEOUT_S = (1.0, 5.0)
_RENEWED_BEFORE, _AGAIN = timedelta(minutes=5), timedelta(seconds=30)
# What a file or an answer that is not as AWS documents it makes the ways below raise.
_FAULTS = (
    requests.RequestException,
    OSError,
    configparser.Error,
    ElementTree.ParseError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
_ADVICE = (
    "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host or the pod a role. "
    'With a profile of the AWS CLI that logs in: eval "$(aws configure export-credentials --format env)"'
)


class Credentials(msgspec.Struct, frozen=True):
    """An access key, with the token and the end that temporary ones have."""

    key_id: str
    secret: str
    token: str = ""
    until: datetime | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"  # a key must never reach a log or a traceback


class CredentialSource:
    """Finds credentials in `environ` (AWS's variables) or where it says, and renews those that end. Thread-safe."""

    def __init__(self, environ: Mapping[str, str], region: str) -> None:
        self._environ = environ
        self._region = region
        self._lock = threading.Lock()
        self._known: Credentials | None = None
        self._renewed_at: datetime | None = None

    def now(self) -> Credentials:
        """Valid credentials, if they can be renewed for some minutes. Raises `OSError` where there are none."""
        with self._lock:
            known, now = self._known, datetime.now(UTC)
            if known is None or (self._renewed_at is not None and self._renewed_at <= now):
                known = self._renewed(known, now)
            return known

    def _renewed(self, known: Credentials | None, now: datetime) -> Credentials:
        try:
            found = self._found()
        except OSError:
            if known is None or known.until is None or known.until <= now:
                raise
            self._renewed_at = min(now + _AGAIN, known.until)
            return known
        self._known, self._renewed_at = found, None if found.until is None else found.until - _RENEWED_BEFORE
        return found

    def _found(self) -> Credentials:
        ways: tuple[Callable[[], Credentials | None], ...] = (
            self._of_environment,
            self._of_web_identity,
            self._of_profile,
            self._of_container,
            self._of_host,
        )
        for way in ways:
            try:
                found = way()
            except _FAULTS as error:
                raise OSError(errno.EACCES, f"{_ADVICE} ({way.__name__[4:].replace('_', ' ')}: {error})") from error
            if found is not None:
                return found
        raise OSError(errno.EACCES, _ADVICE)

    def _of_environment(self) -> Credentials | None:
        return _pair(self._environ.get, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

    def _of_profile(self) -> Credentials | None:
        path = Path(self._environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
        profiles = configparser.RawConfigParser()
        profiles.read(path)
        name = self._environ.get("AWS_PROFILE") or "default"
        if not profiles.has_section(name):
            return None
        return _pair(profiles[name].get, "aws_access_key_id", "aws_secret_access_key", "aws_session_token")

    def _of_web_identity(self) -> Credentials | None:
        """The role of a service account of Kubernetes on EKS, by its mounted token."""
        file, role = self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"), self._environ.get("AWS_ROLE_ARN")
        if not file or not role:
            return None
        base = self._environ.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{self._region}.amazonaws.com"
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": self._environ.get("AWS_ROLE_SESSION_NAME") or "bakeoff",
            "WebIdentityToken": Path(file).read_text().strip(),
        }
        answer = _asked("POST", base, data=form)
        found = ElementTree.fromstring(answer.content).find(".//{*}Credentials")  # noqa: S314 # nosec B314 - of AWS
        if found is None:
            return None
        words = {each.tag.rpartition("}")[2]: each.text or "" for each in found}
        return _temporary(words, "SessionToken")

    def _of_container(self) -> Credentials | None:
        """The role of a task of ECS, or of a pod of EKS."""
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = f"{_CONTAINER}{relative}" if relative else self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not url:
            return None
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        token = Path(file).read_text().strip() if file else self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        return _temporary(_asked("GET", url, headers={"Authorization": token} if token else {}).json())

    def _of_host(self) -> Credentials | None:
        """The role of a host on EC2; None where nothing answers there."""
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        try:
            token = _asked("PUT", f"{_HOST}/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}).text
        except requests.RequestException:
            return None
        headers = {"X-aws-ec2-metadata-token": token}
        folder = f"{_HOST}/meta-data/iam/security-credentials/"
        role = _asked("GET", folder, headers=headers).text.split()[0]
        return _temporary(_asked("GET", f"{folder}{role}", headers=headers).json())


def _pair(get: Callable[[str], str | None], key_id: str, secret: str, token: str) -> Credentials | None:
    found = get(key_id), get(secret)
    return Credentials(found[0], found[1], get(token) or "") if found[0] and found[1] else None


def _temporary(words: Mapping[str, str], token: str = "Token") -> Credentials:  # noqa: S107 # nosec B107 - a field's name
    until = datetime.fromisoformat(words["Expiration"].replace("Z", "+00:00")).astimezone(UTC)
    return Credentials(words["AccessKeyId"], words["SecretAccessKey"], words[token], until)


def _asked(
    method: str, url: str, headers: Mapping[str, str] | None = None, data: Mapping[str, str] | None = None
) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # none of these addresses is behind a proxy
        answer = session.request(method, url, headers=headers, data=data, timeout=_TIMEOUT_S, allow_redirects=False)
    answer.raise_for_status()
    return answer
