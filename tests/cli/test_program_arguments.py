"""`--arg` and `--args`: values from the command line and from files."""

import json
from pathlib import Path

import pytest
from semlang.cli.main import main

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
