"""Batch: reading a file, and taking it through the api part by part."""

import io
import threading
from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tables.model_columns import ModelColumn
from app.tables.table import TableRefused
from app.ui import batch
from app.ui.batch import BatchJob, read_upload, template
from app.ui.records import ApiBatchPrediction, ApiContract, ApiModel, ApiPrediction
from app.ui.transport import ApiDown, CallRefused
from app.ui.views.batch import chosen_twice, matched
from tests.ui.conftest import button, checked, text_of

CONTRACT = ApiContract(
    features=(
        ModelColumn(name="width", source_name="Petal Width (cm)"),
        ModelColumn(name="colour", kind="categorical", categories=("red", "none"), nullable=True),
    )
)
COLUMNS = {"width": "width", "colour": "colour"}


class FakeBatch:
    """Answers each row with its first value; refuses 13 by its index, as the api does; fails `outages` times."""

    def __init__(self, outages=0):
        self.outages = outages
        self.calls = 0

    def predict_batch(self, rows, version=None, *, counts=True):
        self.calls += 1
        if self.outages:
            self.outages -= 1
            raise ApiDown("nothing answers")
        for index, row in enumerate(rows):
            if row[0] == 13:
                raise CallRefused(400, "invalid_features", "13 is unlucky", "width", index)
        made = [ApiPrediction(prediction_id="p", prediction=str(row[0])) for row in rows]
        return ApiBatchPrediction(predictions=made, model_version=version or "v1")


def job_of(text, version=None):
    return BatchJob(read_upload(text.encode()), CONTRACT, COLUMNS, version)


def test_bad_rows_are_named_by_line_while_the_others_resume():
    job = job_of('width,colour\n1,red\nx,red\n\n"3",\n4,green\n13,red\n6\n7,none\n')
    job.step(FakeBatch())
    assert [(row.line, row.reason) for row in job.bad] == [
        (3, "width: 'x' is not a number"),
        (6, "colour: 'green' is not one of red, none"),
        (7, "13 is unlucky"),
        (8, "has 1 cells where the header has 2"),
    ]
    assert [(each.line.number, each.answer.prediction) for each in job.answered] == [(2, "1.0"), (5, "3.0"), (9, "7.0")]


def test_a_line_break_within_quotes_does_not_shift_the_numbers():
    job = job_of('width,colour,note\n1,red,"two\nlines"\nbad,red,x\n')
    job.step(FakeBatch())
    assert [row.line for row in job.bad] == [4]


def test_a_job_goes_on_where_the_api_failed(monkeypatch):
    monkeypatch.setattr(batch, "ROWS_PER_CALL", 2)
    job = job_of("width,colour\n1,red\n2,red\n3,red\n")
    job.step(api := FakeBatch())
    api.outages = 1
    job.step(api)
    assert (job.done, job.running) == (2, False)
    job.resume()
    job.step(api)
    assert [each.answer.prediction for each in job.answered] == ["1.0", "2.0", "3.0"]


def test_a_cancelled_job_keeps_what_was_answered(monkeypatch):
    monkeypatch.setattr(batch, "ROWS_PER_CALL", 1)
    job = job_of("width,colour\n1,red\n2,red\n")
    job.step(FakeBatch())
    job.cancel()
    assert not job.running
    assert list(job.result()["prediction"]) == ["1.0"]


class SlowBatch(FakeBatch):
    """Answers when it is let go; `asked` says that somebody waits."""

    def __init__(self):
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def predict_batch(self, rows, version=None, *, counts=True):
        self.asked.set()
        self.let_go.wait(5)
        return super().predict_batch(rows, version, counts=counts)


def test_cancelling_waits_for_the_part_that_is_asked_and_begins_no_other(monkeypatch):
    monkeypatch.setattr(batch, "ROWS_PER_CALL", 1)
    job, api = job_of("width,colour\n1,red\n2,red\n"), SlowBatch()
    stepping = threading.Thread(target=job.step, args=(api,))
    stepping.start()
    api.asked.wait(5)
    cancelling = threading.Thread(target=job.cancel)
    cancelling.start()
    cancelling.join(0.05)
    assert cancelling.is_alive()
    api.let_go.set()
    for thread in (cancelling, stepping):
        thread.join(5)
    job.step(api)
    assert (api.calls, len(job.result())) == (1, 1)


def test_the_result_keeps_the_file_s_columns():
    job = job_of("colour,width,id\nred,1.50,007\n", "v2")
    job.step(FakeBatch())
    assert job.result().to_dict("records") == [
        {"colour": "red", "width": "1.50", "id": "007", "prediction": "1.5", "confidence": None}
        | {"model_version": "v2", "prediction_id": "p", "line": 2}
    ]


@pytest.mark.parametrize("header", [["width"], ["Petal Width (cm)"], ["petal width [cm]"], ["WIDTH"], ["petal_width"]])
def test_columns_are_matched_by_either_name(header):
    assert matched(CONTRACT, header)["width"] == header[0]


MONEY = ApiContract(
    features=(
        ModelColumn(name="income", source_name="income (USD)"),
        ModelColumn(name="income_eur", source_name="income (EUR)"),
    )
)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["income (EUR)", "income (USD)"], ["income (USD)", "income (EUR)"]),
        (["income (EUR)"], [None, "income (EUR)"]),
        (["income"], ["income", None]),
        (["income (GBP)"], [None, None]),
        (["Income (USD)", "INCOME (EUR)"], ["Income (USD)", "INCOME (EUR)"]),
        # Nothing tells which of the two is meant.
        (["INCOME"], [None, None]),
        (["Income (USD)", "INCOME [USD]"], [None, None]),
    ],
)
def test_no_column_stands_for_two_features_and_units_are_never_mixed(header, columns):
    assert list(matched(MONEY, header).values()) == columns


