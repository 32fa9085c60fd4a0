from __future__ import annotations

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.drift.reference import ReferenceAnswers, build_reference
from app.drift.reference_notes import reference_notes

CONTRACT = FeatureContract(task="classification", target="t", features=(Feature("c", kind="categorical"),))
ROWS = np.array([["a"], ["b"]] * 9, dtype=object)


def test_a_reference_of_held_out_answers_needs_no_note(reference):
    assert reference_notes("v1", reference) == ()


def test_answers_that_are_left_out_are_said_with_the_reason_and_what_to_do():
    (note,) = reference_notes(
        "v1", build_reference(CONTRACT, ROWS, seed=1, answers=ReferenceAnswers("none", missing="x"))
    )
    assert note.startswith("Answers and errors of v1 are not watched: x. ")
    assert "--reference-is holdout" in note


def test_answers_of_clones_are_called_approximate(reference):
    (note,) = reference_notes("v1", msgspec.structs.replace(reference, answers_from="cross_fitted"))
    assert "approximate" in note


def test_a_reference_of_an_earlier_release_says_what_it_lacks(reference):
    (note,) = reference_notes("v1", msgspec.structs.replace(reference, answers_from=None))
    assert "earlier release" in note
    new = build_reference(CONTRACT, ROWS, seed=1, answers=ReferenceAnswers("holdout"))
    streams = tuple(msgspec.structs.replace(stream, levels=None) for stream in new.inputs.streams)
    old = msgspec.structs.replace(new, inputs=msgspec.structs.replace(new.inputs, streams=streams))
    (note,) = reference_notes("v1", old)
    assert "alarm of c may be false" in note
