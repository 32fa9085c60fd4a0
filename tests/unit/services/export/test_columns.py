"""Which columns the features of several versions and layouts share, and of which types they are."""

from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.contract import Feature, FeatureContract
from app.services.export.columns import FeatureColumns
from app.services.export.rows import RowForm


def text(name, **changes):
    return Feature(name=name, kind="categorical", open_categories=True, **changes)


def columns_of(*versions):
    contracts = {
        f"v{number}": FeatureContract("regression", "y", tuple(features)) for number, features in enumerate(versions, 1)
    }
    return FeatureColumns(contracts)


def shown(columns):
    return [(column.name, column.type) for column in columns.columns]


def test_a_column_of_two_versions_is_one_by_its_name_in_the_training_data():
    columns = columns_of([Feature(name="a")], [Feature(name="x_1", source_name="x 1"), Feature(name="a")])
    assert shown(columns) == [("feature.a", "number"), ("feature.x_1", "number")]
    assert columns.places(RowForm("v2", None)) == (1, 0)


def test_numbers_and_texts_of_one_name_are_two_columns_and_booleans_become_numbers():
    columns = columns_of([Feature(name="a", boolean=True)], [text("a")], [Feature(name="a")])
    assert shown(columns) == [("feature.a", "number"), ("feature.a_2", "text")]
    assert [columns.places(RowForm(version, None)) for version in ("v1", "v2", "v3")] == [(0,), (1,), (0,)]


def test_dates_and_times_have_types_of_their_own():
    likes = ("2026-01-31", "2026-01-31T10:00", "2026-01-31T10:00Z")
    columns = columns_of([text(f"d{place}", dates_like=like) for place, like in enumerate(likes)])
    assert [kind for _, kind in shown(columns)] == ["date", "time", "time_utc"]


def test_a_layout_has_the_columns_of_the_contracts_and_what_no_contract_has_is_text():
    columns = columns_of([Feature(name="a"), Feature(name="b")])
    layout = LoggedLayout(1, (LoggedColumn("new"), LoggedColumn("b")))
    assert columns.places(RowForm("v1", layout)) == (2, 1)
    assert shown(columns)[2] == ("feature.new", "text")


def test_columns_that_nobody_knows_have_no_place():
    columns = columns_of([Feature(name="a")])
    assert columns.places(RowForm("gone", None)) is None
    assert columns.places(RowForm("v1", LoggedLayout(1, ()))) is None
