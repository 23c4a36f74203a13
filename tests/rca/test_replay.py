"""Recorded telemetry answers as it was recorded; what was never recorded is an error, not silence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.collect import ask
from semlang.programs.rca.outcomes import HEAD_CHARACTERS, Outcome, answer_of_text
from semlang.programs.rca.snapshots import read_snapshot

TIME = "2026-03-02T09:15:00Z"
RECORDS: list[dict[str, Any]] = [
    {"source": "kubernetes", "query": "get pods -n shop", "time": TIME, "text": "cart-1 Running"},
    {"source": "kubernetes", "query": "get pods -n shop", "time": "2026-03-02T09:20:00Z", "text": "cart-1 Error"},
    {"source": "kubernetes", "query": "get pods -n shop", "time": "2026-03-05T09:20:00Z", "text": "cart-1 Gone"},
    {"source": "kubernetes", "query": "describe pod * -n shop", "text": "some pod", "table": {"node": "n1"}},
    {"source": "kubernetes", "query": "get jobs", "time": TIME, "text": ""},
    {"source": "kubernetes", "query": "get nodes", "time": TIME, "outcome": "denied", "text": "nodes is forbidden"},
    {"source": "metrics", "query": "up", "series": [
        {"labels": {"pod": "a"}, "start": "2026-03-02T09:00:00Z", "step": 60, "values": [1, None, 3, 9]}]},
    {"source": "logs", "labels": {"namespace": "shop", "app": "cart"}, "start": TIME,
     "lines": [[10, "an ERROR here"], [0.5, "fine"], [9999, "error, much later"]]},
]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS[:3]))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(r) for r in RECORDS[3:]))
    return str(tmp_path)


def look(recording: str, source: str, query: str, start: str = "2026-03-02T09:00:00Z",
         end: str = "2026-03-02T09:30:00Z") -> dict[str, Any]:
    return ask(recording, source, query, start, end, 10.0)


def test_the_newest_answer_of_the_span_counts(recording: str) -> None:
    assert look(recording, "kubernetes", "get  pods -n shop")["text"] == "cart-1 Error"
    assert look(recording, "kubernetes", "get pods -n shop", end="2026-03-02T09:16:00Z")["text"] == "cart-1 Running"
    later = look(recording, "kubernetes", "get pods -n shop", "2026-03-03T00:00:00Z", "2026-03-03T01:00:00Z")
    assert later["outcome"] == "error" and "was not recorded between" in later["text"]


def test_patterns_tables_and_outcomes(recording: str) -> None:
    described = look(recording, "kubernetes", "describe pod cart-1 -n shop")
    assert (described["outcome"], described["text"], described["table"]) == ("ok", "some pod", {"node": "n1"})
    assert look(recording, "kubernetes", "get jobs")["outcome"] == "empty"
    assert look(recording, "kubernetes", "get nodes")["outcome"] == "denied"


def test_series_are_those_of_the_span(recording: str) -> None:
    assert look(recording, "metrics", "up", end="2026-03-02T09:02:30Z")["table"]["max"] == "3"
    assert look(recording, "metrics", "up")["table"]["points"] == "3"
    assert look(recording, "metrics", "up", "2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z")["outcome"] == "empty"


def test_lines_are_those_of_span_labels_and_pattern(recording: str) -> None:
    assert look(recording, "logs", "app=cart | error")["text"] == "2026-03-02T09:15:10Z an ERROR here"
    assert look(recording, "logs", "app=cart")["table"]["lines"] == "2"
    assert look(recording, "logs", "app=cart | panic")["outcome"] == "empty"


@pytest.mark.parametrize(("source", "query"), [
    ("logs", "app=payments"), ("metrics", "down"), ("kubernetes", "get services"), ("probes", "dns"), ("logs", "what?"),
])
def test_what_was_not_recorded_is_an_error_never_empty(recording: str, source: str, query: str) -> None:
    evidence = look(recording, source, query)
    assert evidence["outcome"] == "error" and evidence["text"]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"source": "x"}', '{"source": "logs", "lines": [], "labels": {}}'])
def test_a_broken_recording_names_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.jsonl").write_text(f"\n{line}\n")
    evidence = look(str(tmp_path), "logs", "app=x")
    assert evidence["outcome"] == "error" and "bad.jsonl:2" in evidence["text"]


def test_a_recording_that_changes_is_read_again(recording: str) -> None:
    assert look(recording, "kubernetes", "get services")["outcome"] == "error"
    (Path(recording) / "c.jsonl").write_text('{"source": "kubernetes", "query": "get services", "text": "cart"}')
    assert look(recording, "kubernetes", "get services")["text"] == "cart"


def test_a_long_text_is_cut_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path))
    text = "".join(f"line {i}\n" for i in range(100_000))
    answer = answer_of_text(text)
    assert answer.outcome == Outcome.OK and len(answer.text) < 9_000
    assert answer.text.startswith("line 0\n") and answer.text.endswith("line 99999\n")
    assert f"[cut: {len(text)} bytes in all; the whole is snapshot {answer.table['snapshot']}]" in answer.text
    assert read_snapshot(answer.table["snapshot"], HEAD_CHARACTERS, 100) == text[HEAD_CHARACTERS:HEAD_CHARACTERS + 100]
    for key in ("../passwd", "", "0" * 16):
        with pytest.raises(KeyError, match="there is no snapshot"):
            read_snapshot(key)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\x00\x1b[31m\ud800\r\n"), max_size=40))
def test_any_text_is_a_text_value_afterwards(text: str) -> None:
    answer = answer_of_text(text)
    answer.text.encode()
    assert "\x00" not in answer.text and "\x1b" not in answer.text
    assert (answer.outcome == Outcome.EMPTY) == (not answer.text)
