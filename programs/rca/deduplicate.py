"""Alerts that are about the same incident become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .incident import Incident

UNKNOWN_TIME = "9999"
"""Sorts after every time that is known."""

URGENCY = ("critical", "high", "warning", "low", "info", "unknown")


@dataclass(frozen=True)
class Group:
    """One incident and how often it was reported; `types.sem` has it as `Reported`.

    `incident` is as first reported, with the worst severity and the last status of all reports. `resolved` says that
    the last report was that it is over. Times are "" where no report has one.
    """

    incident: Incident
    reports: int
    first: str
    last: str
    resolved: bool


def deduplicate(incidents: Iterable[Incident]) -> list[Group]:
    """One group for each fingerprint, in order of first report; reports of a group in order of arrival."""
    groups: dict[str, list[Incident]] = {}
    for incident in incidents:
        groups.setdefault(incident.fingerprint, []).append(incident)
    return [_join(reports) for reports in groups.values()]


def _join(reports: list[Incident]) -> Group:
    first = min(reports, key=lambda report: report.time or UNKNOWN_TIME)
    severity = min((report.severity for report in reports), key=URGENCY.index)
    status = reports[-1].status
    times = sorted(report.time for report in reports if report.time)
    return Group(replace(first, severity=severity, status=status), len(reports), times[0] if times else "",
                 times[-1] if times else "", status == "resolved")
