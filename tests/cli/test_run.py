"""`semc run`: outputs, failures, statistics, the JSON object."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from semlang.cli.main import main

STATS = {"calls", "prompt_tokens", "filled_tokens", "shared_tokens", "generated_tokens", "engine_steps",
         "peak_kv_tokens", "predicted_peak_kv_tokens", "makespan_s", "predicted_makespan_s", "compile_s"}
GREETING = """
semantic Greet(name: text) -> greeting: text {
  \"\"\"Greet {{input:name}}: {{output:greeting max_tokens=8}}\"\"\"
}

program Main(name: text = "Ada") -> greeting: text { return Greet(name) }
"""


@pytest.fixture(autouse=True)
def inside_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)


def write(name: str, text: str) -> None:
    """Write a file into the current folder."""
    Path(name).write_text(text, encoding="utf-8")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, dict[str, object]]:
    """The object that `semc run --json` prints for main.sem on the reference engine."""
    assert main(["run", "main.sem", "--engine", "reference", "--json", *arguments]) == code
    found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_one_output_is_printed_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", 'program Main() -> x: text { return "a\\nb" }')
    assert main(["run", "main.sem"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a\nb\n"
    assert captured.err.startswith("semc: 0 calls, ")


def test_several_outputs_have_headings(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", """
enum E { a = "A!" }
program Main() -> (n: int, e: E, xs: list[text]) { return 3, E.a, ["é"] }
""")
    assert main(["run", "main.sem"]) == 0
    assert capsys.readouterr().out == '── n ──\n3\n\n── e ──\nA!\n\n── xs ──\n["é"]\n'


def test_json_is_one_object_with_all_keys(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    found = run_json(capsys)
    assert set(found) == {"outputs", "errors", "stats"}
    assert set(found["stats"]) >= STATS
    stats = found["stats"]
    assert stats["calls"] == 1 and stats["prompt_tokens"] == stats["filled_tokens"] != 0
    assert isinstance(found["outputs"]["greeting"], str) and found["errors"] == {}


def test_the_same_seed_gives_the_same_samples(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING.replace("max_tokens=8", "max_tokens=8 temperature=1.0"))
    outputs = [run_json(capsys, "--seed", seed)["outputs"] for seed in ("1", "1", "2")]
    assert outputs[0] == outputs[1] != outputs[2]


def test_the_program_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", "program A() -> x: int { return 1 }\nprogram B() -> x: int { return 2 }")
    assert main(["run", "main.sem"]) == 2
    assert "`A`" in (shown := capsys.readouterr().err) and "`B`" in shown
    assert main(["run", "main.sem", "--program", "B"]) == 0
    assert capsys.readouterr().out == "2\n"


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"program Main() -> x: int { return 7 }")))
    assert main(["run", "-"]) == 0
    assert capsys.readouterr().out == "7\n"


HOSTS = """
import time


def fails() -> str:
    raise ValueError("no such thing")


def wrong() -> str:
    return 3


def slow() -> str:
    time.sleep(30)
    return "late"


def shouts() -> str:
    print("progress of the host")
    return "loud"
"""


def host_program(function: str, options: str = "(pure)") -> str:
    """A program with an output that uses a host function, one that uses that output, and one that uses neither."""
    return f"""
host act() -> text from "hosts:{function}" {options}

