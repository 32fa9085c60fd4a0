"""The error-rate detector: evidence from labels that a version is wrong more often than it was on held-out rows.

It assumes that which answers get a label does not depend on the answer. Complaints, or labels of disagreements only,
look like a rise in errors, so the detector raises the alarm only by labels that are declared exogenous.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from app.drift.crowds import BLOCK
from app.drift.detector_state import CEILING, CLEAN_BLOCKS, HEAD_START, Mode, RaisedStream

RISES: Final = (1.25, 1.5, 2.0, 3.0)
_CLEAN_LABELS: Final = BLOCK * CLEAN_BLOCKS


class ErrorState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the error-rate detector: `wrong` of `labelled` answers count as normal; `wealth` has one M per bet.

    `seen` counts all labels, those during an alarm too, which do not count as normal. `alarms` counts the alarms
    raised so far. `declared`: the last label came under a declaration that labels do not depend on the answer.
    `raised`: the evidence when the alarm was raised, kept until it is acknowledged; its rows are labels.
    """

    wrong: int
    labelled: int
    seen: int = 0
    seen_wrong: int = 0
    wealth: tuple[float, ...] = (HEAD_START,) * len(RISES)
    mode: int = Mode.QUIET
    calm: int = 0
    onset_us: int = 0
    since_us: int | None = None
    acknowledged_us: int | None = None
    alarms: int = 0
    declared: bool = False
    raised: RaisedStream | None = None

    @property
    def alarm(self) -> bool:
        """Whether more errors are proven and the alarm has neither been acknowledged nor cleared."""
        return self.mode == Mode.ALARMING

    @property
    def mean_wealth(self) -> float:
        """The mean over the bets of the wealth."""
        return sum(self.wealth) / len(self.wealth)


def error_e_value(wrong: bool, errors: int, rows: int, rise: float) -> float:
    """The e-value of one label after `errors` of `rows` were wrong, for the bet that errors rise by the factor `rise`.

    With d1 = (s+1)/(N+1) and d0 = (N−s+1)/(N+1), which no exchangeable next label exceeds in chance, and
    q = min(.95, rise·d1): q/d1 for a wrong answer, (1−q)/d0 for a right one.
    """
    if_wrong, if_right = (errors + 1) / (rows + 1), (rows - errors + 1) / (rows + 1)
    share = min(0.95, rise * if_wrong)
    return share / if_wrong if wrong else (1 - share) / if_right


def new_errors(errors: int, rows: int) -> ErrorState:
    """The state before the first label: `errors` of `rows` held-out answers were wrong."""
    return ErrorState(wrong=errors, labelled=rows)


def declared_anew(state: ErrorState, errors: int, rows: int) -> ErrorState:
    """The state when labels are declared exogenous from here on: earlier ones are neither evidence nor the norm.

    A standing alarm, which was raised by declared labels too, goes on.
    """
    if state.mode != Mode.QUIET:
        return msgspec.structs.replace(state, declared=True)
    return msgspec.structs.replace(
        new_errors(errors, rows),
        seen=state.seen,
        seen_wrong=state.seen_wrong,
        alarms=state.alarms,
        raised=state.raised,
        declared=True,
    )


def advance_errors(
    state: ErrorState, wrong: np.ndarray, *, level: float, at_us: np.ndarray | None = None
) -> ErrorState:
    """The state after labels, in the order in which they were processed: `wrong`, shape (n,), is True for an error."""
    times = [0] * len(wrong) if at_us is None else at_us.tolist()
    answers = wrong.tolist()
    done = 0
    while done < len(answers):
        state, done = _while_calm(state, answers, times, done, level)
        if done < len(answers):
            state = _after_label(state, bool(answers[done]), level, times[done])
            done += 1
    return state


