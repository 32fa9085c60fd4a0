"""A newer reference of a version: by the present rules, under the version's contract, with its own model."""

from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from app.drift.reference import DriftReference, build_reference
from app.errors import ArtefactRefused, DataRefused, UnknownVersion
from app.inference.publication import publish
from app.training.dataset import from_csv
from app.training.external_session import PublishRequest, external_draft, matched_reference, publish_external
from app.training.refreshed_reference import RefreshRequest, refresh_reference
from app.training.session import TrainingRequest, train
from app.training.sources.files import load_model
from app.training.variants import TrainingVariant, VariantCatalogue

TREES = VariantCatalogue("tree", ("tree", "tree"), {"tree": TrainingVariant("sklearn.tree.DecisionTreeClassifier")})


def table(rows=60, seed=2):
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": chance.normal(size=rows).round(3), "city": ["Rome", "Paris", "Oslo"] * (rows // 3)})
    return frame.assign(flag=[True, False] * (rows // 2), y=np.where(frame["size"] > 0, "big", "small"))


def model_of(frame):
    parts = [("c", OneHotEncoder(), ["city"])]
    pipeline = make_pipeline(ColumnTransformer(parts, remainder="passthrough"), DecisionTreeClassifier(random_state=0))
    return pipeline.fit(frame[["city", "size", "flag"]], frame["y"])


def quiet(_step):
    pass


@pytest.fixture
def file_of(tmp_path):
    """Write a table as a CSV file, and give its path."""

    def write(frame, name="rows.csv"):
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


@pytest.fixture
def published(registry, file_of, tmp_path):
    """A registry with the published version v1, whose reference does not say what its rows are."""
    joblib.dump(model_of(table()), tmp_path / "model.joblib")
    request = PublishRequest(
        model=tmp_path / "model.joblib", reference=file_of(table(), "first.csv"), target="y", version="v1"
    )
    publish_external(request, registry, quiet)
    return registry


def refreshed(registry, reference, **changes):
    request = RefreshRequest(version="v1", reference=reference and str(reference), **changes)
    return refresh_reference(request, registry, quiet)


@pytest.mark.parametrize(
    ("reference_is", "source"), [("holdout", "holdout"), ("training", "cross_fitted"), ("unknown", "none")]
)
def test_a_version_gets_the_reference_that_publishing_those_rows_would_give(published, file_of, reference_is, source):
    path = file_of(table(90, seed=3))
    done = refreshed(published, path, reference_is=reference_is)
    [found] = published.references("v1").valid
    model = load_model(_saved(published))
    afresh = external_draft(model, matched_reference(model, from_csv(path, "y")), "v2", reference_is)
    assert found.reference == done.reference == DriftReference.from_json(afresh.reference)
    assert found.reference.answers_from == source
    assert (done.manifest.rows, done.manifest.reference_is, done.manifest.source.rows) == (90, reference_is, 90)
    assert done.manifest.source.sha256 == afresh.source.sha256
    assert bool(done.notes) == (source != "holdout")


def _saved(registry):
    return registry.root / "v1" / "model.joblib"


def test_the_version_itself_stays_as_it_is(published, file_of):
    before = published.verified("v1"), published.aliases()
    refreshed(published, file_of(table(90, seed=3)))
    assert (published.verified("v1"), published.aliases()) == before


def test_a_version_of_the_layout_before_gets_a_reference_of_the_present_rules(registry, file_of, tmp_path):
    """As an earlier release published it: it weighed levels on the rows that it chose them on."""
    frame = table(90)
    joblib.dump(model_of(frame), tmp_path / "model.joblib")
    model = load_model(tmp_path / "model.joblib")
    draft = external_draft(model, matched_reference(model, from_csv(file_of(frame), "y")), "v1", "unknown")
    old = msgspec.json.decode(draft.reference)
    for stream in old["inputs"]["streams"]:
        stream.pop("levels", None)
    for name in ("answers_from", "answers_missing"):
        old.pop(name)
    publish(registry, model.estimator, msgspec.structs.replace(draft, reference=msgspec.json.encode(old)), random=50)
    done = refreshed(registry, file_of(frame), reference_is="holdout")
    [city] = [stream for stream in done.reference.inputs.streams if stream.name == "city"]
    assert city.levels is not None
    assert (done.reference.answers_from, done.notes) == ("holdout", ())


def test_without_a_file_the_data_that_the_version_was_made_from_are_read(published):
    done = refreshed(published, None, reference_is="training")
    assert (done.manifest.rows, done.manifest.source.dataset) == (60, published.manifest("v1").source.dataset)


def test_recorded_data_that_are_gone_are_asked_for(published):
    Path(published.manifest("v1").source.dataset).unlink()
    with pytest.raises(DataRefused, match=r"first.csv.* is not there any more: name the rows with --reference"):
        refreshed(published, None)


def test_a_version_of_a_built_in_set_gets_its_rows_again(registry):
    train(TrainingRequest(version="v1"), registry, TREES, quiet)
    done = refreshed(registry, None)
    assert (done.manifest.rows, done.manifest.source.dataset) == (150, "iris")


def test_classes_may_be_named_as_in_answers_where_the_model_was_fitted_on_numbers(registry, file_of):
    train(TrainingRequest(version="v1"), registry, TREES, quiet)
    iris = load_iris(as_frame=True)
    frame = iris.data.assign(species=iris.target_names[iris.target])
    named = refreshed(registry, file_of(frame), reference_is="holdout")
    numbered = refreshed(registry, file_of(iris.data.assign(species=iris.target)), reference_is="holdout")
    assert named.reference == numbered.reference
    assert named.reference.errors.errors < 10


def test_columns_are_found_by_their_names_in_any_order_and_others_are_left_out(published, file_of):
    frame = table(90, seed=3)
    expected = refreshed(published, file_of(frame)).reference
    shuffled = frame[["y", "flag", "size", "city"]].assign(note="x")
    done = refreshed(published, file_of(shuffled))
    assert done.reference == expected
    assert "the model does not read column 'note'" in done.report.findings[0].message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda frame: frame.drop(columns=["city", "flag"]), "lacks columns that v1 reads: city, flag"),
        (lambda frame: frame.assign(size="large"), r"column 'size' has the text 'large'; v1 takes numbers for 'size'"),
        (
            lambda frame: frame.assign(city=["Rome", "Bonn", "Oslo"] * 30),
            r"'city' has values that v1 does not know, such as 'Bonn', in 30 rows of the reference",
        ),
        (lambda frame: frame.assign(y="huge"), r"values that are not among the model's classes: 'huge'"),
        (lambda frame: frame.drop(columns="y"), r"has no column 'y'"),
        (lambda frame: frame.assign(size=np.nan), r"no row of the reference is left that v1 can answer"),
    ],
)
def test_rows_that_do_not_fit_the_contract_are_refused_by_name_and_nothing_changes(
    published, file_of, change, complaint
):
    with pytest.raises(DataRefused, match=complaint):
        refreshed(published, file_of(change(table(90))))
    assert published.references("v1").valid == ()


