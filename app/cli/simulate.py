"""`bakeoff simulate`: sends rows of the served model's data set, and their true labels, to the running API."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import BakeoffError, Unauthorised, Unavailable
from app.settings import Settings
from app.simulation import rows
from app.simulation.client import ServedModel, Service, ServiceProblem, reference_of
from app.simulation.plan import GRAMMAR, Distortion, TrafficOptions, parse, planned
from app.simulation.play import Pace, Play, Summary, Tally, text_of

_INTERRUPTED = 130
_POLL_S = 0.1
_LAST_ANSWERS_S = 10.0  # after Ctrl-C: long enough for answers under way, short enough for one who waits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--requests", type=_whole(1), default=5000, metavar="N", help="how many to send (default: 5000)"
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
        "--seed", type=_whole(0), default=0, metavar="N", help="the same seed sends the same rows (default: 0)"
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
    parser.add_argument("--data", type=Path, metavar="CSV", help="the model's data set, if it has moved since training")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Send the requests and labels, and print the summary.

    The exit status is 0 if every request was answered and every label accepted, 130 after Ctrl-C, and otherwise 1.
    Raises `Unavailable`, `Unauthorised`, `InvalidRequest`, `DataRefused` and `SettingError`.
    """
    settings = Settings.from_environ()
    model = _served_model(settings)
    data = rows.load(model.contract, model.source, args.data)
    tally = Tally(args.requests, regression=model.contract.task == "regression")
    if data.skipped:
        tally.note(f"rows left out because they do not fit the model's features or classes: {data.skipped}")
    pace = Pace(concurrency=args.concurrency, rate=args.rate, feedback_batch=args.feedback_batch)
    play = Play(planned(data, _options(args)), pace, lambda: Service(settings.api_url, settings.api_token), tally)
    summary, interrupted = _played(play, tally, args.requests)
    print(msgspec.json.encode(summary).decode() if args.json else text_of(summary))
    if interrupted:
        return _INTERRUPTED
    return 0 if summary.complete else 1


def _options(args: argparse.Namespace) -> TrafficOptions:
    return TrafficOptions(
        requests=args.requests,
        seed=args.seed,
        label_rate=args.label_rate,
        users=args.users,
        noise=args.noise,
        distortions=tuple(args.drift),
        after=args.after,
    )


def _served_model(settings: Settings) -> ServedModel:
    service = Service(settings.api_url, settings.api_token)
    listing = service.models()
    service.close()
    if not isinstance(listing, ServiceProblem):
        return reference_of(listing.models)
    url = settings.api_url
    if listing.status == 0:  # no status at all, so nothing answered
        raise Unavailable(f"can't reach the API at {url}: start it with `bakeoff serve`, or set API_URL to its address")
    if listing.status in (401, 403):
        raise Unauthorised(f"{url} refuses the call: set API_TOKEN to the API's ({listing.message})")
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
