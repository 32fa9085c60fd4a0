"""What commands reach: the running API over HTTP, and the model registry on this host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import requests
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema

from app.errors import (
    AdminDisabled,
    ArtefactRefused,
    BakeoffError,
    InvalidRequest,
    SettingError,
    StoreUnavailable,
    Unavailable,
)
from app.settings import Settings
from app.store.keys import load_or_create
from app.tokens import VARIABLES

if TYPE_CHECKING:
    from app.inference.registry import ModelRegistry
    from app.store.deployment import DeploymentKey

_CONNECT_S, _ANSWER_S = 3.0, 30.0
_BY_REGISTRY = (
    "the store cannot be asked which versions are retired, which names are taken, and whether the key is the "
    "deployment's; the model registry alone says it"
)
_FOREIGN = "the model registry alone says here which versions are retired and which names are taken"
_NAME_KEY = (
    "its hosts would refuse what is published. Name the deployment's key in DEPLOYMENT_KEY_FILE; if that key is lost, "
    "set DATABASE_URL to the store for which this one was accepted (bakeoff accept-key; a store that is new has to be "
    "used once before, by bakeoff serve)"
)
_BAD_ADDRESS = (MissingSchema, InvalidSchema, InvalidURL)


class ApiRefused(BakeoffError):
    """The API answered with an error. The message is the API's own, followed by what to do where that is known."""

    code = "refused"
    status = 0  # of the answer


def ask(
    url: str,
    path: str,
    token: str | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, bytes] | None = None,
    csv: bytes | None = None,
) -> Any:
    """The decoded JSON that the API at `url` returns for GET `path`, or for POST `path` if there is a body or CSV.

    Raises `Unavailable` if nothing answers, `ApiRefused` if the answer is an error or not JSON, and `InvalidRequest`
    if `url` is not an HTTP address.
    """
    address = url.rstrip("/") + path
    sent: dict[str, str | bytes] = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if csv is not None:
        sent["Content-Type"] = "text/csv"
    method = "GET" if body is None and csv is None else "POST"
    try:
        with requests.Session() as session:
            # requests would send this host's own API through a proxy, and replace the token by one from .netrc.
            session.trust_env = False
            answer = session.request(
                method, address, json=body, data=csv, headers=sent, timeout=(_CONNECT_S, _ANSWER_S)
            )
    except requests.RequestException as error:
        raise _unanswered(url, error) from error
    return _content(answer, address)


def _unanswered(url: str, error: requests.RequestException) -> BakeoffError:
    # Starting the API helps in none of the first three cases, so each has a message of its own.
    if isinstance(error, _BAD_ADDRESS):
        return InvalidRequest(f"{url!r} is not an HTTP address: set API_URL or --url to one like http://127.0.0.1:5000")
    if isinstance(error, InvalidHeader):
        return InvalidRequest("a token or --actor has a character that no HTTP header can have: a line break?")
    if isinstance(error, requests.ReadTimeout):
        return Unavailable(f"the API at {url} accepted the call but did not answer within {_ANSWER_S:g} s: see its log")
    return Unavailable(
        f"can't reach the API at {url} ({type(error).__name__}): start it with `bakeoff serve`, or set API_URL or "
        "--url to its address"
    )


def _content(answer: requests.Response, address: str) -> Any:
    try:
        content = answer.json()
    except ValueError:
        # A proxy in front of the API answers with HTML while nothing is behind it.
        raise _refused(
            answer.status_code,
            f"{address} answered {answer.status_code}, but not with JSON: check that this is the API's address, and "
            "that the API runs if a proxy is in front of it",
        ) from None
    if answer.status_code == 200:
        return content
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict) or "message" not in error:
        raise _refused(
            answer.status_code, f"{address} answered {answer.status_code} without a reason: see the API's log"
        )
    message = str(error["message"])
    # Where administration is switched off, no token helps, and the API's own message says what does.
    if answer.status_code in (401, 403) and error.get("code") != AdminDisabled.code:
        message += f" (commands take {', '.join(VARIABLES)} from the environment: set those that the API has)"
    raise _refused(answer.status_code, message)


def _refused(status: int, message: str) -> ApiRefused:
    error = ApiRefused(message)
    error.status = status
    return error


