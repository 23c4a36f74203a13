"""Passes do linear work: counted in function calls, which no other load of the machine changes."""

import random
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from semlang.backend.embedded import embedded_tokenizer
from semlang.ir.core import Module
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.passes.shared_analyses import keeping

FUNCTION = """sem.func(@F) |%x: text| {
  %0 = prompt.start() : prompt
  %1 = prompt.append(%0, "Say ") : prompt
  %2 = prompt.append(%1, %x) {space = true} : prompt
  %y, %3 = prompt.generate(%2) {output = "y", max_tokens = 4, stream = ""} : text, prompt
  sem.return(%y, %3) {names = ["y"]}
}
"""


def program(lines: list[str], result: str) -> Module:
    body = "\n".join([*lines, f'sem.return({result}) {{names = ["y"]}}'])
    head = "sem.program(@Main) |%a: text, %c: bool, %xs: list<text>| {"
    return parse_module(SourceFile("scale.sir", f"{FUNCTION}{head}\n{body}\n}}"))


def straight_line(size: int) -> Module:
    """Calls of which each third continues an earlier one, and a list of all results."""
    inputs = [f"%v{n - 3}" if n % 3 == 0 and n else "%a" for n in range(size)]
    lines = [f"%v{n}, %p{n} = sem.call(@F, {x}) {{ordinal = {n}}} : text, prompt" for n, x in enumerate(inputs)]
    lines.append(f"%all = flow.pure(@list, {', '.join(f'%v{n}' for n in range(size))}) : list<text>")
    return program(lines, "%all")


def branches_and_loops(size: int) -> Module:
    """Branches and loops one after the other, each on the result of the one before."""
    lines, last = [], "%a"
    for n in range(size):
        lines += [
            f"%v{n} = flow.if(%c) {{ %u{n} = flow.pure(@upper, {last}) : text flow.yield(%u{n}) }} "
            f"else {{ flow.yield({last}) }} : text",
            f"%w{n} = flow.fold(%xs, %v{n}) |%i{n}: int, %x{n}: text, %s{n}: text| {{ "
            f"%y{n}, %p{n} = sem.call(@F, %x{n}, %i{n}) {{ordinal = {n}, indices = 1}} : text, prompt "
            f"%t{n} = flow.pure(@concat, %s{n}, %y{n}) : text flow.yield(%t{n}) }} : text"]
        last = f"%w{n}"
    return program(lines, last)


def nested(size: int) -> Module:
    """Loops in loops."""
    lines, last = [], "%a"
    for n in range(size):
        lines.append(f"%w{n} = flow.fold(%xs, {last}) |%i{n}: int, %x{n}: text, %s{n}: text| {{ "
                     f"%t{n} = flow.pure(@concat, %s{n}, %x{n}) : text")
        last = f"%t{n}"
    for n in reversed(range(size)):
        lines.append(f"flow.yield({last}) }} : text")
        last = f"%w{n}"
    return program(lines, last)


def heads_in_common(size: int) -> Module:
    """Prompts of random texts, of which many begin alike, in loops, in branches and outside of them."""
    choose = random.Random(1)
    lines = []
    for n in range(size):
        text = "".join(choose.choice(["red ", "green ", "blue "]) for _ in range(10))
        lines += [("", f"%z{n} = flow.for(%xs) |%i{n}: int, %x{n}: text| {{", f"%z{n} = flow.if(%c) {{")[n % 3],
                  f'%s{n} = prompt.start() : prompt %p{n} = prompt.append(%s{n}, "{text}") : prompt '
                  f'%q{n} = prompt.append(%p{n}, %a) : prompt %y{n}, %r{n} = prompt.generate(%q{n}) '
                  f'{{output = "y"}} : text, prompt',
                  ("", f"flow.yield(%y{n}) }} : list<text>",
                   f"flow.yield(%y{n}) }} else {{ flow.yield(%a) }} : text")[n % 3]]
    results = ", ".join(("%y{}", "%z{}", "%z{}")[n % 3].format(n) for n in range(size))
    names = ", ".join(f'"y{n}"' for n in range(size))
    head = "sem.program(@Main) |%a: text, %c: bool, %xs: list<text>| {"
    body = "\n".join([*lines, f"sem.return({results}) {{names = [{names}]}}"])
    return parse_module(SourceFile("scale.sir", f"{head}\n{body}\n}}"))


def distinct_calls(size: int) -> Module:
    """Calls of which none are equal; every fourth continues an earlier one."""
    lines = []
    for n in range(size):
        lines.append(f'%c{n} = flow.const("item {n}") : text')
        given = f"%v{n - 3}" if n % 4 == 3 else f"%c{n}"
        lines.append(f"%v{n}, %p{n} = sem.call(@F, {given}) {{ordinal = {n}}} : text, prompt")
    lines.append(f"%all = flow.pure(@list, {', '.join(f'%v{n}' for n in range(size))}) : list<text>")
    return program(lines, "%all")


def work_of_passes(module: Module) -> list[tuple[str, int]]:
    """Function calls that each pass of -O2 makes, in a pipeline."""
    target = Target({"": ModelTarget(embedded_tokenizer(), 100_000)})
    counted: list[tuple[str, int]] = []
    count = 0

    def event(frame: FrameType, kind: str, argument: object) -> None:
        nonlocal count
        count += 1

    with keeping(module, target) as kept:
        for p in pipeline(2):
            kept.forget_all_but(p.keeps)
            count = 0
            sys.setprofile(event)
            try:
                p.run(module, target)
            finally:
                sys.setprofile(None)
            counted.append((p.name, count))
    return counted


def work(module: Module) -> int:
    """Function calls that the passes of -O2 make."""
    target = Target({"": ModelTarget(embedded_tokenizer(), 100_000)})
    count = 0

    def event(frame: FrameType, kind: str, argument: object) -> None:
        nonlocal count
        count += 1

    passes = pipeline(2)
    sys.setprofile(event)
    try:
        run_pipeline(module, passes, target)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("make", [straight_line, branches_and_loops, heads_in_common])
def test_work_grows_with_size(make: Callable[[int], Module]) -> None:
    work(make(1))  # what is made once
    small, large = work(make(100)), work(make(400))
    assert large < 4.5 * small


@pytest.mark.parametrize("make", [distinct_calls, branches_and_loops, heads_in_common])
def test_work_of_each_pass_grows_with_size(make: Callable[[int], Module]) -> None:
    work_of_passes(make(1))  # what is made once
    small, large = work_of_passes(make(100)), work_of_passes(make(400))
    slow = {name: (before, after) for (name, before), (_, after) in zip(small, large, strict=True)
            if after > 5 * before + 1000}
    assert not slow


def test_annotating_passes_share_what_they_find_out() -> None:
    """Plans are made once for all passes that only annotate."""
    module, target = distinct_calls(10), Target({"": ModelTarget(embedded_tokenizer(), 100_000)})
    with keeping(module, target) as kept:
        for p in pipeline(2):
            kept.forget_all_but(p.keeps)
            before = kept.results.get("plans")
            p.run(module, target)
            if p.name in ("fuse-task-groups", "size-batches", "plan-prefill"):
                assert before is not None and kept.results["plans"] is before
            if p.name in ("hoist-prefixes", "free-contexts"):
                assert "plans" not in kept.results


def test_deep_nesting() -> None:
    """Regions nest as deeply as the parser allows; the depth adds at most its square, in small steps."""
    module = nested(400)
    verify(module)
    large = work(module)
    assert large < 12 * work(nested(100))
