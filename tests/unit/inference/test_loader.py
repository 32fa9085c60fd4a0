"""Loading: good versions serve, bad ones are named, forks and imports are as a web server needs them."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.errors import ArtefactRefused
from app.inference.loader import load_models, load_version
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, VARIANTS, data, draft, numeric_contract

IRIS, SPECIES = data("iris")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two_forests(tmp_path_factory):
    registry = ModelRegistry(tmp_path_factory.mktemp("models"), KEY)
    forest = VARIANTS["deep_forest"]().fit(IRIS, SPECIES)
    for _ in range(2):
        publish(registry, forest, draft(IRIS, numeric_contract(IRIS, 3)), random=10)
    return registry.root


@pytest.fixture
def registry(tmp_path, two_forests):
    return ModelRegistry(shutil.copytree(two_forests, tmp_path / "models"), KEY)


def test_an_empty_shelf_gives_an_empty_fleet(tmp_path):
    loaded_models = load_models(ModelRegistry(tmp_path / "nothing", KEY))
    assert (dict(loaded_models.versions), loaded_models.reference, loaded_models.compatible, loaded_models.refused) == (
        {},
        None,
        (),
        (),
    )


def test_the_reference_is_the_first_version_until_there_is_a_champion(registry):
    assert load_models(registry).reference == "v1"
    registry.point("champion", "v2")
    assert load_models(registry).reference == "v2"


def test_a_bad_version_is_named_and_the_other_serves(registry):
    (registry.root / "v1" / "model.joblib").write_bytes(b"")
    registry.point("champion", "v2")
    loaded_models = load_models(registry)
    assert tuple(loaded_models.versions) == loaded_models.compatible == ("v2",)
    assert [refused.name for refused in loaded_models.refused] == ["v1"]
    assert "model.joblib" in loaded_models.refused[0].reason


def test_a_champion_that_does_not_load_is_not_the_reference(registry):
    registry.point("champion", "v2")
    (registry.root / "v2" / "model.onnx").unlink()
    assert load_models(registry).reference == "v1"


def test_broken_aliases_are_reported_and_the_versions_serve(registry):
    (registry.root / "aliases.json").write_bytes(b"\xff")
    loaded_models = load_models(registry)
    assert loaded_models.compatible == ("v1", "v2")
    assert [refused.name for refused in loaded_models.refused] == ["aliases.json"]


def test_versions_of_another_contract_are_served_but_are_no_peers(registry):
    binary = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES > 0)
    publish(registry, binary, draft(IRIS, numeric_contract(IRIS, 2)), random=10)
    loaded_models = load_models(registry)
    assert tuple(loaded_models.versions) == ("v1", "v2", "v3")
    assert loaded_models.compatible == ("v1", "v2")


def test_two_versions_of_one_ordinal_are_not_both_served(registry):
    ours = registry.verified("v1")
    (registry.root / ".last_ordinal").write_text("0")
    (registry.root / "v1").rename(registry.root / "Away")
    (registry.root / "v2").rename(registry.root / "Also")
    registry.publish(ours.manifest, ours.files, "twin")
    (registry.root / "Away").rename(registry.root / "v1")
    loaded_models = load_models(registry)
    assert len(loaded_models.versions) == 1
    assert "ordinal" in loaded_models.refused[0].reason


@pytest.mark.parametrize("name", ["model.onnx", "plan.json", "settle.npz"])
def test_signed_files_that_do_not_run_are_refused_and_not_fatal(registry, name):
    good = registry.verified("v1")
    registry.publish(good.manifest, {**good.files, name: b"nonsense"}, "v9")
    with pytest.raises(ArtefactRefused, match="does not run"):
        load_version(registry, "v9")
    assert load_models(registry).compatible == ("v1", "v2")


def test_a_version_that_cannot_answer_its_examples_is_refused(registry):
    good = registry.verified("v1")
    wrong = msgspec.structs.replace(good.manifest, examples=((1.0, 2.0),))
    registry.publish(wrong, good.files, "v9")
    with pytest.raises(ArtefactRefused, match="does not run"):
        load_version(registry, "v9")


def test_a_manifest_without_examples_is_warmed_up_all_the_same(registry):
    good = registry.verified("v1")
    registry.publish(msgspec.structs.replace(good.manifest, examples=()), good.files, "v9")
    assert load_version(registry, "v9").runtime.predict(IRIS[:1]).class_ids.tolist() == [0]


@pytest.mark.parametrize(
    ("runtime", "consequence"),
    [("onnx", "it is served by onnx"), ("sklearn", "its answers may differ, publish it again")],
)
def test_another_scikit_learn_is_warned_of_and_served(registry, caplog, runtime, consequence):
    good = registry.verified("v1")
    old = msgspec.structs.replace(good.manifest, libraries={"scikit-learn": "0.24.2"}, runtime=runtime)
    registry.publish(old, good.files, "v9")
    with caplog.at_level(logging.WARNING, logger="app.inference"):
        version = load_version(registry, "v9")
    assert "0.24.2" in caplog.text
    assert consequence in caplog.text
    assert (
        version.runtime.predict(IRIS).class_ids.tolist()
        == load_version(registry, "v1").runtime.predict(IRIS).class_ids.tolist()
    )


def run(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


SERVE = """
import os, pathlib, sys
import numpy as np
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
loaded_models = load_models(ModelRegistry(pathlib.Path(sys.argv[1]), b"k" * 32))
rows = np.random.default_rng(1).uniform(0, 7, (1500, 4))
def answers():
    runtime = loaded_models.versions["v1"].runtime
    singly = [int(runtime.predict(row[None]).class_ids[0]) for row in rows[:200]]
    return singly + runtime.predict(rows).class_ids.tolist()
"""


def test_only_onnx_versions_need_neither_scikit_learn_nor_what_it_brings(registry):
    code = SERVE + "answers(); print([m for m in ('sklearn', 'scipy', 'pandas', 'joblib', 'onnx') if m in sys.modules])"
    assert run(code, str(registry.root)).strip() == "[]"


def test_versions_loaded_before_a_fork_answer_after_it(registry):
    code = (
        SERVE
        + """
before = answers()
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        os._exit(0 if answers() == before else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], answers() == before)
"""
    )
    assert run(code, str(registry.root)).strip() == "[0, 0] True"


def test_near_ties_left_to_the_estimator_load_it_before_the_first_request(tmp_path):
    from sklearn.naive_bayes import GaussianNB

    registry = ModelRegistry(tmp_path, KEY)
    publish(registry, GaussianNB().fit(IRIS, SPECIES), draft(IRIS, numeric_contract(IRIS, 3)), random=10)
    assert run(SERVE + "print('sklearn' in sys.modules)", str(tmp_path)).strip() == "True"


def test_examples_with_gaps_warm_up_as_missing_values(tmp_path):
    gaps = np.where(np.random.default_rng(1).random(IRIS.shape) < 0.3, np.nan, IRIS)
    model = VARIANTS["deep_forest"]().set_params(n_estimators=5).fit(gaps, SPECIES)
    registry = ModelRegistry(tmp_path, KEY)
    manifest = publish(registry, model, draft(gaps, numeric_contract(gaps, 3)), random=10)
    assert any(value is None for example in manifest.examples for value in example)
    assert load_version(registry, "v1").runtime_name == "onnx"
