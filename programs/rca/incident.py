"""An alert as it arrives, in any of the accepted formats, becomes one `Incident` record or several."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

Json = Any
"""What `json.loads` gives."""

MAXIMUM_ALERT = 4_000_000
"""Characters of an alert; alerts are small, whatever is larger is not one."""

SEVERITIES = {
    "critical": "critical", "crit": "critical", "p1": "critical", "sev0": "critical", "sev1": "critical",
    "page": "critical", "fatal": "critical", "emergency": "critical", "0": "critical", "1": "critical",
    "high": "high", "error": "high", "major": "high", "p2": "high", "sev2": "high", "2": "high",
    "warning": "warning", "warn": "warning", "moderate": "warning", "p3": "warning", "sev3": "warning",
    "medium": "warning", "3": "warning",
    "low": "low", "minor": "low", "p4": "low", "sev4": "low", "4": "low",
    "info": "info", "informational": "info", "none": "info", "debug": "info", "p5": "info", "sev5": "info",
}
"""The severity that each spelling means; all others are `unknown`."""

STATUSES = {
    "firing": "firing", "active": "firing", "triggered": "firing", "open": "firing", "trigger": "firing",
    "create": "firing", "resolved": "resolved", "resolve": "resolved", "closed": "resolved", "close": "resolved",
    "ok": "resolved", "acknowledged": "acknowledged", "acknowledge": "acknowledged", "ack": "acknowledged",
    "suppressed": "suppressed", "silenced": "suppressed", "inhibited": "suppressed", "snoozed": "suppressed",
}
"""The status that each spelling means; all others are `firing`, so that nothing is lost."""

SCOPE_LABELS = ("pod", "job_name", "deployment", "statefulset", "daemonset", "persistentvolumeclaim", "node", "service",
                "instance", "host", "namespace", "cluster")
"""Labels that say what is affected, the narrowest first; `service` stands for all of `SERVICE_LABELS`."""

IN_NAMESPACES = frozenset({*SCOPE_LABELS[:6], "service"})
"""Labels whose values are names within a namespace."""

SERVICE_LABELS = ("app", "app_kubernetes_io_name", "service_name", "deployment", "statefulset", "daemonset",
                  "job_name", "service", "container", "component")
"""Labels that name the service, the most telling first."""

EXPORTERS = ("kube-state-metrics", "node-exporter", "blackbox-exporter", "kubelet", "prometheus")
"""Services that report about others, never the ones that are affected."""


class AlertError(ValueError):
    """An alert cannot be read; the message is one line with what is wrong and what is accepted."""


@dataclass(frozen=True)
class Incident:
    """One thing that is wrong, as `types.sem` declares it. `time` is UTC, ISO 8601 with seconds."""

    id: str
    time: str
    kind: str
    title: str
    severity: str
    scope: str
    service: str
    labels: dict[str, str] = field(hash=False)
    description: str
    fingerprint: str
    status: str
    source: str


def read_alert(alert: str) -> list[Incident]:
    """The incidents in `alert`, in its order; one message of Alertmanager may hold many.

    Accepted: webhooks of Alertmanager (v4), PagerDuty (v3) and OpsGenie, investigation requests, single alerts and
    other JSON objects that have a name, plain text. Raises AlertError.
    """
    from .alert_formats import read_object
    text = alert.strip().removeprefix("\ufeff").strip()
    if not text:
        raise AlertError(
            "the alert is empty: give a webhook of Alertmanager, PagerDuty or OpsGenie, other JSON, or text")
    if len(text) > MAXIMUM_ALERT:
        raise AlertError(f"the alert has {len(text)} characters, more than {MAXIMUM_ALERT}: this is not an alert")
    if text[0] not in "{[":
        return [read_text(text)]
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise AlertError(f"the alert is not valid JSON: {error.msg} at {place}") from None
    except (RecursionError, ValueError):
        raise AlertError("the alert is not valid JSON: it is nested too deep or a number in it is too long") from None
    if isinstance(data, list):
        if not data:
            raise AlertError("the alert is an empty list: it names no incident")
        return [incident for part in data for incident in read_object(part)]
    return read_object(data)


def read_text(text: str) -> Incident:
    """An alert in words: its first line is the title, `name: value` lines before the first blank line are labels."""
    head, *rest = text.split("\n")
    labels: dict[str, str] = {}
    for line in rest:
        name, separator, value = line.partition(":")
        if not line.strip():
            break
        if separator and value.strip() and name.strip().replace("_", "").isalnum():
            labels[name.strip().lower()] = value.strip()
    kind = labels.pop("alertname", None) or labels.pop("kind", None) or head.strip()
    return make_incident(
        kind=kind, title=head, time=labels.pop("time", ""), severity=labels.pop("severity", ""),
        status=labels.pop("status", ""), labels=labels, description="\n".join(rest), fingerprint="", source="text")


def make_incident(*, kind: str, title: str, time: Json, severity: str, status: str, labels: dict[str, str],
                  description: str, fingerprint: str, source: str, id: str = "", scope: str = "",
                  service: str = "") -> Incident:
    """The record with everything normalised; what is missing is worked out from the labels. Raises AlertError."""
    kind = one_line(kind) or one_line(labels.get("alertname", "")) or one_line(title)
    if not kind:
        raise AlertError("the alert has no name: give `labels.alertname`, `title`, `name` or `kind`")
    started = read_time(time)
    scope, service = scope or scope_of(labels), service or service_of(labels)
    fingerprint = one_line(fingerprint) or fingerprint_of(kind, scope, service, labels)
    compact = started.replace("-", "").replace(":", "")
    return Incident(
        id=one_line(id) or (f"{fingerprint}@{compact}" if started else fingerprint), time=started, kind=kind,
        title=one_line(title) or kind, severity=SEVERITIES.get(severity.strip().lower(), "unknown"), scope=scope,
        service=service, labels=dict(sorted(labels.items())), description=description.strip(),
        fingerprint=fingerprint, status=STATUSES.get(status.strip().lower(), "firing"), source=source)


def one_line(text: str) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(text.split())


def read_time(value: Json) -> str:
    """A time as UTC in ISO 8601 with seconds; "" for none. Numbers are seconds or milliseconds since 1970.

    Raises AlertError for what is no time; the year 1 of Go's zero time is none.
    """
    if value is None or value == "":
        return ""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
            seconds = float(value)
            moment = datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
        else:
            raise ValueError
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        message = f"the time of the alert cannot be read: {shorten(value)}; give ISO 8601 or seconds since 1970"
        raise AlertError(message) from None
    return "" if moment.year < 1970 else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def shorten(value: Json) -> str:
    """A value for a message, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def scope_of(labels: dict[str, str]) -> str:
    """What is affected: `pod shop/cart-1`, `node worker-3`, …; "" if no label tells."""
    for name in SCOPE_LABELS:
        value = service_of(labels) if name == "service" else labels.get(name)
        if not value or (name == "instance" and _exported(labels)):
            continue
        namespace = labels.get("namespace")
        kind = "job" if name == "job_name" else name
        return f"{kind} {namespace}/{value}" if namespace and name in IN_NAMESPACES else f"{kind} {value}"
    return ""


def service_of(labels: dict[str, str]) -> str:
    """The service that is affected; "" if no label tells."""
    for name in SERVICE_LABELS:
        value = labels.get(name, "")
        if value and not any(exporter in value for exporter in EXPORTERS):
            return value
    return ""


def _exported(labels: dict[str, str]) -> bool:
    return any(exporter in labels.get("job", "") for exporter in EXPORTERS)


def fingerprint_of(kind: str, scope: str, service: str, labels: dict[str, str]) -> str:
    """16 hexadecimal digits that are equal for alerts of the same kind about the same thing."""
    identity = json.dumps([kind, scope, service, sorted(labels.items())], ensure_ascii=False)
    return sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]
