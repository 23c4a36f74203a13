"""A storm of reports of one incident is one incident."""

import json
from typing import Any

from semlang.programs.rca.deduplicate import deduplicate
from semlang.programs.rca.incident import read_alert


def alert(minute: int, status: str = "firing", pod: str = "cart-1", severity: str = "warning") -> dict[str, Any]:
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": pod, "severity": severity}
    return {"status": status, "labels": labels, "annotations": {}, "startsAt": f"2026-03-02T09:{minute:02}:00Z",
            "fingerprint": f"fp-{pod}"}


def storm() -> str:
    reports = [alert(minute) for minute in range(50)] + [alert(7, pod="cart-2")] + [alert(3, severity="critical")]
    return json.dumps({"status": "firing", "alerts": reports})


def test_a_storm_is_one_incident_for_each_fingerprint() -> None:
    groups = deduplicate(read_alert(storm()))
    assert [(group.incident.fingerprint, group.reports) for group in groups] == [("fp-cart-1", 51), ("fp-cart-2", 1)]
    assert (groups[0].first, groups[0].last) == ("2026-03-02T09:00:00Z", "2026-03-02T09:49:00Z")
    assert (groups[0].incident.severity, groups[0].incident.time) == ("critical", "2026-03-02T09:00:00Z")


def test_what_is_over_is_noted() -> None:
    over, again = [alert(1), alert(1, "resolved")], [alert(1), alert(1, "resolved"), alert(1)]
    assert deduplicate(read_alert(json.dumps({"alerts": over})))[0].resolved
    assert not deduplicate(read_alert(json.dumps({"alerts": again})))[0].resolved


def test_without_fingerprints_equal_alerts_are_equal_incidents() -> None:
    texts = ["Disk full on db-1\nnode: db-1"] * 3 + ["Disk full on db-2\nnode: db-2"]
    assert [group.reports for group in deduplicate([i for text in texts for i in read_alert(text)])] == [3, 1]
