"""Columns that only some versions read: which the pages ask for, and how requests name them."""

import pytest

from app.domain.columns import union_of
from app.domain.contract import Feature, FeatureContract
from app.tables.model_columns import ModelColumn
from app.ui.batch import job_of, read_upload
from app.ui.columns import columns_of
from app.ui.records import ApiBatchPrediction, ApiContract, ApiModel, ApiModels, ApiPrediction
from app.ui.views.batch import matched
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

EXTRA = answers.feature("turbo", source_name=None, median=2.0)


def models_of(*versions, routed=True):
    """v1, v2, … with these features, each a name or a pair of names: in requests and in the training data."""
    models = []
    for number, features in enumerate(versions, start=1):
        pairs = [(each, None) if isinstance(each, str) else each for each in features]
        contract = ApiContract(features=tuple(ModelColumn(name=name, source_name=source) for name, source in pairs))
        models.append(ApiModel(version=f"v{number}", serving=True, routed=routed or number == 1, contract=contract))
    return ApiModels(models=tuple(models), aliases={"champion": "v1"})


def columns(models, forced=None):
    return columns_of(models, models.models[0], forced)


TEMPERATURES = models_of([("temp", "temp (C)"), "x"], ["x", ("temp", "temp (F)")])


@pytest.mark.parametrize(
    "versions",
    [
        (["a", "b"], ["b", "a", "c"]),
        (["a"], ["c", "a"], ["a", "d", "c"]),
        ([("temp", "temp (C)")], [("temp", "temp (F)")]),
        ([("temp", "temp (C)")], [("temp", "temp (F)")], [("temp", "temp (K)"), ("temp_2", "temp (F)")]),
        # Trained from a log, where the column has the name of requests.
        ([("width", "Width (cm)")], ["width", "height"]),
        (["a", ("b", "a b")], [("b", "a"), ("a", "a b"), "c"]),
        ([("a", "b c")], [("d", "a"), ("a", "e")]),
        ([("x", "a")], [("x", "b"), ("b", "x 2")], [("x", "c"), ("x_2", "b")]),
    ],
)
def test_the_columns_are_those_of_the_api(versions):
    models = models_of(*versions)
    contracts = {
        model.version: FeatureContract(
            task="classification",
            target="y",
            classes=("no", "yes"),
            features=tuple(
                Feature(name=each.name, kind="numeric", source_name=each.source_name)
                for each in model.contract.features
            ),
        )
        for model in models.models
    }
    union = union_of("v1", contracts)
    assert not union.excluded
    found = columns(models)
    assert [(each.name, each.source_name) for each in found.contract.features] == [
        (each.name, each.source_name) for each in union.columns
    ]
    assert found.needed == found.shown == set(contracts["v1"].names)


def test_versions_that_lack_columns_are_named_with_them():
    found = columns(models_of(["a"], ["a", "b"], ["c", "b"]))
    assert found.optional == ("b", "c")
    assert found.lacking(["b", "c"]) == {"v2": ["b"], "v3": ["b", "c"]}
    assert found.lacking(["c"]) == {"v3": ["c"]}
    assert found.lacking([]) == {}


def test_what_a_forced_version_reads_is_needed_and_the_rest_may_be_absent():
    found = columns(models_of(["a", "b"], ["c", "a"], ["d"]), "v2")
    assert [each.name for each in found.contract.features] == ["a", "b", "c", "d"]
    assert (found.needed, found.shown, found.optional) == ({"a", "c"}, {"a", "b", "c"}, ("d",))


def test_a_version_that_takes_no_requests_of_others_has_its_own_columns_alone():
    found = columns(models_of(["a"], ["b"], routed=False), "v2")
    assert ([each.name for each in found.contract.features], found.needed, found.optional) == (["b"], {"b"}, ())


def test_one_name_of_two_columns_means_the_forced_version_s_own():
    row = {"temp": 20.0, "x": 1.0, "temp (F)": 68.0}
    assert columns(TEMPERATURES).as_sent(row) == row
    assert columns(TEMPERATURES, "v2").as_sent(row) == {"temp (C)": 20.0, "x": 1.0, "temp": 68.0}


