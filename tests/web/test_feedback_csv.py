import pytest

HEADERS = {"Content-Type": "text/csv; charset=utf-8"}


def sent(serve, data, query="", **settings):
    client, services = serve(**settings)
    return client.post(f"/feedback{query}", data=data, headers=HEADERS), services.feedback


@pytest.mark.parametrize(
    "data",
    [
        "id,actual\norder-1,setosa\norder-2,virginica\n",
        "\ufeffid;actual\r\norder-1;setosa\r\n\r\norder-2;virginica",
        'actual\tid\nsetosa\torder-1\n"virginica"\torder-2\n',
    ],
)
def test_csv_is_a_list_of_outcomes(serve, data):
    answer, feedback = sent(serve, data.encode())
    assert (answer.status_code, answer.get_json()) == (200, {"accepted": 2, "duplicates": 0})
    assert feedback.taken == [{"id": "order-1", "actual": "setosa"}, {"id": "order-2", "actual": "virginica"}]
    assert feedback.from_file is True


def test_an_empty_cell_is_no_outcome(serve):
    _, feedback = sent(serve, "prediction_id,actual,reward\na,,1\nb,x,\n")
    assert feedback.taken == [{"prediction_id": "a", "reward": "1"}, {"prediction_id": "b", "actual": "x"}]


@pytest.mark.parametrize(
    ("data", "words", "field"),
    [
        (b"", "line 1: give one of the columns prediction_id and id", "prediction_id"),
        (b"id\n1\n", "line 1: give a column actual", "actual"),
        (b"actual\n1\n", "line 1: give one of the columns", "prediction_id"),
        (b"id,prediction_id,actual\n", "line 1: give one of the columns", "prediction_id"),
        (b"id,actual,actual\n", "line 1: a column is named twice", None),
        (b"id,actual,colour\n", "line 1: unknown column 'colour'", "colour"),
        (b"id,actual\na,b\n\xff,x\n", "line 3: not valid UTF-8", None),
        (b'id,actual\na,b\n"c,d\n', "line 3: ", None),
        (b'id,actual\na,b\n"c"d,e\n', "line 3: ", None),
    ],
)
def test_csv_that_cannot_be_read_is_refused_by_its_line(serve, data, words, field):
    answer, feedback = sent(serve, data, "?partial=true")
    error = answer.get_json()["error"]
    assert (answer.status_code, error.get("field")) == (400, field)
    assert error["message"].startswith(words)
    assert feedback.taken == []


ROWS = [f"order-{number},setosa" for number in range(2, 10_002)]
BROKEN = "\n".join(["id,actual", *ROWS[:6998], "order-7000,setosa,and more", *ROWS[6999:]])


def test_a_broken_line_refuses_the_whole_list(serve):
    answer, feedback = sent(serve, BROKEN)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["index"]) == (400, 6998)
    assert error["message"] == "line 7000: 3 fields where the header has 2"
    assert feedback.taken == []


def test_with_partial_a_broken_line_is_the_only_one_that_is_refused(serve):
    answer, feedback = sent(serve, BROKEN, "?partial=true")
    items = answer.get_json()["items"]
    assert [item["line"] for item in items if item["status"] == "invalid"] == [7000]
    assert ([item["line"] for item in items], len(feedback.taken)) == ([*range(2, 10_002)], 9999)


def test_a_quoted_line_end_counts_as_a_line(serve):
    answer, _ = sent(serve, 'id,actual\n"a\nb",x\nc,d,e\n', "?partial=true")
    assert [item["line"] for item in answer.get_json()["items"]] == [2, 4]


def test_too_many_rows_are_refused(serve):
    answer, _ = sent(serve, "id,actual\na,b\na,b\n", max_batch_rows=1)
    assert answer.status_code == 413


def test_partial_is_true_or_false(serve, client):
    assert client.post("/feedback?partial=maybe", json={"feedback": []}).get_json()["error"]["field"] == "partial"
    answer = client.post("/feedback?partial=true", json={"feedback": [{"id": "a", "actual": "x"}]})
    assert answer.get_json()["items"] == [{"status": "accepted"}]