def _admission(key: DeploymentKey, settings: Settings, *, changes: bool) -> Callable[[], bool]:
    """`key.recognise`, which says the first time on stderr that the store cannot be used: the registry then goes
    without it. Where it `changes` and the store has another key, a `SettingError`."""
    warned = False

    def admitted() -> bool:
        nonlocal warned
        try:
            return key.recognise()
        except StoreUnavailable as error:
            if changes and key.foreign:
                raise SettingError(settings.key_setting, f"{error.message}{_or_another_store(settings)}") from error
            if not warned:
                why = f"{error.message}. Until then {_FOREIGN}" if key.foreign else f"{_BY_REGISTRY}: {error.message}"
                print(f"warning: {why}", file=sys.stderr)
            warned = True
            raise

    return admitted


def _require_own_key(settings: Settings, registry: ModelRegistry, admitted: Callable[[], bool]) -> None:
    """Raise `SettingError` where the key is another deployment's, which would refuse what it publishes."""
    from app.store.engine import kind_of

    file, known = kind_of(settings.store_url).file, False
    if file is None or file.exists():
        try:
            known = admitted()
        except SettingError as error:
            raise SettingError(error.variable, f"nothing was changed: {error.reason}") from error
        except StoreUnavailable:
            pass  # publishing needs no store
    if settings.model_bucket is None:
        return
    # A host without the store, with a key that it has just made, is told by the bucket that it is not the deployment's.
    names, signed = registry.names(), signed_versions(registry)
    if not names:
        return
    if signed:
        if names[-1] not in signed and not known:
            print(
                f"warning: {names[-1]}, the newest version in {settings.registry}, is signed with another key than "
                "this host's: if that was accepted (bakeoff accept-key), every host will refuse what is published here",
                file=sys.stderr,
            )
        return
    problem = f"no version in {settings.registry} is signed with the key of this host"
    if not known:
        raise SettingError(settings.key_setting, f"nothing was changed: {problem}: {_NAME_KEY}")
    print(f"warning: {problem}, which is that of the store: other hosts must have it too", file=sys.stderr)


def _or_another_store(settings: Settings) -> str:
    """What else may be wrong where the versions are in a bucket, and the store is a file that an api once made here."""
    if settings.model_bucket is None or settings.database_url:
        return ""
    return (
        "; or, if the file is not the deployment's store but was left here by another, set DATA_DIR to a new folder, "
        "or DATABASE_URL to the deployment's store"
    )


def signed_versions(registry: ModelRegistry) -> list[str]:
    """The versions whose manifest is signed with the key of this host. Raises `OSError`."""
    signed = []
    for name in registry.names():
        with suppress(ArtefactRefused):
            registry.manifest(name)
            signed.append(name)
    return signed


@contextmanager
def registry_of(settings: Settings, *, changes: bool = False) -> Iterator[ModelRegistry]:
    """The registry in `MODEL_DIR`, signed with the deployment's key, which is made in `DATA_DIR` if it is missing.

    On S3 its copy here is made what it is now. An `OSError` in the block becomes a `SettingError` for `MODEL_DIR`, so
    leave printing outside of it. Raises `SettingError` where the block `changes` it with another deployment's key.
    """
    # Not at the top: most commands only call the API, and the registry takes as long to import as they take to start.
    from app.cli.decide import user_name
    from app.inference.registry import ModelRegistry
    from app.inference.storage import storage_of
    from app.store.deployment import DeploymentKey
    from app.store.engine import Database
    from app.store.versions import StoredVersions

    try:
        keys = load_or_create(settings.data_dir, settings.deployment_key_file)
        with closing(Database(settings.store_url)) as database:
            admitted = _admission(DeploymentKey(database, keys.fingerprint), settings, changes=changes)
            rows = StoredVersions(database, admitted, user_name())
            registry = ModelRegistry(storage_of(settings), keys.registry, rows)
            registry.storage.fetch()
            if changes:
                _require_own_key(settings, registry, admitted)
            yield registry
    except OSError as error:
        place = error.filename or settings.registry
        colon = "" if place == settings.model_bucket else ":"  # of a bucket the reason goes on: "cannot be reached"
        raise SettingError("MODEL_DIR", f"{place}{colon} {error.strerror or error}") from error
