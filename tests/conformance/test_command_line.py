"""The doors that are fixed: forms of arguments, what goes where, exit codes, the object of `--json`; docs/cli.md."""

import json
from pathlib import Path
from typing import Any

import pytest

REFERENCE = ("--engine", "reference")
PROGRAM = '''
semantic F(x: text) -> y: text { """{{x}}: {{output:y max_tokens=4}}""" }
program Main(x: text = "q", n: int = 3) -> (y: text, n: int) { return F(x), n }
test "three" { assert Main().n == 3 }
test "not four" { assert Main(n = 4).n == 3 }
'''
STATISTICS = {"calls", "prompt_tokens", "filled_tokens", "shared_tokens", "generated_tokens", "engine_steps",
              "peak_kv_tokens", "predicted_peak_kv_tokens", "makespan_s", "predicted_makespan_s", "compile_s"}


@pytest.fixture(autouse=True)
def program(sem: Any) -> None:
    sem.write(PROGRAM)
    (sem.folder / "folder").mkdir()


@pytest.mark.parametrize(("arguments", "code"), [
    ([], 0), (["--help"], 0), (["--version"], 0), (["run", "--help"], 0), (["nope"], 2), (["run"], 2),
    (["run", "nope.sem"], 2),
    (["run", "folder"], 2), (["run", "main.sem", *REFERENCE], 0), (["run", *REFERENCE, "--", "main.sem"], 0),
    (["run", "main.sem", *REFERENCE, "-O1"], 0), (["run", "main.sem", *REFERENCE, "-O", "1"], 0),
    (["run", "main.sem", *REFERENCE, "-O3"], 2), (["run", "main.sem", *REFERENCE, "-O"], 2),
    (["run", "main.sem", "more.sem"], 2),
    (["run", "main.sem", "--eng", "reference"], 2), (["run", "main.sem", "--engine", "abacus"], 2),
    (["run", "main.sem", "--engine", "openai:http://localhost"], 2), (["run", "main.sem", *REFERENCE, "--arg"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "x"], 2), (["run", "main.sem", *REFERENCE, "--arg", "=3"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "x=@"], 2), (["run", "main.sem", *REFERENCE, "--arg", "x=@folder"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "x=@nope"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "n=@main.sem"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "x=a", "--arg", "x=b"], 2),
    (["run", "main.sem", *REFERENCE, "--arg", "z=1"], 2),
    (["run", "main.sem", *REFERENCE, "--args", "folder"], 2),
    (["run", "main.sem", *REFERENCE, "--args", "main.sem"], 2),
    (["run", "main.sem", *REFERENCE, "--seed", "x"], 2), (["run", "main.sem", *REFERENCE, "--seed", "-5"], 0),
    (["run", "main.sem", *REFERENCE, "--timeout", "0"], 2), (["run", "main.sem", *REFERENCE, "--timeout", "nan"], 2),
    (["run", "main.sem", *REFERENCE, "--trace", "folder"], 2),
    (["run", "main.sem", *REFERENCE, "--trace", "no/such.json"], 2),
    (["run", "main.sem", *REFERENCE, "--program", "main"], 2), (["run", "main.sem", "--model", "./nope"], 2),
    (["run", "main.sem", "--device", "gpu"], 2), (["run", "main.sem", *REFERENCE, "--config", "nope.toml"], 2),
    (["check"], 2),
    (["check", "nope.sem", "main.sem"], 2), (["check", "main.sem", "main.sem"], 0), (["fmt", "nope.sem"], 2),
    (["fmt", "folder"], 2),
    (["compile", "main.sem", "-o", "folder"], 2), (["compile", "main.sem", "-o", "no/such.sir"], 2),
    (["compile", "main.sem", "--emit", "nope"], 2), (["compile", "main.sem", "--print-ir-after", "nope"], 2),
    (["opt", "main.sem"], 2), (["opt", "nope.sir"], 2), (["opt", "folder"], 2), (["test", "nope.sem"], 2),
    (["test", "main.sem"], 1), (["test", "main.sem", "--filter", "three"], 0), (["passes"], 0), (["passes", "nope"], 2),
])
def test_exit_codes(semc: Any, arguments: list[str], code: int) -> None:
    """0 done, 1 the program failed, 2 the input is wrong; what is wrong goes to stderr, with its code."""
    semc(*arguments, code=code)
    if code == 2:
        assert semc.out == "" and "error[E" in semc.err
        assert "Traceback" not in semc.err and "internal error" not in semc.err
        assert semc.err.rstrip().endswith(("error", "errors"))


