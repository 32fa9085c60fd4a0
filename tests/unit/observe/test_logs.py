"""Log lines: their form, and what can never be in them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.observe import logs
from app.settings import Settings

ADMIN, API, DATABASE, HOOK = "s3cr3t-admin", "öpen/sesame", "p4ssw0rd", "https://hooks.example/T0/B1/x9y8"
SETTINGS = Settings(
    admin_token=ADMIN,
    api_token=API,
    database_url=f"postgresql://bakeoff:{DATABASE}@db/bakeoff",
    notify_webhook_url=HOOK,
    log_level="DEBUG",
)
LOGGER = logging.getLogger("app.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture
def stream() -> io.StringIO:
    made = io.StringIO()
    logs.configure(SETTINGS, made)
    return made


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal()
    logs.configure(SETTINGS, made)
    return made


def test_an_event_is_one_line_of_json(stream: io.StringIO) -> None:
    LOGGER.info("model_loaded", extra={"event_fields": {"version": "v1", "seconds": 0.25}})
    entry = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("ts"))
    assert entry == {
        "level": "INFO",
        "logger": "app.test",
        "event": "model_loaded",
        "version": "v1",
        "seconds": 0.25,
    }


def test_a_terminal_gets_a_line_to_read(terminal: Terminal) -> None:
    LOGGER.warning("store_slow", extra={"event_fields": {"path": "/a b", "seconds": 2, "ok": True}})
    assert re.fullmatch(r'\S+Z WARNING app\.test: store_slow path="/a b" seconds=2 ok=true\n', terminal.getvalue())


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_the_form_is_chosen_or_follows_the_stream(form: str, stream: io.StringIO, is_json: bool) -> None:
    logs.configure(Settings(log_format=form), stream)
    LOGGER.warning("hello")
    assert stream.getvalue().startswith("{") is is_json


def test_levels_below_the_chosen_one_are_silent() -> None:
    stream = io.StringIO()
    logs.configure(Settings(log_level="WARNING"), stream)
    LOGGER.info("quiet")
    assert stream.getvalue() == ""


def test_the_request_id_comes_from_the_context_and_a_field_overrides_it(stream: io.StringIO) -> None:
    token = logs.REQUEST_ID.set("r-1")
    LOGGER.info("plain")
    LOGGER.info("received", extra={"event_fields": {"request_id": "r-2"}})
    logs.REQUEST_ID.reset(token)
    assert [json.loads(line)["request_id"] for line in stream.getvalue().splitlines()] == ["r-1", "r-2"]


def test_what_comes_as_extra_is_a_field_too(stream: io.StringIO) -> None:
    LOGGER.info("received", extra={"request_id": "r-3", "path": "/x"})
    entry = json.loads(stream.getvalue())
    assert (entry["request_id"], entry["path"]) == ("r-3", "/x")
    assert set(entry) == {"ts", "level", "logger", "event", "request_id", "path"}


def test_an_exception_is_a_field(stream: io.StringIO) -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError as error:
        LOGGER.error("failed", exc_info=error)
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: line one\nline two" in json.loads(stream.getvalue())["exception"]


def test_a_traceback_on_a_terminal_cannot_pass_for_another_line(terminal: Terminal) -> None:
    try:
        raise ValueError("x\n2026-01-01T00:00:00.000Z INFO app: forged")
    except ValueError:
        LOGGER.exception("failed")
    first, *rest = terminal.getvalue().splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize(
    "value",
    [
        "a\nb",
        "a\r\nb",
        "\x1b[2J",
        "\u2028\u2029\x85",
        '"}\n{"event": "forged"}',
        "\ud800",
        b"\xff\n",
        {"k\n": ["\n"]},
        "x" * 100_000,
    ],
)
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_value_ends_its_line(form: str, value: object) -> None:
    stream = io.StringIO()
    logs.configure(Settings(log_format=form), stream)
    LOGGER.info("said", extra={"event_fields": {"what": value}})
    LOGGER.info("said %s", value)
    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert all(char.isprintable() for char in written.replace("\n", ""))
    assert len(written) < 100_000


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.floats() | st.integers() | st.none(), st.lists)))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
def test_any_fields_make_one_line_that_parses(fields: dict[str, object]) -> None:
    stream = io.StringIO()
    logs.configure(Settings(log_format="json"), stream)
    LOGGER.info("said", extra={"event_fields": fields})
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail)["event"] == "said"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (Path("a/b"), "a/b"),
        ({1: (True, None)}, {"1": [True, None]}),
        (Unprintable(), "<unprintable Unprintable: RuntimeError>"),
    ],
)
def test_what_is_not_json_becomes_text(stream: io.StringIO, value: object, written: object) -> None:
    LOGGER.info("said", extra={"event_fields": {"what": value}})
    assert json.loads(stream.getvalue())["what"] == written


def test_a_field_cannot_pretend_to_be_another_event(stream: io.StringIO) -> None:
    LOGGER.info("real", extra={"event_fields": {"event": "forged", "ts": 0}})
    entry = json.loads(stream.getvalue())
    assert (entry["event"], entry["event_"], entry["ts_"]) == ("real", "forged", 0)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {ADMIN} was given", ADMIN),
        (f"with {API} in it", API),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("{'authorization': 'Bearer abc.def-123'}", "abc.def-123"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("started with ADMIN_TOKEN=hunter2222 API_TOKEN='hunter3333'", "hunter"),
        (f"cannot reach postgresql://bakeoff:{DATABASE}@db", DATABASE),
        ("cannot reach postgresql://user:other-secret@elsewhere/db", "other-secret"),
        (f"POST {HOOK} failed", HOOK),
    ],
)
def test_no_secret_is_written(form: str, text: str, secret: str) -> None:
    stream = io.StringIO()
    logs.configure(Settings(**{**_as_dict(SETTINGS), "log_format": form}), stream)
    LOGGER.info(text)
    LOGGER.info("said", extra={"event_fields": {"what": text, "nested": {"list": [text]}}})
    try:
        raise ValueError(text)
    except ValueError:
        LOGGER.exception("failed")
    assert secret not in stream.getvalue()
    assert secret.encode("ascii", "backslashreplace").decode() not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


def _as_dict(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.mark.parametrize("key", ["authorization", "Authorization", "admin_token", "password", "X-Api-Key", "cookie"])
def test_a_field_named_like_a_secret_is_one(stream: io.StringIO, key: str) -> None:
    LOGGER.info("said", extra={"event_fields": {"headers": {key: "whatever it is"}}})
    assert json.loads(stream.getvalue())["headers"] == {key: "[redacted]"}


def test_gunicorn_writes_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configuration = Config()
    configuration.set("logconfig_dict", logs.logging_config(SETTINGS, stream))
    configuration.set("accesslog", "-")
    logger = Logger(configuration)
    logger.info("Listening at: %s", "http://127.0.0.1:5000")
    logger.access_log.info("GET /health 200")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["logger"] for entry in entries] == ["gunicorn.error", "gunicorn.access"]
    assert capsys.readouterr() == ("", "")


def test_python_s_own_warnings_are_events(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logs.configure(SETTINGS, stream)
        warnings.warn("old\nways", DeprecationWarning, stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"
