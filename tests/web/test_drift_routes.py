import pytest
from msgspec.structs import replace

from app.domain.manifest import ReferenceHistory
from app.domain.timestamps import iso_utc
from app.services.queries.drift_records import DriftTimelinePoint
from tests.unit.inference.published import reference_manifest
from tests.web import fakes
from tests.web.drifting import MemoryDrifts, drifted

ADMIN = {"Authorization": "Bearer admin"}


@pytest.fixture(scope="module")
def alarming():
    return drifted()


@pytest.fixture
def watched(serve, alarming):
    return serve(admin_token="admin", drifts=MemoryDrifts(alarming))


def acknowledge(client, headers=ADMIN, **options):
    return client.post("/drift/acknowledge", headers=headers, **options)


def test_the_report_is_answered_whole(watched, alarming):
    body = watched[0].get("/drift").get_json()
    assert (body["version"], body["alarm"], body["evidence"], body["note"]) == ("v1", True, 1.0, None)
    assert (body["requests"], body["window"], body["reference_rows"]) == (200, 500, 120)
    assert body["false_alarm_probability"] == {"requests": 10000, "at_most": 0.01}
    worst = max(body["features"], key=lambda feature: feature["score"])
    assert (worst["name"], worst["score"]) == ("petal_length", body["score"])
    assert len(worst["bins"]) == len(worst["reference"]) + 1 == len(worst["live"]) + 1


def test_without_a_processed_request_there_is_no_score_and_the_note_says_so(serve):
    loaded_models = fakes.loaded_models(v1=fakes.ConstantRuntime())
    version = replace(loaded_models.versions["v1"], manifest={"files": {"reference.json": {}}})
    body = serve(replace(loaded_models, versions={"v1": version}))[0].get("/drift").get_json()
    assert (body["score"], body["evidence"], body["alarm"], body["requests"]) == (None, None, False, 0)
    assert "the monitor has processed no request for v1" in body["note"]


def test_a_version_without_a_reference_is_said_to_have_none(client):
    body = client.get("/drift?version=v2").get_json()
    assert (body["version"], body["score"], body["features"]) == ("v2", None, [])
    assert body["note"] == (
        "v2 was published without a drift reference: to give it one, "
        "`bakeoff publish --refresh-reference v2 --reference FILE.csv`"
    )


def history(number, refused=()):
    return {"v1": ReferenceHistory((reference_manifest(number),), refused)}


def test_a_newer_reference_that_the_monitor_has_not_begun_with_is_announced(serve, alarming):
    body = serve(drifts=MemoryDrifts(alarming), histories=history(1))[0].get("/drift").get_json()
    assert (body["reference_number"], body["reference_since"]) == (0, None)
    assert body["notes"][0] == (
        "v1 has reference 1 now: the monitor begins anew with it at the first request served from "
        "2023-11-14T22:13:21.000000Z on."
    )


def test_the_reference_that_counts_is_named_and_a_refused_one_too(serve, alarming):
    begun = replace(alarming, reference_number=2, reference_since="2023-11-14T22:13:22.000000Z")
    drifts = MemoryDrifts(begun)
    body = serve(drifts=drifts, histories=history(2, ("v1.3/manifest.json: is missing",)))[0].get("/drift").get_json()
    assert (body["reference_number"], body["reference_since"]) == (2, "2023-11-14T22:13:22.000000Z")
    assert body["notes"] == [*alarming.notes, "v1.3/manifest.json: is missing"]


def test_a_version_whose_only_reference_came_later_waits_for_its_first_request(serve):
    note = serve(histories=history(1))[0].get("/drift").get_json()["note"]
    assert "the monitor has processed no request for v1" in note


def test_another_version_is_asked_for_by_name(serve, alarming):
    client, _ = serve(drifts=MemoryDrifts(alarming, replace(alarming, version="v2", alarm=False)))
    assert client.get("/drift?version=v2").get_json()["version"] == "v2"
    assert client.get("/drift").get_json()["version"] == "v1"


@pytest.mark.parametrize("version", ["v9", "../v1", "x" * 500])
def test_an_unknown_version_is_404(client, version):
    answer = client.get("/drift", query_string={"version": version})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "unknown_version")


def test_without_any_version_it_is_503(serve):
    client, services = serve(fakes.loaded_models())
    services.live.configure(
        replace(services.live.configuration, champion=None, terms=fakes.ExperimentTerms(metric="accuracy"))
    )
    assert client.get("/drift").status_code == 503


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"version": "v1", "note": "a new sensor"}}])
def test_an_acknowledged_alarm_is_silent_and_says_since_when(watched, options):
    client, _ = watched
    body = acknowledge(client, {**ADMIN, "X-Actor": "ann"}, **options).get_json()
    assert (body["alarm"], body["acknowledged"]) == (False, iso_utc(fakes.SERVED_AT_US))
    assert client.get("/drift").get_json() == body


def test_the_audit_entry_says_who_and_what_it_was(watched, alarming):
    client, services = watched
    acknowledge(client, {**ADMIN, "X-Actor": "ann"}, json={"note": "seen"})
    [pending] = services.drift._log.pending
    assert (pending.actor, pending.note, pending.experiment_id, pending.epoch) == ("ann", "seen", "e1", 3)
    before = pending.changes["drift_alarm"].before
    assert before["since"] == alarming.since
    assert "petal_length" in before["streams"]


def test_only_a_standing_alarm_can_be_acknowledged(watched, serve):
    client, _ = watched
    acknowledge(client)
    again = acknowledge(client)
    assert again.status_code == 409
    assert "was acknowledged at" in again.get_json()["error"]["message"]
    assert acknowledge(serve(admin_token="admin")[0]).status_code == 409


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"version": 1}, 400, "version"),
        ({"note": "x" * 2001}, 400, "note"),
        ({"actor": "ann"}, 400, "actor"),
        ({"version": "v9"}, 404, "version"),
        ([], 400, None),
    ],
)
def test_a_wrong_acknowledgement_is_refused_by_name(watched, body, status, field):
    answer = acknowledge(watched[0], json=body)
    assert (answer.status_code, answer.get_json()["error"].get("field")) == (status, field)
    assert watched[1].drift._log.pending == []


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"Authorization": "Bearer no"}, 403)])
def test_acknowledging_needs_the_administrators_token(watched, headers, status):
    assert acknowledge(watched[0], headers).status_code == status


def test_the_timeline_has_the_alarm_line_and_its_false_alarm_probability(serve, alarming):
    drifts = MemoryDrifts(alarming)
    drifts.timelines["v1"] = [DriftTimelinePoint(20, 1_795_000_000_000_000, 0.0, 0.25, False)]
    body = serve(drifts=drifts)[0].get("/drift/timeline").get_json()
    assert body == {
        "version": "v1",
        "points": [
            {
                "requests": 20,
                "timestamp": iso_utc(1_795_000_000_000_000),
                "score": 0.0,
                "evidence": 0.25,
                "alarm": False,
            }
        ],
        "alarm_evidence": 1.0,
        "false_alarm_probability": {"requests": 10000, "at_most": 0.01},
        "note": None,
    }


def test_an_empty_timeline_says_why(client):
    body = client.get("/drift/timeline?version=v2").get_json()
    assert (body["version"], body["points"]) == ("v2", [])
    assert "v2 was published without a drift reference" in body["note"]


@pytest.mark.parametrize(
    ("query", "status"), [("points=0", 400), ("points=501", 400), ("points=x", 400), ("version=v9", 404)]
)
def test_a_wrong_question_about_the_timeline_is_refused(client, query, status):
    assert client.get(f"/drift/timeline?{query}").status_code == status