def _while_calm(
    state: ErrorState, answers: list[bool], times: list[int], done: int, level: float
) -> tuple[ErrorState, int]:
    """The state after labels from number `done` on, as long as no alarm stands or is near; and how many are done then.

    What `_after_label` does, for a tenth of its cost.
    """
    if state.mode != Mode.QUIET:
        return state, done
    errors, rows, seen, seen_wrong = state.wrong, state.labelled, state.seen, state.seen_wrong
    wealth, calm, onset_us = state.wealth, state.calm, state.onset_us
    highest, (r1, r2, r3, r4) = CEILING * level, RISES
    while done < len(answers):
        is_wrong = answers[done]
        if_wrong, if_right = (errors + 1) / (rows + 1), (rows - errors + 1) / (rows + 1)
        # Written out for the four bets, without a call for each: every label of every version passes here.
        one, two, three, four = r1 * if_wrong, r2 * if_wrong, r3 * if_wrong, r4 * if_wrong
        one, two = (0.95 if one > 0.95 else one), (0.95 if two > 0.95 else two)
        three, four = (0.95 if three > 0.95 else three), (0.95 if four > 0.95 else four)
        if is_wrong:
            one, two, three, four = one / if_wrong, two / if_wrong, three / if_wrong, four / if_wrong
        else:
            one, two = (1 - one) / if_right, (1 - two) / if_right
            three, four = (1 - three) / if_right, (1 - four) / if_right
        first, second, third, last = wealth
        one, two, three, four = one * (first + 1), two * (second + 1), three * (third + 1), four * (last + 1)
        grown = (
            highest if one > highest else one,
            highest if two > highest else two,
            highest if three > highest else three,
            highest if four > highest else four,
        )
        mean = sum(grown) / 4
        if mean >= level:
            break
        wealth = grown
        errors, rows, seen, seen_wrong = errors + is_wrong, rows + 1, seen + 1, seen_wrong + is_wrong
        calm += 1
        if mean <= seen + HEAD_START:
            onset_us = times[done]
        done += 1
    after = msgspec.structs.replace(
        state,
        wrong=errors,
        labelled=rows,
        seen=seen,
        seen_wrong=seen_wrong,
        wealth=wealth,
        calm=calm,
        onset_us=onset_us,
    )
    return after, done


def acknowledge_errors(state: ErrorState, at_us: int) -> ErrorState:
    """The state with its alarm acknowledged; without an alarm it is returned unchanged."""
    if not state.alarm:
        return state if state.raised is None else msgspec.structs.replace(state, raised=None)
    return msgspec.structs.replace(state, mode=Mode.ACKNOWLEDGED, acknowledged_us=at_us, raised=None)


def _after_label(state: ErrorState, wrong: bool, level: float, at_us: int) -> ErrorState:
    wealth = tuple(
        min(CEILING * level, error_e_value(wrong, state.wrong, state.labelled, rise) * (wealth + 1))
        for rise, wealth in zip(RISES, state.wealth, strict=True)
    )
    # During an alarm labels do not count as normal: the change would soon be part of the norm it is compared with.
    absorbing = state.mode != Mode.ALARMING
    counted = msgspec.structs.replace(
        state,
        wrong=state.wrong + (wrong and absorbing),
        labelled=state.labelled + absorbing,
        seen=state.seen + 1,
        seen_wrong=state.seen_wrong + wrong,
        wealth=wealth,
    )
    return _with_mode(counted, level, at_us)


def _with_mode(state: ErrorState, level: float, at_us: int) -> ErrorState:
    mean = state.mean_wealth
    calm = 0 if mean >= level else state.calm + 1
    onset_us = at_us if mean <= state.seen + HEAD_START else state.onset_us
    state = msgspec.structs.replace(state, calm=calm, onset_us=onset_us)
    if mean >= level and state.mode == Mode.QUIET and state.declared:
        return msgspec.structs.replace(
            state,
            mode=Mode.ALARMING,
            since_us=onset_us,
            acknowledged_us=None,
            alarms=state.alarms + 1,
            raised=RaisedStream(0, state.seen, at_us, mean, state.seen),
        )
    if state.mode != Mode.QUIET and calm >= _CLEAN_LABELS:
        return msgspec.structs.replace(state, mode=Mode.QUIET, since_us=None, acknowledged_us=None)
    return state
