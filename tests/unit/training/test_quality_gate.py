import pytest

from app.domain.prediction import Outputs
from app.errors import DataRefused, GateFailed
from app.training.evaluate import ClassFigures, ValueFigures
from app.training.fitting import Fitted
from app.training.gate import Gate


def classifier(accuracy):
    return fitted(ClassFigures(100, accuracy, 1.0, 1.0, 1.0, None, None, ()))


def regressor(r2):
    return fitted(ValueFigures(100, 1.0, 1.0, r2))


def fitted(figures):
    return Fitted(variant="mine", estimator=None, training=figures, holdout=figures, heldout=Outputs(), errors=None)


@pytest.mark.parametrize(
    ("gate", "model"),
    [
        (Gate(), classifier(0.90)),
        (Gate(min_accuracy=0.0), classifier(0.1)),
        (Gate(), regressor(-5.0)),
        (Gate(min_r2=0.5), regressor(0.5)),
    ],
)
def test_what_reaches_the_gate_passes(gate, model):
    gate.check([("v1", model)])


@pytest.mark.parametrize(
    ("gate", "model", "complaint"),
    [
        (Gate(), classifier(0.8999), "accuracy 0.8999 is below 0.9"),
        (Gate(min_accuracy=1.0), classifier(0.999), "accuracy 0.999 is below 1"),
        (Gate(min_r2=0.5), regressor(0.4), "R² 0.4 is below 0.5"),
        (Gate(min_r2=0.5), regressor(None), "R² nan is below 0.5"),
    ],
)
def test_what_is_below_fails_with_both_figures(gate, model, complaint):
    with pytest.raises(GateFailed, match=complaint):
        gate.check([("v1", model)])


def test_every_failure_is_named():
    with pytest.raises(GateFailed, match=r"v1 \(mine\).*v2 \(mine\).*nothing was published"):
        Gate().check([("v1", classifier(0.1)), ("v2", classifier(0.2))])


def test_a_gate_for_the_other_task_is_refused_rather_than_ignored():
    with pytest.raises(DataRefused, match="--min-r2"):
        Gate(min_accuracy=0.9).fits("regression")
    with pytest.raises(DataRefused, match="--min-accuracy"):
        Gate(min_r2=0.9).fits("classification")
