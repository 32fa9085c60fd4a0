"""`bakeoff simulate`: sends cases of the served model's data, and their true labels, to the running API.

A built-in set gives any number of new cases; a CSV file gives each row that was held out from training once.
"""

from __future__ import annotations

import argparse
import math
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.held_out import held_out
from app.cli.missing import add_missing, missing_of
from app.domain.contract import Feature
from app.errors import BakeoffError, Unauthorised, Unavailable
from app.settings import Settings
from app.simulation import rows
from app.simulation.client import ServedModel, ServedTerms, Service, ServiceProblem, other_columns, reference_of
from app.simulation.new_cases import new_cases
from app.simulation.plan import GRAMMAR, Distortion, Once, PlannedRequest, Supply, TrafficOptions, parse, planned
from app.simulation.play import Pace, Play, Summary, Tally, text_of
from app.simulation.rows import BUILT_IN, LabelledRows

_REQUESTS = 5000
_SEEDS = 2**31
_DECLARE = (
    "these labels do not depend on which version answered. To declare that, which a promotion may need, start the API "
    "with LABELS_EXOGENOUS=true"
)
_INTERRUPTED = 130
_LOOKED_UP = 20
_POLL_S = 0.1
_LAST_ANSWERS_S = 10.0  # after Ctrl-C: long enough for answers under way, short enough for one who waits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Where the model's data are a built-in set, new cases are drawn: per class, with the distribution of its rows. "
        "From a CSV or Parquet file, each row that training held out is sent once (all rows if that is not known), and "
        "then the command ends: a row that is sent again is no new case. What is sent counts in the experiment and for "
        "drift unless --synthetic marks it. The labels do not depend on the answers: start the API with "
        "LABELS_EXOGENOUS=true to declare it."
    )
    parser.add_argument(
        "--requests",
        type=_whole(1),
        metavar="N",
        help=f"how many to send (default: {_REQUESTS} new cases, or each row of a file once)",
    )
    parser.add_argument(
        "--label-rate",
        type=_number(0, 1),
        default=0.8,
        metavar="P",
        help="share of requests that get a label (default: 0.8)",
    )
    parser.add_argument(
        "--feedback-batch", type=_whole(1), default=50, metavar="N", help="labels sent in one request (default: 50)"
    )
    parser.add_argument(
        "--rate", type=_number(1e-3), metavar="N", help="requests per second (default: as many as possible)"
    )
    parser.add_argument("--concurrency", type=_whole(1), default=4, metavar="N", help="connections (default: 4)")
    parser.add_argument(
        "--seed", type=_whole(0), metavar="N", help="the same seed sends the same cases (default: another each time)"
    )
    parser.add_argument("--users", type=_whole(0), default=0, metavar="N", help="send ids of N users (default: none)")
    parser.add_argument(
        "--noise",
        type=_number(0),
        default=0.0,
        metavar="X",
        help="noise added to each number, in its standard deviations (default: 0)",
    )
    parser.add_argument(
        "--drift", type=_distortion, action="append", default=[], metavar="CHANGE", help=f"change a feature: {GRAMMAR}"
    )
    parser.add_argument(
        "--after", type=_whole(0), default=0, metavar="N", help="begin --drift after N requests (default: 0)"
    )
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--data", type=Path, metavar="FILE", help="the model's data set, if it has moved since training")
    files.add_argument(
        "--replay", type=Path, metavar="FILE", help="send this file as it is: all its rows once, in their order"
    )
    add_missing(parser, "those of the version's training")
    parser.add_argument(
        "--synthetic", action="store_true", help="mark the traffic as a test: neither rows nor labels count"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Send the requests and labels, and print the summary.

    The exit status is 0 if every request was answered and every label accepted, 130 after Ctrl-C, and otherwise 1.
    Raises `Unavailable`, `Unauthorised`, `InvalidRequest`, `DataRefused` and `SettingError`.
    """
    settings = Settings.from_environ()
    published, terms = _served(settings)
    model = reference_of(published)
    loaded = [each for each in published if each.serving]
    others = other_columns(model, loaded)
    seed = secrets.randbelow(_SEEDS) if args.seed is None else args.seed
    supply, requests, notes = _supply(args, model, (loaded, others), seed)
    tally = Tally(requests, regression=model.contract.task == "regression")
    for note in (*notes, *_on_labels(args, terms)):
        tally.note(note)
    pace = Pace(concurrency=args.concurrency, rate=args.rate, feedback_batch=args.feedback_batch)
    sent = supply.data.contract.names
    names = () if sent == model.contract.names else sent
    connect = partial(Service, settings.api_url, settings.tokens, synthetic=args.synthetic, names=names)
    plan = planned(supply, _options(args, requests, seed))
    first = list(islice(plan, _LOOKED_UP))
    for note in _sent_before(connect(), first):
        tally.note(note)
    play = Play(chain(first, plan), pace, connect, tally)
    summary, interrupted = _played(play, tally, requests)
    print(msgspec.json.encode(summary).decode() if args.json else text_of(summary))
    if interrupted:
        return _INTERRUPTED
    return 0 if summary.complete else 1


def _supply(
    args: argparse.Namespace, model: ServedModel, others: tuple[Sequence[ServedModel], Sequence[Feature]], seed: int
) -> tuple[Supply, int, list[str]]:
    """Where the rows come from, how many to send, and what to say of it.

    `others` are the loaded versions, and the columns that only others of them than `model` read.
    """
    name, optional = model.source.dataset, others[1]
    if args.replay is None and args.data is None and name in BUILT_IN:
        drawn = new_cases(rows.built_in(model.contract, name, optional), name)
        return drawn, args.requests or _REQUESTS, [f"new cases of {name}; --seed {seed} draws the same ones"]
    if args.replay is not None:
        missing = missing_of(args, model.source)
        data = rows.read_csv(model.contract, model.source.target, args.replay, missing, optional)
        said = f"{args.replay} is sent as it is, its {len(data)} rows once"
        supply = Once(data)
    else:
        path = args.data or Path(name)
        data, said = _unseen(path, model, others, missing_of(args, model.source))
        supply = Once(data, seed)
    left_out = [
        f"rows left out because they do not fit the model's features or classes: {data.skipped}; "
        f"the first, {data.first_skipped}"
    ]
    absent = [feature.name for feature in optional if feature.name not in data.contract.names]
    lacking = [f"the file has no column {', '.join(absent)}: versions that read it take no part in these requests"]
    notes = [said, *(left_out if data.skipped else []), *(lacking if absent else []), *_partial(data)]
    return supply, min(args.requests or len(data), len(data)), notes


def _unseen(
    path: Path, model: ServedModel, others: tuple[Sequence[ServedModel], Sequence[Feature]], missing: Sequence[str]
) -> tuple[LabelledRows, str]:
    """The rows to send of the model's own file, each once, and what to say of it."""
    loaded, optional = others
    data = held_out(path, model, loaded, optional)
    once = "each is sent once, because a row that is sent again is no new case"
    if data is not None:
        return data, f"{path} has {len(data)} rows that no loaded version was trained on: {once}"
    data = rows.read_csv(model.contract, model.source.target, path, missing, optional)
    return data, f"which rows of {path} were trained on is not known, so all {len(data)} are sent: {once}"


def _partial(data: LabelledRows) -> list[str]:
    if data.absent is None:
        return []
    counts = dict(zip(data.contract.names, data.absent.sum(axis=0).tolist(), strict=True))
    columns = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return [
        f"rows sent without a column that only other versions read, because its value does not fit: {columns}; the "
        f"first, {data.first_absent}. Versions that read the column take no part in these requests"
    ]


def _sent_before(service: Service, first: Sequence[PlannedRequest]) -> list[str]:
    """That rows of the file are in the log already, found by looking up the first ones: a call for each would be many.

    Rows that are drawn in a random order are a sample of the file.
    """
    keys = [request.key for request in first if request.key is not None]
    known = sum(service.knows(key) for key in keys)
    service.close()
    if not known:
        return []
    return [
        f"of the first {len(keys)} rows, {known} were sent to this API before: a row that is sent again is the same "
        "case, so it adds no vote to the experiment, and drift leaves it out while it is among the last 4,096 cases"
    ]


def _on_labels(args: argparse.Namespace, terms: ServedTerms | ServiceProblem) -> list[str]:
    if args.synthetic:
        return ["marked as synthetic: neither rows nor labels count"]
    # An older API may not tell; then there is nothing to say.
    declared = not isinstance(terms, ServedTerms) or terms.labels_exogenous
    return [] if declared or not args.label_rate else [_DECLARE]


def _options(args: argparse.Namespace, requests: int, seed: int) -> TrafficOptions:
    return TrafficOptions(
        requests=requests,
        seed=seed,
        label_rate=args.label_rate,
        users=args.users,
        noise=args.noise,
        distortions=tuple(args.drift),
        after=args.after,
    )


def _served(settings: Settings) -> tuple[tuple[ServedModel, ...], ServedTerms | ServiceProblem]:
    """The published versions, and the terms of the experiment, if the API tells them."""
    service = Service(settings.api_url, settings.tokens)
    listing = service.models()
    terms = service.terms()
    service.close()
    if not isinstance(listing, ServiceProblem):
        return listing.models, terms
    url = settings.api_url
    if listing.status == 0:  # no status at all, so nothing answered
        raise Unavailable(f"can't reach the API at {url}: start it with `bakeoff serve`, or set API_URL to its address")
    if listing.status in (401, 403):
        tokens = "API_TOKEN, or PREDICT_TOKEN, READ_TOKEN and FEEDBACK_TOKEN,"
        raise Unauthorised(f"{url} refuses the call: set {tokens} to the API's ({listing.message})")
    # Another server answers with 404, or with what is not a list of models.
    advice = "; is API_URL the API's address?" if listing.status in (200, 404) else ""
    raise Unavailable(f"{url}/models answered {listing.status}: {listing.message or listing.code}{advice}")


def _played(play: Play, tally: Tally, requests: int) -> tuple[Summary, bool]:
    """The summary of the run, and whether Ctrl-C ended it early."""
    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    started = time.monotonic()
    interrupted = False
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("sending", total=requests)
        play.start()
        try:
            while not play.wait(_POLL_S):
                progress.update(bar, completed=tally.sent)
        except KeyboardInterrupt:
            # A summary of half a run is worth more than none.
            interrupted = True
            play.stop()
            play.wait(_LAST_ANSWERS_S)
    return tally.summary(time.monotonic() - started), interrupted


def _number(minimum: float, maximum: float = math.inf) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not (minimum <= value <= maximum and math.isfinite(value)):
            bound = f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
            raise argparse.ArgumentTypeError(f"{text} is not {bound}")
        return value

    return parse_number


def _whole(minimum: int) -> Callable[[str], int]:
    def parse_whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is not at least {minimum}")
        return value

    return parse_whole


def _distortion(text: str) -> Distortion:
    try:
        return parse(text)
    except BakeoffError as error:
        raise argparse.ArgumentTypeError(error.message) from error
