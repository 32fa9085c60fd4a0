"""Evidence about one challenger, as the paired test makes it."""

import msgspec

from app.domain.experiment import ExperimentTerms
from app.stats import paired
from app.stats.checks import CheckResult
from app.stats.evidence import Conclusions, Evidence, LabelArrival, Present
from app.stats.paired import PairedSummary
from app.stats.paired_interval import interval
from app.stats.strongest import Strongest

TERMS = ExperimentTerms(metric="accuracy", equivalence_margin=0.02, min_effect=0.01)
SOUND = (CheckResult("sample_ratio", True, 0.4, 0.1), CheckResult("label_rate", True, 0.7, 0.1))
BROKEN = (CheckResult("sample_ratio", False, 1e-5, 11.0),)
BALANCED = LabelArrival(splits=((0.5, 0.5),))
CANARY = LabelArrival(splits=((0.1, 0.9),))


def evidence(wins=12, losses=6, ties=800, arrival=BALANCED, **changes) -> Evidence:
    """The evidence of labelled requests, and of the unlabelled disagreements of `arrival`."""
    summary = PairedSummary(wins, losses, ties)
    log_e, side = paired.log_e(summary), (wins > losses) - (wins < losses)
    made = Evidence(
        challenger="v2",
        baseline="v1",
        method="paired",
        n=summary.n,
        difference=paired.difference(summary),
        interval=interval(summary, 0.05),
        log_e=log_e,
        strongest=Strongest(max(log_e, 0.0), summary.n, side),
        present=Present(log_e, side, paired.log_e_one_sided(summary.add(losses=arrival.unlabelled))),
        probability_better=paired.probability_better(summary),
        arrival=arrival,
    )
    return msgspec.structs.replace(made, **changes)


BETTER, WORSE = evidence(120, 60, 8000), evidence(60, 120, 8000)
ALIKE = evidence(agreement=Strongest(5.2, 300, 1))
HOPELESS = evidence(0, 6, 800, conclusions=Conclusions(futile_at=700))
# Proven after 400 labels, and of the other side, or of the same with little evidence, now.
TURNED = evidence(60, 70, 8000, strongest=Strongest(5.0, 400, 1))
RECOVERED = evidence(70, 60, 8000, strongest=Strongest(5.0, 400, -1))
FADED = evidence(70, 60, 8000, strongest=Strongest(5.0, 400, 1))
WEAK = evidence(60, 70, 8000, strongest=Strongest(5.0, 400, -1))
