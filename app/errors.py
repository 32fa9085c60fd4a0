"""What can go wrong, as types that hold the facts. No HTTP in here: `app.web.response` maps them to status codes."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class BakeoffError(Exception):
    """Something a caller can act on: a stable `code`, a sentence, and the field at fault where there is one."""

    code = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.index: int | None = None

    def within(self, what: str, index: int) -> Self:
        """The same complaint about member `index` of a list of `what`; for the types that take a message alone."""
        error = type(self)(f"{what} {index}: {self.message}", field=self.field)
        error.index = index
        return error


class InvalidRequest(BakeoffError):
    """The request's shape is wrong: an unknown key, a wrong type, an empty batch."""

    code = "invalid_request"


class MalformedJson(InvalidRequest):
    """The body is not JSON that we read: syntax, UTF-8, nesting or a number out of range."""

    code = "malformed_json"


class InvalidFeatures(InvalidRequest):
    """A row does not fit the feature contract; `field` names the feature."""

    code = "invalid_features"


class UnknownVersion(BakeoffError):
    """No version of that name is served."""

    code = "unknown_version"


class UnknownExperiment(BakeoffError):
    """There never was an experiment of that id."""

    code = "unknown_experiment"


class UnknownPrediction(BakeoffError):
    """The prediction id was not signed by this deployment."""

    code = "unknown_prediction"


class Contradiction(BakeoffError):
    """The request contradicts what is already recorded."""

    code = "conflict"


class TooLarge(BakeoffError):
    """The body or the batch is over its limit."""

    code = "too_large"


class Unauthorised(BakeoffError):
    """The call needs a token and came without one."""

    code = "unauthorized"


class Forbidden(BakeoffError):
    """The call came with a wrong token, or administration is switched off."""

    code = "forbidden"


class AdminDisabled(Forbidden):
    """No ADMIN_TOKEN is set, so nobody may administrate."""

    code = "admin_disabled"


class Unavailable(BakeoffError):
    """Not now: try again after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(Unavailable):
    """No version can answer."""

    code = "not_ready"


class Overloaded(Unavailable):
    """More requests wait than can be answered soon; nothing was done about this one."""

    code = "overloaded"


class Draining(BakeoffError):
    """The process is finishing its last requests and wants no more."""

    code = "draining"


class StoreUnavailable(Unavailable):
    """The store cannot be read or cannot make a write durable at the moment."""

    code = "store_unavailable"


class ModelFailed(BakeoffError):
    """A version raised, or answered something that is not an answer, for valid input."""

    code = "model_failed"

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"version {version!r} could not answer: {reason}")
        self.version = version
        self.reason = reason


class ArtefactRefused(BakeoffError):
    """A file on the shelf is not what its signed manifest promises; nothing of it was unpickled."""

    code = "artefact_refused"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class RegistryConflict(BakeoffError):
    """A version of that name is already published, and versions never change."""

    code = "version_exists"


class DataRefused(BakeoffError):
    """The data cannot be trained on, or give no contract or reference; the message says what to mend."""

    code = "data_refused"


class GateFailed(BakeoffError):
    """The trained model is below the quality gate; nothing was published."""

    code = "gate_failed"


class SettingError(BakeoffError):
    """An environment variable has a value we cannot start with."""

    code = "bad_setting"

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}", field=variable)
        self.variable = variable
        self.reason = reason


class BackupRefused(BakeoffError):
    """The file is no backup that can be put back, or there is something that must not be overwritten."""

    code = "backup_refused"
