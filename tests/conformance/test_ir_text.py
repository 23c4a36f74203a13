"""The IR as text: every stage prints, parses back to itself, and runs to the same values. See docs/cli.md."""

from pathlib import Path
from typing import Any

import pytest

PROGRAMS = sorted((Path(__file__).parents[2] / "programs").glob("*.sem"))
REFERENCE = ("--engine", "reference")
SNAKE = Path(__file__).parents[2] / "programs" / "snake_game.sem"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_stage_parses_back_to_itself(semc: Any, path: Path) -> None:
    for level in ("-O0", "-O2"):
        for stage in ("sem", "prompt", "engine"):
            for flags in ((), ("--locations",)):
                text = semc("compile", str(path), "--emit", stage, level, *flags)
                Path("stage.sir").write_text(text)
                assert semc("opt", "stage.sir", *flags) == text, (level, stage, flags)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_level_and_every_stage_runs_to_the_same_values(semc: Any, path: Path) -> None:
    plain = semc.json(str(path), "-O0")
    assert plain["errors"] == {}
    for level in ("-O1", "-O2"):
        assert semc.json(str(path), level)["outputs"] == plain["outputs"], level
    for stage in ("sem", "engine"):
        Path("stage.sir").write_text(semc("compile", str(path), "--emit", stage))
        assert semc.json("stage.sir")["outputs"] == plain["outputs"], stage


def test_passes_one_by_one_give_what_the_pipeline_gives(semc: Any) -> None:
    """`semc opt` with the passes of a level, given by name, ends with the text of `semc compile`."""
    listed = dict(line.split(": ", 1) for line in semc("passes").splitlines() if line.startswith("-O"))
    assert set(listed) == {"-O0", "-O1", "-O2"}
    Path("snake.sir").write_text(semc("compile", str(SNAKE), "--emit", "sem"))
    for level, passes in listed.items():
        names = passes.replace(" ", "")
        assert semc("opt", "snake.sir", "--passes", names, "--verify-each") == semc("compile", str(SNAKE), level)


def test_the_example_of_the_design(semc: Any) -> None:
    """Names, operations and attributes that readers rely on; one space moves from a constant to what follows it."""
    shown = semc("compile", str(SNAKE), "--emit", "prompt")
    for line in (
        "sem.program(@WriteSnakeGame)", "|%task: text| {", "  %0 = prompt.start() : prompt",
        '  %1 = prompt.append(%0, "You are an expert software engineer.\\nWrite python code of") : prompt',
        "  %2 = prompt.append(%1, %task) {space = true} : prompt", '  %3 = prompt.append(%2, ".\\nCode:") : prompt',
        '  %code, %4 = prompt.generate(%3) {output = "code", max_tokens = 256', ": text, prompt",
        'sem.return(%code, %test) {names = ["code", "test"], objective = [latency, latency]}',
    ):
        assert line in shown, line
    shown = semc("compile", str(SNAKE), "--emit", "engine")
    for part in ("  engine.group(@g0) {objective = latency, batch = 1, size = 1, depth = 1}",
                 '  %0 = engine.fill(engine.root, tokens<3 : "You are an" : [', "]>) {shared = 2",
                 "  %1 = engine.fill(%0, tokens<12 : ", "  %code, %2 = engine.generate(%1) {", "group = @g0",
                 "osl = [1, 256]} : text, ctx", "engine.free(%"):
        assert part in shown, part


@pytest.mark.parametrize(("text", "code"), [
    ("sem.program(@Main) { sem.return() {names = []}", "E1001"), ("nonsense.op()", "E1004"),
    ("%x = flow.const(1) : int", None),
    ("sem.program(@Main) {\n  sem.return(%x) {names = [\"x\"]}\n}", "E1002"),
    ("sem.program(@Main) {\n  %x = flow.const(1) : text\n  sem.return(%x) {names = [\"x\"]}\n}", "E1010"),
    ("sem.program(@Main) {\n  %x = flow.const(1) : int\n  %x = flow.const(1) : int\n"
     "  sem.return(%x) {names = [\"x\"]}\n}", "E1003"),
    ("", None), ("// only a comment", None), ("\0", "E1001"), ("%" * 1000, "E1001"), ("{" * 5000, "E1001"),
    ("sem.program(@Main) {\n  %x = flow.const(" + "[" * 3000 + ") : int\n}", "E1007"),
    ("sem.program(@Main) {\n  %x = flow.const(99999999999999999999) : int\n  sem.return(%x) {names = [\"x\"]}\n}",
     "E1006"),
])
def test_wrong_ir(semc: Any, text: str, code: str | None) -> None:
    """Never a traceback: a diagnostic with a place, or a module that is fine."""
    Path("text.sir").write_text(text)
    if code is None:
        semc("run", "text.sir", *REFERENCE, code=2)
        return
    semc("opt", "text.sir", code=2)
    assert f"error[{code}]" in semc.err and "--> text.sir:" in semc.err


@pytest.mark.parametrize(("passes", "code"), [
    ("nope", "E0920"), ("inline{x=1}", "E0922"), ("inline,,fold", "E0921"), ("inline{", "E0921"), ("fold", None),
    ("lower-engine,inline", "E0925"), ("place,hoist-prefixes", "E0925"),
    ("place{engines=0}", "E0923"), ("place{engines=-3}", "E0923"), ("place{engines=99999999999999}", "E0923"),
    ("hoist-prefixes{min-tokens=8},size-batches", None), ("free-contexts", None),
])
def test_pass_lists(semc: Any, passes: str, code: str | None) -> None:
    Path("snake.sir").write_text(semc("compile", str(SNAKE), "--emit", "sem"))
    semc("opt", "snake.sir", "--passes", passes, code=0 if code is None else 2)
    assert code is None or f"error[{code}]" in semc.err


@pytest.mark.parametrize("level", ["sem", "prompt"])
def test_modules_are_lowered_to_where_a_pass_belongs(semc: Any, level: str) -> None:
    Path("snake.sir").write_text(semc("compile", str(SNAKE), "--emit", level))
    text = semc("opt", "snake.sir", "--passes", "hoist-prefixes{min-tokens=2},fuse-task-groups,size-batches")
    assert "tokenize and lower-engine run before fuse-task-groups" in semc.err
    assert text.count("batch = 1") == 2 and ("{shared = 2}" in text) == (level == "sem")
    Path("lowered.sir").write_text(text)
    assert semc("run", "lowered.sir", *REFERENCE) == semc("run", str(SNAKE), *REFERENCE)


def test_prompts_show_what_calls_are_for(semc: Any) -> None:
    text = semc("compile", str(SNAKE), "--emit", "prompt")
    assert text.count("objective = latency, slack = 0.0, depth = ") == 2 and "You are an expert" in text
    assert "slack" not in semc("compile", str(SNAKE), "--emit", "prompt", "-O1")
