"""`semc run`: arguments, outputs, failures, models, the JSON object."""

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
TYPES = """
enum Level { low, high = "very high" }
type Point { x: int, y: float? }

program Main(t: text = "t", o: text? = none, i: int = 1, f: float = 1.0, b: bool = true, e: Level = low,
             p: Point = Point(x = 1, y = none), xs: list[int] = [], m: map[text, int] = [:]) -> (
  t: text, o: text, i: int, f: float, b: bool, e: Level, p: Point, xs: list[int], m: map[text, int],
) {
  return t, o ?? "none", i, f, b, e, p, xs, m
}
"""
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


@pytest.mark.parametrize(("argument", "value"), [
    ("t=a = b", "a = b"), ("t=", ""), ('t="quoted"', '"quoted"'), ("o=null", "null"), ("o=x", "x"), ("i=-3", -3),
    ("f=2", 2.0), ("b=false", False), ("e=high", "very high"), ("e=very high", "very high"), ('e="low"', "low"),
    ('p={"x": 2}', {"x": 2, "y": None}), ("xs=[1, 2]", [1, 2]), ('m={"b": 1, "a": 2}', {"a": 2, "b": 1}),
])
def test_arguments(argument: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", TYPES)
    assert run_json(capsys, "--arg", argument)["outputs"][argument.partition("=")[0]] == value


@pytest.mark.parametrize(("argument", "content", "value"), [
    ("t=@file", "line\n", "line\n"), ("o=@file", " x ", " x "), ("xs=@file", "[1,\n2]\n", [1, 2]),
    ("e=@file", "high\n", "very high"),
])
def test_arguments_from_files(argument: str, content: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", TYPES)
    write("file", content)
    assert run_json(capsys, "--arg", argument)["outputs"][argument.partition("=")[0]] == value


def test_a_file_of_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", TYPES)
    write("args.json", '{"t": "from file", "i": 5, "o": null, "f": 3}')
    outputs = run_json(capsys, "--args", "args.json", "--arg", "i=6")["outputs"]
    assert (outputs["t"], outputs["i"], outputs["o"], outputs["f"]) == ("from file", 6, "none", 3.0)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--arg", "t"], "`--arg t` has no value"),
    (["--arg", "i=1", "--arg", "i=2"], "the argument `i` is given twice"),
    (["--arg", "i=one"], "the argument `i` is wrong: expected an int as JSON"),
    (["--arg", "i=1.5"], "the argument `i` is wrong: expected an int, found the float 1.5"),
    (["--arg", "i=true"], "the argument `i` is wrong"),
    (["--arg", "i=9223372036854775808"], "is beyond 64 bits"),
    (["--arg", "f=NaN"], "the argument `f` is wrong"),
    (["--arg", "b=True"], "the argument `b` is wrong"),
    (["--arg", "e=medium"], "the argument `e` is wrong"),
    (["--arg", 'p={"x": 1, "z": 2}'], "has no field 'z'"),
    (["--arg", "p={}"], "the field x of the record Point is missing"),
    (["--arg", "xs=[1,"], "the argument `xs` is wrong"),
    (["--arg", "tt=x"], "has no parameter `tt`"),
    (["--arg", "t=@nowhere"], "cannot read `nowhere`"),
    (["--args", "nowhere.json"], "cannot read `nowhere.json`"),
    (["--args", "list.json"], "must hold a JSON object"),
    (["--args", "broken.json"], "broken.json:2:1"),
    (["--args", "twice.json"], "given twice"),
    (["--args", "wrong.json"], "the argument `t` is wrong: expected a text, found the int 1"),
    (["--program", "Other"], "`main.sem` has no program `Other`"),
])
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", TYPES)
    write("list.json", "[]")
    write("broken.json", '{"t": \nx}')
    write("twice.json", '{"t": "a", "t": "b"}')
    write("wrong.json", '{"t": 1}')
    assert main(["run", "main.sem", "--engine", "reference", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_missing_arguments_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", "program Main(a: text, b: int) -> x: text { return a + \"${b}\" }")
    assert main(["run", "main.sem"]) == 2
    shown = capsys.readouterr().err
    assert "`a`" in shown and "`b`" in shown and "2 errors" in shown


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
    assert "`direct` failed: " in captured.err and "`dependent` failed: " in captured.err
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


def test_aliases_are_bound_by_flag_then_environment_then_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", 'model small = "someone/tiny"\n' + GREETING.replace("text {\n", "text using small {\n"))
    assert main(["run", "main.sem", "--engine", "reference"]) == 0  # computes without any model
    capsys.readouterr()
    for arguments, settings, message in [
        (["--model", "small=./nowhere"], "", "there is no directory ./nowhere"),
        ([], '[models]\nsmall = "./elsewhere"', "there is no directory ./elsewhere"),
        (["--model", "small=./nowhere"], '[models]\nsmall = "./elsewhere"', "there is no directory ./nowhere"),
        (["--model", "smal=./nowhere"], "", "did you mean `small`?"),
        (["--model", "small=a", "--model", "small=b"], "", "`--model` is given twice for `small`"),
        (["--model", "small="], "", "names no model"),
        (["--config", "nowhere.toml"], "", "cannot read nowhere.toml"),
        ([], "engin = 'torch'", "unknown key `engin`"),
        ([], "engine = ", "is not valid TOML"),
        ([], "engine = 3", "`engine` must be text"),
        ([], "models = 3", "must be a table"),
    ]:
        write("semc.toml", settings)
        assert main(["run", "main.sem", "--engine", "reference", *arguments]) == 2, (arguments, settings)
        assert message in capsys.readouterr().err


def test_the_default_model_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    monkeypatch.setenv("SEMC_MODEL", "./from-environment")
    assert main(["run", "main.sem"]) == 2
    assert "there is no directory ./from-environment" in capsys.readouterr().err
    assert main(["run", "main.sem", "--model", "./from-flag"]) == 2
    assert "there is no directory ./from-flag" in capsys.readouterr().err


def test_the_engine_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    write("semc.toml", 'engine = "reference"')
    assert main(["run", "main.sem"]) == 0
    assert "embedded" not in capsys.readouterr().err
    write("semc.toml", 'engine = "abacus"')
    assert main(["run", "main.sem"]) == 2
    assert "there is no engine `abacus`" in capsys.readouterr().err


def test_the_embedded_model_says_that_it_writes_noise(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    assert main(["run", "main.sem"]) == 0
    captured = capsys.readouterr()
    assert "semc: the embedded default model writes noise; name a real one with --model DIR|ID\n" in captured.err
    assert "semc: 1 call, " in captured.err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["run", "main.sem"]) == 2
    shown = capsys.readouterr().err
    assert "the torch engine needs a package that is not installed: torch" in shown
    assert "pip install 'semlang[torch]'" in shown


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
