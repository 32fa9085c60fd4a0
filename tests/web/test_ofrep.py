"""OpenFeature's remote evaluation: the version that `/predict` gives a user, as a flag, and the protocol's errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.web.app import create_flask, fast_lane
from app.web.front import Front
from tests.web import fakes

ONE, ALL = "/ofrep/v1/evaluate/flags/iris", "/ofrep/v1/evaluate/flags"
USER = {"context": {"targetingKey": "u-1", "plan": "free"}}
USERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
ROW = [5.1, 3.5, 1.4, 0.2]


def post(client, path=ONE, body=USER, **headers):
    return client.post(path, json=body, headers=headers)


@given(
    users=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), min_size=1, max_size=5)
)
def test_the_value_is_the_version_that_a_prediction_gives_and_asking_counts_nothing(users):
    services = fakes.services()
    client = create_flask(services).test_client()
    asked = [post(client, body={"context": {"targetingKey": user}}).get_json()["value"] for user in users]
    assert (services.recorder.exposures, services.metrics.reasons) == ([], [])
    served = [
        client.post("/predict", json={"features": ROW, "user_id": user}).get_json()["model_version"] for user in users
    ]
    assert asked == served


def test_the_answer_has_what_clients_read(serve):
    client, services = serve()
    version = services.assignments.of("u-1").version
    flag = {
        "key": "iris",
        "value": version,
        "variant": version,
        "reason": "SPLIT",
        "metadata": {"experiment": "e1", "epoch": 3, "propensity": 0.5},
    }
    assert post(client).get_json() == flag
    assert post(client, ALL).get_json() == {"flags": [flag]}


def test_without_a_split_the_reason_says_so_and_the_name_is_that_of_the_settings(serve):
    client, _ = serve(weights={"v1": 0.0, "v2": 1.0}, model_name="checkout")
    answer = post(client, "/ofrep/v1/evaluate/flags/checkout").get_json()
    assert (answer["key"], answer["value"], answer["reason"]) == ("checkout", "v2", "STATIC")


@pytest.mark.parametrize("path", [ONE, ALL])
@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"{", "PARSE_ERROR", "truncated"),
        (b"", "PARSE_ERROR", "the body is empty"),
        (b"[]", "PARSE_ERROR", "JSON object"),
        (b"\xff", "PARSE_ERROR", ""),
        (b"[" * 100_000, "PARSE_ERROR", "too deeply"),
        (b"{}", "INVALID_CONTEXT", "context must be an object"),
        (b'{"context": ["u"]}', "INVALID_CONTEXT", "context must be an object"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING", "give targetingKey"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING", "give targetingKey"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT", "must be a string"),
        (b'{"context": {"targetingKey": "' + b"u" * 257 + b'"}}', "INVALID_CONTEXT", "1 to 256"),
    ],
)
def test_a_wrong_request_gets_the_protocols_error(client, path, body, code, told):
    answer = client.post(path, data=body)
    found = answer.get_json()
    assert (answer.status_code, found["errorCode"]) == (400, code)
    assert told in found["errorDetails"]
    assert found.get("key") == ("iris" if path == ONE else None)


def test_another_flag_is_not_found(client):
    answer = post(client, "/ofrep/v1/evaluate/flags/dark-mode")
    assert answer.status_code == 404
    assert answer.get_json() == {
        "key": "dark-mode",
        "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": "there is no model 'dark-mode'; this service serves 'iris' (MODEL_NAME sets the name)",
    }


@pytest.mark.parametrize("path", ["/ofrep", "/ofrep/v1/configuration", "/ofrep/v1/evaluate"])
def test_other_paths_are_refused_in_the_protocols_shape(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["errorCode"]) == (404, "GENERAL")


def test_a_wrong_method_says_which_is_right(client):
    answer = client.get(ONE)
    assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, {"OPTIONS", "POST"})
    assert answer.get_json()["errorCode"] == "GENERAL"


def test_without_a_model_there_is_no_flag_yet(serve):
    client, _ = serve(fakes.loaded_models())
    answer = post(client)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["errorCode"] == "GENERAL"


def test_under_overload_it_is_refused_and_is_no_prediction_without_an_answer():
    services = fakes.services()
    shed = Shedding(services.metrics)
    front = Front(fast_lane(services), None, Full(), shed, ())
    answer = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": ONE}
    body = front(environ, lambda *head: answer.append(head))
    status, headers = answer[0][0], dict(answer[0][1])
    assert (status[:3], headers["Retry-After"], b'"errorCode":"GENERAL"' in body[0]) == ("503", "1", True)
    assert (shed.rejected, services.metrics.reasons) == (1, [])


class Full:
    full = True

    def refusal(self):
        return Overloaded("too many requests wait")


class Shedding:
    def __init__(self, metrics):
        self.rejected, self.refused = 0, metrics.refused

    def shed(self):
        self.rejected += 1


@pytest.mark.parametrize("path", [ONE, ALL])
def test_it_takes_the_tokens_of_predicting(serve, path):
    client, _ = serve(predict_token="p" * 16, read_token="r" * 16)
    answers = [
        post(client, path),
        post(client, path, Authorization="Bearer " + "r" * 16),
        post(client, path, Authorization="Bearer " + "p" * 16),
        post(client, path, **{"X-API-Key": "p" * 16}),
    ]
    assert [answer.status_code for answer in answers] == [401, 403, 200, 200]
    assert [answer.get_json()["errorCode"] for answer in answers[:2]] == ["GENERAL", "GENERAL"]


def test_the_etag_changes_exactly_when_the_answer_does(serve):
    client, services = serve()
    first, again = post(client, ALL), post(client, ALL)
    assert first.headers["ETag"] == again.headers["ETag"]
    tags = {post(client, ALL, {"context": {"targetingKey": f"u-{number}"}}).headers["ETag"] for number in range(20)}
    assert len(tags) == 2  # two versions: the user is no part of the answer
    services.live.configure(fakes.configuration(v1=0.1, v2=0.9))
    changed = post(client, ALL)
    assert (changed.data == first.data) == (changed.headers["ETag"] == first.headers["ETag"]) is False


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
def test_what_the_caller_has_is_not_sent_again(serve, known):
    client, _ = serve()
    tag = post(client, ALL).headers["ETag"]
    answer = post(client, ALL, **{"If-None-Match": known.format(tag)})
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
    assert post(client, ALL, **{"If-None-Match": '"other"'}).status_code == 200
