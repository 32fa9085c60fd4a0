"""Tables as data teams have them, read, trained on and published; the right values are computed with pandas."""

from __future__ import annotations

from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from app.errors import DataRefused
from app.simulation.rows import read_csv as rows_that_fit
from app.training import column_checks
from app.training.checks import CheckOptions, check, labelled
from app.training.columns import typed
from app.training.dataset import from_csv, read_csv
from app.training.external_session import PublishRequest, publish_external
from app.training.features import features_of

CASES = Path(__file__).parents[2] / "cases"

# How pandas reads each table right: the answers below are those of pandas.
PANDAS = {
    "adult.csv": ("income", {"keep_default_na": False}),
    "wc.csv": ("income", {"keep_default_na": False}),
    "na.csv": ("label", {"keep_default_na": False}),
    "lab_from1.csv": ("y", {}),
    "temp_c.csv": ("label", {}),
    "temp_f.csv": ("label", {}),
    "two_units.csv": ("label", {}),
    "two_units_lacks.csv": ("label", {}),
    "uni.csv": ("结果", {}),
    "header_newline.csv": ("target", {"sep": ";"}),
    "german_ok.csv": ("ziel", {"sep": ";", "decimal": ","}),
    "thousands.csv": ("ziel", {"sep": ";", "decimal": ",", "thousands": "."}),
}
PUBLISHED = {**PANDAS, "boolf.csv": ("y", {})}
BOOLEANS = {"boolf.csv": "y", "lab_bool.csv": "y", "clean_ab.csv": "y", "clean_ba.csv": "y"}


def expected(name: str) -> pd.DataFrame:
    return pd.read_csv(CASES / name, **PUBLISHED[name][1])


@pytest.mark.parametrize("name", PANDAS)
def test_a_table_has_the_values_that_pandas_reads(name):
    frame = expected(name)
    columns = read_csv(CASES / name)
    assert [column.name for column in columns] == list(frame.columns)
    for column in columns:
        assert column.values.tolist() == frame[column.name].tolist()


@pytest.mark.parametrize("name", BOOLEANS)
def test_booleans_are_read_as_false_and_true(name):
    frame = pd.read_csv(CASES / name)
    for column in read_csv(CASES / name):
        boolean = frame[column.name].dtype == bool
        assert column.boolean == boolean
        values = frame[column.name].map({True: "true", False: "false"}) if boolean else frame[column.name]
        assert column.values.tolist() == values.tolist()


@pytest.mark.parametrize("name", PANDAS)
def test_a_parquet_file_of_the_same_table_is_the_same_table(name, tmp_path):
    path = tmp_path / "table.parquet"
    expected(name).to_parquet(path)
    for own, other in zip(read_csv(path), read_csv(CASES / name), strict=True):
        assert (own.name, own.kind, own.values.tolist()) == (other.name, other.kind, other.values.tolist())


def published(name: str, tmp_path: Path, registry, **request) -> tuple[object, pd.DataFrame, str]:
    """The manifest of a tree fitted with pandas on all rows of the table, its frame and target."""
    target, _ = PUBLISHED[name]
    frame = expected(name)
    features = frame.drop(columns=target)
    texts = [column for column in features if not pd.api.types.is_numeric_dtype(features[column])]
    encoder = ColumnTransformer([("texts", OneHotEncoder(), texts)], remainder="passthrough")
    model = make_pipeline(encoder, DecisionTreeClassifier(random_state=0)).fit(features, frame[target])
    joblib.dump(model, tmp_path / "model.joblib")
    asked = PublishRequest(model=tmp_path / "model.joblib", reference=CASES / name, target=target, **request)
    result = publish_external(asked, registry, lambda _step: None)
    return result.versions[0].manifest, frame, target


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"lab_from1.csv"}))
def test_a_published_model_is_as_accurate_as_it_is_by_itself(name, tmp_path, registry):
    manifest, frame, target = published(name, tmp_path, registry)
    model = joblib.load(tmp_path / "model.joblib")
    accuracy = model.score(frame.drop(columns=target), frame[target])
    assert manifest.metrics["holdout"]["accuracy"] == pytest.approx(accuracy)
    assert (manifest.source.rows, manifest.contract.classes) == (len(frame), tuple(sorted(set(frame[target]))))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_what_was_published_on_a_table_can_be_simulated_from_it(name, tmp_path, registry):
    manifest, frame, target = published(name, tmp_path, registry)
    data = rows_that_fit(manifest.contract, target, CASES / name)
    assert (len(data), data.skipped) == (len(frame), 0)
    assert data.values.tolist() == frame.drop(columns=target).to_numpy(dtype=object).tolist()
    assert list(data.labels) == [str(label) for label in frame[target]]