def test_the_rules_of_the_forced_version_hold_for_its_columns():
    ours = ModelColumn(name="colour", kind="categorical", categories=("red",))
    theirs = ModelColumn(name="color", source_name="colour", kind="categorical", categories=("blue",), nullable=True)
    models = ApiModels(
        models=tuple(
            ApiModel(version=version, routed=True, contract=ApiContract(features=(each,)))
            for version, each in (("v1", ours), ("v2", theirs))
        )
    )
    (feature,) = columns(models, "v2").contract.features
    assert (feature.name, feature.categories, feature.nullable) == ("colour", ("blue",), True)
    assert columns(models).contract.features == (ours,)


def test_what_any_of_the_other_versions_takes_may_be_sent():
    def model(version, **changes):
        feature = ModelColumn(name="colour", kind="categorical", **changes)
        return ApiModel(version=version, routed=True, contract=ApiContract(features=(feature,)))

    first = ApiModel(version="v1", routed=True, contract=ApiContract(features=(ModelColumn(name="a"),)))
    models = ApiModels(
        models=(first, model("v2", categories=("red",)), model("v3", categories=("blue",), nullable=True))
    )
    colour = columns(models).contract.features[1]
    assert (colour.categories, colour.nullable) == (("blue", "red"), True)


class Recorder:
    """Answers each row, and keeps what it was sent."""

    def __init__(self):
        self.sent = []

    def predict_batch(self, rows, version=None, *, counts=True):
        self.sent += rows
        made = [ApiPrediction(prediction_id="p", prediction="yes") for _ in rows]
        return ApiBatchPrediction(predictions=made, model_version=version or "v1")


def sent_of(models, text, forced=None):
    table, asked, api = read_upload(text.encode()), columns(models, forced), Recorder()
    job = job_of(table, asked, matched(asked.contract, table.names), forced)
    job.step(api)
    assert not job.bad
    return api.sent


@pytest.mark.parametrize(
    ("header", "forced", "sent"),
    [
        ("temp (C),x,temp (F)", None, {"temp": 1.0, "x": 2.0, "temp (F)": 3.0}),
        ("x,temp (C)", None, [2.0, 1.0]),
        ("temp (C),x,temp (F)", "v2", {"temp (C)": 1.0, "x": 2.0, "temp": 3.0}),
        ("temp (F),x", "v2", {"temp": 1.0, "x": 2.0}),
        ("temp (C),x", "v1", [1.0, 2.0]),
    ],
)
def test_a_file_s_row_has_the_columns_that_the_file_has(header, forced, sent):
    assert sent_of(TEMPERATURES, f"{header}\n1,2,3\n" if header.count(",") == 2 else f"{header}\n1,2\n", forced) == [
        sent
    ]


def test_rows_without_an_optional_value_are_sent_without_the_column():
    models, text = models_of(["a"], ["a", "b"]), "a,b\n1,\n2,5\nx,\n3,\n4,6\n5,y\n"
    table, asked, api = read_upload(text.encode()), columns(models), Recorder()
    job = job_of(table, asked, matched(asked.contract, table.names), None)
    sent = []
    while job.running:
        job.step(api)
        sent.append(api.sent)
        api.sent = []
    assert sent == [[{"a": 2.0, "b": 5.0}, {"a": 4.0, "b": 6.0}], [{"a": 1.0}, {"a": 3.0}]]
    assert list(job.result()["line"]) == [2, 3, 5, 6]
    assert [(row.line, row.reason) for row in job.bad] == [
        (4, "a: 'x' is not a number"),
        (7, "b: 'y' is not a number"),
    ]


def served(**changes):
    """v2 reads one column more than v1."""
    more = answers.model("v2", **changes)
    more["contract"] = {**more["contract"], "features": [EXTRA, *more["contract"]["features"]]}
    batch = {"predictions": [answers.PREDICTION], "count": 1, "model_version": "v1"}
    models = {**answers.MODELS, "models": [answers.model("v1"), more]}
    return {**answers.NORMAL, "/models": models, "/predict/batch": batch}


def uploaded(page, header, cells):
    at = page("batch")
    at.file_uploader[0].set_value(("rows.csv", f"{header}\n{cells}\n".encode(), "text/csv"))
    return checked(at.run())


NAMES = ",".join(answers.FEATURES)
ROW = dict(zip(answers.FEATURES, answers.ROW, strict=True))


def test_a_file_with_the_optional_column_is_sent_with_it(begin, page):
    api = begin(served())
    at = uploaded(page, f"{NAMES},Turbo", "5.1,3.5,1.4,0.2,7")
    assert "takes no part" not in text_of(at)
    checked(button(at, "Predict 1 row").click().run())
    assert api.sent("/predict/batch") == [{"instances": [{**ROW, "turbo": 7.0}]}]


