"""The errors of the application, as types that hold the facts; `app.web.response` maps them to HTTP statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class BakeoffError(Exception):
    """An error that a caller can act on: a stable `code`, a sentence, and the field at fault if there is one."""

    code = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.index: int | None = None

    def within(self, what: str, index: int) -> Self:
        """The same error about member `index` of a list of `what`. Only for types that are made from a message."""
        error = type(self)(f"{what} {index}: {self.message}", field=self.field)
        error.index = index
        return error


class InvalidRequest(BakeoffError):
    """The request has the wrong shape: an unknown key, a wrong type, an empty batch."""

    code = "invalid_request"


class MalformedJson(InvalidRequest):
    """The body is not valid JSON (syntax, UTF-8), or is nested too deeply, or has a number out of range."""

    code = "malformed_json"


class InvalidFeatures(InvalidRequest):
    """A row does not fit the feature contract; `field` names the feature."""

    code = "invalid_features"


class UnknownVersion(BakeoffError):
    """No version of that name is loaded, or in the registry, or in the log: the message says which."""

    code = "unknown_version"


class UnknownModel(BakeoffError):
    """A path has the name of another model than the one that is served."""

    code = "unknown_model"


class UnknownExperiment(BakeoffError):
    """There is no experiment with that id."""

    code = "unknown_experiment"


class UnknownPrediction(BakeoffError):
    """The prediction id was not signed by this deployment."""

    code = "unknown_prediction"


class Contradiction(BakeoffError):
    """The request contradicts the recorded state."""

    code = "conflict"


class TooLarge(BakeoffError):
    """The body or the batch exceeds its limit."""

    code = "too_large"


class UnsupportedMedia(BakeoffError):
    """The body has a content type or an encoding that is not known."""

    code = "unsupported_media_type"


class Unauthorised(BakeoffError):
    """The call needs a token and has none."""

    code = "unauthorized"


class Forbidden(BakeoffError):
    """The call has a wrong token, or administration is disabled."""

    code = "forbidden"


class AdminDisabled(Forbidden):
    """ADMIN_TOKEN is not set, so administrative calls are disabled."""

    code = "admin_disabled"


class NotOffered(BakeoffError):
    """The call is on the listener for administration, and the request came by the public one."""

    code = "not_found"


class Misdirected(BakeoffError):
    """The Host header has a name that is not this service's."""

    code = "misdirected_request"


class Unavailable(BakeoffError):
    """Temporarily impossible: try again after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(Unavailable):
    """No version is loaded, or none of the loaded ones can answer."""

    code = "not_ready"


class Overloaded(Unavailable):
    """Too many requests wait; this one was rejected before anything was done for it."""

    code = "overloaded"


class Draining(BakeoffError):
    """The process finishes its last requests and accepts no more."""

    code = "draining"


class StoreUnavailable(Unavailable):
    """The store can currently not be read, or cannot make a write durable."""

    code = "store_unavailable"


class ArchiveUnavailable(Unavailable):
    """The archive of the log cannot be read or written, or is not the one of this log; nothing was removed."""

    code = "archive_unavailable"


class ModelFailed(BakeoffError):
    """A version raised an error, or gave an invalid answer, for valid input."""

    code = "model_failed"

    def __init__(self, version: str, reason: str, detail: str | None = None) -> None:
        super().__init__(f"version {version!r} could not answer: {detail or reason}")
        self.version = version
        self.reason = reason


class ArtefactRefused(BakeoffError):
    """A file in the model registry differs from its signed manifest; nothing of it was unpickled."""

    code = "artefact_refused"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class RegistryConflict(BakeoffError):
    """A version of that name is published already; published versions never change."""

    code = "version_exists"


class AlreadyPublished(RegistryConflict):
    """The same model is in the registry already, as `version`."""

    def __init__(self, version: str) -> None:
        super().__init__(f"the model is the same as {version}, to the last byte: it was not published again")
        self.version = version


class DataRefused(BakeoffError):
    """The data cannot be used for training, or for a contract or reference; the message says what to fix."""

    code = "data_refused"


class GateFailed(BakeoffError):
    """The trained model did not pass the quality gate; nothing was published."""

    code = "gate_failed"


class SettingError(BakeoffError):
    """An environment variable has a value that prevents the start."""

    code = "bad_setting"

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}", field=variable)
        self.variable = variable
        self.reason = reason


class BackupRefused(BakeoffError):
    """The file is not a backup that can be restored, or restoring would overwrite something."""

    code = "backup_refused"
