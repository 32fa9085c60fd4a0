"""A visitor's session: the API client, the shared feed, the administrative token (in memory only), its answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import streamlit as st

from app.ui.client import ApiClient
from app.ui.feed import Feed, FeedSnapshot, FeedSource
from app.ui.records import ApiPrediction, Cell
from app.ui.scrape import scrape_of
from app.ui.transport import ApiConnection, NoResult, connection

_ADMIN_TOKEN = "admin_token"  # noqa: S105 - the name of a place, not a token
_ACTOR = "actor"


def client() -> ApiClient:
    """The client of the API that the environment names."""
    return _parts(*_address())[0]


def feed() -> Feed:
    """The cached answers of that API, shared by all sessions of this process."""
    return _parts(*_address())[1]


def admin_token() -> str | None:
    """The visitor's administrative token; None before sign-in."""
    return st.session_state.get(_ADMIN_TOKEN)


def actor() -> str | None:
    """The visitor's name for the audit log."""
    return st.session_state.get(_ACTOR)


def remember_admin(token: str, name: str) -> None:
    """Keep the token and the name until the page is closed or reloaded."""
    st.session_state[_ADMIN_TOKEN] = token.strip() or None
    st.session_state[_ACTOR] = name.strip() or None


def forget_admin() -> None:
    """Drop the token and the name."""
    for key in (_ADMIN_TOKEN, _ACTOR):
        st.session_state.pop(key, None)


def _address() -> tuple[str, *tuple[str | None, ...]]:
    return msgspec.structs.astuple(connection())


# Pages ask for them many times a redraw, and Streamlit's own cache takes a third of a millisecond each time.
@lru_cache(maxsize=8)
def _parts(url: str, *more: str | None) -> tuple[ApiClient, Feed]:
    api = ApiClient(ApiConnection(url, *more))
    shared = Feed(
        {
            "models": FeedSource(api.models, 60),
            "config": FeedSource(api.configuration, 15),
            "experiment": FeedSource(api.experiment, 5),
            "timeline": FeedSource(api.timeline, 15),
            "audit": FeedSource(api.audit, 60),
            # A page that shows them has just asked for the experiment.
            "decisions": FeedSource(lambda: api.audit_of((shared.last("experiment") or api.experiment()).id), 60),
            "drift": FeedSource(api.drift, 5),
            "drift_timeline": FeedSource(api.drift_timeline, 15),
            "health": FeedSource(api.health, 5),
            "metrics": FeedSource(lambda: scrape_of(api.metrics()), 10),
        }
    )
    return api, shared


_KEY = "asked"
_MOST = 50


class SessionPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction of this session. `forced` is the requested version; None when the split chose. `counts`: sent as
    production traffic, which without `forced` is evidence.

    `features` are named as on the page, and `repeated` as in a request that forces the version that answered.
    `round_trip_ms` is measured by the dashboard; `outside` lists values beyond the training data, a sentence each;
    `feedback` describes the label that was sent.
    """

    features: dict[str, Cell]
    repeated: dict[str, Cell]
    forced: str | None
    user_id: str | None
    counts: bool
    answer: ApiPrediction
    round_trip_ms: float
    outside: tuple[str, ...] = ()
    feedback: str | None = None


def session_predictions() -> list[SessionPrediction]:
    """The last 50 predictions of this session, newest first."""
    asked: list[SessionPrediction] = st.session_state.setdefault(_KEY, [])
    return asked


def remember(asked: SessionPrediction) -> None:
    """Add a prediction."""
    st.session_state[_KEY] = [asked, *session_predictions()][:_MOST]


def note_feedback(prediction_id: str, feedback: str) -> None:
    """Record the label that was sent for a prediction."""
    st.session_state[_KEY] = [
        msgspec.structs.replace(each, feedback=feedback) if each.answer.prediction_id == prediction_id else each
        for each in session_predictions()
    ]


_ASKED_ONCE = "asked_once"
_MOST_KEPT = 40
Value = TypeVar("Value")


def asked_once(key: tuple[object, ...], ask: Callable[[], Value], what: str) -> FeedSnapshot[Value]:
    """What `ask` returns or fails with, asked the first time only; a spinner shows `what` meanwhile.

    An answer may be empty because nothing has happened yet, so it has its time, and `ask_again` drops it.
    """
    kept: dict[tuple[object, ...], FeedSnapshot[Any]] = st.session_state.setdefault(_ASKED_ONCE, {})
    if key not in kept:
        with st.spinner(f"Asking the API for {what} …", show_time=False):
            snapshot: FeedSnapshot[Any] = _asked(ask)
        if snapshot.failure is not None:
            return snapshot  # asked again at the next redraw: a failure passes
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = snapshot
    return kept[key]


def ask_again() -> None:
    """Drop all answers, so that each is asked for at its next use."""
    st.session_state.pop(_ASKED_ONCE, None)


def _asked(ask: Callable[[], Value]) -> FeedSnapshot[Value]:
    try:
        return FeedSnapshot(ask(), time.time())
    except NoResult as failure:
        return FeedSnapshot(failure=failure.with_traceback(None))
