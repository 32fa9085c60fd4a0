"""What is known of the api, and how often it is asked."""

import msgspec
import pytest

from app.ui.client import ApiClient
from app.ui.feed import Feed, FeedSource
from app.ui.transport import ApiConnection, ApiDown, CallRefused, NotNow, NotThere, NotUnderstood, connection
from tests.ui import answers


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched():
    """A feed of two things, its clock, and the calls that it made."""
    clock, calls = Clock(), []
    sources = {
        name: FeedSource(lambda name=name: calls.append(name) or name, period) for name, period in (("a", 5), ("b", 15))
    }
    return Feed(sources, clock), clock, calls


def test_an_idle_page_makes_at_most_one_call_in_five_seconds(watched):
    feed, clock, calls = watched
    feed.snapshots(["a", "b"])
    calls.clear()
    for _ in range(600):
        clock.now += 0.5
        feed.snapshots(["a", "b"])
    assert len(calls) <= 60
    assert calls.count("b") >= 15


def test_many_visitors_ask_no_more_than_one(watched):
    feed, clock, calls = watched
    for _ in range(50):
        feed.snapshots(["a", "b"])
    clock.now += 5
    for _ in range(50):
        feed.snapshots(["a", "b"])
    assert calls == ["a", "b", "a"]


def test_after_a_change_everything_is_asked_again(watched):
    feed, _, calls = watched
    feed.snapshots(["a", "b"])
    feed.forget()
    feed.snapshots(["a", "b"])
    assert calls == ["a", "b", "a", "b"]


def test_a_page_that_is_opened_shows_nothing_older_than_15_seconds(watched):
    feed, clock, calls = watched
    feed.snapshots(["a", "b"])
    clock.now += 16
    calls.clear()
    feed.snapshots(["a", "b"], fresh=True)
    assert calls == ["a", "b"]
    clock.now += 14
    feed.snapshots(["a"], fresh=True)
    feed.snapshots(["b"], fresh=True)
    assert calls == ["a", "b", "a"]


def test_a_failure_keeps_the_last_value_and_its_age(watched):
    clock, answer = Clock(), [1]

    def ask():
        return answer.pop() if answer else (_ for _ in ()).throw(ApiDown("gone"))

    feed = Feed({"a": FeedSource(ask, 5)}, clock)
    feed.snapshots(["a"])
    clock.now += 7
    (snapshot,) = feed.snapshots(["a"])
    assert (snapshot.value, snapshot.age_s(clock.now), snapshot.failure.message) == (1, 7, "gone")


def test_an_api_that_is_back_is_asked_at_once_for_all_that_failed_meanwhile():
    clock, away = Clock(), []

    def ask():
        return 1 if not away else (_ for _ in ()).throw(ApiDown("gone"))

    feed = Feed({name: FeedSource(ask, period) for name, period in (("a", 5), ("b", 60), ("c", 60))}, clock)
    feed.snapshots("abc")
    away.append(1)
    for _ in range(30):
        clock.now += 5
        last = feed.snapshots("abc")
    assert all(snapshot.failure for snapshot in last)
    away.clear()
    clock.now += 5
    assert [snapshot.failure for snapshot in feed.snapshots("abc")] == [None] * 3


def test_an_api_that_is_away_is_asked_for_one_thing_only():
    calls = []

    def down():
        calls.append(1)
        raise ApiDown("gone")

    snapshots = Feed({name: FeedSource(down, 5) for name in "abc"}, Clock()).snapshots("abc")
    assert len(calls) == 1
    assert [snapshot.failure.message for snapshot in snapshots] == ["gone"] * 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((404, {"error": {"code": "not_found", "message": "no"}}), NotThere),
        ((503, {"error": {"code": "not_ready", "message": "no"}}), NotNow),
        ((500, "<html>"), NotNow),
        ((403, {"error": {"code": "forbidden", "message": "no"}}), CallRefused),
        ((200, "not json"), NotUnderstood),
        ((200, {"predictions": 3}), NotUnderstood),
        ((200, b"\xff".decode("latin-1")), NotUnderstood),
    ],
)
def test_each_trouble_has_its_type(begin, answer, kind):
    api = begin({"/predictions/history": answer})
    with pytest.raises(kind):
        ApiClient(ApiConnection(api.url)).history()


def test_a_read_is_tried_again(begin):
    replies = [(502, "bad gateway"), (200, answers.HISTORY)]
    api = begin({"/predictions/history": lambda _: replies.pop(0)})
    assert ApiClient(ApiConnection(api.url)).history().predictions


def test_a_write_is_tried_once(begin):
    api = begin({"/feedback": (502, "bad gateway")})
    with pytest.raises(NotNow):
        ApiClient(ApiConnection(api.url)).feedback("id", "setosa")
    assert api.paths() == ["/feedback"]


def test_the_token_goes_with_each_call_and_into_no_text(begin):
    api = begin()
    found = ApiConnection(api.url, "s3cret")
    ApiClient(found).models()
    assert api.calls[0][3]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:5000"),
        ({"API_PORT": "5001"}, "http://127.0.0.1:5001"),
        ({"API_URL": "http://api:5000/", "API_PORT": "1"}, "http://api:5000"),
        ({"API_URL": " ", "API_TOKEN": " "}, "http://127.0.0.1:5000"),
    ],
)
def test_the_environment_says_where_the_api_is(environ, url):
    assert connection(environ) == ApiConnection(url)


@pytest.mark.parametrize(
    ("given", "asked_for", "sent"),
    [
        ({}, None, [None, None, None]),
        ({"API_TOKEN": "a"}, "API_TOKEN", ["a", "a", "a"]),
        ({"API_TOKEN": "a", "PREDICT_TOKEN": "p"}, "PREDICT_TOKEN", ["p", "a", "a"]),
        ({"READ_TOKEN": "r", "FEEDBACK_TOKEN": "f"}, None, [None, "r", "f"]),
    ],
)
def test_each_call_gets_its_own_token_and_what_is_copied_names_that_of_predicting(given, asked_for, sent):
    found = connection(given)
    assert [found.token_for(path) for path in ("/predict", "/models", "/feedback?partial=true")] == sent
    assert ApiClient(found).predicting_with == asked_for


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "http://api:5000"),
        ({"PUBLIC_API_URL": "https://ask.example/"}, "https://ask.example"),
        ({"PUBLIC_API_PORT": "5678"}, "http://127.0.0.1:5678"),
        ({"PUBLIC_API_PORT": "5678", "PUBLIC_API_URL": "https://ask.example"}, "https://ask.example"),
    ],
)
def test_people_are_shown_the_address_by_which_they_reach_the_api(given, shown):
    assert ApiClient(connection({"API_URL": "http://api:5000", **given})).public_url == shown


def test_what_is_new_in_an_answer_is_passed_over(begin):
    api = begin({"/experiment": {**answers.EXPERIMENT, "invented_later": [1]}})
    assert msgspec.structs.asdict(ApiClient(ApiConnection(api.url)).experiment())["id"] == "e-1"
