"""Objectives: what they may stand on, that they never change a value, and that a missed deadline is reported."""

from pathlib import Path
from typing import Any

import pytest

SLOW = 'import time\ndef wait(x):\n    time.sleep(0.05)\n    return x\n'
PROGRAM = """
host wait(x: text) -> text from "slow_host:wait"
semantic F(x: text) -> y: text {{ \"\"\"Q {{{{x}}}}: {{{{output:y max_tokens=3}}}}\"\"\" }}
program Main() -> (a: text, b: text, c: text) {{
  return wait("a") {0}, F("b") {1}, F("c") {2}
}}
"""
OBJECTIVES = [("", "", ""), ("@ latency", "@ throughput", "@ ttft"), ("@ ttft", "@ deadline(2s)", "@ deadline(100ms)")]


def test_objectives_change_no_value(sem: Any) -> None:
    sem.write(SLOW, "slow_host.py")
    runs = [sem.run(PROGRAM.format(*objectives)) for objectives in OBJECTIVES]
    assert runs[0].ok and runs[0].outputs["a"] == "a"
    assert all(run.outputs == runs[0].outputs for run in runs)


def test_a_missed_deadline_is_reported_and_cancels_nothing(sem: Any, semc: Any) -> None:
    sem.write(SLOW, "slow_host.py")
    sem.write(PROGRAM.format("@ deadline(10ms)", "@ deadline(1m)", "@ latency"))
    found = semc.json("main.sem")
    assert found["outputs"]["a"] == "a" and found["errors"] == {}
    assert list(found["stats"]["missed_deadlines"]) == ["a"]
    assert found["stats"]["missed_deadlines"]["a"] > 0.03
    assert "`a` came 0.0" in semc.err and "after its deadline" in semc.err


def test_a_late_failure_is_an_error_not_a_missed_deadline(sem: Any, semc: Any) -> None:
    sem.write("import time\ndef wait(x):\n    time.sleep(0.05)\n    raise OSError(x)\n", "late_host.py")
    sem.write(PROGRAM.format("@ deadline(10ms)", "", "").replace("slow_host", "late_host"))
    found = semc.json("main.sem", code=1)
    assert found["stats"]["missed_deadlines"] == {} and list(found["errors"]) == ["a"]


@pytest.mark.parametrize(("objective", "code"), [
    ("@ fast", "E0035"), ("@ deadline", "E0035"), ("@ latency(2s)", "E0035"), ("@ deadline(0s)", "E0614"),
])
def test_wrong_objectives(sem: Any, objective: str, code: str) -> None:
    assert sem.codes(f"program Main() -> a: int {{ return 1 {objective} }}") == [code]


@pytest.mark.parametrize(("duration", "seconds"), [
    ("2s", 2), ("1.5s", 1.5), ("250ms", 0.25), ("2m", 120), ("1h", 3600),
])
def test_durations(semc: Any, duration: str, seconds: float) -> None:
    Path("main.sem").write_text(f"program Main() -> a: int {{ return 1 + 1 @ deadline({duration}) }}")
    assert f"objective = [deadline({float(seconds)})]" in semc("compile", "main.sem")
