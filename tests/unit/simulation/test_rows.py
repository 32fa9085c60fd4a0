"""Rows and labels: from the built-in sets and from CSV files, as the contract has them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.simulation import rows
from tests.unit.simulation.small_service import IRIS

MIXED = FeatureContract(
    task="classification",
    target="Bought",
    features=(
        Feature(name="age_group", kind="categorical", categories=("old", "young")),
        Feature(name="net_income", nullable=True),
        Feature(name="member", kind="categorical", categories=("false", "true")),
    ),
    classes=("0", "1"),
)


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_iris_is_read_with_all_its_rows_and_true_classes() -> None:
    data = rows.built_in(IRIS, "iris")
    assert data.values.shape == (150, 4)
    assert data.values[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert (data.labels[0], data.labels[149]) == ("setosa", "virginica")


def test_columns_come_in_the_order_of_the_contract_and_others_are_left_out() -> None:
    some = FeatureContract("classification", "species", (IRIS.features[3], IRIS.features[0]), IRIS.classes)
    assert rows.built_in(some, "iris").values[0].tolist() == [0.2, 5.1]


@pytest.mark.parametrize(("name", "shape", "label"), [("wine", (178, 13), "class_0"), ("digits", (1797, 64), "0")])
def test_other_built_in_sets_too(name: str, shape: tuple[int, int], label: str) -> None:
    from sklearn import datasets

    from app.tables.names import unique_snake_case

    bunch = getattr(datasets, f"load_{name}")()
    features = tuple(Feature(name=n) for n in unique_snake_case(list(bunch.feature_names)))
    data = rows.built_in(FeatureContract("classification", "t", features, (label,)), name)
    assert data.values.shape == shape
    assert data.labels[0] == label


def test_a_csv_is_read_by_column_names_with_missing_values_codes_and_booleans(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,Bought,Net income (EUR),Age group,Member\n1,1.0,10.5,young,TRUE\n2,0,NA,old,False\n")
    data = rows.read_csv(MIXED, "Bought", path)
    assert data.values[0].tolist() == ["young", 10.5, "true"]
    assert data.values[1].tolist()[0] == "old"
    assert math.isnan(data.values[1][1])
    assert data.labels == ("1", "0")


@pytest.mark.parametrize(
    "bad",
    ["2,,5,old,true", "2,7,5,old,true", "2,1,5,ancient,true", "2,1,five,old,true", "2,1,inf,old,true", "2,1,5,,true"],
    ids=["no label", "unknown class", "unknown category", "text for a number", "infinite", "missing and not nullable"],
)
def test_rows_that_no_request_could_carry_are_left_out_and_counted(tmp_path: Path, bad: str) -> None:
    path = csv(tmp_path, f"id,Bought,Net income,Age group,Member\n1,1,10,young,true\n{bad}\n")
    data = rows.read_csv(MIXED, "Bought", path)
    assert (len(data), data.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("2,1,5,ancient,true", "line 2: feature 'age_group' has no category 'ancient'"),
        ("2,1,five,old,true", "line 2: feature 'net_income' must be a number, got a string"),
        ("2,7,5,old,true", "line 2: the target 'Bought' is '7', which is no class of the model; those are '0', '1'"),
        ("2,,5,old,true", "line 2: the target 'Bought' is empty"),
    ],
)
def test_the_first_row_that_does_not_fit_is_told_with_its_line(tmp_path: Path, bad: str, reason: str) -> None:
    header, good = "id,Bought,Net income,Age group,Member", "1,1,10,young,true"
    data = rows.read_csv(MIXED, "Bought", csv(tmp_path, f"{header}\n{bad}\n{good}\n3,8,x,new,maybe\n"))
    assert data.skipped == 2
    assert (data.first_skipped or "").startswith(reason)
    with pytest.raises(DataRefused) as refused:
        rows.read_csv(MIXED, "Bought", csv(tmp_path, f"{header}\n{bad}\n3,8,x,new,maybe\n"))
    assert f"no row of {tmp_path}/data.csv fits the model's features and classes; the first, {reason}" in str(
        refused.value.message
    )


def test_a_file_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    contract = FeatureContract("regression", "y", (Feature(name="x"),))
    data = rows.read_csv(contract, "y", csv(tmp_path, "\ufeffx;y\n1,5;2,25\n"))
    assert (data.values.tolist(), data.labels) == ([[1.5]], (2.25,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no column 'Bought'"),
        ("Bought,Member\n1,true\n", "no column for the model's feature 'age_group'"),
        ("Bought,Net income,Age group,Member\n9,1,old,true\n", "no row of"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataRefused, match=complaint):
        rows.read_csv(MIXED, "Bought", csv(tmp_path, text))


def test_a_file_that_is_not_there_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="--data"):
        rows.read_csv(MIXED, "Bought", tmp_path / "gone.csv")


def test_columns_of_other_versions_are_taken_where_the_file_has_them(tmp_path: Path) -> None:
    path = csv(tmp_path, "Bought,Net income (EUR),Age group,Member,Wind speed\n1,10.5,young,true,3.5\n0,7,old,false,\n")
    wind, rain = Feature(name="wind_speed", source_name="Wind speed", nullable=True), Feature(name="rain")
    data = rows.read_csv(MIXED, "Bought", path, optional=[rain, wind])
    assert data.contract.names == ("age_group", "net_income", "member", "wind_speed")
    assert data.values[0].tolist() == ["young", 10.5, "true", 3.5]
    assert math.isnan(data.values[1, 3])


def test_a_row_goes_without_another_version_s_column_whose_value_does_not_fit(tmp_path: Path) -> None:
    rows_of_file = "1,10.5,young,true,strong,3\n0,7,old,false,2.5,\n0,ten,old,false,weak,1\n"
    path = csv(tmp_path, "Bought,Net income,Age group,Member,Wind,Rain\n" + rows_of_file)
    data = rows.read_csv(MIXED, "Bought", path, optional=[Feature(name="wind"), Feature(name="rain", nullable=True)])
    assert data.values[:, 4].tolist()[0] == 3
    assert data.absent is not None
    assert data.absent.tolist() == [[False, False, False, True, False], [False] * 5]
    assert data.first_absent == "line 2: feature 'wind' must be a number, got a string"
    assert (data.skipped, data.first_skipped) == (1, "line 4: feature 'net_income' must be a number, got a string")
    assert data.column(3).tolist() == [2.5]


def test_a_built_in_set_has_columns_of_other_versions_too() -> None:
    fewer = FeatureContract("classification", "species", IRIS.features[:2], IRIS.classes)
    assert rows.built_in(fewer, "iris", IRIS.features[2:3]).values[0].tolist() == [5.1, 3.5, 1.4]