def test_rows_without_a_value_that_the_model_needs_are_left_out_and_said(published, file_of):
    frame = table(90)
    frame.loc[:4, "city"] = None
    done = refreshed(published, file_of(frame))
    assert done.manifest.rows == 85
    assert "without a value of 'city', missing in 5 rows" in done.report.of("missing values")[0].message


def test_rows_without_a_label_are_left_out(published, file_of):
    frame = table(90)
    frame.loc[:9, "y"] = None
    assert refreshed(published, file_of(frame)).manifest.rows == 80


def test_another_column_of_labels_can_be_named(published, file_of):
    done = refreshed(published, file_of(table().rename(columns={"y": "truth"})), target="truth", reference_is="holdout")
    assert (done.manifest.source.target, done.reference.errors.errors) == ("truth", 0)


def hours(frame):
    """Takes moments in one form only: a day without its time is an error."""
    return frame.apply(lambda column: pd.to_datetime(column, format="%Y-%m-%dT%H:%M:%S").dt.hour)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_days_are_midnights_to_a_version_of_moments(registry, tmp_path, suffix):
    moments = pd.date_range("2026-01-01", periods=90, freq="12h")
    frame = pd.DataFrame({"at": moments.strftime("%Y-%m-%dT%H:%M:%S"), "y": ["night", "noon"] * 45})
    model = make_pipeline(FunctionTransformer(hours), DecisionTreeClassifier()).fit(frame[["at"]], frame["y"])
    joblib.dump(model, tmp_path / "model.joblib")
    frame.to_csv(tmp_path / "first.csv", index=False)
    first = PublishRequest(model=tmp_path / "model.joblib", reference=tmp_path / "first.csv", target="y", version="v1")
    publish_external(first, registry, quiet)
    days = pd.DataFrame({"at": moments[::2].strftime("%Y-%m-%d"), "y": "night"})
    if suffix == "csv":
        days.to_csv(tmp_path / "days.csv", index=False)
    else:
        days.assign(at=moments[::2]).to_parquet(tmp_path / "days.parquet")
    frame[::2].to_csv(tmp_path / "midnights.csv", index=False)
    of_days = refreshed(registry, tmp_path / f"days.{suffix}", reference_is="holdout")
    assert of_days.manifest.source.sha256 == refreshed(registry, tmp_path / "midnights.csv").manifest.source.sha256
    assert (of_days.manifest.rows, of_days.reference.errors.errors) == (45, 0)


def test_a_regressor_gets_a_reference_of_its_answers(registry, file_of, tmp_path):
    frame = table().assign(y=table()["size"] * 2)[["size", "y"]]
    joblib.dump(DecisionTreeRegressor().fit(frame[["size"]], frame["y"]), tmp_path / "model.joblib")
    request = PublishRequest(model=tmp_path / "model.joblib", reference=file_of(frame), target="y", version="v1")
    publish_external(request, registry, quiet)
    done = refreshed(registry, file_of(frame), reference_is="holdout")
    assert (done.reference.outputs is None, done.reference.errors) == (False, None)


def test_a_version_that_is_unknown_or_damaged_is_refused_before_its_model_is_unpickled(published, file_of):
    with pytest.raises(UnknownVersion):
        refresh_reference(RefreshRequest(version="v9", reference=str(file_of(table()))), published, quiet)
    _saved(published).write_bytes(b"not a pickle")
    with pytest.raises(ArtefactRefused, match=r"model.joblib"):
        refreshed(published, file_of(table()))


def test_the_same_rows_give_the_same_reference(published, file_of):
    first, second = (refreshed(published, file_of(table(90))).reference for _ in range(2))
    assert first == second
    rows = np.array(table(90)[["city", "size", "flag"]].values.tolist(), dtype=object)
    assert first.inputs == build_reference(published.manifest("v1").contract, rows, seed=0).inputs
