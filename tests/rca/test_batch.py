"""batch.sem on the reference engine: a report for each incident, and what many of them share."""

import json
from pathlib import Path
from typing import Any

import pytest
from investigating import RCA, investigate, run, sample, valid
from semlang.programs.rca.incident_file import first_positions, read_lines

pytest.importorskip("sklearn", reason="the extra `rca` is not installed")

NAMES = ("0001.json", "0002.json", "0003.json", "0004.json", "0005.txt", "0006.json")


def line_of(name: str) -> str:
    """An alert in one line: JSON as it is, words as a JSON text."""
    text = sample(name)
    return json.dumps(json.loads(text) if name.endswith(".json") else text)


def batch(lines: list[str], **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    result = run("batch", {"incidents": "\n".join(lines), "n": 2, **arguments}).to_json()
    assert result["errors"] == {}, result["errors"]
    return [valid(report) for report in result["outputs"]["reports"]], result["stats"]


def test_each_incident_gets_the_report_that_it_gets_alone() -> None:
    reports, stats = batch([line_of(name) for name in NAMES])
    assert [r["incident"]["id"] for r in reports] == [investigate(sample(n))["incident"]["id"] for n in NAMES]
    alone = investigate(sample("0004.json"), k=5)
    together = reports[3]
    for name in ("handler", "conclusion", "findings", "evidence", "similar", "verdict", "layer", "symptoms"):
        assert together[name] == alone[name], name
    assert stats["filled_tokens"] * 4 < stats["prompt_tokens"]


def test_repeated_incidents_and_lines_that_cannot_be_read() -> None:
    again = '{"name": "x", "time": "yesterday"}'
    reports, _ = batch([line_of("0001.json"), "", again, line_of("0004.json"), line_of("0001.json"), "{", "Watchdog"])
    assert [report["ending"] for report in reports][1::2] == ["unreadable alert"] * 2
    assert reports[0]["reports"] == 2 and reports[2]["reports"] == 1
    assert reports[1]["missing"] == ["line 3: the time of the alert cannot be read: 'yesterday'; give ISO 8601 or "
                                     "seconds since 1970"]
    assert reports[4]["ending"] == "no handler" and reports[4]["incident"]["title"] == "Watchdog"


def test_equal_diagnoses_are_summarised_once(tmp_path: Path) -> None:
    words = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60))
    text = "\n".join(f"Warning {chr(97 + i)} Failed {words}" for i in range(8))
    (tmp_path / "r.jsonl").write_text(json.dumps({"source": "kubernetes", "query": "describe pod *", "text": text}))
    lines = [json.dumps({"name": "KubePodCrashLooping", "time": f"2026-03-0{day}T09:00:00Z", "labels": {
        "namespace": "shop", "app": "cart", "pod": "cart-1"}}) for day in (1, 2, 3)]
    labels: list[str] = []
    result = run("batch", {"incidents": "\n".join(lines), "sources": str(tmp_path), "n": 1}, labels=labels)
    reports = [valid(report) for report in result.to_json()["outputs"]["reports"]]
    assert len({report["incident"]["time"] for report in reports}) == 3
    source = (RCA / "predict.sem").read_text(encoding="utf-8").split("\n")
    line = 1 + next(number for number, text in enumerate(source) if "{{output:summary" in text)
    summaries = [label for label in labels if f"predict.sem:{line}:" in label]
    assert 1 <= len(summaries) <= 2  # a second try where the first is too short


def test_lines_of_a_file() -> None:
    lines = read_lines('\n{"name": "A"}\n  \n"B\\nseverity: high"\nplain words\n{"name": "A"}\n[]\n')
    assert [(line["number"], line["repeated"], bool(line["problem"])) for line in lines] == [
        (2, 1, False), (4, 0, False), (5, 0, False), (7, 0, True)]
    assert lines[1]["alert"] == "B\nseverity: high" and lines[2]["alert"] == "plain words"
    assert first_positions(["a", "b", "a", "b"]) == [0, 1, 0, 1] and read_lines("") == []
