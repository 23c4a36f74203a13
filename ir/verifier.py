"""Checks that a module is well formed: one list of rules per level, each rule a few lines in `rules`.

All rules are linear in the size of the module. A module that passes prints, parses, compiles and runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from .core import Module
from .definition import Level
from .diagnostics import Diagnostic, InputError, Label
from .dialects import DEFINITIONS
from .levels import PROGRAM, level_of, levels_of
from .printer import Printer
from .rules import attributes, effects, operations, ownership, structure, symbols
from .rules.problem import Problem, View
from .source import SourceFile, Span

__all__ = ["Problem", "VerificationError", "level_of", "levels_of", "problems", "verify", "verify_input"]

Rule = Callable[[View], Iterator[Problem]]
CONTEXT_LINES = 5
MAXIMUM_SHOWN, MAXIMUM_REPORTED = 10, 50


PHASES: tuple[tuple[Rule, ...], ...] = ((*attributes.RULES, *operations.RULES), (*symbols.RULES, *effects.RULES))
"""What holds at every level, after `structure` and the level itself. Each phase may rely on those before it; the
definitions of operations say which levels they belong to, and `ownership` is the state of contexts that are freed."""


class VerificationError(Exception):
    """The module is not well formed; the message shows each operation inside the printed IR around it."""

    def __init__(self, module: Module, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(describe(module, self.problems))


def verify(module: Module, level: Level | None = None, *, owned: bool | None = None) -> None:
    """Raise VerificationError unless `module` is well formed at `level` (any level that fits when None).

    `owned` says whether the ownership of contexts is checked; when None, it is as soon as the module holds an
    `engine.free`, so a module before `free-contexts` passes, and a dump of one after it is checked like the original.
    """
    found = problems(module, level, owned=owned)
    if found:
        raise VerificationError(module, found)


def verify_input(module: Module, source: SourceFile, level: Level | None = None) -> None:
    """Like `verify` for a module that `source` spells: InputError with one diagnostic per problem, at its line."""
    found = problems(module, level)
    if found:
        raise InputError([_diagnostic(p, source) for p in found[:MAXIMUM_REPORTED]])


def problems(module: Module, level: Level | None = None, *, owned: bool | None = None) -> list[Problem]:
    """Everything that is wrong in the first phase of rules that finds anything."""
    view = View(module)
    for phase in (structure.FIRST, structure.RULES, (_levels(level),), *PHASES):
        found = [problem for rule in phase for problem in rule(view)]
        if found:
            return found
    if owned is None:
        owned = ownership.has_frees(view)
    return [problem for rule in ownership.RULES for problem in rule(view)] if owned else []


def _levels(level: Level | None) -> Rule:
    def one_level(view: View) -> Iterator[Problem]:
        """Every operation belongs to the level of the module, and only level `sem` has more than one program."""
        have = levels_of(view.module)
        if level in have or (level is None and have):
            return
        wanted = level or _likely_level(view)
        for op in view.ops:
            if wanted not in DEFINITIONS[op.name].levels:
                yield Problem(op, f"{op.name} does not belong to level {wanted.value}")
        programs = [op for op in view.top if op.name == PROGRAM]
        if wanted != Level.SEM and len(programs) > 1:
            yield Problem(programs[1], f"a module of level {wanted.value} has one program")

    return one_level


def _likely_level(view: View) -> Level:
    """The level that most operations of a mixed module allow."""
    counts = Counter(level for op in view.ops for level in DEFINITIONS[op.name].levels)
    return max(Level, key=lambda level: counts[level])


def describe(module: Module, found: Iterable[Problem]) -> str:
    """Each problem with its location, its message, and the lines around the operation."""
    printer = Printer()
    printer.print_ops(module.ops)
    shown = list(found)
    blocks = [_block(printer, p) for p in shown[:MAXIMUM_SHOWN]]
    if len(shown) > MAXIMUM_SHOWN:
        blocks.append(f"… and {len(shown) - MAXIMUM_SHOWN} more problems")
    return "\n".join(blocks)


def _block(printer: Printer, problem: Problem) -> str:
    at = printer.line_of.get(problem.op)
    head = f"{problem.op.location}: {problem.message}"
    if at is None:
        return head
    first = max(0, at - CONTEXT_LINES)
    lines = []
    for number, line in enumerate(printer.lines[first : at + CONTEXT_LINES + 1], first):
        lines.append(f"  {number + 1:6} | {line}")
        if number == at:
            indent = len(line) - len(line.lstrip())
            lines.append(f"         | {' ' * indent}^ {problem.message}")
    return "\n".join([head, *lines])


def _diagnostic(problem: Problem, source: SourceFile) -> Diagnostic:
    site = problem.op.location.chains[0][0] if problem.op.location.chains else None
    if site is None or site.path != source.path or site.line > len(source.line_starts):
        return Diagnostic("E1010", problem.message)
    start = source.line_starts[site.line - 1] + site.column - 1
    end = source.text.find("(", start)
    return Diagnostic("E1010", problem.message, Label(Span(source, start, end if end > start else start + 1)))
