import json
import queue

import pytest

from app.domain.decision import AuditEntry, Change, ProbeResult
from app.errors import SettingError
from app.monitor.webhook import Announcer, Notice, Notifier, notice_of
from app.services.control.decisions import Decision, Decisions
from tests.unit.services.control.deciders import AVAILABLE, MemoryDecisions, dependencies, report

NOTICE = Notice("ann promoted v2", "decision", {"version": "v2"})
PATIENCE_S = 5


class Webhook:
    """Answers with the given statuses, then with the last one for ever; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.bodies, self.notified = list(answers), [], queue.Queue()

    def __call__(self, url, body):
        self.bodies.append(json.loads(body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.notified.put(answer)
        return answer


def notified(webhook, *notices, pauses_s=(0.0, 0.0)):
    notifier = Notifier("https://hooks.example/T0/secret", webhook, pauses_s)
    notifier.start()
    for notice in notices:
        notifier.notify(notice)
    notifier.stop(PATIENCE_S)


def test_a_notice_is_slacks_json_with_fields():
    webhook = Webhook(200)
    notified(webhook, NOTICE)
    assert webhook.bodies == [{"text": "ann promoted v2", "event": "decision", "fields": {"version": "v2"}}]


@pytest.mark.parametrize("trouble", [503, 429, 500, OSError("refused: https://hooks.example/T0/secret")])
def test_trouble_that_may_pass_is_tried_again(trouble, caplog):
    webhook = Webhook(trouble, 200)
    notifier = Notifier("https://hooks.example/T0/secret", webhook, (0.0, 0.0))
    notifier.start()
    notifier.notify(NOTICE)
    while webhook.notified.get(timeout=PATIENCE_S) != 200:
        pass
    notifier.stop(PATIENCE_S)
    assert len(webhook.bodies) == 2
    assert caplog.records == []


def test_a_wrong_address_is_given_up_at_once_and_logged_without_its_secret(caplog):
    webhook = Webhook(404)
    notified(webhook, NOTICE)
    assert len(webhook.bodies) == 1
    assert [(r.message, r.event_fields["host"]) for r in caplog.records] == [("notice_not_delivered", "hooks.example")]
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_stopping_does_not_wait_for_a_webhook_that_is_down(caplog):
    webhook = Webhook(OSError("down: https://hooks.example/T0/secret"))
    notified(webhook, NOTICE, pauses_s=(3600.0,))
    assert caplog.records[0].event_fields["reason"] == "OSError"


def test_notifying_never_waits_and_a_notice_above_the_limit_is_logged(caplog):
    notifier = Notifier("https://hooks.example/x", Webhook(200))  # not started: nothing is taken out
    for _ in range(203):
        notifier.notify(NOTICE)
    assert [record.event_fields["reason"] for record in caplog.records] == ["200 notices were waiting already"] * 3


@pytest.mark.parametrize("url", ["ftp://x/y", "hooks.example/T0", "http://", "https:///path"])
def test_an_address_that_is_none_stops_the_start(url):
    with pytest.raises(SettingError, match="NOTIFY_WEBHOOK_URL"):
        Notifier(url)


class Notified:
    """How far the webhook has been notified, in memory."""

    body = None

    def notified(self):
        return self.body

    def put_notified(self, body):
        self.body = body


@pytest.fixture
def scene():
    """A log, a function that announces, and the notices that were sent."""
    log, sent, store = MemoryDecisions(), [], Notified()

    def announce(*reports):
        Announcer(store, log, lambda: log.latest, lambda notice: sent.append(notice))(reports)

    return log, announce, sent


def keep(log):
    Decisions(log, dependencies()).decide(Decision("keep", None, "ann", "enough"), AVAILABLE)


def test_each_decision_is_announced_once_in_order_also_by_the_next_monitor(scene):
    log, announce, sent = scene
    announce()
    keep(log)
    keep(log)
    announce()
    announce()
    assert [(notice.text, notice.fields["seq"]) for notice in sent] == [
        ("ann kept v1: enough", 1),
        ("ann kept v1: enough", 2),
    ]


def test_what_was_decided_before_the_first_monitor_is_not_announced(scene):
    log, announce, sent = scene
    keep(log)
    announce()
    assert sent == []


def test_a_recommendation_to_act_is_announced_when_it_is_new(scene):
    _, announce, sent = scene
    announce(report("continue"))
    announce(report())
    announce(report())
    announce(report("investigate"))
    announce(report(id="e0"))
    assert [notice.fields["action"] for notice in sent] == ["promote", "investigate"]


def entry(**changes):
    values = {"seq": 1, "at": "now", "actor": "ann", "action": "rollback", "version": "v1"}
    return AuditEntry(**{**values, **changes})


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (entry(), "ann rolled back to v1"),
        (entry(note="slow", checked=ProbeResult(True, "now")), "ann rolled back to v1: slow (v1 answers)"),
        (entry(checked=ProbeResult(False, "now", "it raises")), "ann rolled back to v1 (v1 FAILS: it raises)"),
        (entry(action="configure", changes={"weights": Change(0, 1)}), "ann changed weights"),
    ],
)
def test_a_decision_in_words(decision, text):
    assert notice_of(decision).text == text
