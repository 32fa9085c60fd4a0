import pytest

from app import __version__
from app.errors import StoreUnavailable
from tests.web import fakes


def test_the_start_page_links_to_what_is_there(client):
    body = client.get("/").get_json()
    assert (body["name"], body["version"]) == ("bakeoff", __version__)
    for link, path in body["links"].items():
        assert client.get(path).status_code == (405 if link.startswith(("predict", "feedback")) else 200)


def test_the_configuration_shows_the_split_and_the_terms(client):
    body = client.get("/config").get_json()
    assert body["weights"] == {"v1": 0.5, "v2": 0.5}
    assert (body["policy"], body["metric"], body["epoch"], body["alpha"]) == ("weighted", "accuracy", 3, 0.05)
    assert (body["auto_decide"], body["drift_threshold"]) == ("rollback", 0.1)
    assert (body["unit"], body["reward_window_s"], body["guardrail_slow"]) == (None, None, "1.5x+1ms")
    assert body["min_duration_s"] == 604_800
    assert body["changed"] == "2026-11-18T11:06:40.123456Z"


def test_the_models_are_listed_with_all_that_a_reader_wants_to_know(client):
    models = client.get("/models").get_json()["models"]
    assert [model["version"] for model in models] == ["v1", "v2"]
    assert models[0]["aliases"] == ["champion"]
    assert models[0]["sha256"] == "a" * 64
    assert models[0]["source"]["dataset"] == "iris"
    assert [feature["name"] for feature in models[0]["contract"]["features"]] == list(fakes.IRIS.names)
    assert (models[0]["serving"], models[0]["routed"]) == (True, True)


def test_one_model_is_the_same_as_in_the_list(client):
    assert client.get("/models/v2").get_json() == client.get("/models").get_json()["models"][1]


def test_an_unknown_model_is_404(client):
    answer = client.get("/models/v9")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "unknown_version")


def test_what_was_published_since_is_listed_and_not_serving(serve):
    client, services = serve(fakes.loaded_models(v1=fakes.ConstantRuntime()))
    services.catalogue._registry.manifests["v3"] = fakes.manifest("v3", 3, fakes.IRIS)
    assert [model["serving"] for model in client.get("/models").get_json()["models"]] == [True, False]
    assert [model["version"] for model in client.get("/model/info").get_json()["models"]] == ["v1"]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", (100, None, None, None)),
        ("?limit=1", (1, None, None, None)),
        ("?limit=1000&version=v1&before=abc", (1000, "v1", "abc", None)),
    ],
)
def test_history_asks_for_the_page_after_what_was_answered_is_written(serve, query, asked):
    client, services = serve()
    assert client.get(f"/predictions/history{query}").get_json() == {"predictions": [], "next": None}
    assert services.history.asked == [asked]
    assert services.recorder.flushes == 1


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "ten", "", "9" * 50, "²"])
def test_history_refuses_a_limit_that_is_none(client, limit):
    answer = client.get("/predictions/history", query_string={"limit": limit})
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (400, "limit")


def test_a_store_that_is_away_is_503_and_says_when_to_retry(serve):
    class Away:
        def page(self, *_):
            raise StoreUnavailable("the database is locked", retry_after_s=2)

    client, _ = serve(history=Away())
    answer = client.get("/predictions/history")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_metrics_come_as_their_source_gives_them_after_a_flush(serve):
    client, services = serve()
    answer = client.get("/metrics")
    assert (answer.text, answer.content_type) == (
        "prediction_requests_total 0.0\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert services.recorder.flushes == 1