def test_the_categories_are_the_texts_as_they_are_written(tmp_path, registry):
    manifest, frame, _ = published("wc.csv", tmp_path, registry)
    categories = next(each.categories for each in manifest.contract.features if each.name == "workclass")
    assert categories == tuple(sorted(set(frame["workclass"])))
    assert all(text.startswith(" ") for text in categories)


def test_a_country_code_is_no_missing_value_and_the_report_says_so():
    checked = check(from_csv(CASES / "na.csv", "label"), CheckOptions())
    count = int((expected("na.csv")["country"] == "NA").sum())
    country = features_of(checked.dataset.columns)[0]
    assert ("NA" in country.categories, country.nullable) == (True, False)
    assert checked.report.of("missing values")[0].sentence == (
        f"column 'country' has 'NA' in {count} rows: taken as a value (--missing 'NA': as missing)"
    )


def test_the_user_can_say_that_it_is_missing():
    checked = check(from_csv(CASES / "na.csv", "label", ("NA",)), CheckOptions())
    count = int((expected("na.csv")["country"] == "NA").sum())
    country = features_of(checked.dataset.columns)[0]
    assert ("NA" in country.categories, country.nullable) == (False, True)
    assert f"lacks {count} of" in checked.report.of("missing values")[0].message


def test_spaces_around_texts_are_kept_and_reported():
    checked = check(from_csv(CASES / "adult.csv", "income"), CheckOptions())
    assert checked.truth.classes == (" <=50K", " >50K")
    assert [finding.column for finding in checked.report.of("spaces")] == ["income", "workclass"]


def test_how_numbers_with_thousands_separators_are_read_is_reported():
    checked = check(from_csv(CASES / "thousands.csv", "ziel"), CheckOptions())
    (finding,) = checked.report.of("number forms")
    assert finding.sentence == "column 'preis' writes numbers such as '1.222,90': read as 1222.9"
    assert np.array_equal(checked.dataset.columns[1].values, expected("thousands.csv")["preis"])


LABELS = "x,pain\n" + "".join(f"{place / 7:.3f},{'None' if place % 3 else 'mild'}\n" for place in range(30))


def test_labels_that_would_be_lost_are_refused_with_their_count(csv_of):
    path = csv_of(LABELS)
    with pytest.raises(DataRefused, match=r"'pain' has 'None' in 20 rows, .* --missing 'None' drops .*; --missing ''"):
        check(from_csv(path, "pain"), CheckOptions())
    assert check(from_csv(path, "pain", ()), CheckOptions()).truth.classes == ("None", "mild")
    assert labelled(from_csv(path, "pain", ("None",)))[0].rows == 10


def test_labels_without_a_number_are_refused_where_labels_are_numbers(csv_of):
    path = csv_of("x,y\n" + "".join(f"{place},{place % 2 if place % 5 else 'N/A'}\n" for place in range(30)))
    with pytest.raises(DataRefused, match="'N/A' in 6 rows, which is no number"):
        check(from_csv(path, "y"), CheckOptions())
    assert labelled(from_csv(path, "y", ("N/A",)))[0].rows == 24


def test_empty_labels_are_dropped_with_their_count(csv_of):
    path = csv_of("x,y\n" + "".join(f"{place},{'ab'[place % 2] if place % 5 else ' '}\n" for place in range(30)))
    dataset, (finding,) = labelled(from_csv(path, "y"))
    assert (dataset.rows, finding.message) == (24, "the target 'y' lacks 6 of 30 values")


def test_a_label_that_the_model_knows_is_a_label(csv_of, registry, tmp_path):
    path = csv_of(LABELS)
    frame = pd.read_csv(path, keep_default_na=False)
    model = DecisionTreeClassifier(random_state=0).fit(frame[["x"]], frame["pain"])
    joblib.dump(model, tmp_path / "model.joblib")
    asked = PublishRequest(model=tmp_path / "model.joblib", reference=path, target="pain")
    manifest = publish_external(asked, registry, lambda _step: None).versions[0].manifest
    assert (manifest.contract.classes, manifest.source.rows) == (("None", "mild"), 30)


