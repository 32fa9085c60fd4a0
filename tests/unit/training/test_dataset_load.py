import pytest

from app.errors import DataRefused
from app.training.dataset import load


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2)],
)
def test_built_in_sets_come_with_their_class_names(name, rows, columns, classes):
    dataset = load(name, None)
    assert (dataset.rows, len(dataset.columns), len(dataset.classes)) == (rows, columns, classes)
    assert all(isinstance(label, str) for label in dataset.classes)


def test_a_csv_file_is_split_into_features_and_target(csv_of):
    dataset = load(str(csv_of("a,b,y\n1,2,u\n3,4,v\n")), "y")
    assert [column.name for column in dataset.columns] == ["a", "b"]
    assert dataset.target.values.tolist() == ["u", "v"]


@pytest.mark.parametrize(
    ("target", "complaint"),
    [(None, "name the target column"), ("z", "has no column 'z'; its columns are: a, y")],
)
def test_a_target_that_is_not_there_is_refused_with_the_columns_there_are(csv_of, target, complaint):
    with pytest.raises(DataRefused, match=complaint):
        load(str(csv_of("a,y\n1,u\n")), target)


def test_a_file_with_nothing_but_a_target_is_refused(csv_of):
    with pytest.raises(DataRefused, match="no column beside the target"):
        load(str(csv_of("y\n1\n")), "y")


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(DataRefused, match="neither a file nor one of iris, wine"):
        load("irsi", None)


def test_another_target_of_a_built_in_set_is_refused():
    assert load("iris", "species").target.name == "species"
    with pytest.raises(DataRefused, match="'species', not 'petal_width'"):
        load("iris", "petal_width")
