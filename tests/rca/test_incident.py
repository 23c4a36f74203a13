"""Alerts of every accepted format become the same record; what cannot be read says why in one line."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.incident import AlertError, read_alert

LABELS = {"namespace": "shop", "pod": "cart-7d9f-x2x", "app": "cart"}
DESCRIPTION = "Pod shop/cart-7d9f-x2x restarts again and again."

ALERTMANAGER = {
    "version": "4", "groupKey": "{}:{alertname=\"KubePodCrashLooping\"}", "status": "firing", "receiver": "on-call",
    "groupLabels": {"alertname": "KubePodCrashLooping"},
    "commonLabels": {"alertname": "KubePodCrashLooping", "namespace": "shop"},
    "commonAnnotations": {}, "externalURL": "http://alertmanager.example",
    "alerts": [{
        "status": "firing", "labels": {"alertname": "KubePodCrashLooping", "severity": "critical", **LABELS},
        "annotations": {"summary": "Pod is crash looping.", "description": DESCRIPTION},
        "startsAt": "2026-03-02T10:15:00.123+01:00", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example", "fingerprint": "a38bd979bba359db",
    }],
}
PAGERDUTY = {"event": {
    "id": "01E", "event_type": "incident.triggered", "resource_type": "incident",
    "occurred_at": "2026-03-02T09:15:02Z",
    "data": {
        "id": "PGR0VU2", "type": "incident", "title": "Pod is crash looping.", "status": "triggered",
        "created_at": "2026-03-02T09:15:00Z", "incident_key": "a38bd979bba359db", "urgency": "high",
        "priority": {"summary": "P1"}, "html_url": "https://acme.pagerduty.example/incidents/PGR0VU2",
        "custom_fields": {"alertname": "KubePodCrashLooping", "description": DESCRIPTION, **LABELS},
    },
}}
OPSGENIE = {
    "action": "Create", "source": {"type": "web"},
    "alert": {
        "alertId": "70413a06", "message": "Pod is crash looping.", "alias": "a38bd979bba359db", "entity": "",
        "priority": "P1", "tags": ["alertname:KubePodCrashLooping", "night"], "details": LABELS,
        "createdAt": 1772442900123, "description": DESCRIPTION,
    },
}
PLAIN = {
    "name": "KubePodCrashLooping", "title": "Pod is crash looping.", "severity": "critical", "status": "firing",
    "time": "2026-03-02 09:15:00", "labels": LABELS, "description": DESCRIPTION, "fingerprint": "a38bd979bba359db",
}


@pytest.mark.parametrize("alert", [ALERTMANAGER, PAGERDUTY, OPSGENIE, PLAIN])
def test_four_formats_give_the_same_record(alert: dict[str, Any]) -> None:
    (incident,) = read_alert(json.dumps(alert))
    (expected,) = read_alert(json.dumps(ALERTMANAGER))
    assert replace(incident, source="") == replace(expected, source="")
    assert incident.id == "a38bd979bba359db@20260302T091500Z"
    assert (incident.time, incident.kind) == ("2026-03-02T09:15:00Z", "KubePodCrashLooping")
    assert (incident.severity, incident.status) == ("critical", "firing")
    assert (incident.scope, incident.service) == ("pod shop/cart-7d9f-x2x", "cart")
    assert (incident.title, incident.description) == ("Pod is crash looping.", DESCRIPTION)
    assert incident.labels == LABELS


def test_the_source_says_where_to_answer() -> None:
    (incident,) = read_alert(json.dumps(PAGERDUTY))
    assert incident.source == "pagerduty PGR0VU2 https://acme.pagerduty.example/incidents/PGR0VU2"


def test_text_is_an_alert_too() -> None:
    (incident,) = read_alert("Disk full on db-1\nseverity: high\nnode: db-1\ntime: 2026-03-02T09:15:00Z\n\nHelp: now!")
    assert (incident.kind, incident.severity, incident.scope) == ("Disk full on db-1", "high", "node db-1")
    assert incident.labels == {"node": "db-1"}
    assert "Help: now!" in incident.description


def test_a_request_for_an_investigation_names_its_subject() -> None:
    request = {"source": "prometheus", "title": "KubeJobFailed", "context": {"issue_type": "KubeJobFailed"},
               "subject": {"name": "scraper", "namespace": "default", "kind": "job", "node": None}}
    (incident,) = read_alert(json.dumps(request))
    assert (incident.kind, incident.scope, incident.service) == ("KubeJobFailed", "job default/scraper", "scraper")
    assert incident.time == "" and incident.id == incident.fingerprint


def test_an_incident_report_keeps_its_features() -> None:
    report = {"IncidentId": 17, "IncidentTime": "2022-11-02T01:02:03Z", "IncidentType": "Crash/transport/b1",
              "IncidentSeverity": "2", "IncidentScopeType": "Forest", "IncidentSubject": "Crashes",
              "Features": [{"Name": "KnownIssue", "Value": False}]}
    (incident,) = read_alert(json.dumps(report))
    assert (incident.id, incident.kind, incident.scope) == ("17", "Crash/transport/b1", "Forest")
    assert incident.labels == {"KnownIssue": "false"}


@pytest.mark.parametrize(("alert", "message"), [
    ("", "the alert is empty"),
    ("{", "not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
    ("[]", "an empty list"),
    ("[1]", "an alert is a JSON object, found 1"),
    ("{}", "has no name"),
    ("[" * 100_000, "not valid JSON: it is nested too deep"),
    ('{"n": ' + "9" * 5000 + "}", "a number in it is too long"),
    ('{"alerts": []}', "`alerts` must be a list that is not empty"),
    ('{"alerts": [7]}', "`alerts` must hold objects, found 7"),
    ('{"alerts": [{"labels": []}]}', "`labels` must be an object"),
    ('{"alerts": [{"labels": {}}]}', "has no name"),
    ('{"event": {"event_type": "incident.triggered"}}', "has no `data` object"),
    ('{"alert": {"message": "m", "tags": "t"}}', "`tags` must be a list"),
    ('{"name": "x", "time": "yesterday"}', "the time of the alert cannot be read: 'yesterday'"),
    ('{"name": "x", "time": 1e300}', "the time of the alert cannot be read"),
    ('{"name": "x", "time": {}, "startsAt": true}', "the time of the alert cannot be read: True"),
    ("x" * 4_000_001, "more than 4000000"),
])
def test_what_cannot_be_read_says_why_in_one_line(alert: str, message: str) -> None:
    with pytest.raises(AlertError) as raised:
        read_alert(alert)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "alerts", "labels", "annotations", "alertname", "event", "event_type", "data", "alert", "details", "tags",
        "subject", "title", "name", "time", "severity", "status", "context", "raw", "startsAt", "IncidentType",
        "Features", "commonLabels", "custom_fields", "priority",
    ]), inner, max_size=4), max_leaves=12)


@given(JSON)
def test_any_json_is_read_or_refused(data: object) -> None:
    try:
        incidents = read_alert(json.dumps(data))
    except AlertError as error:
        assert "\n" not in str(error)
    else:
        assert all(incident.kind and incident.fingerprint and incident.id for incident in incidents)


def test_unicode_that_is_no_text_is_replaced() -> None:
    (incident,) = read_alert('{"name": "a\\ud800b", "description": "\\udfff"}')
    for text in (incident.kind, incident.description, incident.id):
        text.encode()