def test_what_a_run_prints(semc: Any) -> None:
    semc("run", "main.sem", *REFERENCE)
    lines = semc.out.splitlines()
    assert lines[0] == "── y ──" and lines[-2:] == ["── n ──", "3"]
    assert semc.err.startswith("semc: 1 call, ") and len(semc.err.splitlines()) == 1


def test_the_object_of_a_run(semc: Any) -> None:
    found = semc.json("main.sem", "--arg", "x=hello there", "--arg", "n=-7")
    assert list(found) == ["outputs", "errors", "stats"]
    assert list(found["outputs"]) == ["y", "n"] and found["outputs"]["n"] == -7 and found["errors"] == {}
    stats = found["stats"]
    assert set(stats) >= STATISTICS and semc.err == ""
    assert stats["calls"] == 1 and stats["shared_tokens"] == stats["prompt_tokens"] - stats["filled_tokens"]
    assert 0 < stats["generated_tokens"] <= 4 and stats["makespan_s"] > 0 and stats["compile_s"] > 0
    assert stats["peak_kv_tokens"] >= stats["prompt_tokens"] > 0 and stats["engine_steps"] >= stats["generated_tokens"]


def test_counters_of_a_shared_prefix(sem: Any, semc: Any) -> None:
    sem.write('''semantic F(x: text) -> y: text {
  """You are an expert. Answer the question of a customer, briefly: {{x}}. {{output:y max_tokens=2}}"""
}
program Main() -> ys: list[text] { return [F(x) for x in ["a", "b", "c", "d"]] }''')
    plain, best = semc.json("main.sem", "-O0")["stats"], semc.json("main.sem", "-O2")["stats"]
    assert plain["calls"] == best["calls"] == 4 and plain["prompt_tokens"] == best["prompt_tokens"]
    assert plain["shared_tokens"] == 0 < best["shared_tokens"]
    assert best["filled_tokens"] < plain["filled_tokens"] == plain["prompt_tokens"]


def test_what_text_of_arguments_means(sem: Any, semc: Any) -> None:
    sem.write("program Main(t: text, o: text?, xs: list[text], m: map[text, int] = [:]) -> (\n"
              "  t: text, o: text?, xs: list[text], m: map[text, int]) { return t, o, xs, m }")
    (sem.folder / "long.txt").write_text("line one\nline two\n", encoding="utf-8")
    (sem.folder / "args.json").write_text(json.dumps({"xs": ["from file"], "t": "file", "m": {"k": 1}, "o": None}))
    found = semc.json("main.sem", "--args", "args.json", "--arg", "t=@long.txt", "--arg", "o=a=b")["outputs"]
    assert found == {"t": "line one\nline two\n", "o": "a=b", "xs": ["from file"], "m": {"k": 1}}
    found = semc.json("main.sem", "--arg", "t=[1]", "--arg", 'xs=["é"]', "--arg", "o=\U0001f600")["outputs"]
    assert found == {"t": "[1]", "o": "\U0001f600", "xs": ["é"], "m": {}}
    semc("run", "main.sem", *REFERENCE, code=2)
    assert semc.err.count("error[E0954]") == 2 and "`t`" in semc.err and "`xs`" in semc.err  # `o` may be left out


def test_tests(semc: Any) -> None:
    semc("test", "main.sem", code=1)
    assert semc.out == "main.sem: three … ok\nmain.sem: not four … FAILED\n1 test passed, 1 failed\n"
    assert "error[E1108]: the assertion does not hold" in semc.err and "--> main.sem:5:" in semc.err
    assert "left: 4" in semc.err and "right: 3" in semc.err
    for level in ("-O0", "-O1"):
        semc("test", "main.sem", level, code=1)


def test_compile_writes_only_what_it_is_asked_to(semc: Any) -> None:
    shown = semc("compile", "main.sem", "--emit", "engine")
    assert semc("compile", "main.sem", "-o", "out.sir") == ""
    assert Path("out.sir").read_text() == shown
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "main.sem", "out.sir"]


def test_formatting(semc: Any) -> None:
    before = Path("main.sem").read_text()
    semc("fmt", "--check", "main.sem", code=1)
    assert semc.out == "main.sem\n" and Path("main.sem").read_text() == before
    outputs = semc.json("main.sem")["outputs"]
    semc("fmt", "main.sem")
    assert Path("main.sem").read_text() != before
    semc("fmt", "--check", "main.sem")
    assert semc.json("main.sem")["outputs"] == outputs
