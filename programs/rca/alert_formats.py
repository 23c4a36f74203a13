"""The JSON formats of alerts: which one an object has, and where each says what."""

from __future__ import annotations

import json
from collections.abc import Callable

from .incident import AlertError, Incident, Json, make_incident, shorten


def read_object(data: Json) -> list[Incident]:
    """The incidents in one JSON object of any accepted format. Raises AlertError."""
    if not isinstance(data, dict):
        raise AlertError(f"an alert is a JSON object, found {shorten(data)}")
    for belongs, read in FORMATS:
        if belongs(data):
            return read(data)
    return read_plain(data)


def read_alertmanager(data: Json) -> list[Incident]:
    """A webhook of Alertmanager, version 4: a group of alerts with what they have in common."""
    alerts = data["alerts"]
    if not isinstance(alerts, list) or not alerts:
        raise AlertError("the Alertmanager message holds no alerts: `alerts` must be a list that is not empty")
    common = {name: _texts(data.get(name), name) for name in ("groupLabels", "commonLabels", "commonAnnotations")}
    incidents = []
    for alert in alerts:
        if not isinstance(alert, dict):
            raise AlertError(f"`alerts` must hold objects, found {shorten(alert)}")
        labels = common["groupLabels"] | common["commonLabels"] | _texts(alert.get("labels"), "labels")
        notes = common["commonAnnotations"] | _texts(alert.get("annotations"), "annotations")
        incidents.append(_from_prometheus(
            labels, notes, alert.get("startsAt"), _text(alert, "status") or _text(data, "status"),
            _text(alert, "fingerprint"), "alertmanager"))
    return incidents


def read_prometheus_alert(data: Json) -> list[Incident]:
    """A single alert with labels and annotations, as Alertmanager's API lists it."""
    status = data.get("status")
    state = _text(status, "state") if isinstance(status, dict) else _text(data, "status")
    return [_from_prometheus(_texts(data.get("labels"), "labels"), _texts(data.get("annotations"), "annotations"),
                             data.get("startsAt"), state, _text(data, "fingerprint"), "alert")]


def _from_prometheus(labels: dict[str, str], notes: dict[str, str], time: Json, status: str, fingerprint: str,
                     source: str) -> Incident:
    labels = dict(labels)
    kind, severity = labels.pop("alertname", ""), labels.pop("severity", "")
    title = notes.get("summary") or notes.get("title") or notes.get("message") or kind
    if notes.get("runbook_url"):
        labels["runbook_url"] = notes["runbook_url"]
    return make_incident(kind=kind, title=title, time=time, severity=severity, status=status, labels=labels,
                         description=notes.get("description") or notes.get("message") or "", fingerprint=fingerprint,
                         source=source)


def read_pagerduty(data: Json) -> list[Incident]:
    """A webhook of PagerDuty, version 3; custom fields are labels."""
    event = data["event"]
    details = event.get("data")
    if not isinstance(details, dict):
        raise AlertError("the PagerDuty event has no `data` object")
    fields = details.get("custom_fields") or details.get("details") or {}
    if isinstance(fields, list):  # as the REST API lists them
        fields = {_text(f, "name"): f.get("value") for f in fields if isinstance(f, dict)}
    labels = _texts(fields, "custom_fields")
    kind = labels.pop("alertname", "") or _text(details.get("incident_type"), "name") or _text(details, "title")
    severity = labels.pop("severity", "") or _text(details.get("priority"), "summary") or _text(details, "urgency")
    event_type = _text(event, "event_type").rpartition(".")[2]
    status = _text(details, "status") or event_type
    description = labels.pop("description", "") or _text(details, "description")
    service = _text(details.get("service"), "summary")
    if service and not labels.get("service"):
        labels["service"] = service
    reference = " ".join(part for part in ("pagerduty", _text(details, "id"), _text(details, "html_url")) if part)
    return [make_incident(
        kind=kind, title=_text(details, "title"), time=details.get("created_at") or event.get("occurred_at"),
        severity=severity, status=status, labels=labels, description=description,
        fingerprint=_text(details, "incident_key") or _text(details, "dedup_key"), source=reference)]


def read_opsgenie(data: Json) -> list[Incident]:
    """A webhook of OpsGenie; details are labels, and tags of the form name:value too."""
    alert = data["alert"]
    labels = _texts(alert.get("details"), "details")
    tags = alert.get("tags") or []
    if not isinstance(tags, list):
        raise AlertError(f"`tags` must be a list, found {shorten(tags)}")
    for tag in tags:
        name, separator, value = str(tag).partition(":")
        if separator and name not in labels:
            labels[name] = value
    severity = labels.pop("severity", "") or _text(alert, "priority")
    kind = labels.pop("alertname", "") or _text(alert, "message")
    if _text(alert, "entity") and not labels.get("service"):
        labels["service"] = _text(alert, "entity")
    return [make_incident(
        kind=kind, title=_text(alert, "message"), time=alert.get("createdAt"), severity=severity,
        status=_text(data, "action"), labels=labels,
        description=labels.pop("description", "") or _text(alert, "description"),
        fingerprint=_text(alert, "alias"), source=f"opsgenie {_text(alert, 'alertId')}".strip())]


