"""Tables with classes and features that are numbers, booleans or `NA`: from a file to answers and labels.

v1 is trained by `bakeoff train` on the table; v2 is a model that a data scientist fitted on the same table with pandas,
and published. What pandas and scikit-learn say by themselves is the right answer. The tables in `tests/cases` are
invented; the service went wrong on each of them.
"""

from pathlib import Path

import joblib
import msgspec
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.simulation.rows import read_csv
from app.training.external_session import PublishRequest, publish_external
from app.training.session import Gate, TrainingRequest, train
from app.training.variants import read_catalogue
from app.web.app import create_flask
from tests import builders
from tests.unit.services.recording.test_feedback import SIGNER, Feedback, ListLog, issued
from tests.web import fakes

CASES = Path(__file__).parents[1] / "cases"
MODELS = {
    "lab_bool": (LogisticRegression, "y"),
    "lab_from1": (LogisticRegression, "y"),
    "boolf": (DecisionTreeClassifier, "y"),
    "na": (
        lambda: make_pipeline(
            make_column_transformer((OneHotEncoder(), ["country"]), remainder="passthrough"), LogisticRegression()
        ),
        "label",
    ),
}


class Table:
    """A table with its two published versions, the model that pandas fitted, and an endpoint over both versions."""

    def __init__(self, name, folder):
        make, self.target = MODELS[name]
        self.path = CASES / f"{name}.csv"
        self.frame = pd.read_csv(self.path, keep_default_na=False)
        self.rows = self.frame.drop(columns=self.target)
        self.model = make().fit(self.rows, self.frame[self.target])
        registry = ModelRegistry(folder / "models", b"k" * 32)
        request = TrainingRequest(
            dataset=str(self.path),
            target=self.target,
            version="v1",
            variant="logistic_regression",
            gate=Gate(min_accuracy=0.0),
        )
        train(request, registry, read_catalogue(), lambda _step: None)
        joblib.dump(self.model, folder / "model.joblib")
        publish_external(
            PublishRequest(model=folder / "model.joblib", reference=self.path, target=self.target),
            registry,
            lambda _step: None,
        )
        self.models = load_models(registry)
        services = fakes.services(self.models)
        self.log = ListLog()
        feedback = Feedback(builders.live_models(self.models), SIGNER, self.log, builders.OwnKeys(), float)
        self.client = create_flask(msgspec.structs.replace(services, feedback=feedback)).test_client()

    def answers(self, version, rows):
        body = {"instances": rows}
        answer = self.client.post("/predict/batch", json=body, headers={"X-Model-Version": version})
        assert answer.status_code == 200, answer.text
        return [each["prediction"] for each in answer.get_json()["predictions"]]

    def label(self, actual):
        """The status of feedback with this label, and the class that it was stored as."""
        self.log.submissions.clear()
        status = self.client.post("/feedback", json={"prediction_id": issued(), "actual": actual}).status_code
        stored = [self.models.versions["v1"].contract.classes[each.value] for [each] in self.log.submissions]
        return status, *stored


@pytest.fixture(scope="module", params=MODELS)
def table(request, tmp_path_factory):
    return Table(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def table_of(tmp_path_factory):
    """Make the tables by name, once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = Table(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


def plain(value):
    return value.item() if hasattr(value, "item") else value


def test_both_versions_of_one_table_are_compared_under_one_numbering(table):
    assert table.models.compatible == ("v1", "v2")
    ours, theirs = (version.contract.classes for version in table.models.versions.values())
    assert ours == theirs


def test_rows_as_pandas_has_them_get_the_answers_of_the_model_by_itself(table):
    rows = [{name: plain(value) for name, value in row.items()} for row in table.rows.to_dict("records")]
    predicted = [str(label) for label in table.model.predict(table.rows)]
    classes = table.models.versions["v2"].contract.classes
    answers = table.answers("v2", rows)
    assert [answer.lower() for answer in answers] == [label.lower() for label in predicted]
    assert set(answers) <= set(classes)


def test_what_train_takes_is_played_with_every_row_and_its_label(table):
    for version in table.models.versions.values():
        data = read_csv(version.contract, table.target, table.path)
        assert (len(data), data.skipped) == (len(table.frame), 0)
        assert [label.lower() for label in data.labels] == [str(label).lower() for label in table.frame[table.target]]
        table.answers(version.name, [version.parser.row(row.tolist())[0].tolist() for row in data.values])


def test_labels_as_pandas_has_them_are_the_classes_of_the_table(table):
    for label in table.frame[table.target].unique().tolist():
        status, stored = table.label(plain(label))
        assert (status, stored.lower()) == (200, str(label).lower())


@pytest.mark.parametrize("actual", [0, 4, True, "0", 1.5])
def test_on_the_classes_1_2_3_ids_and_booleans_are_refused(table_of, actual):
    assert table_of("lab_from1").label(actual) == (400,)


@pytest.mark.parametrize(
    ("name", "actual", "stored"),
    [
        ("lab_from1", 2, "2"),
        ("lab_from1", 3.0, "3"),
        ("lab_from1", "1.0", "1"),
        ("lab_bool", True, "true"),
        ("lab_bool", "False", "false"),
        ("lab_bool", 1, "true"),
        ("boolf", "stay", "stay"),
        ("boolf", 0, "churn"),
        ("na", 1, "ok"),
    ],
)
def test_a_label_is_stored_as_the_class_that_it_names(table_of, name, actual, stored):
    assert table_of(name).label(actual) == (200, stored)


@pytest.mark.parametrize("spelled", [(True, False), (1, 0), ("True", "false"), (1.0, "FALSE")])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_booleans_of_a_request_are_those_of_the_table_in_any_spelling(table_of, version, spelled):
    table = table_of("boolf")
    member, senior = spelled
    rows = [{"member": member, "senior": senior, "x": x} for x in (-1.0, 0.0, 1.0)]
    known = [{"member": True, "senior": False, "x": x} for x in (-1.0, 0.0, 1.0)]
    assert table.answers(version, rows) == table.answers(version, known)
    if version == "v2":
        assert table.answers(version, rows) == table.model.predict(pd.DataFrame(known)).tolist()


def test_the_country_code_na_is_a_value_of_its_own(table_of):
    table = table_of("na")
    rows = [{"country": country, "x": 0.0} for country in ("NA", "ZA")]
    assert table.answers("v2", rows) == table.model.predict(pd.DataFrame(rows)).tolist()
    assert table.answers("v2", rows)[0] != table.answers("v2", rows)[1]
