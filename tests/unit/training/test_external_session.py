import warnings

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from app.domain.rows import RowParser
from app.drift.reference import DriftReference
from app.errors import DataRefused, InvalidFeatures, RegistryConflict
from app.training.dataset import from_csv
from app.training.external_model import describe
from app.training.external_session import PublishRequest, matched_reference, publish_external


def table(rows=60):
    generator = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"size": generator.normal(size=rows).round(3), "city": ["Rome", "Paris", "Oslo"] * (rows // 3)}
    )
    return frame.assign(level=[1, 2] * (rows // 2), y=np.where(frame["size"] > 0, "big", "small"))


@pytest.fixture
def reference(tmp_path):
    """Write a table as the reference file and give what `matched_reference` makes of it for a model."""

    def make(estimator, frame, target="y"):
        path = tmp_path / "reference.csv"
        frame.to_csv(path, index=False)
        return matched_reference(describe(estimator, "model"), from_csv(path, target))

    return make


@pytest.fixture
def wanted(tmp_path):
    """Write a model and a table to disk and give the wanted to publish them."""

    def make(estimator, frame, version="mine"):
        joblib.dump(estimator, tmp_path / "model.joblib")
        frame.to_csv(tmp_path / "reference.csv", index=False)
        model, data = tmp_path / "model.joblib", tmp_path / "reference.csv"
        return PublishRequest(model=model, reference=data, target="y", version=version)

    return make


def encoded(frame, **options):
    parts = [("c", OneHotEncoder(**options), ["city", "level"])]
    columns = ["city", "level", "size"]
    pipeline = make_pipeline(ColumnTransformer(parts, remainder="passthrough"), DecisionTreeClassifier(random_state=0))
    return pipeline.fit(frame[columns], frame["y"])


def quiet(_step):
    pass


def test_a_model_is_published_with_the_figures_of_the_reference_data(registry, wanted):
    trained = publish_external(
        wanted(DecisionTreeClassifier().fit(table()[["size"]], table()["y"]), table()), registry, quiet
    )
    holdout = registry.manifest("mine").metrics["holdout"]
    assert (holdout["accuracy"], holdout["rows"]) == (1.0, 60)
    assert holdout["measured_on"] == "the reference data given to publish"
    assert trained.versions[0].alias == "champion"


def test_a_bad_model_is_published_too(registry, wanted):
    hopeless = DecisionTreeClassifier(max_depth=1).fit(table()[["level"]], table()["y"])
    publish_external(wanted(hopeless, table()), registry, quiet)
    assert registry.manifest("mine").metrics["holdout"]["accuracy"] < 0.9


def test_a_taken_name_is_refused_before_anything_is_unpickled(registry, wanted):
    good = wanted(DecisionTreeClassifier().fit(table()[["size"]], table()["y"]), table())
    publish_external(good, registry, quiet)
    good.model.write_bytes(b"never to be read")
    with pytest.raises(RegistryConflict):
        publish_external(good, registry, quiet)


def test_the_contract_follows_the_model_not_the_file(reference):
    made = reference(encoded(table()), table().assign(extra=1)[["extra", "size", "city", "level", "y"]])
    assert made.contract.names == ("city", "level", "size")
    assert made.report.of("columns")[0].sentence == "the model does not read column 'extra': left out"


@pytest.mark.parametrize(("handling", "is_open"), [("error", False), ("ignore", True)])
def test_categories_are_open_where_the_encoder_copes(reference, handling, is_open):
    city, level, _ = reference(encoded(table(), handle_unknown=handling), table()).contract.features
    assert city.open_categories is is_open
    assert level.choices == (() if is_open else (1.0, 2.0))


def test_categories_that_the_reference_lacks_are_still_known(reference):
    some = table()[table()["city"] != "Oslo"]
    assert reference(encoded(table()), some).contract.features[0].categories == ("Oslo", "Paris", "Rome")


def test_a_number_that_the_encoder_would_fail_on_is_a_bad_request(reference):
    parser = RowParser(reference(encoded(table()), table()).contract)
    assert parser.row(["Rome", 2, 0.5]).tolist() == [["Rome", 2.0, 0.5]]
    with pytest.raises(InvalidFeatures, match="'level' must be one of the numbers 1, 2"):
        parser.row(["Rome", 3, 0.5])


def test_null_is_allowed_where_values_were_missing_and_the_model_copes(reference):
    holes = table().assign(size=[None, *table()["size"][1:]])
    made = reference(DecisionTreeClassifier().fit(table()[["size"]], table()["y"]), holes)
    assert made.contract.features[0].nullable
    assert len(made.rows) == 60


def test_rows_that_the_model_cannot_answer_are_left_out_and_null_is_not_allowed(reference):
    holes = table().assign(size=[None, np.inf, *table()["size"][2:]])
    made = reference(LogisticRegression().fit(table()[["size", "level"]], table()["y"]), holes)
    assert not made.contract.features[0].nullable
    assert len(made.rows) == made.dataset.rows == len(made.truth.labels) == 58
    said = [finding.message for finding in made.report.of("missing values")]
    assert "the model does not answer without a value of 'size', missing in 2 rows" in said


def test_a_reference_that_the_model_cannot_answer_at_all_is_refused(reference):
    model = LogisticRegression().fit(table()[["size", "level"]], table()["y"])
    with pytest.raises(DataRefused, match="no row of the reference is left"):
        reference(model, table().assign(size=np.inf))


def test_suspect_columns_are_noted_and_nothing_is_done(reference):
    frame = table().assign(always=1, nr=range(60), copy=table()["y"] == "big")
    model = DecisionTreeClassifier().fit(frame[["always", "nr", "copy"]], frame["y"])
    made = reference(model, frame[["always", "nr", "copy", "y"]])
    noted = {finding.check for finding in made.report.findings if finding.action == "noted"}
    assert {"constant columns", "row numbers", "target leaks"} <= noted
    assert made.contract.names == ("always", "nr", "copy")


def test_rows_with_categories_that_the_model_does_not_know_are_left_out(reference):
    strange = table().assign(city=["Berlin", *table()["city"][1:]], level=[1, 7, *table()["level"][2:]])
    made = reference(encoded(table()), strange)
    assert len(made.rows) == 58
    assert made.contract.features[0].categories == ("Oslo", "Paris", "Rome")
    assert "does not know 'Berlin' of 'city', in 1 row" in made.report.of("unknown categories")[0].message


def test_a_model_that_fails_is_refused_with_its_reason(registry, wanted):
    strange = table().assign(size=["tiny", "huge", "tall"] * 20)
    model = DecisionTreeClassifier().fit(table()[["size"]], table()["y"])
    with pytest.raises(DataRefused, match=r"cannot answer the reference rows: .*tiny"):
        publish_external(wanted(model, strange), registry, quiet)


def test_several_outputs_of_a_regressor_are_refused(registry, wanted):
    numbers = table().assign(y=table()["size"])
    model = LinearRegression().fit(numbers[["size", "level"]], numbers[["size", "level"]])
    with pytest.raises(DataRefused, match="cannot answer the reference rows"):
        publish_external(wanted(model, numbers[["size", "level", "y"]]), registry, quiet)


def test_a_regressor_is_published_with_its_figures(registry, wanted):
    numbers = table().assign(y=table()["size"] * 2 + 1)
    publish_external(
        wanted(DecisionTreeRegressor().fit(numbers[["size"]], numbers["y"]), numbers, None), registry, quiet
    )
    assert registry.manifest("v1").metrics["holdout"]["r2"] == pytest.approx(1.0)
    assert registry.manifest("v1").contract.classes == ()


@pytest.mark.parametrize(
    ("reference_is", "source"), [("holdout", "holdout"), ("training", "cross_fitted"), ("unknown", "none")]
)
def test_answers_and_errors_are_compared_only_with_answers_to_rows_not_fitted_on(
    registry, wanted, reference_is, source
):
    request = wanted(DecisionTreeClassifier().fit(table()[["size"]], table()["y"]), table())
    published = publish_external(msgspec.structs.replace(request, reference_is=reference_is), registry, quiet)
    drift = DriftReference.from_json(registry.verified("mine").read("reference.json"))
    assert drift.answers_from == source
    assert (drift.outputs is None) == (drift.errors is None) == (source == "none")
    assert bool(published.versions[0].notes) == (source != "holdout")


class Unnormalised(DecisionTreeClassifier):
    """As models that ask one class against the rest: its probabilities add up to less than 1."""

    def predict_proba(self, rows, check_input=True):
        return super().predict_proba(rows) * 0.8


def test_probabilities_that_do_not_add_up_to_1_are_a_warning(registry, wanted):
    estimator = Unnormalised().fit(table()[["size"]], table()["y"])
    trained = publish_external(wanted(estimator, table()), registry, quiet)
    (warning,) = trained.versions[0].warnings
    assert "add up to 0.8 to 0.8 in a row, not to 1" in warning


class Warns(DecisionTreeClassifier):
    """A model of one's own that has something to say about rows, and a phrase of scikit-learn's about names."""

    def predict(self, rows, check_input=True):
        warnings.warn("sizes below 0 are guessed\nsecond line", stacklevel=1)
        warnings.warn("X does not have valid feature names, but it was fitted with feature names", stacklevel=1)
        return super().predict(rows)


def test_what_a_model_warns_of_when_it_answers_is_shown_once(registry, wanted):
    estimator = Warns().fit(table()[["size"]], table()["y"])
    trained = publish_external(wanted(estimator, table()), registry, quiet)
    assert trained.versions[0].warnings == ("when it answers, the model warns: sizes below 0 are guessed",)
