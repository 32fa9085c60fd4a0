"""What every page shares: figures, the states without data (missing, API down, not available, stale), model choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.tables.counts import as_sentence, counted
from app.ui.feed import FeedSnapshot
from app.ui.file_job import FileJob
from app.ui.records import ApiModel, ApiModels
from app.ui.session import client, feed
from app.ui.transport import ApiDown, CallRefused, NoResult, NotNow, NotThere
from app.ui.wording import clock, duration


def figure(place: DeltaGenerator, name: str, value: str, note: str | None = None) -> None:
    """Show one number with its name and a small note below it."""
    # The note is not a change for better or worse, so it has neither arrow nor colour.
    place.metric(name, value, note, delta_color="off", delta_arrow="off")


def fact(place: DeltaGenerator, name: str, value: str, note: str) -> None:
    """Show a short finding that may be a sentence: unlike a figure, it wraps where there is little room."""
    place.caption(name)
    place.markdown(f"##### {value}")
    place.caption(note)


# So many parts of pages are kept, the newest: each is some KB to some 100 KB.
_MOST_KEPT = 100


class _Part(msgspec.Struct, frozen=True):
    """A part of a page: what draws it, and what it shows."""

    draw: Callable[..., None]
    records: tuple[object, ...]

    def key(self) -> bytes:
        """What tells it from all others."""
        return msgspec.msgpack.encode((self.draw.__module__, self.draw.__qualname__, self.records))


def drawn_once(draw: Callable[..., None], *records: object) -> None:
    """`draw(*records)`, whose elements are made anew only for other records, and else sent as they were made.

    Nothing in it may be an input, or depend on the time, the visitor or the theme: all visitors share what is kept.
    """
    _kept(_Part(draw, records))


@st.cache_data(show_spinner=False, max_entries=_MOST_KEPT, hash_funcs={_Part: _Part.key})
def _kept(part: _Part) -> None:
    part.draw(*part.records)


Value = TypeVar("Value")


def refreshed(page: str, names: Sequence[str]) -> list[FeedSnapshot[Any]]:
    """The snapshots of `names` for a page that is opened or clicked on: what is old is asked for first."""
    with st.spinner(f"Asking the API for the {page} …", show_time=False):
        return feed().snapshots(names, fresh=True)


def snapshots_of(page: str, names: Sequence[str]) -> list[FeedSnapshot[Any]]:
    """The newest snapshots of `names`. One failed call marks the whole page: figures are read beside each other."""
    with st.spinner(f"Asking the API for the {page} …", show_time=False):
        snapshots = feed().snapshots(names)
    stale = [each for each in snapshots if each.value is not None and each.failure is not None]
    if stale:
        _stale(stale, page)
    return snapshots


def known(snapshot: FeedSnapshot[Value], what: str, key: str) -> Value | None:
    """The value, which `snapshots_of` has marked if it is stale; None after the page has explained why."""
    if snapshot.value is None and snapshot.failure is not None:
        explain(snapshot.failure, what, key)
    return snapshot.value


def explain(failure: NoResult, what: str, key: str) -> None:
    """Explain why there is no result, and offer a retry where that can help."""
    if isinstance(failure, NotThere):
        st.info(
            f"**{what}: not available on this server.** {sentence(failure)} It appears here once the server offers it.",
            icon=":material/extension:",
        )
        return
    if isinstance(failure, NotNow):
        st.info(f"**{what}: nothing to show yet.** {sentence(failure)}", icon=":material/hourglass_empty:")
    elif isinstance(failure, ApiDown):
        st.error(
            f"**Can't reach the API.** {sentence(failure)} Start it with `bakeoff serve`, or check `API_URL`.",
            icon=":material/power_off:",
        )
    else:
        st.error(f"**{what}: {_trouble(failure)}.** {sentence(failure)}", icon=":material/error:")
    retry_button(key)


def retry_button(key: str) -> None:
    """Ask the API again, for everything on the page."""
    if st.button("Try again", key=f"retry-{key}", icon=":material/refresh:"):
        feed().forget()
        st.rerun()


def sentence(failure: NoResult) -> str:
    """The failure's message, with a capital and a full stop."""
    return as_sentence(failure.message)


def _trouble(failure: NoResult) -> str:
    if isinstance(failure, CallRefused) and failure.status in (401, 403):
        return "the API needs a token (set API_TOKEN or READ_TOKEN for the dashboard)"
    return "the API rejected the call" if isinstance(failure, CallRefused) else "the API sent an unexpected answer"


def _stale(snapshots: Sequence[FeedSnapshot[Any]], page: str) -> None:
    oldest = min(snapshots, key=lambda each: each.read_at or 0.0)
    since = clock(oldest.read_at) if oldest.read_at is not None else "?"
    age = duration(oldest.age_s(time.time()))
    said = " ".join(dict.fromkeys(sentence(each.failure) for each in snapshots if each.failure is not None))
    st.warning(f"**This page has stale figures**, from {since} ({age} ago). {said}", icon=":material/history:")
    retry_button(f"stale-{page}")


_NAMES = ("models",)
_BY_SPLIT = "the split decides"


def served_models(page: str) -> tuple[ApiModels, ApiModel] | None:
    """All models, and the one whose features the page shows; None after the page has explained why there is none."""
    refreshed("models", _NAMES)
    models = known(snapshots_of("models", _NAMES)[0], "The models", page)
    if models is None:
        return None
    model = models.reference()
    if model is None:
        st.info(
            "**No model is loaded.** Publish one with `bakeoff train` or `bakeoff publish`, then load it with "
            "`POST /models/reload`. The Health page lists versions that were refused.",
            icon=":material/extension:",
        )
        return None
    return models, model


def counts_switch(what: str, key: str) -> bool:
    """A switch, off at first: whether what this page sends is evidence. What is tried out must not decide anything."""
    return st.toggle(
        f"Count {what} in the experiment and in drift",
        key=key,
        help="Off: sent with `X-Traffic-Kind: synthetic`. It is answered and logged, but neither the predictions nor "
        "their labels count. On: it counts as production traffic does.",
    )


def chosen_version(models: ApiModels, explanation: str) -> str | None:
    """The version chosen to answer; None when the split decides."""
    chosen = st.selectbox("Version", [_BY_SPLIT, *models.answering()], help=explanation)
    return None if chosen == _BY_SPLIT else chosen


Job = TypeVar("Job", bound=FileJob)


def work_on(job: Job, progress: Callable[[Job], str], kept: str) -> None:
    """Send the job's batches under a bar with a Cancel button; then say why it stopped. `kept` is what stays."""
    if job.running:
        st.button("Cancel", on_click=job.cancel, icon=":material/front_hand:")
        bar = st.progress(0.0, text=progress(job))
        # A click on Cancel ends this run at the next redraw; the next run continues with the same job object.
        while job.running:
            job.step(client())
            bar.progress(job.done / job.rows, text=progress(job))
        st.rerun()
    if job.failure is not None:
        st.error(
            f"**Stopped after {job.done:,} of {counted(job.rows)}.** {sentence(job.failure)}",
            icon=":material/power_off:",
        )
        st.button("Continue", on_click=job.resume, icon=":material/refresh:")
    elif job.cancelled:
        st.warning(f"**Cancelled after {job.done:,} of {counted(job.rows)}.** {kept}", icon=":material/front_hand:")
