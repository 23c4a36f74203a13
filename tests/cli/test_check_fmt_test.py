"""`semc check`, `semc fmt`, `semc test`."""

import io
import sys
from pathlib import Path

import pytest
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
PROGRAMS = [str(path) for path in sorted(ROOT.glob("programs/*.sem"))]


@pytest.fixture(autouse=True)
def inside_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_check_reports_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.sem").write_text("program A() -> x: int { return y }")
    Path("two.sem").write_text("program B() -> x: int { return 1 }")
    Path("three.sem").write_text("program C() -> x: text { return 1 }")
    assert main(["check", "one.sem", "two.sem", "three.sem", "four.sem"]) == 2
    captured = capsys.readouterr()
    assert "one.sem:1:32" in captured.err and "three.sem:1:33" in captured.err and "`four.sem`" in captured.err
    assert captured.err.endswith("\n3 errors\n") and captured.out == ""
    assert main(["check", "two.sem"]) == 0
    assert capsys.readouterr().err == ""


def test_check_reports_a_shared_file_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shared.sem").write_text("program A() -> x: int { return y }")
    for name in ("one.sem", "two.sem"):
        Path(name).write_text(f'use "shared.sem"\nprogram {name[:3]}() -> x: int {{ return 1 }}')
    assert main(["check", "one.sem", "two.sem"]) == 2
    assert capsys.readouterr().err.endswith("\n1 error\n")


def test_warnings_do_not_fail_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text("program A() -> x: int {\n  let y = 1\n  return 2\n}")
    assert main(["check", "main.sem"]) == 0
    assert "1 warning" in capsys.readouterr().err


def test_programs_are_clean_and_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *PROGRAMS]) == 0
    assert main(["fmt", "--check", *PROGRAMS]) == 0
    assert capsys.readouterr() == ("", "")


def test_fmt_changes_files_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text("program   A( )->x:int{return 1}\n")
    assert main(["fmt", "--check", "main.sem"]) == 1
    assert capsys.readouterr().out == "main.sem\n"
    assert main(["fmt", "main.sem"]) == 0
    assert Path("main.sem").read_text() == "program A() -> x: int { return 1 }\n"
    assert main(["fmt", "--check", "main.sem"]) == 0
    assert capsys.readouterr() == ("", "")


def test_fmt_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"program A()->x:int{return 1}")))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == "program A() -> x: int { return 1 }\n"


def test_fmt_leaves_broken_files_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.sem").write_text("program A( {")
    Path("good.sem").write_text("program   A()->x:int{return 1}")
    assert main(["fmt", "broken.sem", "good.sem", "missing.sem"]) == 2
    captured = capsys.readouterr()
    assert "broken.sem:1:" in captured.err and "`missing.sem`" in captured.err
    assert Path("broken.sem").read_text() == "program A( {"
    assert Path("good.sem").read_text().startswith("program A() -> x: int")


def test_fmt_of_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text("program   A()->x:int{return 1}")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert main(["fmt", "main.sem"]) == 2
    assert "cannot write main.sem: Permission denied" in capsys.readouterr().err


TESTS = """
host fails() -> int from "hosts:fails" (pure)

program Double(n: int) -> twice: int { return n * 2 }

test "holds" {
  assert Double(2) == 4
}

test "does not hold" {
  let four = Double(2)
  assert four == 5
  assert "a" in "b"
  assert four > 3
  assert false
}

test "fails" {
  assert fails() == 1
}
"""


def test_tests_report_each_assertion(capsys: pytest.CaptureFixture[str]) -> None:
    Path("hosts.py").write_text("def fails() -> int:\n    raise OSError('disk full')\n")
    Path("main.sem").write_text(TESTS)
    assert main(["test", "main.sem"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ("main.sem: holds … ok\nmain.sem: does not hold … FAILED\nmain.sem: fails … FAILED\n"
                            "1 test passed, 2 failed\n")
    assert captured.err.count("the assertion does not hold") == 3
    for shown in ("main.sem:12:10", "left: 4", "right: 5", "main.sem:13:10", "main.sem:15:10", "disk full",
                  "main.sem:19:10"):
        assert shown in captured.err
    assert "main.sem:14" not in captured.err


def test_tests_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text(TESTS)
    assert main(["test", "main.sem", "--filter", "holds"]) == 0
    assert capsys.readouterr().out == "main.sem: holds … ok\n1 test passed\n"


def test_a_test_may_name_its_engine(capsys: pytest.CaptureFixture[str]) -> None:
    program = """
semantic F(x: text) -> y: text { \"\"\"{{x}} {{y max_tokens=2}}\"\"\" }
test "t" {
  let y = F("a") with engine ENGINE
  assert y != "b"
}
"""
    Path("main.sem").write_text(program.replace("ENGINE", "reference"))
    assert main(["test", "main.sem"]) == 0
    Path("main.sem").write_text(program.replace("ENGINE", "abacus"))
    assert main(["test", "main.sem"]) == 2
    assert "there is no engine `abacus`" in capsys.readouterr().err
    Path("main.sem").write_text(program.replace("ENGINE", "openai"))
    assert main(["test", "main.sem"]) == 2
    assert "the engine `openai` is not built yet" in capsys.readouterr().err


def test_broken_files_end_tests_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text('test "t" { assert 3 }')
    assert main(["test", "main.sem"]) == 2
    assert "main.sem:1:19" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2"])
def test_the_tests_of_all_programs_pass(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", *PROGRAMS, level]) == 0, capsys.readouterr().err
    assert capsys.readouterr().err == ""
