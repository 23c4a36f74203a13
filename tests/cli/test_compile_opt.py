"""`semc compile`, `semc opt`, `semc passes`: text of the IR and what can be seen of passes."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from semlang.cli.main import main
from semlang.ir.core import Module
from semlang.ir.target import Target
from semlang.passes import registry
from semlang.passes.base import Pass, Report

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(ROOT.glob("programs/*.sem"))
SNAKE = str(ROOT / "programs" / "snake_game.sem")
REFERENCE = ["--engine", "reference"]


def compiled(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `semc compile` prints."""
    assert main(["compile", *arguments, *REFERENCE]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("level", ["sem", "prompt", "engine"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_level_reads_back_and_verifies(program: Path, level: str, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    text = compiled(capsys, str(program), "--emit", level)
    file = tmp_path / "module.sir"
    file.write_text(text, encoding="utf-8")
    assert main(["opt", str(file), "--verify-each"]) == 0
    assert capsys.readouterr().out == text


def test_the_prompt_level_shows_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    text = compiled(capsys, SNAKE, "--emit", "prompt")
    assert 'prompt.append(%0, "You are an expert software engineer.\\nWrite python code of")' in text
    assert "tokens<" not in text and "sem.call" not in text


def test_the_engine_level_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    text = compiled(capsys, SNAKE)
    assert text == compiled(capsys, SNAKE, "--emit", "engine", "-O2")
    assert "engine.fill(engine.root, tokens<" in text and "engine.free(" in text


@pytest.mark.parametrize("level", [0, 1, 2])
def test_opt_does_what_compile_does(level: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "snake.sir"
    assert compiled(capsys, SNAKE, "--emit", "sem", "-o", str(file)) == ""
    assert main(["opt", str(file), f"-O{level}", *REFERENCE]) == 0
    assert capsys.readouterr().out == compiled(capsys, SNAKE, f"-O{level}")


def test_opt_reads_stdin_and_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    import io
    import sys

    text = compiled(capsys, SNAKE, "--emit", "sem")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["opt", "-", "--passes", "inline,dce", "-o", str(tmp_path / "out.sir")]) == 0
    assert capsys.readouterr().out == ""
    assert "sem.call" not in (tmp_path / "out.sir").read_text()


@pytest.mark.parametrize(("passes", "message"), [
    ("inlin", "did you mean `inline`?"),
    ("dce{fast}", "the pass `dce` has no option `fast`"),
    ("inline{program=Nowhere}", "there is no program `Nowhere`"),
    ("inline,", "expected a pass after the comma"),
    ("inline dce", "expected `,`"),
    ("inline,inline{", "expected"),
])
def test_wrong_pipelines(passes: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "snake.sir"
    compiled(capsys, SNAKE, "--emit", "sem", "-o", str(file))
    assert main(["opt", str(file), "--passes", passes]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


@pytest.mark.parametrize(("text", "message"), [
    ("sem.program(@P) {", "the end of the file"),
    ("sem.program(@P) |%a: text| { sem.return(%b) }", "%b"),
    ("frob.nicate()", "frob.nicate"),
    ("sem.program(@P) |%a: text| { %c = flow.pure(@add, %a) : text sem.return(%c) {names = [\"c\"]} }", "add"),
])
def test_wrong_ir_is_an_input_error(text: str, message: str, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.sir"
    file.write_text(text)
    assert main(["opt", str(file)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and f"{file}:1:" in captured.err and captured.out == ""


def test_a_pass_on_the_wrong_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "snake.sir"
    compiled(capsys, SNAKE, "-o", str(file))
    assert main(["opt", str(file), "--passes", "inline"]) == 2
    assert "the pass `inline` takes a module of level prompt or sem; this one is engine" in capsys.readouterr().err


def test_printing_after_passes(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*flags: str) -> list[str]:
        assert main(["compile", SNAKE, "-O1", *REFERENCE, *flags]) == 0
        return re.findall("^// after (.*)$", capsys.readouterr().err, re.MULTILINE)

    everything = printed("--print-ir-after-all")
    assert everything[0] == "inline" and everything[-1] == "free-contexts"
    assert printed("--print-ir-after", "tokenize", "--print-ir-after", "inline") == ["inline", "tokenize"]
    changes = printed("--print-ir-after-change")
    assert "inline" in changes and any(line.endswith(": no change") for line in changes)
    assert main(["compile", SNAKE, *REFERENCE, "--print-ir-after", "tokenise"]) == 2
    assert "did you mean `tokenize`?" in capsys.readouterr().err


def test_instruments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dumps = tmp_path / "dumps"
    assert main(["compile", SNAKE, "-O0", *REFERENCE, "--verify-each", "--timing", "--reports", "--locations",
                 "--dump-dir", str(dumps)]) == 0
    captured = capsys.readouterr()
    assert "100.0 %  total" in captured.err and "(verify)" in captured.err
    assert re.search(r"^inline: \d+ calls? inlined", captured.err, re.MULTILINE)
    assert f'loc("{SNAKE}":' in captured.out
    names = sorted(path.name for path in dumps.iterdir())
    assert names[:2] == ["000-input.sir", "001-inline.sir"] and names[-1].endswith("-free-contexts.sir")
    assert (dumps / names[-1]).read_text() == captured.out
    (tmp_path / "file").write_text("")
    assert main(["compile", SNAKE, *REFERENCE, "--dump-dir", str(tmp_path / "file" / "x")]) == 2
    assert "cannot write" in capsys.readouterr().err


@dataclass(frozen=True)
class Broken(Pass):
    """A pass that breaks on modules with a generate."""

    name = "broken"

    def run(self, module: Module, target: Target) -> Report:
        raise IndexError("no such operation")


@pytest.fixture
def broken_pass(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`broken` is a pass of the registry."""
    real = registry.pass_class
    monkeypatch.setitem(registry.PASSES, "broken", "broken:Broken")
    for module in ("semlang.passes.registry", "semlang.passes.pipeline_parser", "semlang.passes.pipelines"):
        monkeypatch.setattr(f"{module}.pass_class",
                            lambda name, span=None: Broken if name == "broken" else real(name, span))
    yield


def test_a_pass_that_breaks_leaves_a_reproducer(broken_pass: None, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    file, reproducer = tmp_path / "snake.sir", tmp_path / "reproducer.sir"
    compiled(capsys, SNAKE, "--emit", "sem", "-o", str(file))
    assert main(["opt", str(file), "--passes", "inline,broken,dce", "--reproducer", str(reproducer)]) == 70
    shown = capsys.readouterr().err
    assert "internal error" in shown and "`broken` failed" in shown and str(reproducer) in shown
    assert "Traceback" not in shown
    first, rest = reproducer.read_text().split("\n", 1)
    assert first == '// RUN: semc opt %s --passes "broken,dce" --verify-each'
    assert "sem.call" not in rest
    assert main(["opt", str(reproducer), "--passes", "broken,dce"]) == 70


def test_passes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in found["passes"]] == list(registry.PASSES)
    assert all(p["summary"] for p in found["passes"])
    assert [p["name"] for p in found["passes"] if p["preserves"] != "tokens"] == ["order-fields"]
    assert set(found["pipelines"]["-O0"]) == {"inline", "tokenize", "dce", "lower-engine", "free-contexts"}
    assert main(["passes"]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(f"^{name}  ", listed, re.MULTILINE) for name in registry.PASSES)
    assert main(["passes", "dce"]) == 0
    assert capsys.readouterr().out.startswith("dce\n\n")
    assert main(["passes", "dec"]) == 2
    assert "did you mean `dce`?" in capsys.readouterr().err
