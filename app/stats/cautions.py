"""What limits a comparison although nothing is wrong with it: sentences for a person, which block no decision."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Range
from app.scoring.table import metric_of
from app.stats.evidence import Evidence, Rewards, Votes, percent
from app.tables.counts import counted

# Fewer than one outcome in this many is a vote: somebody names users, or keys, that stand for many cases.
_VOTES_AT_LEAST_ONE_IN = 20
_ENOUGH = 20
_UNREPORTED = (
    "what is shown assumes that both versions' rewards are reported alike, zeros too: where that is known to be true, "
    "begin the next experiment with LABELS_EXOGENOUS=true; where a missing reward means 0, with REWARD_WINDOW"
)
# A range this many times wider than the largest reward costs most of the power.
_WIDE = 10


def cautions(evidence: Evidence, terms: ExperimentTerms, rewards: Rewards | None) -> tuple[str, ...]:
    """The sentences about one challenger; `rewards` is None where the metric compares none."""
    found = [*_of_columns(evidence), *_of_votes(evidence, terms), *_of_labels(evidence, terms)]
    return tuple(found if rewards is None else [*found, *_of_rewards(rewards, terms)])


def _of_columns(evidence: Evidence) -> list[str]:
    share = evidence.comparable_share
    if not share or share == 1:
        return []
    return [
        f"{percent(share)} of the requests have every column that {evidence.challenger} and {evidence.baseline} read, "
        "and only these are compared; a version's requests, errors and means are those of all requests that it answered"
    ]


def _of_votes(evidence: Evidence, terms: ExperimentTerms) -> list[str]:
    votes = evidence.votes
    found = []
    if votes.outcomes >= _ENOUGH and evidence.n * _VOTES_AT_LEAST_ONE_IN < votes.outcomes:
        found.append(
            f"only {evidence.n:,} of {votes.outcomes:,} outcomes vote, because each {votes.unit} votes once: if one "
            f"{votes.unit} stands for many cases, begin an experiment with another EXPERIMENT_UNIT"
        )
    found += [_few(side, few) for side, few in (("wins", votes.few_wins), ("losses", votes.few_losses)) if few]
    if votes.outside:
        found.append(
            f"{votes.outside:,} of {votes.present:,} labels give a value outside the declared range, which counts as "
            "its nearer end: begin an experiment with a wider range (ERROR_RANGE) if these matter"
        )
    if votes.missing:
        found.append(_missing(evidence.challenger, votes, terms))
    return found


def _few(side: str, few: tuple[int, int]) -> str:
    votes, rows = few
    return f"all {votes:,} {side} come from {counted(rows)}"


def _missing(challenger: str, votes: Votes, terms: ExperimentTerms) -> str:
    metric = metric_of(terms)
    said = f"{challenger} gave no answer to {votes.missing:,} of {counted(votes.asked)} that it was asked"
    if metric.uses_rewards:
        # The reward of the answer that came instead counts for the version that chance chose.
        return said
    if metric.range_of(terms) is None:
        return f"{said}; these rows are left out, because no range of the metric is declared"
    return f"{said}; each labelled one counts as {'wrong' if metric.method == 'paired' else 'the worst of the range'}"


def _of_labels(evidence: Evidence, terms: ExperimentTerms) -> list[str]:
    if metric_of(terms).outcome != "actual" or not evidence.n:
        return []
    found, coverage = [], evidence.coverage
    labelled = 0 if coverage is None else coverage.labelled + coverage.agreeing_labelled
    if evidence.form is not None and coverage is not None and labelled < coverage.both:
        found.append(
            f"difference and interval are over all {counted(coverage.both)} that both versions answered: where they "
            "agree, the difference is 0 without a label; the versions' means are over the labelled rows only"
        )
    if evidence.form is None and coverage is not None and coverage.seeks_disagreements:
        found.append(
            "answers that differ are labelled more than twice as often as answers that agree: which version is better "
            "can be told from these, but the difference is over labelled rows only and too large; label a random sample"
        )
    if evidence.form == "worst_case":
        found.append(
            "answers that differ are labelled more often than answers that agree, and not all of them; so the interval "
            "allows for every unlabelled disagreement to go either way"
        )
    if not terms.labels_exogenous:
        found.append(
            "what is shown assumes that whether and when a label comes does not depend on the answers; where that is "
            "known to be true, begin the next experiment with LABELS_EXOGENOUS=true"
        )
    return found


def _of_rewards(rewards: Rewards, terms: ExperimentTerms) -> list[str]:
    declared, enough = metric_of(terms).range_of(terms), rewards.n >= _ENOUGH
    found = _of_windows(rewards, terms, declared if enough else None)
    if enough and not found and terms.reward_window_s is None and not terms.labels_exogenous:
        found.append(_UNREPORTED)
    return found if declared is None else [*found, *_of_range(rewards, declared, enough=enough)]


def _of_windows(rewards: Rewards, terms: ExperimentTerms, declared: Range | None) -> list[str]:
    """Zeros that may be missing from a range, which is None where too little is known; and rewards that came late."""
    found = []
    # Ratings from 1 to 5 have no zero that could be missing.
    has_zero = declared is not None and declared.low <= 0 <= declared.high
    if has_zero and terms.reward_window_s is None and not rewards.zeros:
        found.append(
            "no reward of 0 has come: if a missing reward means 0, as with conversions, the versions cannot be "
            "compared like this; begin an experiment with REWARD_WINDOW, or report the zeros too"
        )
    if rewards.late:
        noun = "reward" if rewards.late == 1 else "rewards"
        found.append(
            f"{rewards.late:,} {noun} came after REWARD_WINDOW had closed, and the answers count with 0: if rewards "
            "are reported late, begin an experiment with a longer window"
        )
    return found


def _of_range(rewards: Rewards, declared: Range, *, enough: bool) -> list[str]:
    found = []
    if rewards.outside:
        noun = "reward lies" if rewards.outside == 1 else "rewards lie"
        found.append(
            f"{rewards.outside:,} {noun} outside REWARD_RANGE ({declared.low:g} to {declared.high:g}) and "
            f"{'counts' if rewards.outside == 1 else 'count'} as the nearer end"
        )
    largest = rewards.largest
    if enough and largest is not None and largest - declared.low < declared.width / _WIDE:
        found.append(
            f"the largest reward so far is {largest:g}, far below the end of REWARD_RANGE ({declared.high:g}): "
            "a range nearer to what occurs decides sooner"
        )
    return found


_MANY_CORRECTIONS = 0.01


def correction_notes(corrections: int, since: int, outcomes: int, *, since_decision: bool) -> tuple[str, ...]:
    """Sentences on corrected outcomes: what evidence still counts, whether they are many, and whether they came late.

    Evidence is only as good as the corrections are blind: whoever corrects and sees who leads can decide who wins.
    """
    notes = []
    if since:
        notes.append(
            f"{since:,} outcome{'s were' if since != 1 else ' was'} corrected after entering the evidence: the number "
            "of outcomes and votes, the improvement, its interval, p and verdict are of the first values until the "
            "monitor is rebuilt (bakeoff monitor --rebuild); means, their intervals and the counts of right and wrong "
            "answers are of the last ones"
        )
    if corrections > _MANY_CORRECTIONS * outcomes:
        notes.append(
            f"{corrections:,} corrections of {outcomes:,} outcomes are many: rebuilt evidence holds only if outcomes "
            "were corrected without regard to which version they favour"
        )
    if since_decision:
        notes.append("outcomes were corrected after the experiment was decided: the decision rests on the earlier ones")
    return tuple(notes)