def read_request(data: Json) -> list[Incident]:
    """A request for an investigation: a title, and a subject that is an object of a cluster."""
    subject = data["subject"]
    labels = _texts(subject.get("labels"), "labels")
    kind_of_subject = (_text(subject, "kind") or _text(subject, "subject_type")).lower()
    for name in ("namespace", "node", "container", "cluster"):
        if _text(subject, name):
            labels.setdefault(name, _text(subject, name))
    if _text(subject, "name"):
        name = {"job": "job_name", "": "service"}.get(kind_of_subject, kind_of_subject)
        labels.setdefault(name, _text(subject, "name"))
    context = data.get("context") if isinstance(data.get("context"), dict) else {}
    kind = _text(context, "issue_type") or _text(data, "title")
    return [make_incident(
        kind=kind.rstrip("."), title=_text(data, "title"), time=data.get("time"), severity=_text(data, "severity"),
        status=_text(data, "status"), labels=labels, description=_text(data, "description"),
        fingerprint=_text(data, "fingerprint"), source=f"request {_text(data, 'source')}".strip())]


def read_crash_report(data: Json) -> list[Incident]:
    """An incident with `IncidentId`, `IncidentType` and so on, features among its labels."""
    labels = {}
    for feature in data.get("Features") or []:
        if isinstance(feature, dict) and _text(feature, "Name"):
            labels[_text(feature, "Name")] = _plain(feature.get("Value", ""))
    return [make_incident(
        kind=_text(data, "IncidentType"), title=_text(data, "IncidentSubject"), time=data.get("IncidentTime"),
        severity=_text(data, "IncidentSeverity"), status=_text(data, "IncidentStatus"), labels=labels,
        description=_text(data, "IncidentDescription"), fingerprint="", scope=_text(data, "IncidentScopeType"),
        id=_text(data, "IncidentId"), source="incident report")]


def read_plain(data: Json) -> list[Incident]:
    """Any other object: its fields by their usual names."""
    raw = data.get("raw")
    if isinstance(raw, dict) and isinstance(raw.get("labels"), dict):
        return read_prometheus_alert(raw)
    labels = _texts(data.get("labels"), "labels") | _texts(data.get("details"), "details")
    notes = _texts(data.get("annotations"), "annotations")
    for name in ("namespace", "pod", "node", "cluster", "instance", "deployment"):
        value = _text(data, name) or _text(data, f"subject_{name}")
        if value:
            labels.setdefault(name, value)
    if _text(data, "subject_name") and _text(data, "subject_type"):
        labels.setdefault(_text(data, "subject_type").lower(), _text(data, "subject_name"))
    kind = labels.pop("alertname", "") or _first(data, "kind", "type", "alertname", "aggregation_key", "alert", "name")
    severity = labels.pop("severity", "") or _first(data, "severity", "priority", "level")
    return [make_incident(
        kind=kind, title=notes.get("summary") or _first(data, "title", "summary", "message", "name"),
        time=next((data[n] for n in ("time", "startsAt", "starts_at", "started_at", "timestamp", "creation_date")
                   if data.get(n)), None),
        severity=severity, status=_first(data, "status", "state"), labels=labels,
        description=notes.get("description") or _first(data, "description", "text", "body"),
        fingerprint=_first(data, "fingerprint", "dedup_key"), id=_first(data, "id"), scope=_first(data, "scope"),
        service=_first(data, "service"), source="json")]


FORMATS: list[tuple[Callable[[Json], bool], Callable[[Json], list[Incident]]]] = [
    (lambda d: "alerts" in d, read_alertmanager),
    (lambda d: isinstance(d.get("event"), dict) and "event_type" in d["event"], read_pagerduty),
    (lambda d: isinstance(d.get("alert"), dict), read_opsgenie),
    (lambda d: isinstance(d.get("subject"), dict), read_request),
    (lambda d: "IncidentType" in d or "IncidentId" in d, read_crash_report),
    (lambda d: isinstance(d.get("labels"), dict) and "alertname" in d["labels"] and "startsAt" in d,
     read_prometheus_alert),
]
"""How a format is recognised and read; the first that fits counts."""


def _text(data: Json, name: str) -> str:
    value = data.get(name) if isinstance(data, dict) else None
    return _plain(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _first(data: Json, *names: str) -> str:
    return next((found for name in names if (found := _text(data, name))), "")


def _plain(value: Json) -> str:
    """A value as text without lone surrogates, which no text may hold."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _texts(value: Json, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AlertError(f"`{what}` must be an object, found {shorten(value)}")
    return {_plain(name): _plain(v) for name, v in value.items() if v is not None and v != ""}
