"""The report to send: one file without anything from outside, in the page's words, with the API's figures."""

import html
import re
import time
from html.parser import HTMLParser

import pytest

from app.ui import findings, session, tables
from app.ui.sent_report import html_of, paths_of, sources_of
from app.ui.views import experiment
from tests.ui import answers

NOW = time.time()
HOSTILE = "<b onload=\"x\">ä 漢字 العربية &amp; 'q'</b><script>alert(1)</script>"
VOID = {"meta", "br", "hr", "img", "link", "input", "line", "circle", "polyline", "polygon"}
SPLITS = [
    {"epoch": 1, "at": "2026-11-20T12:00:00Z", "source": "environment", "weights": {"v1": 1.0, "v2": 0.0}},
    {"epoch": 2, "at": "2026-11-21T12:00:00Z", "source": "configure", "weights": {"v1": 0.5, "v2": 0.5}},
]


class Seen(HTMLParser):
    """The text of a document, its elements and their attributes; a tag that is not closed is an error."""

    def __init__(self, document):
        super().__init__()
        self.open, self.elements, self.attributes, self.text = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def made(**changes):
    timeline = {**answers.TIMELINE, "splits": SPLITS}
    answered = {"report": answers.EXPERIMENT, "timeline": timeline, "audit": answers.AUDIT}
    answered |= {"config": answers.CONFIG, "drift": answers.DRIFT, **changes}
    return html_of(sources_of(answered), NOW)


def words(document):
    return " ".join(" ".join(Seen(document).text).split())


def test_the_document_is_whole_and_asks_for_nothing_from_outside():
    seen = Seen(made())
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(seen.elements)
    assert {"src", "href", "srcset", "action"}.isdisjoint(name for name, _ in seen.attributes)
    assert not [value for name, value in seen.attributes if name != "xmlns" and value and "://" in value]
    assert "url(" not in made()
    assert "@import" not in made()


def test_it_has_the_words_of_the_page_in_their_order():
    text = words(made())
    order = ["Keep running: no decision yet.", "It is too early to tell.", "Can it be trusted?", "Labels left"]
    order += ["Waiting costs", "Experiment e-1, running since", "undecided", "Terms · unit: auto", "v2 against v1"]
    order += ["Evidence now", "Both right", "All 13 losses come from 2 rows.", "Method: paired", "sample ratio"]
    order += ["half and half"]
    for each in order:
        assert each in text
        text = text.partition(each)[2]


def test_its_figures_are_those_of_the_api():
    sources = sources_of({"report": answers.EXPERIMENT})
    text = words(made())
    for row in (*tables.challengers(sources.report), *tables.versions(sources.report), *tables.checks(sources.report)):
        assert all(str(value) in text for value in row.values())
    each = sources.report.comparisons[0]
    assert all(value in text for _, value, _ in tables.figures(each, sources.report))
    assert findings.small_print(sources.report) in text


def test_a_foreign_name_is_text():
    variants = [answers.variant("v1"), answers.variant(HOSTILE)]
    compared = {**answers.COMPARISON, "challenger": HOSTILE, "warnings": [HOSTILE], "assumptions": [HOSTILE]}
    advice = {"action": "promote", "version": HOSTILE, "reason": HOSTILE}
    entry = {**answers.AUDIT["entries"][0], "note": HOSTILE, "actor": HOSTILE, "version": HOSTILE}
    report = {**answers.EXPERIMENT, "variants": variants, "comparisons": [compared], "recommendation": advice}
    report |= {"baseline": HOSTILE, "name": HOSTILE, "excluded": {HOSTILE: HOSTILE}}
    split = {**SPLITS[0], "weights": {HOSTILE: 1.0}}
    timeline = {**answers.TIMELINE, "splits": [split]}
    timeline["points"] = [{**point, "challenger": HOSTILE} for point in timeline["points"]]
    document = made(report=report, audit={"entries": [entry]}, timeline=timeline)
    seen = Seen(document)
    assert {"b", "script"}.isdisjoint(seen.elements)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert html.escape("漢字 العربية") in document
    assert HOSTILE in "".join(seen.text)


@pytest.mark.parametrize("changes", [{"comparisons": []}, {"comparisons": [{"challenger": "v2"}]}, {"variants": []}])
def test_an_experiment_without_data_has_a_report(changes):
    text = words(made(report={**answers.EXPERIMENT, **changes}, timeline={}, audit={}, drift=None, config=None))
    assert "Keep running" in text
    assert text.count("Nothing was decided in this experiment yet.") == 1


def test_what_ended_the_experiment_stands_below_the_advice():
    ended = {**answers.EXPERIMENT, "ended": "2026-11-22T12:00:00Z"}
    change = {"experiment_id": {"before": ended["id"], "after": "e-2"}}
    promoted = {
        "seq": 9,
        "at": ended["ended"],
        "actor": HOSTILE,
        "action": "promote",
        "version": "v2",
        "changes": change,
    }
    text = words(made(report=ended, audit={"entries": [promoted]}, drift=None))
    assert f"Ended 2026-11-22 12:00:00 UTC: promote v2, by {' '.join(HOSTILE.split())}" in text
    assert text.index("Ended 2026") < text.index("Challengers")


def test_an_ended_experiment_without_decisions_says_so_once_and_not_yet():
    ended = {**answers.EXPERIMENT, "ended": "2026-11-22T12:00:00Z"}
    text = words(made(report=ended, timeline={}, audit={}, drift=None, config=None))
    assert text.count("Nothing was decided in this experiment.") == 1
    assert "decided yet" not in text


def test_a_decision_is_listed_once_with_what_it_changed():
    text = words(made())
    assert len(re.findall(r"<td[^>]*>[^<]*half and half", made())) == 1
    assert "target share: v1 100.0 % → v1 50.0 % / v2 50.0 %" in text
    assert "Nothing was decided" not in text


def test_it_says_that_there_are_older_decisions_than_the_api_gave():
    assert "Only the newest" not in words(made())
    assert "Only the newest decision" in words(made(audit={**answers.AUDIT, "next": 7}))


def test_the_page_offers_the_report_and_makes_it_of_what_the_api_says(begin, page):
    api = begin({**answers.NORMAL, "/experiments/e-1": answers.EXPERIMENT})
    at = page("experiment")
    assert "Report to send (HTML)" in [each.label for each in at.get("download_button")]
    document = experiment.document_of(session.client(), "e-1")
    assert "half and half" in words(document)
    assert api.queries("/audit")[-1] == {"limit": "200", "experiment": "e-1"}


def test_the_report_on_an_ended_experiment_has_its_terms(begin):
    ended = {**answers.EXPERIMENT, "ended": "2026-11-22T12:00:00Z"}
    api = begin({**answers.NORMAL, "/experiments/e-1": ended})
    assert "Terms · unit: auto" in words(experiment.document_of(session.client(), "e-1"))
    assert api.queries("/config") == [{"experiment": "e-1"}]
    assert "/drift" not in api.paths()


def test_an_ended_experiment_is_asked_for_by_its_id_and_without_what_is_of_now():
    assert paths_of("e 1", running=False) == {
        "timeline": "/experiment/timeline?points=200&id=e%201",
        "audit": "/audit?limit=200&experiment=e%201",
        "config": "/config?experiment=e%201",
    }
    assert {"config", "drift"} < paths_of("e1", running=True).keys()
