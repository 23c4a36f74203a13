"""Pipelines: their text, what they refuse, what they print, and what is left when a pass breaks."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.ir.core import Module, Op, Value
from semlang.ir.definition import Level
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.target import Target
from semlang.ir.types import INT
from semlang.ir.verifier import VerificationError
from semlang.passes import manager, registry
from semlang.passes.manager import (
    InternalError,
    Pass,
    PipelineOptions,
    Report,
    parse_pipeline,
    pipeline_text,
    run_pipeline,
)
from semlang.passes.pipelines import LEVELS, MANDATORY
from semlang.passes.registry import PASSES


@dataclass(frozen=True)
class AddConstants(Pass):
    """Adds constants in front."""

    name: ClassVar[str] = "add-constants"
    min_tokens: int = 1
    label: str = "x"
    reverse: bool = False
    scale: float | None = None
    only: tuple[str, ...] = ()

    def run(self, module: Module, target: Target) -> Report:
        ops = module.ops[0].regions[0].ops
        ops[:0] = [Op("flow.const", [i], [Value(INT, self.label)]) for i in range(self.min_tokens)]
        return Report(f"{self.min_tokens} constants added", {"constants": self.min_tokens, "tokens": 7})


@dataclass(frozen=True)
class Break(Pass):
    """Drops the terminator, or raises."""

    name: ClassVar[str] = "break-it"
    error: bool = False

    def run(self, module: Module, target: Target) -> Report:
        module.ops[0].regions[0].ops.pop()
        if self.error:
            raise KeyError("lost")
        return Report("broken")


@dataclass(frozen=True)
class Rephrase(Pass):
    """Changes prompts."""

    name: ClassVar[str] = "rephrase"
    preserves: ClassVar[manager.Preserves] = "text"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.SEM})

    def run(self, module: Module, target: Target) -> Report:
        raise InputError.of("E0001", "the input is wrong")


TEXT = "sem.program(@P) |%a: text| {\n  sem.return(%a) {names = [\"y\"]}\n}\n"


@pytest.fixture(autouse=True)
def known_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    classes: dict[str, type[Pass]] = {c.name: c for c in (AddConstants, Break, Rephrase)}
    original = registry.pass_class
    monkeypatch.setattr("semlang.passes.pipeline_parser.pass_class",
                        lambda name, span=None: classes.get(name) or original(name, span))


def module() -> Module:
    return parse_module(SourceFile("m.sir", TEXT))


def run(pipeline: str, **options: object) -> tuple[manager.PipelineResult, str]:
    stream = io.StringIO()
    settings = PipelineOptions(**options)  # type: ignore[arg-type]
    return run_pipeline(module(), parse_pipeline(pipeline), Target(), settings, stream), stream.getvalue()


def test_options() -> None:
    (made,) = parse_pipeline(' add-constants { min-tokens = 3 , reverse, label="a,b}", scale=2.5, only=["u","v"] } ')
    assert made == AddConstants(3, "a,b}", True, 2.5, ("u", "v"))
    assert parse_pipeline("") == []
    assert parse_pipeline("add-constants,add-constants{scale=none}") == [AddConstants(), AddConstants()]


@given(st.lists(st.builds(
    AddConstants, st.integers(-9, 9), st.text(st.characters(exclude_categories=["Cs"])), st.booleans(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple)), max_size=3))
def test_text_reads_back(passes: list[Pass]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semlang.passes.pipeline_parser.pass_class", lambda name, span=None: AddConstants)
        assert parse_pipeline(pipeline_text(passes)) == passes


@pytest.mark.parametrize(("text", "column", "message", "fix"), [
    ("inlin", 1, "there is no pass `inlin`", "did you mean `inline`?"),
    ("add-constants,zzz", 15, "there is no pass `zzz`", "the passes are inline,"),
    ("add-constants{min-token=3}", 15, "`add-constants` has no option `min-token`", "did you mean `min-tokens`"),
    ("break-it{zzz=3}", 10, "the pass `break-it` has no option `zzz`", "its options are error"),
    ("rephrase{x}", 10, "has no option `x`", "it has no options"),
    ("add-constants{min-tokens=many}", 26, "`many` is no value for `min-tokens`, which takes an integer", ""),
    ("add-constants{reverse=1}", 23, "which takes `true` or `false`", ""),
    ("add-constants{scale=big}", 21, "which takes a number or `none`", ""),
    ("add-constants{only=[1]}", 20, "which takes a list of texts", ""),
    ("add-constants{only=[}", 20, "expected a value for `only`", ""),
    ("add-constants{", 15, "expected an option or `}`, found the end", ""),
    ("add-constants{min-tokens=}", 26, "expected a value for `min-tokens`, found `}`", ""),
    ("add-constants add-constants", 15, "expected `,`, found `a`", ""),
    ("add-constants,", 15, "expected a pass after the comma, found the end", ""),
    ("{}", 1, "expected the name of a pass, found `{`", ""),
])
def test_misspelt_pipelines(text: str, column: int, message: str, fix: str) -> None:
    with pytest.raises(InputError) as error:
        parse_pipeline(text)
    (diagnostic,) = error.value.diagnostics
    assert message in diagnostic.message and fix in (diagnostic.fix or "")
    assert diagnostic.primary and str(diagnostic.primary.span) == f"--passes:1:{column}"


def test_the_order_and_reports() -> None:
    result, _ = run("add-constants{label=a},add-constants{min-tokens=2,label=b}", verify_each=True)
    assert [r.text for r in result.runs] == ["add-constants{label=a}", "add-constants{min-tokens=2,label=b}"]
    assert [r.report.fired for r in result.runs] == [1, 2]
    assert print_module(result.module).split("\n")[1:4] == [
        "  %b = flow.const(0) : int", "  %b_1 = flow.const(1) : int", "  %a_1 = flow.const(0) : int"]


def test_text_passes_need_permission() -> None:
    with pytest.raises(InputError, match="preserves text only") as error:
        run("add-constants,rephrase")
    assert error.value.diagnostics[0].fix == "allow it with --allow text"
    with pytest.raises(InputError, match="the input is wrong"):
        run("rephrase", allow=frozenset({"text"}), reproducer=Path("never-written.sir"))


def test_levels_are_checked() -> None:
    stream = io.StringIO()
    engine = parse_module(SourceFile("e.sir", TEXT.replace("  sem", "  %c = engine.fill(engine.root) : ctx\n  sem")))
    with pytest.raises(InputError, match="takes a module of level sem; this one is engine"):
        run_pipeline(engine, [Rephrase()], Target(), PipelineOptions(allow=frozenset({"text"})), stream)


def test_instruments(tmp_path: Path) -> None:
    _, printed = run("add-constants,add-constants{min-tokens=0}", print_after_change=True)
    assert printed.startswith("// after add-constants\nsem.program(@P)")
    assert printed.endswith("// after add-constants{min-tokens=0}: no change\n")
    _, printed = run("add-constants,add-constants", print_after_all=True, locations=True)
    assert printed.count("// after add-constants\n") == 2 and "loc(" in printed
    _, printed = run("add-constants", print_after=frozenset({"dce"}))
    assert printed == ""
    _, printed = run("add-constants", print_after=frozenset({"add-constants"}), dump_directory=tmp_path / "new")
    assert printed.count("// after") == 1
    files = sorted(tmp_path.glob("new/*"))
    assert [f.name for f in files] == ["000-input.sir", "001-add-constants.sir"]
    assert files[0].read_text() == TEXT
    _, printed = run("add-constants", timing=True, verify_each=True)
    assert [line.split()[-1] for line in printed.splitlines()] == ["pipeline", "add-constants", "(verify)", "total"]


@pytest.mark.parametrize(("option", "message"), [
    ("", "the module is wrong after the pass `break-it`"),
    ("{error=true}", "the pass `break-it` failed: KeyError"),
])
def test_a_crash_leaves_a_reproducer(tmp_path: Path, option: str, message: str) -> None:
    path = tmp_path / "crash.sir"
    with pytest.raises(InternalError, match=message) as error:
        run(f'add-constants{{label="a b"}},break-it{option},add-constants', verify_each=True, reproducer=path)
    assert str(path) in str(error.value)
    header, text = path.read_text().split("\n", 1)
    assert header == f'// RUN: semc opt %s --passes "break-it{option},add-constants" --verify-each'
    again = parse_module(SourceFile(str(path), text))
    assert "%a_b = flow.const(0)" in text
    with pytest.raises(InternalError, match=message):
        run_pipeline(again, parse_pipeline(f"break-it{option}"), Target(), PipelineOptions(verify_each=True))


def test_without_a_reproducer_the_message_still_names_the_pass() -> None:
    with pytest.raises(InternalError, match=r"the pass `break-it` failed: KeyError: 'lost'$"):
        run("break-it{error}")


def test_a_reproducer_that_cannot_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="KeyError: 'lost'\nno file to repeat it with"):
        run("break-it{error}", reproducer=tmp_path / "missing" / "crash.sir")


def test_wrong_input_is_no_fault_of_a_pass() -> None:
    broken = module()
    broken.ops[0].regions[0].ops.clear()
    with pytest.raises(VerificationError):
        run_pipeline(broken, [AddConstants()], Target(), PipelineOptions(verify_each=True), io.StringIO())


def test_deeply_nested_modules_run() -> None:
    depth = 800
    text = ("sem.program(@P) |%c: bool| {\n" + "flow.if(%c) {\n" * depth
            + "flow.yield()\n} else {\nflow.yield()\n}\n" * depth + "sem.return() {names = []}\n}\n")
    deep = parse_module(SourceFile("deep.sir", text))
    run_pipeline(deep, [AddConstants()], Target(), PipelineOptions(verify_each=True, reproducer=Path("unused")))


def test_registered_passes_and_levels() -> None:
    for name in PASSES:
        assert registry.pass_class(name).name == name
    for names in LEVELS.values():
        assert set(MANDATORY) <= set(names) <= set(PASSES)
        assert [n for n in names if n in ("inline", "tokenize", "lower-engine", "free-contexts")] == [
            "inline", "tokenize", "lower-engine", "free-contexts"]
