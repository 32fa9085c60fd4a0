"""Batch with true labels: predictions, then feedback, in one go, and what the page says before and after."""

import pytest

from app.tables.labels import BadLine
from app.tables.model_columns import ModelColumn
from app.ui import batch
from app.ui.batch import BatchJob, read_upload
from app.ui.records import ApiBatchPrediction, ApiContract, ApiItem, ApiPrediction, ApiReceipt
from app.ui.transport import ApiDown, NotUnderstood
from app.ui.true_labels import Judged, by_version, true_labels
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

CONTRACT = ApiContract(features=(ModelColumn(name="width"),), classes=("1", "2", "3"), target="kind")
NUMBERS = ApiContract(features=(ModelColumn(name="width"),), task="regression")


class FakeApi:
    """Answers each row with its value; `down` names the calls that fail; knows no answer 3."""

    def __init__(self, contract=CONTRACT):
        self.down, self.predicted, self.sent, self.contract = set(), [], [], contract

    def predict_batch(self, rows, version=None, *, counts=True):
        self._fail("predict")
        self.predicted += rows
        made = [
            ApiPrediction(prediction_id=f"p{width:g}", prediction=width if self.contract is NUMBERS else f"{width:g}")
            for (width,) in rows
        ]
        return ApiBatchPrediction(predictions=made, model_version="v1")

    def send_outcomes(self, labels):
        self._fail("feedback")
        self.sent += labels
        items = [ApiItem("contradicts", "it was 1") if key == "p3" else ApiItem("accepted") for key, _ in labels]
        return ApiReceipt(items=tuple(items))

    def _fail(self, call):
        if call in self.down:
            raise ApiDown("nothing answers")


def job_of(text, contract=CONTRACT):
    table = read_upload(text.encode())
    labels = true_labels(table, "kind", contract)
    return BatchJob(table, contract, {"width": "width"}, None, labels=labels)


def test_labels_follow_their_predictions_and_each_row_says_if_it_was_right():
    job, api = job_of("width,kind\n1,1\n2,1\n3,3\nx,1\n2,\n"), FakeApi()
    job.step(api)
    assert api.sent == [("p1", "1"), ("p2", "1"), ("p3", "3")]
    result = job.result().fillna("")
    assert result["answer_was"].to_list() == ["right", "wrong", "", ""]
    assert result["label_status"].to_list() == ["accepted", "accepted", "contradicts", ""]
    assert by_version(job.judged()) == [Judged("v1", 2, 1, None)]
    assert job.labels.not_recorded == [BadLine(4, "contradicts", "it was 1")]


def test_an_outage_between_predictions_and_labels_is_made_good_without_predicting_again(monkeypatch):
    monkeypatch.setattr(batch, "ROWS_PER_CALL", 2)
    job, api = job_of("width,kind\n1,1\n2,2\n2,1\n"), FakeApi()
    api.down = {"feedback"}
    job.step(api)
    assert (job.done, job.running, job.unsent, len(job.answered)) == (0, False, 2, 2)
    api.down = set()
    job.resume()
    while job.running:
        job.step(api)
    assert (job.done, job.unsent, len(api.predicted), len(api.sent)) == (3, 0, 3, 3)


def test_a_cancelled_job_has_sent_the_labels_of_all_that_it_predicted(monkeypatch):
    monkeypatch.setattr(batch, "ROWS_PER_CALL", 1)
    job, api = job_of("width,kind\n1,1\n2,2\n"), FakeApi()
    job.step(api)
    job.cancel()
    job.step(api)
    assert (len(job.answered), job.unsent, job.labels.recorded) == (1, 0, 1)


def test_an_api_that_does_not_say_what_became_of_each_label_stops_the_job():
    job, api = job_of("width,kind\n1,1\n"), FakeApi()
    api.send_outcomes = lambda _: ApiReceipt(accepted=1)
    job.step(api)
    assert isinstance(job.failure, NotUnderstood)
    assert job.unsent == 1


@pytest.mark.parametrize(
    ("classes", "cell", "label"),
    [
        (("1", "2"), "1.0", "1"),
        (("1", "2"), " 2", "2"),
        (("True", "False"), "true", "True"),
        (("0", "1"), "true", "1"),
        (("7", "8"), "007", None),
        (("NA", "ZA"), "NA", "NA"),
        (("a", "b"), "1_0", None),
    ],
)
def test_a_class_is_found_by_its_name_or_meaning(classes, cell, label):
    contract = ApiContract(classes=classes)
    found = true_labels(read_upload(f"width,kind\n1,{cell}\n".encode()), "kind", contract)
    assert dict(found.by_line) == ({} if label is None else {2: label})
    assert len(found.bad) == (label is None)


