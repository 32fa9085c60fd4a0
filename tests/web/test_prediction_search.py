import pytest

from app.services.queries.history import Name


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/predictions?id=order-4711", Name("own_key", "order-4711")),
        ("/predictions?request_id=r%201", Name("request_id", "r 1")),
        ("/predictions/abc", Name("prediction_id", "abc")),
        ("/predictions/history?id=a", (100, None, None, Name("own_key", "a"))),
        ("/predictions/history?request_id=r&limit=2", (2, None, None, Name("request_id", "r"))),
    ],
)
def test_predictions_are_searched_once_the_log_has_what_was_answered(serve, path, asked):
    client, services = serve()
    assert client.get(path).status_code == (200 if "history" in path else 404)
    assert services.history.asked == [asked]
    assert services.recorder.flushes == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "id"),
        ("id=", "id"),
        ("id=a%00", "id"),
        ("id=a&id=b", "id"),
        ("request_id=" + "x" * 129, "request_id"),
        ("id=a&request_id=b", "request_id"),
    ],
)
def test_a_search_for_nothing_or_for_two_things_is_refused(client, query, field):
    answer = client.get(f"/predictions?{query}")
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (400, field)


def test_new_request_ids_sort_by_time(client):
    ids = [client.get("/config").headers["X-Request-Id"] for _ in range(3)]
    assert (ids, {len(one) for one in ids}) == (sorted(ids), {32})
