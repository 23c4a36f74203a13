"""A trace of a run as spans of OpenTelemetry."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from running import ROOT
from semlang.cli.main import main as semc
from semlang.programs.rca.open_telemetry import main, spans_of

TRACE = {"traceEvents": [
    {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "program"}},
    {"ph": "X", "pid": 1, "cat": "host", "name": "ask", "ts": 0.0, "dur": 500.0,
     "args": {"site": "a.sem:1:2", "attempts": 1}},
    {"ph": "X", "pid": 1, "cat": "generate", "name": "cause", "ts": 1000.0, "dur": 2000.0, "args": {
        "site": "a.sem:3:4", "stream": "", "prompt_tokens": 40, "generated_tokens": 3, "engine": "reference",
        "finish_reason": "eos"}},
    {"ph": "X", "pid": 1, "cat": "generate", "name": "late", "ts": 1000.0, "dur": 1.0, "args": {"failed": True}},
    {"ph": "X", "pid": 2, "cat": "generate", "name": "cause", "ts": 1000.0, "dur": 2000.0, "args": {}},
    {"ph": "X", "pid": 2, "cat": "step", "name": "step", "ts": 0.0, "dur": 4000.0, "args": {}}]}


def values(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_calls_are_spans_below_the_run() -> None:
    run, host, call, late = spans_of(TRACE, 1_000.004, "run")["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (run["startTimeUnixNano"], run["endTimeUnixNano"]) == ("1000000000000", "1000004000000")
    assert (call["startTimeUnixNano"], call["endTimeUnixNano"]) == ("1000001000000", "1000003000000")
    assert "parentSpanId" not in run and {host["parentSpanId"], call["parentSpanId"]} == {run["spanId"]}
    assert len({span["spanId"] for span in (run, host, call, late)}) == 4 and len(run["traceId"]) == 32
    assert values(call)["gen_ai.usage.input_tokens"] == "40" and values(call)["gen_ai.usage.output_tokens"] == "3"
    assert values(call)["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "eos"}]}
    assert values(host) == {"code.location": "a.sem:1:2", "semlang.attempts": "1"}
    assert late["status"]["code"] == 2 and "status" not in call


def test_a_run_of_the_command_line_becomes_spans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.json"
    program = str(ROOT / "programs" / "rca" / "confidence.sem")
    given = ["--arg", "incident=a", "--arg", "evidence=b", "--arg", "cause=c", "--arg", "n=1"]
    assert semc(["run", program, "--json", "--engine", "reference", *given, "--trace", str(trace)]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    os.utime(trace, (2e9, 2e9))
    assert main([str(trace)]) == 0
    spans = json.loads(capsys.readouterr().out)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    calls = [values(span) for span in spans if span["kind"] == 3]
    assert len(calls) == stats["calls"]
    assert sum(int(call["gen_ai.usage.input_tokens"]) for call in calls) == stats["prompt_tokens"]
    assert sum(int(call["gen_ai.usage.output_tokens"]) for call in calls) == stats["generated_tokens"]
    assert spans[0]["endTimeUnixNano"] == str(2 * 10**18)


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"traceEvents": [{"ph": "X"}]}', "[" * 100_000])
def test_what_is_no_trace_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.json").write_text(text)
    assert main([str(tmp_path / "t.json")]) == main([str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 2
