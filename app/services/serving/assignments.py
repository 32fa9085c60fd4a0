"""The version that a user gets, for callers that do not ask for a prediction; and the exposures that they report.

Asking records and counts nothing. A reported exposure is a row of the log like that of a prediction, without features
and answers (docs/adr/0038-exposures-without-a-prediction.md).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from app.domain.prediction import ReportedExposure
from app.domain.prediction_id import Signer, user_hash
from app.errors import NotReady
from app.routing import sticky
from app.services.ports import Sink
from app.services.serving.availability import FOREIGN, lacking, of_lacking, unknown_version
from app.services.serving.health import NOT_READ
from app.services.serving.live_models import LiveModels

_RETRY_AFTER_S = 5


class AssignedVersion(msgspec.Struct, frozen=True):
    """A user's version: the probability with which users get it, and the experiment and config revision."""

    version: str
    propensity: float
    experiment_id: str
    epoch: int


class Assignments:
    """The use case of assignments without predictions. `now_us` returns µs since 1970 (UTC).

    A user's version is that of a request with all columns. Under the policy thompson, where predictions are drawn one
    by one, it is the user's by the same weights.
    """

    def __init__(self, live: LiveModels, sink: Sink, signer: Signer, salt: bytes, now_us: Callable[[], int]) -> None:
        self._live = live
        self._sink = sink
        self._signer = signer
        self._salt = salt
        self._now_us = now_us

    def of(self, user_id: str) -> AssignedVersion:
        """The user's version now. Raises `NotReady`."""
        return self._assigned(user_hash(self._salt, user_id))

    def expose(
        self, user_id: str, version: str | None, request_id: str, *, synthetic: bool = False
    ) -> ReportedExposure:
        """Record that the user met `version`, or without it the user's own. Raises `UnknownVersion` and `NotReady`.

        Another version than the user's is recorded and does not count: chance did not give it to this user.
        """
        user = user_hash(self._salt, user_id)
        assigned, loaded = self._assigned(user), self._live.loaded_models.versions
        met = loaded.get(assigned.version if version is None else version)
        if met is None:
            raise unknown_version(version or assigned.version, loaded, "version")
        own = met.name == assigned.version
        counts = own and not synthetic
        served_at_us = self._now_us()
        [exposure_id] = self._signer.sign_all(
            served_at_us=served_at_us,
            version_ordinal=met.ordinal,
            epoch=assigned.epoch,
            counts=counts,
            randomised=counts,
            sticky=own,
            synthetic=synthetic,
            reported=True,
            user_hash=user,
            answers=np.zeros(1),
        )
        exposure = ReportedExposure(
            prediction_id=exposure_id,
            served_at_us=served_at_us,
            request_id=request_id,
            version=met.name,
            propensity=assigned.propensity if own else None,
            epoch=assigned.epoch,
            counts=counts,
            user_hash=user,
            synthetic=synthetic,
        )
        self._sink.record(exposure)
        return exposure

    def _assigned(self, user: int) -> AssignedVersion:
        # Each is read once: a decision in the middle must not mix two revisions.
        configuration, state = self._live.configuration, self._live.state
        able, loaded = state.columns().able, state.loaded_models.versions
        if self._live.foreign():
            raise NotReady(FOREIGN, retry_after_s=_RETRY_AFTER_S)  # the key gives users their versions
        if configuration.epoch == 0:
            raise NotReady(NOT_READ, retry_after_s=_RETRY_AFTER_S)  # the split is that of the settings
        if lacking(configuration, loaded):
            raise NotReady(of_lacking(configuration, state.loaded_models), retry_after_s=_RETRY_AFTER_S)
        choice = sticky.choose(configuration.weights, able, 0.0, user)
        assert choice.propensity is not None
        return AssignedVersion(choice.version, choice.propensity, configuration.experiment_id, configuration.epoch)
