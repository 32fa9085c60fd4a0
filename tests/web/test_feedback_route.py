import pytest

OUTCOME = {"prediction_id": "-" * 64, "actual": "setosa"}


@pytest.mark.parametrize(("body", "count"), [(OUTCOME, 1), ({"feedback": [OUTCOME, OUTCOME]}, 2)])
def test_one_outcome_and_a_list_go_the_same_way(serve, body, count):
    client, services = serve()
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, answer.get_json()) == (200, {"accepted": count, "duplicates": 0})
    assert services.feedback.taken == [OUTCOME] * count


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"feedback": OUTCOME}, 400, "feedback"),
        ({"feedback": [OUTCOME], "note": "x"}, 400, "note"),
        ({"feedback": [OUTCOME] * 4}, 413, "feedback"),
    ],
)
def test_a_list_of_the_wrong_shape_or_size_is_refused(serve, body, status, field):
    client, services = serve(max_batch_rows=3)
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (status, field)
    assert services.feedback.taken == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_400(client, data):
    assert client.post("/feedback", data=data).status_code == 400