def test_an_optional_column_can_be_left_out_by_hand(begin, page):
    api = begin(served())
    at = uploaded(page, f"{NAMES},turbo", "5.1,3.5,1.4,0.2,7")
    (box,) = [box for box in at.selectbox if box.label == "turbo (optional)"]
    checked(box.set_value(None).run())
    assert "v2 takes no part in these rows: no column is chosen for turbo." in text_of(at).replace("**", "")
    checked(button(at, "Predict 1 row").click().run())
    assert api.sent("/predict/batch") == [{"instances": [list(answers.ROW)]}]


def test_a_column_does_not_stand_for_a_needed_feature_and_an_optional_one(begin, page):
    begin(served())
    at = uploaded(page, NAMES, "5.1,3.5,1.4,0.2")
    (box,) = [box for box in at.selectbox if box.label == "turbo (optional)"]
    checked(box.set_value("petal_width").run())
    assert "petal_width is chosen for petal_width and turbo" in text_of(at).replace("**", "")
    assert button(at, "Predict 1 row").disabled


def test_a_file_without_the_optional_column_goes_to_the_others(begin, page):
    api = begin(served())
    at = uploaded(page, NAMES, "5.1,3.5,1.4,0.2")
    assert "v2 takes no part in these rows: no column is chosen for turbo." in text_of(at).replace("**", "")
    checked(button(at, "Predict 1 row").click().run())
    assert api.sent("/predict/batch") == [{"instances": [list(answers.ROW)]}]


def test_forcing_a_version_in_a_batch_needs_its_columns(begin, page):
    begin(served())
    at = uploaded(page, NAMES, "5.1,3.5,1.4,0.2")
    checked(at.selectbox[0].select("v2").run())
    assert "Choose a column for: turbo." in text_of(at)
    assert "takes no part" not in text_of(at)
    assert button(at, "Predict 1 row").disabled


def asked(at):
    return {each.label for each in at.slider}


def test_optional_columns_are_behind_a_switch_that_says_who_reads_them(begin, page):
    api = begin(served())
    at = page("playground")
    assert asked(at) == set(answers.FEATURES)
    assert "v2 reads turbo, too." in text_of(at)
    checked(button(at, "Predict").click().run())
    checked(at.toggle(key="playground.optional").set_value(True).run())
    assert asked(at) == {*answers.FEATURES, "turbo"}
    checked(button(at, "Predict").click().run())
    assert [body["features"] for body in api.sent("/predict")] == [ROW, {**ROW, "turbo": 2.0}]
    curl, _, link = (each.value for each in at.code)
    assert '"turbo": 2.0' in curl
    assert link.endswith("&turbo=2.0")


def test_forcing_a_version_on_the_playground_asks_for_its_columns(begin, page):
    api = begin(served())
    at = page("playground")
    checked(at.selectbox[1].select("v2").run())
    assert asked(at) == {*answers.FEATURES, "turbo"}
    assert not at.toggle(key="playground.typed").value
    assert "playground.optional" not in [each.key for each in at.toggle]
    checked(button(at, "Predict").click().run())
    assert api.sent("/predict")[0]["features"] == {**ROW, "turbo": 2.0}


def test_a_version_that_is_not_in_the_split_is_asked_for_its_own_columns(begin, page):
    text = {"name": "petal_width", "kind": "categorical", "categories": ["broad", "narrow"]}
    alone = answers.model("v2", routed=False)
    alone["contract"] = {**alone["contract"], "features": [text]}
    api = begin({**answers.NORMAL, "/models": {**answers.MODELS, "models": [answers.model("v1"), alone]}})
    at = page("playground")
    for version in ("v2", "v1", "v2"):
        checked(at.selectbox[1].select(version).run())
        checked(button(at, "Predict").click().run())
    number = {**ROW, "petal_width": 3.0}
    assert [body["features"] for body in api.sent("/predict")] == [
        {"petal_width": "broad"},
        number,
        {"petal_width": "broad"},
    ]


def test_a_link_restores_optional_inputs(begin, page):
    begin(served())
    at = page("playground", turbo="7.0")
    assert at.toggle(key="playground.optional").value
    assert {each.label: each.value for each in at.slider}["turbo"] == 7.0


def test_without_differing_columns_there_is_no_switch(api, page):
    assert [each.key for each in page("playground").toggle] == ["playground.counts", "playground.typed"]
