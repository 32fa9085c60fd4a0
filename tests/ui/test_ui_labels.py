"""Labels: a file of labels, what is sent of it, and what the page says of each line."""

import threading

import pytest

from app.tables.labels import LabelColumns, label_file
from app.ui import labels
from app.ui.batch import read_upload
from app.ui.labels import LabelJob
from app.ui.records import ApiItem, ApiReceipt
from app.ui.transport import ApiDown, CallRefused
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

ROWS = 10_000


class FakeFeedback:
    """Knows no order whose number ends in 0, 1 or 2; fails `outages` times; takes `most` rows a call."""

    def __init__(self, outages=0, most=ROWS):
        self.outages, self.most, self.sent = outages, most, []

    def send_labels(self, csv):
        if self.outages:
            self.outages -= 1
            raise ApiDown("nothing answers")
        _, *rows = csv.decode().splitlines()
        if len(rows) > self.most:
            raise CallRefused(413, "too_large", "too many")
        self.sent += rows
        known = [row.split(",")[0][-1] not in "012" for row in rows]
        items = tuple(ApiItem("accepted") if each else ApiItem("unknown", "no such order") for each in known)
        return ApiReceipt(accepted=sum(known), items=items)


def job_of(text):
    return LabelJob(label_file(read_upload(text.encode()), LabelColumns("id", "id", "actual")))


def orders(count):
    return "id,actual\n" + "".join(f"order-{number},setosa\n" for number in range(count))


def finish(job, api):
    while job.running:
        job.step(api)


def test_thirty_percent_unknown_and_a_broken_line_are_named_while_the_others_are_sent():
    lines = orders(ROWS).splitlines()
    lines[6999] += ",and more"
    job, api = job_of("\n".join(lines)), FakeFeedback()
    finish(job, api)
    assert (job.accepted, len(api.sent), job.reasons) == (6999, 9999, {"unknown": 3000, "invalid": 1})
    at = {each.line: each for each in job.refused}
    assert (at[7000].message, at[2].message) == ("3 fields where the header has 2", "no such order")
    assert [*at] == sorted(at)


def test_an_outage_stops_the_job_which_goes_on_where_it_was():
    job, api = job_of(orders(3000)), FakeFeedback(outages=1)
    finish(job, api)
    assert (job.done, job.failure.message) == (0, "nothing answers")
    job.resume()
    finish(job, api)
    assert (job.done, len(api.sent)) == (3000, 3000)


def test_batches_shrink_to_what_the_api_takes():
    job, api = job_of(orders(100)), FakeFeedback(most=30)
    finish(job, api)
    assert (len(api.sent), job.failure) == (100, None)


def test_a_cancelled_job_sends_no_further_batch(monkeypatch):
    monkeypatch.setattr(labels, "ROWS_PER_CALL", 10)
    job, api = job_of(orders(100)), FakeFeedback()
    job.step(api)
    canceller = threading.Thread(target=job.cancel)
    canceller.start()
    canceller.join()
    job.step(api)
    assert (job.running, len(api.sent)) == (False, 10)


def test_an_api_that_says_nothing_of_the_rows_is_not_understood():
    class Older:
        def send_labels(self, csv):
            return ApiReceipt(accepted=1)

    job = job_of(orders(1))
    job.step(Older())
    assert "older release" in job.failure.message


RECEIPT = {
    "accepted": 1,
    "duplicates": 0,
    "items": [{"status": "accepted"}, {"status": "unknown", "message": "no prediction has the id 'b'"}],
}


@pytest.fixture
def uploaded(begin, page):
    def upload(text, routes=None):
        api = begin({**answers.NORMAL, **(routes or {"/feedback": RECEIPT})})
        at = page("labels")
        at.file_uploader[0].set_value(("labels.csv", text.encode(), "text/csv"))
        return checked(at.run()), api

    return upload


def test_a_file_is_shown_sent_and_reported(uploaded):
    at, api = uploaded("note,id,actual\nx,a,setosa\ny,b,virginica\nz,c,\n")
    text = text_of(at)
    assert "2 rows will be sent, by your own keys. Left out: 1 row without a label" in text
    assert "virginica" in text
    text = text_of(checked(button(at, "Send 2 rows").click().run()))
    assert api.sent("/feedback") == ["id,actual\na,setosa\nb,virginica\n"]
    assert "1 outcome accepted, 0 known already, 1 line not accepted. Reasons: 1 unknown" in text
    assert "no prediction has the id 'b'" in text


def test_columns_are_chosen_where_their_names_say_nothing(uploaded):
    at, api = uploaded("order,truth\na,setosa\nb,setosa\n")
    assert "Choose the column that names the prediction" in text_of(at)
    assert button(at, "Send").disabled
    at.selectbox[0].set_value("order")
    at = checked(at.run())
    at.selectbox[1].set_value("truth")
    at = checked(at.run())
    checked(button(at, "Send 2 rows").click().run())
    assert api.sent("/feedback") == ["id,actual\na,setosa\nb,setosa\n"]


def test_one_column_is_not_chosen_twice(uploaded):
    at, _ = uploaded("id,actual\na,setosa\n")
    at.selectbox[1].set_value("id")
    assert "One column is chosen twice" in text_of(checked(at.run()))


def test_prediction_ids_under_another_name_are_sent_as_such(uploaded):
    at, api = uploaded("id,actual\na,setosa\nb,x\n")
    at.radio[0].set_value("prediction_id")
    checked(button(checked(at.run()), "Send 2 rows").click().run())
    assert api.sent("/feedback")[0].startswith("prediction_id,actual\n")


def test_an_outage_is_said_and_the_page_goes_on(uploaded):
    at, api = uploaded(
        "id,actual\na,x\nb,y\n", {"/feedback": (503, {"error": {"code": "overloaded", "message": "busy"}})}
    )
    at = checked(button(at, "Send 2 rows").click().run())
    assert "Stopped after 0 of 2 rows.** Busy." in text_of(at)
    api.routes["/feedback"] = RECEIPT
    assert "1 outcome accepted" in text_of(checked(button(at, "Continue").click().run()))


def test_a_file_that_is_no_table_is_refused(uploaded):
    assert "The file cannot be read" in text_of(uploaded("")[0])
