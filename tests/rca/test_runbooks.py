"""Runbooks in Markdown: which fits, what of it is asked, what is left to people."""

import json
from pathlib import Path
from typing import Any

import pytest
from investigating import RCA, SAMPLES, investigate
from running import run
from semlang.programs.rca.runbooks import RunbookError, items_of, match, read_runbook, read_runbooks

QUEUE = """# The queue is long

**Alerts:** KafkaConsumerLag, `QueueLag`, /queue,? *lag|backlog/

## Workflow

1. Look at the length: `metrics: max(lag{namespace="{namespace}"})`
2) See `kubectl describe pod {pod} -n {namespace}` and
   ``kubectl get pods -n {namespace}``, then decide whether `replicas` suffice.
3. Ask the owners of the *producer*.

10. Restart: `kubectl rollout restart deployment/{service} -n {namespace}`

Not a step.
"""
PLACE = {"namespace": "shop", "pod": "", "service": "cart", "node": "", "host": ""}


def incident(kind: str = "X", title: str = "", **labels: str) -> dict[str, Any]:
    return {"kind": kind, "title": title, "labels": labels}


def test_a_runbook_is_read() -> None:
    runbook = read_runbook("queue", QUEUE)
    assert runbook.rules == ("KafkaConsumerLag", "QueueLag", "/queue,? *lag|backlog/")
    assert [step.split()[0] for step in runbook.steps] == ["Look", "See", "Ask", "Restart:"]
    items = [items_of(step, PLACE) for step in runbook.steps]
    assert items[0] == [{"source": "metrics", "query": 'max(lag{namespace="shop"})', "result": ""}]
    assert items[1] == [{"source": "", "query": "", "result": "not possible: the alert names no pod"},
                        {"source": "kubernetes", "query": "get pods -n shop", "result": ""}]
    assert items[2] == [{"source": "", "query": "", "result": "left to a person"}]


def test_the_link_comes_first_then_the_name_then_expressions() -> None:
    books = [read_runbook("other", "Alerts: /lag/"), read_runbook("plain", ""), read_runbook("queue", QUEUE)]

    def chosen(alert: dict[str, Any]) -> str:
        found = match(books, alert)
        return found[0].name if found else ""

    assert chosen(incident("QueueLag")) == "queue"
    assert chosen(incident("QueueLag", runbook_url="https://wiki/runbooks/Plain.md#steps")) == "plain"
    assert chosen(incident("QueueLag", runbook_url="https://wiki/elsewhere")) == "queue"
    assert chosen(incident("SomeLag")) == "other" and chosen(incident("X", "a backlog of mail")) == "queue"
    assert chosen(incident("Watchdog")) == ""


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.md", b"\x80", "cannot be read"), ("x.md", b"Alerts: /(/", "wrong expression"), ("x.txt", b"", "0 files"),
    ("x.md", b"x" * 200_001, "this is no runbook")])
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunbookError, match=message):
        list(read_runbooks(str(tmp_path)))


@pytest.fixture
def recording(tmp_path: Path) -> tuple[str, str]:
    """Sources and runbooks."""
    for folder in ("telemetry", "runbooks"):
        (tmp_path / folder).mkdir()
    record = {"source": "metrics", "query": 'max(lag{namespace="shop"})', "text": "lag 9 of 10.1.2.3"}
    (tmp_path / "telemetry" / "r.jsonl").write_text(json.dumps(record))
    (tmp_path / "runbooks" / "queue.md").write_text(QUEUE)
    return str(tmp_path / "telemetry"), str(tmp_path / "runbooks")


ALERT = json.dumps({"name": "QueueLag", "labels": {"namespace": "shop", "app": "cart"}})


def test_steps_are_followed_and_deviations_told(recording: tuple[str, str]) -> None:
    sources, runbooks = recording
    found = run(RCA / "collect.sem", {"alert": ALERT, "sources": sources, "runbooks": runbooks})
    assert found["handler"]["name"] == "no handler"
    assert found["handler"]["rule"].endswith("; runbook: it is for QueueLag")
    assert found["handler"]["version"].startswith("queue.md ")
    results = [(step["action"].partition(":")[0], step["result"], step["evidence"]) for step in found["steps"]]
    assert results == [
        ("runbook queue, step 1", "ok", ["E1"]),
        ("runbook queue, step 2", "not possible: the alert names no pod", []),
        ("runbook queue, step 2", "error", ["E2"]),  # never recorded
        ("runbook queue, step 3", "left to a person", []),
        ("runbook queue, step 4", "error", ["E3"])]
    assert "runbook queue, step 3: Ask the owners of the producer.: left to a person" in found["missing"]
    assert len(found["missing"]) == 4


def test_a_runbook_that_writes_is_denied(recording: tuple[str, str], tmp_path: Path) -> None:
    sources = json.dumps({"kubernetes": {"connector": "kubectl", "command": str(tmp_path / "none")},
                          "*": {"connector": "replay", "directory": recording[0]}})
    found = run(RCA / "collect.sem", {"alert": ALERT, "sources": sources, "runbooks": recording[1]})
    assert found["steps"][-1]["result"] == "denied"


def test_an_alert_without_a_handler_is_investigated_by_its_runbook(recording: tuple[str, str]) -> None:
    report = investigate(ALERT, recording[0], runbooks=recording[1])
    assert report["ending"] in ("cause", "insufficient evidence") and report["evidence"][0]["outcome"] == "ok"
    assert report["confidence"] is not None and "10.1.2.3" in report["evidence"][0]["text"]


def test_a_handler_and_no_runbook_or_a_wrong_directory(tmp_path: Path, recording: tuple[str, str]) -> None:
    alert = (SAMPLES / "alerts" / "0001.json").read_text(encoding="utf-8")
    plain = run(RCA / "collect.sem", {"alert": alert})
    other = run(RCA / "collect.sem", {"alert": alert, "runbooks": recording[1]})
    assert other["steps"] == plain["steps"] and other["handler"]["rule"].endswith("no runbook is for this alert")
    wrong = run(RCA / "collect.sem", {"alert": alert, "runbooks": str(tmp_path / "none")})
    assert wrong["steps"][:-1] == plain["steps"] and "there is no directory" in wrong["missing"][-1]
