"""Runs `// RUN: semc … | filecheck %s` lines of the `.sir` and `.sem` files beside this one, in this process."""

import io
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options
from filecheck.parser import Parser, pattern_for_opts
from semlang.cli.main import main

HERE = Path(__file__).parent
FILES = sorted(p for p in HERE.iterdir() if p.suffix in (".sir", ".sem"))


def run_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("RUN:", 1)[1].strip() for line in lines if line.lstrip("/# ").startswith("RUN:")]


def semc(command: str, path: Path) -> str:
    """What `semc …` prints to stdout; it must succeed."""
    program, *arguments = [str(path) if word == "%s" else word for word in shlex.split(command)]
    assert program == "semc", f"only semc can be run, not {program}"
    out = io.StringIO()
    with redirect_stdout(out):
        code = main(arguments)
    assert code == 0, f"`{command}` ended with exit code {code}"
    return out.getvalue()


def filecheck(command: str, path: Path, text: str) -> None:
    """`filecheck …` on `text`."""
    program, *arguments = [str(path) if word == "%s" else word for word in shlex.split(command)]
    assert program == "filecheck", f"output goes to filecheck, not to {program}"
    options = parse_argv_options(["filecheck", *arguments])
    checks = io.StringIO(path.read_text(encoding="utf-8"))
    matcher = Matcher(options, FInput("output", text), Parser(options, checks, *pattern_for_opts(options)))
    assert matcher.run() == 0, text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_file(path: Path) -> None:
    commands = run_lines(path)
    assert commands, "the file has no RUN: line"
    for line in commands:
        command, check = line.split(" | ")
        filecheck(check, path, semc(command, path))


def test_a_check_can_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.sir"
    head = "// RUN: semc opt %s | filecheck %s\n// CHECK: prompt.start\n"
    path.write_text(head + "sem.program(@P) { sem.return() {names = []} }\n")
    with pytest.raises(AssertionError):
        test_file(path)
