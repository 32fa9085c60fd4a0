"""One more experiment metric is one file and its entry in the table: nothing else knows the metrics by name."""

import ast
import random
from pathlib import Path

import pytest

import app
from app.domain.contract import Task
from app.scoring import table
from app.scoring.contract import Answer, Metric, Range
from tests.unit.monitor.small_log import SmallLog

ROOT = Path(app.__file__).parent
# Figures of a training run, which has metrics of its own, and the losses that scikit-learn names like ours.
OTHER_FIGURES = (
    "training",
    "inference/export",
    "cli/published.py",
    "cli/models.py",
    "cli/comparing.py",
    "services/ports.py",
    "ui/views/health.py",
)


def named_in(tree: ast.Module) -> list[str]:
    """Places that choose by a metric's name: a comparison, a table's key, or a match case."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        names = {each.value for part in parts for each in ast.walk(part) if isinstance(each, ast.Constant)}
        about = "metric" in ast.unparse(node) or not isinstance(node, ast.Compare)
        # "reward" is a kind of outcome too, and a field of a request.
        if names & (set(table.METRICS) - {"reward"}) or ("reward" in names and isinstance(node, ast.Compare) and about):
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_no_metric_is_chosen_by_its_name_outside_its_file():
    paths = [path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).as_posix().startswith("scoring/")]
    paths = [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(OTHER_FIGURES)]
    found = {str(path.relative_to(ROOT)): named_in(ast.parse(path.read_text())) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def documented() -> dict[str, dict[str, str]]:
    """The table of docs/statistics.md: by metric, the cells by heading, without their code marks."""
    section = (ROOT.parent / "docs" / "statistics.md").read_text().split("## The metrics\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    heading, *rows = ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(heading, row, strict=True)) for row in rows}


def test_the_documents_list_the_metrics_of_the_table():
    assert list(documented()) == list(table.METRICS)


@pytest.mark.parametrize("metric", table.METRICS.values(), ids=lambda metric: metric.name)
def test_the_documents_say_what_the_record_says(metric):
    row = documented()[metric.name]
    assert row["models"] == ", ".join(metric.tasks)
    assert (row["outcome"], row["method"]) == (metric.outcome, metric.method)
    assert row["better"] == ("higher" if metric.higher_is_better else "lower")


def error_energy(answer: Answer, label: float, _terms) -> float | None:
    return None if answer.v is None else (answer.v - label) ** 2


TASKS: tuple[Task, ...] = ("regression",)
ERROR_ENERGY = Metric(
    name="error_energy",
    quantity="error energy",
    tasks=TASKS,
    higher_is_better=False,
    method="paired_numeric",
    range_of=lambda terms: Range(*terms.error_range) if terms.error_range else None,
    score=error_energy,
)


@pytest.fixture
def one_more(monkeypatch):
    monkeypatch.setattr(table, "METRICS", {**table.METRICS, ERROR_ENERGY.name: ERROR_ENERGY})


def play(small_log: SmallLog) -> None:
    """120 labelled requests; the challenger's errors are half as large."""
    rng = random.Random(1)
    for _ in range(120):
        row = small_log.served({"v1": {"v": rng.gauss(0, 1)}, "v2": {"v": rng.gauss(0, 0.5)}}, rng.choice(["v1", "v2"]))
        small_log.log(row)
        small_log.give(row, 0.0)


def test_a_metric_in_the_table_is_projected_compared_and_described(one_more, small_log):
    small_log.begin(metric="error_energy", error_range=(0.0, 4.0))
    play(small_log)
    report = small_log.report()
    [found] = report.comparisons
    assert (found.method, found.n, found.verdict) == ("paired_numeric", 120, "better")
    assert found.difference == pytest.approx(0.75, abs=0.3)
    assert [variant.mean > 0 for variant in report.variants] == [True, True]
    assert "its error energy is" in report.recommendation.reason
    assert "lower" in report.recommendation.reason


def test_a_metric_in_the_table_is_offered_for_its_task(one_more):
    assert table.names_for("regression")[-1] == "error_energy"
    assert "error_energy" not in table.names_for("classification")
