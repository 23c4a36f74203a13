"""Writes the sample incidents: `python -m semlang.programs.rca.samples.generate --out FOLDER --seed 7`.

`alerts/` holds one alert each, in one of five formats, `telemetry/` what a replay of each can say, and `truth.jsonl`,
which nothing but an evaluation reads, what is behind it.
"""

from __future__ import annotations

import argparse
import json
import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from .categories import CATEGORIES, Told
from .scene import Scene, stamp

BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
SEVERITIES = (("critical", "P1"), ("high", "P2"), ("warning", "P3"))
FALSE_ALARMS = 6


def generate(folder: Path, seed: int, incidents: int) -> None:
    """Write `incidents` incidents into `folder`; equal seeds write equal files."""
    rng = random.Random(seed)
    for name in ("alerts", "telemetry"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink()
    moment, truths = BEGIN, []
    for number, category in enumerate(order(rng, incidents), 1):
        moment += timedelta(minutes=rng.randint(120, 1400))
        scene = Scene(random.Random(rng.random()), moment)
        told = CATEGORIES[category](scene)
        lose_something(scene, told)
        file, text = alert(scene, told, number)
        (folder / "alerts" / file).write_text(text, encoding="utf-8")
        (folder / "telemetry" / f"{number:04}.jsonl").write_text("\n".join(scene.lines()) + "\n", encoding="utf-8")
        truths.append({
            "alert": f"alerts/{file}", "category": category, "cause": told.cause, "component": scene.service,
            "onset": stamp(scene.onset), "handler": told.handler, "conclusion": told.conclusion})
    lines = [json.dumps(truth, ensure_ascii=False) for truth in truths]
    (folder / "truth.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def order(rng: random.Random, incidents: int) -> list[str]:
    """Categories in order of time: as many of each, those of one often close together."""
    real = [name for name in CATEGORIES if name != "false alarm"]
    remaining = {name: (incidents - FALSE_ALARMS) // len(real) for name in real} | {"false alarm": FALSE_ALARMS}
    for name in real[:(incidents - FALSE_ALARMS) % len(real)]:
        remaining[name] += 1
    result: list[str] = []
    while any(remaining.values()):
        left = [name for name, count in remaining.items() for _ in range(count)]
        again = bool(result) and remaining[result[-1]] > 0 and rng.random() < 0.35
        result.append(result[-1] if again else rng.choice(left))
        remaining[result[-1]] -= 1
    return result


def lose_something(scene: Scene, told: Told) -> None:
    """In one incident of six a source that the cause does not need fails, or was never recorded."""
    if scene.random.random() > 0.17:
        return
    spare = f"events --for pod/{scene.pod} -n {scene.namespace}"
    if told.handler == "image pull":
        return
    how = scene.random.choice(["denied", "timeout", "error", "lost"])
    if how == "lost":
        scene.dropped.add(("kubernetes", spare))
    else:
        reason = {"denied": "events is forbidden: the account may not list it", "error": "the server answered 500",
                  "timeout": "kubectl gave no complete answer within 20 s"}[how]
        scene.say("kubernetes", spare, reason, how)


def alert(scene: Scene, told: Told, number: int) -> tuple[str, str]:
    """The name and text of the file of an alert, in one format after the other."""
    rng = scene.random
    severity, priority = rng.choice(SEVERITIES)
    labels = {"namespace": scene.namespace, "app": scene.service}
    if told.with_pod:
        labels["pod"] = scene.pod
    if told.with_node:
        labels = {"node": scene.node, "namespace": scene.namespace}
    key = sha256(f"{told.kind}{sorted(labels.items())}{number}".encode()).hexdigest()[:16]
    time, description = stamp(scene.onset), f"{told.title.rstrip('.')} since {scene.onset:%H:%M}, {scene.namespace}."
    data: Any
    match number % 5:
        case 0:
            head = {"alertname": told.kind, "severity": severity, "time": time, **labels}
            return f"{number:04}.txt", told.title + "\n" + "".join(f"{n}: {v}\n" for n, v in head.items())
        case 1:
            one = {"status": "firing", "labels": {"alertname": told.kind, "severity": severity, **labels},
                   "annotations": {"summary": told.title, "description": description}, "startsAt": time,
                   "endsAt": "0001-01-01T00:00:00Z", "fingerprint": key}
            data = {"version": "4", "status": "firing", "receiver": "on-call", "groupLabels": {"alertname": told.kind},
                    "commonLabels": {"alertname": told.kind}, "commonAnnotations": {}, "alerts": [one]}
        case 2:
            data = {"event": {"event_type": "incident.triggered", "occurred_at": time, "data": {
                "id": f"P{number:06}", "title": told.title, "status": "triggered", "incident_key": key,
                "created_at": time, "priority": {"summary": priority},
                "custom_fields": {"alertname": told.kind, "description": description, **labels}}}}
        case 3:
            data = {"action": "Create", "alert": {
                "alertId": f"og-{number}", "message": told.title, "alias": key, "priority": priority,
                "tags": [f"alertname:{told.kind}"], "details": labels, "createdAt": int(scene.onset.timestamp() * 1000),
                "description": description}}
        case _:
            data = {"name": told.kind, "title": told.title, "severity": severity, "time": time, "labels": labels,
                    "description": description, "fingerprint": key}
    return f"{number:04}.json", json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write sample incidents with their telemetry, and the truth apart.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--incidents", type=int, default=126)
    options = parser.parse_args()
    generate(options.out, options.seed, options.incidents)


if __name__ == "__main__":
    main()