def test_numbers_are_read_as_the_file_writes_them_and_have_a_distance():
    job = job_of("width;kind\n1;1,5\n2;\n4;x\n2,5;2,0\n", NUMBERS)
    job.step(FakeApi(NUMBERS))
    assert job.result()["absolute_error"].to_list()[0] == 0.5
    assert by_version(job.judged()) == [Judged("v1", 2, None, 0.5)]
    assert [each.line for each in job.labels.not_recorded] == [4]


HEADER = "sepal_length,sepal_width,petal_length,petal_width,species\n"
RECEIPT = {"accepted": 2, "items": [{"status": "accepted"}, {"status": "duplicate"}]}
BATCH = {"predictions": [answers.PREDICTION, {**answers.PREDICTION, "prediction_id": "id-2"}], "model_version": "v1"}


@pytest.fixture
def uploaded(begin, page):
    def upload(rows, **routes):
        api = begin({**answers.NORMAL, "/predict/batch": BATCH, "/feedback": RECEIPT, **routes})
        at = page("batch")
        at.file_uploader[0].set_value(("rows.csv", (HEADER + rows).encode(), "text/csv"))
        return checked(at.run()), api

    return upload


def choose(at, label, value):
    next(box for box in at.selectbox if box.label == label).set_value(value)
    return checked(at.run())


def test_the_page_says_what_will_be_sent_and_that_it_counts(uploaded):
    at, api = uploaded("5.1,3.5,1.4,0.2,setosa\n6,3,4,1,virginica\n6,3,4,1,\n6,3,4,1,tulip\n")
    at = choose(at, "True label (optional)", "species")
    assert "These labels do not count in the experiment**, because the switch above is off" in text_of(at)
    said = text_of(checked(at.toggle(key="batch.counts").set_value(True).run()))
    assert "Feedback with 2 labels will be sent" in said
    assert "These labels count in the running experiment" in said
    assert "Only predicted: 1 row without a label and 1 row with one that the model does not know" in said
    assert "(line 5: 'tulip' is no class" in said
    assert api.sent("/feedback") == []
    assert "do not count in the experiment" in text_of(choose(at, "Version", "v2"))


@pytest.mark.parametrize("counts", [False, True])
def test_a_file_counts_only_where_somebody_wants_it_to(uploaded, counts):
    at, api = uploaded("5.1,3.5,1.4,0.2,setosa\n6,3,4,1,virginica\n")
    at = checked(at.toggle(key="batch.counts").set_value(counts).run())
    checked(button(at, "Predict 2 rows").click().run())
    ((_, _, _, headers),) = [call for call in api.calls if call[1] == "/predict/batch"]
    assert headers.get("X-Traffic-Kind") == (None if counts else "synthetic")


def test_the_page_predicts_sends_the_labels_and_shows_the_accuracy(uploaded):
    at, api = uploaded("5.1,3.5,1.4,0.2,setosa\n6,3,4,1,virginica\n")
    at = choose(at, "True label (optional)", "species")
    at = checked(button(at, "Predict 2 rows and send 2 labels").click().run())
    assert api.sent("/feedback") == [
        {"feedback": [{"prediction_id": "id-1", "actual": "setosa"}, {"prediction_id": "id-2", "actual": "virginica"}]}
    ]
    assert "2 labels recorded, 0 not recorded" in text_of(at)
    (table,) = [each.value for each in at.dataframe if "share right" in each.value.columns]
    assert table.iloc[0].to_list() == ["v1", 2, 1, 1, "50.0 %"]


def test_labels_that_failed_are_said_and_sent_by_continue(uploaded):
    at, api = uploaded(
        "5.1,3.5,1.4,0.2,setosa\n6,3,4,1,setosa\n",
        **{"/feedback": (503, {"error": {"code": "overloaded", "message": "busy"}})},
    )
    at = choose(at, "True label (optional)", "species")
    at = checked(button(at, "Predict 2 rows and send 2 labels").click().run())
    assert "Not recorded yet: 2 labels" in text_of(at)
    api.routes["/feedback"] = RECEIPT
    at = checked(button(at, "Continue").click().run())
    assert "2 labels recorded" in text_of(at)
    assert "not recorded yet" not in text_of(at)
    assert len(api.sent("/predict/batch")) == 1


def test_a_feature_is_no_label(uploaded):
    at, _ = uploaded("5.1,3.5,1.4,0.2,setosa\n")
    at = choose(at, "True label (optional)", "petal_width")
    assert "petal_width is a feature" in text_of(at).replace("**", "")
    assert button(at, "Predict 1 row").disabled