def test_names_of_every_script_are_matched():
    contract = ApiContract(features=(ModelColumn(name="年龄"), ModelColumn(name="größe", source_name="Größe (cm)")))
    assert matched(contract, ["GRÖSSE (cm)", "年龄"]) == {"年龄": "年龄", "größe": "GRÖSSE (cm)"}


def test_a_column_that_was_chosen_twice_is_named():
    assert chosen_twice({"a": "x", "b": "x", "c": None, "d": None, "e": "y"}) == {"x": ["a", "b"]}


def test_decimal_commas_are_read_as_train_reads_them():
    job = job_of("\ufeffwidth;colour\r\n1.234,5;red\r\n7;none\r\n")
    job.step(FakeBatch())
    assert ([each.answer.prediction for each in job.answered], job.bad) == (["1234.5", "7.0"], [])


def test_a_column_of_unclear_numbers_fails_with_the_reason():
    job = job_of("width,colour\n$1,red\n2,red\n")
    job.step(FakeBatch())
    assert [row.reason for row in job.bad] == [
        "width: the column writes numbers in several forms, such as '$1' and '2'"
    ] * 2


def test_cells_are_values_as_the_model_knows_them():
    texts = ModelColumn(name="country", kind="categorical", categories=("NA", " ZA"), nullable=True)
    job = BatchJob(
        read_upload(b"country,note\nNA,1\n ZA,2\n?,3\n"), ApiContract(features=(texts,)), {"country": "country"}, None
    )
    job.step(FakeBatch())
    assert [each.answer.prediction for each in job.answered] == ["NA", " ZA", "None"]


def test_a_parquet_file_is_read():
    content = io.BytesIO()
    pd.DataFrame(
        {"width": [1.5, None, 3.0], "colour": ["red", "none", None], "day": [date(2024, 1, 2)] * 3}
    ).to_parquet(content)
    job = BatchJob(read_upload(content.getvalue()), CONTRACT, COLUMNS, None)
    job.step(FakeBatch())
    assert [each.answer.prediction for each in job.answered] == ["1.5", "3.0"]
    assert [(row.line, row.reason) for row in job.bad] == [(2, "width is missing")]
    assert list(job.result()["day"]) == ["2024-01-02"] * 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"a,b\n", "no rows"),
        ("ä,b\n1,2".encode("latin-1"), "not UTF-8"),
        (b'a,b\n"' + b"x" * 200_000, "line"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_reason(content, why):
    with pytest.raises(TableRefused, match=why):
        read_upload(content)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_usual_delimiters_and_a_byte_order_mark_are_read(delimiter):
    table = read_upload("\ufeffa|b\r\n1|2\r\n".replace("|", delimiter).encode())
    assert (table.names, list(table.rows())) == (("a", "b"), [("1", "2")])


def test_the_template_can_be_sent_back_as_it_is():
    model = ApiModel(version="v1", contract=CONTRACT, examples=((0.5, "red"), (1.0, None)))
    job = job_of(template(model))
    job.step(FakeBatch())
    assert (len(job.answered), job.bad) == (2, [])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=8), st.binary(max_size=40))
def test_whatever_is_uploaded_ends_in_a_table_or_a_reason(cells, noise):
    content = ",".join(cells).encode() + b"\n1,2\n" + noise
    try:
        table = read_upload(content)
    except TableRefused:
        return
    assert table.lines or table.ragged


def test_a_file_is_taken_through_the_page(begin, page):
    from tests.ui import answers

    batch = {"predictions": [answers.PREDICTION] * 2, "count": 2, "model_version": "v1"}
    api = begin({**answers.NORMAL, "/predict/batch": batch})
    at = page("batch")
    text = "sepal length (cm),sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\nx,1,1,1\n6,3,4,1\n"
    at.file_uploader[0].set_value(("rows.csv", text.encode(), "text/csv"))
    checked(at.run())
    checked(button(at, "Predict 3 rows").click().run())
    assert "2 rows predicted, 1 failed" in text_of(at)
    assert api.sent("/predict/batch") == [{"instances": [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 4.0, 1.0]]}]


def test_sixty_columns_are_matched_by_hand(begin, page):
    from tests.ui import answers

    names = [f"x{place}" for place in range(60)]
    features = [{"name": name, "minimum": 0, "maximum": 99} for name in names]
    model = {**answers.NORMAL["/models"]["models"][0], "contract": {"features": features}}
    batch = {"predictions": [answers.PREDICTION], "count": 1, "model_version": "v1"}
    api = begin({**answers.NORMAL, "/models": {"models": [model]}, "/predict/batch": batch})
    at = page("batch")
    header, cells = [f"col {place}" for place in range(60)], [str(place) for place in range(60)]
    at.file_uploader[0].set_value(("wide.csv", f"{','.join(header)}\n{','.join(cells)}\n".encode(), "text/csv"))
    checked(at.run())
    boxes = [box for box in at.selectbox if box.label in names]
    assert (len(boxes), [box.value for box in boxes]) == (60, [None] * 60)
    for box in boxes:
        box.set_value(header[59 - names.index(box.label)])
    boxes[0].set_value("col 0")
    checked(at.run())
    assert "col 0 is chosen for x0 and x59" in text_of(at).replace("**", "")
    assert button(at, "Predict 1 row").disabled
    next(box for box in at.selectbox if box.label == "x0").set_value("col 59")
    checked(at.run())
    checked(button(at, "Predict 1 row").click().run())
    assert api.sent("/predict/batch") == [{"instances": [[float(59 - place) for place in range(60)]]}]