def test_a_label_that_the_model_does_not_know_is_not_lost_unseen(csv_of):
    dataset = from_csv(csv_of("x,y\n1,a\n2,b\n3,NA\n"), "y")
    with pytest.raises(DataRefused, match=r"'NA' in 1 row, which is no class of the model .* --missing 'NA'"):
        labelled(dataset, least=1, classes=("a", "b"))


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([f"{place}.5 kg" for place in range(20)], "writes a unit with each number, such as '0.5 kg'"),
        ([f"{place % 30} cm" for place in range(90)], "writes a unit with each number, such as '0 cm'"),
        (
            [f"{place},5" if place % 2 else f"{place}.5" for place in range(20)],
            "several forms, such as '0.5' and '1,5'",
        ),
        (
            [f"${place}.5" if place % 2 else f"{place}.5" for place in range(20)],
            "several forms, such as '0.5' and '$1.5'",
        ),
    ],
)
def test_quantities_are_never_dropped_as_an_identifier(cells, what):
    column = typed("c", cells)
    finding = column_checks.mixed(column) or column_checks.identifier(column)
    assert finding is not None
    assert (finding.action, what in finding.message) == ("refused", True)


def test_numbers_that_a_parquet_file_holds_as_text_are_refused_and_not_dropped(tmp_path):
    path = tmp_path / "prices.parquet"
    pd.DataFrame({"price": [f"1.{place:03},50" for place in range(20)], "y": [1, 2] * 10}).to_parquet(path)
    finding = column_checks.identifier(read_csv(path)[0])
    assert finding is not None
    assert (finding.action, "numbers as text" in finding.message) == ("refused", True)


def test_a_few_quantities_may_be_categories():
    assert column_checks.identifier(typed("c", [f"{30 * (place % 3 + 1)} days" for place in range(60)])) is None


def test_identifiers_and_codes_are_still_dropped():
    for cells in ([f"id-{place}" for place in range(20)], [f"00{place}" for place in range(20)]):
        assert column_checks.identifier(typed("c", cells)).action == "dropped"


def test_numbers_that_are_unclear_are_refused_for_a_model_of_numbers(csv_of, registry, tmp_path):
    model = DecisionTreeClassifier(random_state=0).fit(pd.DataFrame({"x": [1.5, 2.5], "z": [1, 2]}), ["a", "b"])
    joblib.dump(model, tmp_path / "model.joblib")
    path = csv_of("x;z;y\n1.500;1;a\n2.500;2;b\n")
    asked = PublishRequest(model=tmp_path / "model.joblib", reference=path, target="y")
    with pytest.raises(DataRefused, match=r"'x' writes numbers that can be read in two ways, such as '1\.500'"):
        publish_external(asked, registry, lambda _step: None)
    with pytest.raises(DataRefused, match=r"'x' writes numbers that can be read in two ways, such as '1\.500'"):
        check(from_csv(csv_of("x;z;y\n" + "1.500;1;a\n2.500;2;b\n" * 10), "y"), CheckOptions())
    plain = csv_of("x;z;y\n1.500;1.25;a\n2.500;2;b\n")
    result = publish_external(msgspec.structs.replace(asked, reference=plain), registry, lambda _step: None)
    assert result.versions[0].manifest.contract.features[0].maximum == 2.5


def test_publish_takes_what_is_said_to_be_missing(csv_of, registry, tmp_path):
    model = DecisionTreeClassifier(random_state=0).fit(pd.DataFrame({"x": [1.5, 2.5, np.nan]}), ["a", "b", "b"])
    joblib.dump(model, tmp_path / "model.joblib")
    path = csv_of("x,y\n1.5,a\n-,b\n2.5,b\n2.5,-\n")
    asked = PublishRequest(model=tmp_path / "model.joblib", reference=path, target="y", missing=("-",))
    manifest = publish_external(asked, registry, lambda _step: None).versions[0].manifest
    assert (manifest.source.rows, manifest.source.missing) == (3, ("-",))
    assert (manifest.metrics["holdout"]["accuracy"], manifest.contract.features[0].nullable) == (1.0, True)
