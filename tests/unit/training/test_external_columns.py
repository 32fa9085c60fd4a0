"""Models of texts, dates and open columns, published; the right answers are those of the model itself with pandas."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from app.domain.rows import RowParser
from app.errors import DataRefused, InvalidFeatures
from app.inference.loader import load_version
from app.training.external_session import PublishRequest, publish_external

TEXTS = pd.DataFrame(
    {
        "review": [
            f"{word} {noun} {number}"
            for number in range(10)
            for word, noun in (("good", "film"), ("bad", "book"), ("great", "play"), ("awful", "show"))
        ],
        "label": ["up", "down"] * 20,
    }
)
DATES = pd.DataFrame(
    {
        "day": pd.date_range("2026-01-01", periods=60).strftime("%Y-%m-%d"),
        "size": np.arange(60) / 7,
        "label": pd.date_range("2026-01-01", periods=60).month.map({1: "winter", 2: "winter", 3: "spring"}),
    }
)
CITIES = pd.DataFrame({"city": ["Rome", "Paris", "Oslo"] * 20, "level": [1, 2] * 30, "label": ["a", "a", "b"] * 20})


def months(frame):
    return frame.apply(lambda column: pd.to_datetime(column).dt.month)


def lengths(frame):
    return frame.apply(lambda column: column.str.len())


def reversed_texts(series):
    return series.str[::-1]


def codes(frame):
    """Fails on an unknown city, which no attribute of the pipeline tells."""
    return frame.map({"Rome": 0, "Paris": 1, "Oslo": 2}.__getitem__)


def quiet(_step):
    pass


@pytest.fixture
def published(registry, tmp_path):
    """Publish an estimator with a table, and give its contract, report and runtime."""

    def make(estimator, frame):
        joblib.dump(estimator, tmp_path / "model.joblib")
        frame.to_csv(tmp_path / "reference.csv", index=False)
        request = PublishRequest(
            model=tmp_path / "model.joblib", reference=tmp_path / "reference.csv", target="label", version="mine"
        )
        result = publish_external(request, registry, quiet)
        return result, load_version(registry, "mine")

    return make


def answered(loaded, rows):
    """The classes that the version gives to rows as a client sends them."""
    outputs = loaded.runtime.predict(RowParser(loaded.contract).rows(rows))
    return [loaded.contract.classes[class_id] for class_id in outputs.class_ids]


def notes(result, check="unknown categories"):
    return [finding.sentence for finding in result.report.of(check)]


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        CountVectorizer(ngram_range=(1, 2)),
        HashingVectorizer(n_features=64),
        FeatureUnion([("words", TfidfVectorizer()), ("letters", TfidfVectorizer(analyzer="char"))]),
    ],
)
@pytest.mark.parametrize("form", [pd.Series, list])
def test_a_pipeline_fitted_on_texts_has_one_text_feature(published, vectorizer, form):
    model = make_pipeline(vectorizer, LogisticRegression()).fit(form(TEXTS["review"]), TEXTS["label"])
    result, loaded = published(model, TEXTS)
    (feature,) = loaded.contract.features
    assert (feature.name, feature.kind, feature.is_text, feature.nullable) == ("review", "categorical", True, False)
    texts = ["a great play, really", "bad", "nothing of it known", "ÜBER good film"]
    assert answered(loaded, [[text] for text in texts]) == model.predict(pd.Series(texts)).tolist()
    assert answered(loaded, [{"review": "awful book"}]) == model.predict(["awful book"]).tolist()
    assert result.versions[0].manifest.runtime == "sklearn"
    assert "splits text into words" in result.versions[0].manifest.parity.reason
    assert notes(result) == ["the model answers texts that the reference does not have: any text is accepted in review"]


def test_a_search_and_a_model_without_probabilities_take_texts_too(published):
    search = GridSearchCV(make_pipeline(TfidfVectorizer(), LinearSVC()), {"linearsvc__C": [0.1, 1.0]}, cv=2)
    search.fit(TEXTS["review"], TEXTS["label"])
    _, loaded = published(search, TEXTS)
    assert answered(loaded, [["good play"], ["bad show"]]) == search.predict(["good play", "bad show"]).tolist()


def test_the_only_text_of_a_file_is_the_one_that_is_read(published):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS["review"], TEXTS["label"])
    result, loaded = published(model, TEXTS.assign(nr=range(40)))
    assert loaded.contract.names == ("review",)
    assert notes(result, "columns") == ["the model does not read column 'nr': left out"]


def test_of_two_texts_none_is_guessed(published):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS["review"], TEXTS["label"])
    with pytest.raises(
        DataRefused, match="reads one column of texts, and beside the target there are 2: review, title"
    ):
        published(model, TEXTS.assign(title=TEXTS["review"].str.upper()))


def test_texts_that_look_like_numbers_stay_texts(published):
    frame = pd.DataFrame({"code": ["100", "200", "300", "100"] * 10, "label": ["a", "b", "b", "a"] * 10})
    model = make_pipeline(CountVectorizer(analyzer="char"), LogisticRegression()).fit(frame["code"], frame["label"])
    _, loaded = published(model, frame)
    assert answered(loaded, [["101"], ["992"]]) == model.predict(["101", "992"]).tolist()


def test_texts_may_be_changed_before_they_are_split(published):
    frame = pd.DataFrame({"code": ["100", "200", "300", "100"] * 10, "label": ["a", "b", "b", "a"] * 10})
    steps = FunctionTransformer(reversed_texts), CountVectorizer(analyzer="char"), LogisticRegression()
    model = make_pipeline(*steps).fit(frame["code"], frame["label"])
    _, loaded = published(model, frame)
    assert loaded.contract.features[0].is_text
    assert answered(loaded, [["ab1"], ["992"]]) == model.predict(pd.Series(["ab1", "992"])).tolist()


def test_a_table_with_a_column_of_texts_is_asked_by_name(published):
    parts = [("words", TfidfVectorizer(), "review"), ("stars", "passthrough", ["stars"])]
    frame = TEXTS.assign(stars=[5, 1] * 20)
    model = make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(
        frame[["review", "stars"]], frame["label"]
    )
    _, loaded = published(model, frame[["stars", "review", "label"]])
    text, stars = loaded.contract.features
    assert (text.is_text, stars.kind) == (True, "numeric")
    rows = [["a good one", 2.0], ["bad", 4.0]]
    assert answered(loaded, rows) == model.predict(pd.DataFrame(rows, columns=["review", "stars"])).tolist()


def test_rows_without_their_text_are_left_out_where_the_model_needs_it(published):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS["review"], TEXTS["label"])
    result, loaded = published(model, TEXTS.assign(review=[None, *TEXTS["review"][1:]]))
    assert result.report.rows == 39
    assert not loaded.contract.features[0].nullable


def test_dates_arrive_as_iso_texts(published):
    model = make_pipeline(FunctionTransformer(months), DecisionTreeClassifier(random_state=0))
    model.fit(DATES[["day"]], DATES["label"])
    result, loaded = published(model, DATES)
    (day,) = loaded.contract.features
    assert (day.kind, day.is_text, day.dates_like) == ("categorical", True, "2026-03-01")
    days = ["2027-03-05", "2025-02-28", "2024-01-15"]
    assert answered(loaded, [[each] for each in days]) == ["spring", "winter", "winter"]
    for other in ("tomorrow", "2026-02-30", "2026-1-1", "20260101", "2026-01-01T10:00:00"):
        with pytest.raises(InvalidFeatures, match="'day' must be a date like '2026-03-01'"):
            RowParser(loaded.contract).row([other])
    outcome = "any ISO date or time of their form is accepted in day"
    assert notes(result) == [f"the model answers dates that the reference does not have: {outcome}"]
    assert notes(result, "identifiers") == []
    assert "reads texts or dates (day)" in result.versions[0].manifest.parity.reason


@pytest.mark.parametrize(
    ("step", "is_open"), [(FunctionTransformer(lengths), True), (FunctionTransformer(codes), False)]
)
def test_a_column_is_open_where_the_model_answers_whatever_its_steps_are(published, step, is_open):
    parts = [("city", step, ["city"])]
    model = make_pipeline(ColumnTransformer(parts, remainder="passthrough"), DecisionTreeClassifier(random_state=0))
    model.fit(CITIES[["city", "level"]], CITIES["label"])
    result, loaded = published(model, CITIES)
    city, _ = loaded.contract.features
    assert (city.open_categories, city.categories) == (is_open, ("Oslo", "Paris", "Rome"))
    assert bool(notes(result)) == is_open
    if is_open:
        row = pd.DataFrame([["Berlin", 1]], columns=["city", "level"])
        assert answered(loaded, [["Berlin", 1]]) == model.predict(row).tolist()


def test_a_column_that_one_step_accepts_and_another_refuses_is_closed(published):
    parts = [("a", OneHotEncoder(handle_unknown="ignore"), ["city"]), ("b", FunctionTransformer(codes), ["city"])]
    model = make_pipeline(ColumnTransformer(parts), DecisionTreeClassifier()).fit(CITIES[["city"]], CITIES["label"])
    _, loaded = published(model, CITIES)
    assert not loaded.contract.features[0].open_categories


@pytest.mark.parametrize("gap", ["city", "both"])
def test_columns_are_tried_on_a_row_without_gaps_even_if_every_row_has_one(published, gap):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    model = make_pipeline(
        ColumnTransformer([("c", encoder, ["city"])], remainder="passthrough"), DecisionTreeClassifier()
    )
    frame = CITIES.assign(city=CITIES["city"].where(CITIES.index % 2 == 0))
    if gap == "both":
        frame = frame.assign(level=frame["level"].where(CITIES.index % 2 == 1))
    model.fit(frame[["city", "level"]], frame["label"])
    _, loaded = published(model, frame)
    city, level = loaded.contract.features
    assert (city.open_categories, city.nullable, level.nullable) == (True, True, gap == "both")


CASES = Path(__file__).parents[2] / "cases"


@pytest.fixture
def published_case(registry, tmp_path):
    """Publish a tree fitted on one table of the cases, with another one as the reference."""

    def make(fitted, reference, target, **options):
        frame = pd.read_csv(CASES / fitted, **options)
        model = DecisionTreeClassifier(random_state=0).fit(frame.drop(columns=target), frame[target])
        joblib.dump(model, tmp_path / "model.joblib")
        request = PublishRequest(
            model=tmp_path / "model.joblib", reference=CASES / reference, target=target, version="mine"
        )
        publish_external(request, registry, quiet)
        loaded = load_version(registry, "mine")
        features = frame.drop(columns=target)
        return loaded, features, model.predict(features).tolist()

    return make


@pytest.mark.parametrize(
    ("table", "target", "options", "names"),
    [
        ("two_units.csv", "label", {}, ("income_usd", "income_eur")),
        ("temp_c.csv", "label", {}, ("temp", "humidity")),
        ("uni.csv", "结果", {}, ("年龄", "收入")),
        ("header_newline.csv", "target", {"sep": ";"}, ("width_in_mm", "price")),
        ("boolf.csv", "y", {}, ("member", "senior", "x")),
    ],
)
def test_requests_by_contract_name_have_the_answers_of_the_model_itself(published_case, table, target, options, names):
    loaded, features, right = published_case(table, table, target, **options)
    assert loaded.contract.names == names
    assert [feature.source_name or feature.name for feature in loaded.contract.features] == list(features.columns)
    rows = features.set_axis(list(names), axis=1).to_dict("records")
    assert answered(loaded, rows) == right


def test_columns_of_true_and_false_are_boolean_features(published_case):
    loaded, features, right = published_case("boolf.csv", "boolf.csv", "y")
    assert [feature.boolean for feature in loaded.contract.features] == [True, True, False]
    rows = features.astype({"member": int, "senior": int}).to_dict("records")
    assert answered(loaded, rows) == right


@pytest.mark.parametrize(
    ("fitted", "reference", "complaint"),
    [
        ("two_units.csv", "two_units_lacks.csv", r"lacks columns that the model reads: income \(USD\)$"),
        ("temp_c.csv", "temp_f.csv", r"reads: temp \(C\); not surely the same: 'temp \(F\)'"),
    ],
)
def test_another_column_is_never_taken_for_one_that_is_missing(published_case, fitted, reference, complaint):
    with pytest.raises(DataRefused, match=complaint):
        published_case(fitted, reference, "label")


@pytest.mark.parametrize(("yes", "no"), [("WAHR", "FALSCH"), ("vrai", "faux"), ("Vero", "Falso")])
def test_booleans_in_another_language_are_refused_by_column(published, yes, no):
    frame = pd.DataFrame({"size": range(40), "garden": [True, False] * 20, "label": ["a", "b"] * 20})
    model = DecisionTreeClassifier(random_state=0).fit(frame[["size", "garden"]], frame["label"])
    words = f"column 'garden' has {yes.upper()} and {no.upper()}: write true and false"
    with pytest.raises(DataRefused, match=words) as refused:
        published(model, frame.assign(garden=[yes, no] * 20))
    assert refused.value.field == "garden"


def test_a_tree_that_splits_on_gaps_alone_is_published_for_scikit_learn(published):
    """Its threshold is infinity, at which the converter's search for a float32 never ends."""
    frame = pd.DataFrame({"income": [np.nan, 1.0] * 12, "label": ["no", "yes"] * 12})
    model = BaggingClassifier(DecisionTreeClassifier(random_state=0), n_estimators=1, bootstrap=False)
    model.fit(frame[["income"]], frame["label"])
    assert not np.isfinite(model.estimators_[0].tree_.threshold).all()
    result, loaded = published(model, frame)
    assert result.versions[0].manifest.parity.reason.endswith("the converter does not end on such a split")
    assert answered(loaded, [[None], [1.0]]) == ["no", "yes"]
