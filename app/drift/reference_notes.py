"""What people should know about a reference: what it cannot show, or shows approximately, and what to do."""

from __future__ import annotations

from app.drift.reference import DriftReference


def new_reference(version: str, options: str = "") -> str:
    """The command that gives a published version another reference."""
    return f"`bakeoff publish --refresh-reference {version} --reference FILE.csv{options}`"


def later_reference_note(version: str, number: int, since: str) -> str:
    """What a report says that is about a reference which the version got after its publication."""
    return (
        f"Requests since {since} that have all columns of {version} are compared with its reference {number}; the "
        "figures began anew with the first of them."
    )


def _how(version: str) -> str:
    return (
        f"give it a reference of rows that it was not fitted on: {new_reference(version, ' --reference-is holdout')} "
        "(or `--reference-is training` with those that it was fitted on)"
    )


def reference_notes(version: str, reference: DriftReference) -> tuple[str, ...]:
    """Sentences about the reference of `version`; none where everything is watched as promised."""
    return tuple(
        note for note in (_copies(reference), _answers(version, reference), _levels(version, reference)) if note
    )


def _copies(reference: DriftReference) -> str | None:
    if not reference.copies:
        return None
    return (
        f"The {reference.rows + reference.copies:,} rows that were given as the reference are one table several times: "
        f"the {reference.rows:,} rows of one copy count."
    )


def _answers(version: str, reference: DriftReference) -> str | None:
    if reference.answers_from == "none":
        reason = f"Answers and errors of {version} are not watched: {reference.answers_missing}"
        return f"{reason}. To watch them, {_how(version)}."
    if reference.answers_from == "cross_fitted":
        return (
            f"Answers and errors of {version} are compared with those of clones (cross-fitting), so their part of the "
            "false-alarm probability is approximate."
        )
    if reference.answers_from is None and reference.outputs is not None:
        return (
            f"{version} was published by an earlier release, which did not record whether it was fitted on its "
            f"reference rows. If it was, alarms of its answers and errors may be false: {_how(version)}."
        )
    return None


def _levels(version: str, reference: DriftReference) -> str | None:
    pairs = zip(reference.inputs.cells, reference.inputs.streams, strict=False)
    older = [cells.name for cells, stream in pairs if cells.kind == "categorical" and stream.levels is None]
    if not older:
        return None
    return (
        f"The reference of {version} was made by an earlier release, which gave rare levels too little weight: an "
        f"alarm of {', '.join(older)} may be false where a column has many levels. To have a new one: "
        f"{new_reference(version)}."
    )
