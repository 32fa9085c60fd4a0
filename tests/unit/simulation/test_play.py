"""Playing a plan: what is sent, tried again, counted, and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from app.simulation.client import Accepted, Service, ServiceAnswer, ServiceOutcome, ServiceProblem
from app.simulation.plan import PlannedRequest
from app.simulation.play import NO_FEEDBACK, Pace, Play, Summary, Tally, text_of
from app.tokens import Tokens
from tests.unit.simulation.small_service import SmallService
from tests.waiting import eventually

BUSY = ServiceProblem(503, "unavailable", "busy", 0.0)
SILENT = ServiceProblem(0, "no_answer", "connection refused")


def plan(count: int, label: str | float = "a") -> Iterator[PlannedRequest]:
    return (PlannedRequest(index, [float(index)], label, index % 2 == 0, None) for index in range(count))


class Fake:
    """A connection that answers by two functions, and remembers the labels."""

    def __init__(
        self,
        predict: Callable[[int], ServiceAnswer | ServiceProblem] | None = None,
        send_labels: Callable[[list[ServiceOutcome]], Accepted | ServiceProblem] | None = None,
    ) -> None:
        self._predict = predict or (lambda number: ServiceAnswer(f"p{number}", "a", "v1", "weighted"))
        self._send_labels = send_labels or (lambda outcomes: Accepted(len(outcomes)))
        self.rows: list[list[float | str | None]] = []
        self.batches: list[list[ServiceOutcome]] = []

    def predict(self, request: PlannedRequest) -> ServiceAnswer | ServiceProblem:
        self.rows.append(request.row)
        return self._predict(len(self.rows))

    def send_labels(self, outcomes: list[ServiceOutcome]) -> Accepted | ServiceProblem:
        self.batches.append(list(outcomes))
        return self._send_labels(outcomes)

    def close(self) -> None:
        pass


def played(connection: Fake, count: int = 100, *, regression: bool = False, label: str | float = "a") -> Summary:
    tally = Tally(count, regression=regression)
    play = Play(plan(count, label), Pace(concurrency=1, feedback_batch=20), lambda: connection, tally)
    play.start()
    assert play.wait(10)
    return tally.summary(1.0)


def test_everything_is_sent_once_and_labels_go_in_batches() -> None:
    connection = Fake()
    summary = played(connection)
    assert [row[0] for row in connection.rows] == list(range(100))
    assert [len(batch) for batch in connection.batches] == [20, 20, 10]
    assert (summary.answered, summary.labels_sent, summary.labels_accepted) == (100, 50, 50)
    assert summary.complete


def test_a_label_goes_with_the_id_of_its_own_prediction() -> None:
    connection = Fake()
    played(connection, 6)
    assert [outcome.prediction_id for outcome in connection.batches[0]] == ["p1", "p3", "p5"]


def test_accuracy_is_seen_by_version() -> None:
    connection = Fake(lambda n: ServiceAnswer(f"p{n}", "a" if n % 4 else "b", "v1" if n % 2 else "v2", "weighted"))
    versions = played(connection).versions
    assert (versions["v1"].answers, versions["v1"].accuracy) == (50, 1.0)
    assert (versions["v2"].answers, versions["v2"].accuracy) == (50, 0.5)


def test_numbers_are_scored_by_their_distance() -> None:
    connection = Fake(lambda n: ServiceAnswer(f"p{n}", 3.0, "v1", "weighted"))
    assert played(connection, regression=True, label=2.5).versions["v1"].mean_absolute_error == 0.5


def test_a_busy_service_is_asked_again_and_errors_are_counted_by_code() -> None:
    refused = ServiceProblem(400, "invalid_features", "no")
    connection = Fake(
        lambda n: refused if n == 3 else BUSY if n in (1, 2) else ServiceAnswer("p", "a", "v1", "weighted")
    )
    summary = played(connection, 10)
    assert len(connection.rows) == 12
    assert (summary.sent, summary.answered, summary.errors) == (10, 9, {"invalid_features": 1})
    assert not summary.complete


def test_a_service_that_stays_busy_is_given_up_on() -> None:
    connection = Fake(lambda _: BUSY)
    assert played(connection, 2).errors == {"unavailable": 2}
    assert len(connection.rows) == 8


def test_a_server_without_feedback_is_said_once_and_predictions_go_on() -> None:
    connection = Fake(send_labels=lambda _: ServiceProblem(404, "not_found", "there is no '/feedback' here"))
    summary = played(connection)
    assert (summary.answered, len(connection.batches)) == (100, 1)
    assert summary.notes == (NO_FEEDBACK,)
    assert summary.complete


def test_labels_that_are_not_taken_are_counted() -> None:
    connection = Fake(send_labels=lambda _: ServiceProblem(404, "unknown_prediction", "forged"))
    summary = played(connection)
    assert (summary.label_errors, summary.labels_accepted) == ({"unknown_prediction": 50}, 0)
    assert not summary.complete


def test_a_server_that_has_gone_ends_the_run() -> None:
    summary = played(Fake(lambda _: SILENT), 1000)
    assert summary.errors == {"no_answer": 20}
    assert "the server does not answer any more, the run was stopped: connection refused" in summary.notes


def test_a_stop_tells_the_labels_of_what_was_answered() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def predict(number: int) -> ServiceAnswer:
        if number == 5:
            reached.set()
            go_on.wait(10)
        return ServiceAnswer(f"p{number}", "a", "v1", "weighted")

    connection, tally = Fake(predict), Tally(1000, regression=False)
    play = Play(plan(1000), Pace(concurrency=1), lambda: connection, tally)
    play.start()
    reached.wait(10)
    play.stop()
    go_on.set()
    assert play.wait(10)
    summary = tally.summary(1.0)
    assert (summary.sent, summary.labels_accepted, summary.complete) == (5, 3, False)


def test_a_stop_ends_the_wait_for_a_slow_pace() -> None:
    tally = Tally(10, regression=False)
    play = Play(plan(10), Pace(concurrency=2, rate=0.001), Fake, tally)
    play.start()
    eventually(lambda: tally.sent >= 1)
    assert not play.wait(0)
    play.stop()
    assert play.wait(10)
    assert tally.sent == 1


def test_over_http_with_several_connections_nothing_is_lost(service: SmallService) -> None:
    tally = Tally(200, regression=False)
    play = Play(plan(200), Pace(concurrency=4), lambda: Service(service.url, Tokens(api="sesame")), tally)
    play.start()
    assert play.wait(30)
    assert sorted(body["features"][0] for body in service.bodies("/predict")) == list(range(200))
    assert sum(len(body["feedback"]) for body in service.bodies("/feedback")) == 100
    assert service.authorisation == {"Bearer sesame"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "problem"),
    [
        (503, '{"error": {"code": "not_ready", "message": "m"}}', {"Retry-After": "2"}, (503, "not_ready", "m", 2.0)),
        (404, "<html>", {}, (404, "unknown", "Not Found", None)),
        (400, '{"error": "text"}', {"Retry-After": "soon"}, (400, "unknown", "Bad Request", None)),
    ],
)
def test_an_error_s_facts_are_kept(
    service: SmallService, status: int, body: str, headers: dict[str, str], problem: tuple[object, ...]
) -> None:
    service.answers["/predict"] = [(status, body, headers)]
    assert Service(service.url).predict(next(plan(1))) == ServiceProblem(*problem)


def test_an_answer_that_is_none_is_a_problem(service: SmallService) -> None:
    service.answers["/predict"] = [(200, "{}", {})]
    problem = Service(service.url).predict(PlannedRequest(0, [1.0], "a", False, "u-1"))
    assert isinstance(problem, ServiceProblem)
    assert problem.code == "unreadable_answer"
    assert service.bodies("/predict") == [{"features": [1.0]}]
    assert service.users == ["u-1"]


def test_the_report_says_it_all() -> None:
    connection = Fake(
        lambda n: ServiceProblem(400, "bad", "no") if n == 1 else ServiceAnswer(f"p{n}", "a", "v1", "weighted")
    )
    assert text_of(played(connection, 4)).splitlines() == [
        "sent 4 of 4 requests in 1.0 s (4/s)",
        "answered 3 (weighted 3)",
        "without a prediction 1 (bad 1)",
        "  v1: 3 answers, 100.00% right",
        "labels accepted 1, already known 0",
    ]
