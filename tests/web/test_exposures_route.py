import pytest

from app.domain.prediction_id import Signer

SIGNER = Signer(b"k" * 32, b"else")


def post(client, body, **headers):
    return client.post("/exposures", json=body, headers=headers)


def test_an_exposure_gets_an_id_of_the_users_version(serve):
    client, services = serve()
    answer = post(client, {"user_id": "u-1"})
    [exposure] = services.recorder.exposures
    assert (answer.status_code, answer.get_json()) == (
        200,
        {
            "prediction_id": exposure.prediction_id,
            "model_version": services.assignments.of("u-1").version,
            "counts": True,
        },
    )
    assert SIGNER.verify(exposure.prediction_id).reported


def test_a_cached_version_is_taken_and_does_not_count(serve):
    client, services = serve()
    own = services.assignments.of("u-1").version
    other = {"v1": "v2", "v2": "v1"}[own]
    answers = [post(client, {"user_id": "u-1", "version": version}).get_json() for version in (own, other, None)]
    assert [(each["model_version"], each["counts"]) for each in answers] == [(own, True), (other, False), (own, True)]


def test_test_traffic_does_not_count(serve):
    client, services = serve()
    answer = post(client, {"user_id": "u-1"}, **{"X-Traffic-Kind": "synthetic"})
    assert answer.get_json()["counts"] is False
    assert services.recorder.exposures[0].synthetic


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "user_id"),
        ({"user_id": ""}, 400, "user_id"),
        ({"user_id": 7}, 400, "user_id"),
        ({"user_id": "u" * 257}, 400, "user_id"),
        ({"user_id": "u-1", "version": "V 2"}, 400, "version"),
        ({"user_id": "u-1", "version": "v9"}, 404, "version"),
        ({"user_id": "u-1", "prediction": 1}, 400, "prediction"),
    ],
)
def test_a_wrong_exposure_is_refused_and_not_recorded(serve, body, status, field):
    client, services = serve()
    answer = post(client, body)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (status, field)
    assert services.recorder.exposures == []


def test_who_may_predict_may_report_exposures(serve):
    client, _ = serve(predict_token="t" * 16, api_token=None)
    assert post(client, {"user_id": "u-1"}).status_code == 401
    assert post(client, {"user_id": "u-1"}, Authorization="Bearer " + "t" * 16).status_code == 200