program Main() -> (direct: text, dependent: text, other: text) {{
  let direct = act()
  return direct, "after ${{direct}}", "fine"
}}
"""


@pytest.mark.parametrize(("function", "options", "message"), [
    ("fails", "(pure)", "no such thing"),
    ("fails", "", "no such thing"),
    ("wrong", "(pure)", "expected a text, found the int 3"),
    ("slow", "(pure, timeout = 100ms)", "0.1 s"),
    ("missing", "(pure)", "missing"),
])
def test_a_failed_host_fails_what_depends_on_it(function: str, options: str, message: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    write("hosts.py", HOSTS)
    write("main.sem", host_program(function, options))
    found = run_json(capsys, code=1)
    assert found["outputs"] == {"other": "fine"}
    assert set(found["errors"]) == {"direct", "dependent"}
    for error in found["errors"].values():
        assert isinstance(error, dict) and set(error) == {"message", "location"}
        assert message in error["message"]
        assert error["location"] == "main.sem:5:16"
    assert main(["run", "main.sem", "--engine", "reference"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "── other ──\nfine\n"
    assert captured.err.count("`direct`, `dependent` failed: ") == 1 and "1 error\n" in captured.err
    assert "--> main.sem:5:16" in captured.err and "let direct = act()" in captured.err


def test_a_run_that_takes_too_long_delivers_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    write("hosts.py", HOSTS)
    write("main.sem", host_program("slow"))
    found = run_json(capsys, "--timeout", "0.3", code=1)
    assert found["outputs"] == {"other": "fine"}
    assert set(found["errors"]) == {"direct", "dependent"}


def test_what_hosts_print_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    write("hosts.py", HOSTS)
    write("main.sem", host_program("shouts"))
    assert main(["run", "main.sem", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["outputs"]["direct"] == "loud"
    assert captured.err == "progress of the host\n"


def test_failures_without_hosts_have_places(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", "program Main(n: int = 0) -> (bad: int, good: int) {\n  return 1 // n, 2\n}\n")
    found = run_json(capsys, code=1)
    assert found["outputs"] == {"good": 2}
    assert found["errors"]["bad"]["location"] == "main.sem:2:10"  # type: ignore[index]


def test_progress_is_shown_on_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    command = [sys.executable, "-P", "-m", "semlang", "run", "main.sem", "--engine", "reference"]
    on_terminal = [sys.executable, "-c", f"import pty; pty.spawn({command!r})"]
    shown = subprocess.run(on_terminal, capture_output=True, text=True, check=True,
                           env={**os.environ, "TERM": "xterm"}).stdout
    assert "\x1b[K1 of 1 calls, " in shown
    assert main(["run", "main.sem", "--engine", "reference"]) == 0
    assert "\x1b[K" not in capsys.readouterr().err


def test_trace(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    run_json(capsys, "--trace", "t.json")
    trace = json.loads(Path("t.json").read_text())
    assert any("greeting" in str(event.get("name")) for event in trace["traceEvents"])
    assert main(["run", "main.sem", "--engine", "reference", "--trace", "no/such/t.json"]) == 2
    assert "cannot write no/such/t.json" in capsys.readouterr().err


def test_warnings_do_not_stop_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", "program Main() -> x: int {\n  let unused = 3\n  return 1\n}")
    assert main(["run", "main.sem"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1\n"
    assert "warning[W0101]" in captured.err


def test_ir_runs_after_editing(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", 'program Main(n: int = 20) -> x: int { return n + 1 }')
    assert main(["compile", "main.sem", "--emit", "sem", "-o", "main.sir"]) == 0
    write("main.sir", Path("main.sir").read_text().replace("flow.const(1)", "flow.const(22)"))
    assert main(["run", "main.sir"]) == 0
    assert capsys.readouterr().out == "42\n"
    write("main.sir", Path("main.sir").read_text().replace("@add", "@ad"))
    assert main(["run", "main.sir"]) == 2
    assert "main.sir:" in capsys.readouterr().err


def test_a_time_limit_may_be_longer_than_the_clock_reaches(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    assert run_json(capsys, "--timeout", "1e300")["errors"] == {}


@pytest.mark.parametrize("command", [["view"], ["explain", "--analyze"]])
def test_files_are_tried_before_a_run_and_none_is_left(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", 'host ring() -> int from "bell:ring"\nprogram Main(n: int) -> x: int { return n + ring() }\n')
    write("bell.py", "def ring():\n    raise AssertionError('the program ran')\n")
    flags = ["main.sem", "--engine", "reference"]
    for path in (".", "missing/report", "main.sem/report"):
        assert main([*command, *flags, "-o", path, "--arg", "n=1"]) == 2
        assert f"cannot write {path}: " in capsys.readouterr().err
    for other in (["-o", "new"], ["-o", "new", "--trace", "new.json"], ["-o", "new", "--arg", "n=one"]):
        assert main([*command, *flags, *other]) == 2
        assert "the argument `n`" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["bell.py", "main.sem"]
