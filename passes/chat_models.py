"""Which model each empty chat belongs to, and whether a call continues a chat of another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.core import Op, Value, walk
from ..ir.diagnostics import Diagnostic, InputError
from ..ir.source import Location
from ..ir.types import Prompt, Type, contains
from .dataflow import ForwardAnalysis
from .effects import REGION_OPS
from .regions import flows

Aliases = frozenset[str]


@dataclass(frozen=True)
class ModelUse:
    """A call of a function whose model is named, and a value that it receives."""

    value: Value
    model: str
    callee: str
    location: Location


def resolve_models(root: Op, uses: Sequence[ModelUse]) -> None:
    """Give each `chat()` the model of the calls that continue it, and check those calls.

    Raises InputError where a call certainly may receive a chat of a model other than its own. Where a chat goes
    through a list or record, its model is left to the run.
    """
    starts = [op for op in walk([root]) if op.name == "prompt.start"]
    free = {op.result: op for op in starts if op.attributes.pop(FREE, None)}
    chats = [use for use in uses if isinstance(use.value.type, Prompt)]
    if not chats:
        return
    _adopt(root, chats, free)
    models = _Models()
    models.solve([root])
    errors = []
    for use in chats:
        others = models.facts.get(use.value, frozenset()) - {use.model}
        if others:
            names = " or ".join(f"`{m}`" if m else "the default model" for m in sorted(others))
            errors.append(Diagnostic(
                "E0938", f"{use.location}: `{use.callee}` runs on `{use.model}`, but its chat belongs to {names}",
                notes=("a chat is a context of one model; others cannot continue it",)))
    if errors:
        raise InputError(errors)


FREE = "model of its calls"
"""Attribute, during inlining only, of a `chat()` whose model is that of the calls that continue it."""


def _adopt(root: Op, uses: Sequence[ModelUse], free: dict[Value, Op]) -> None:
    """Walk backwards from each use to the uses before it; a free start takes the only model that it reaches."""
    origins: dict[Value, list[Value]] = {}
    for target, source in _origins(root):
        origins.setdefault(target, []).append(source)
    reached: dict[Value, set[str]] = {value: set() for value in free}
    used = {use.value for use in uses}
    by_model: dict[str, list[Value]] = {}
    for use in uses:
        by_model.setdefault(use.model, []).append(use.value)
    for model, values in by_model.items():
        work, seen = list(values), used | set(values)
        while work:
            value = work.pop()
            if value in reached:
                reached[value].add(model)
            for source in origins.get(value, ()):
                if source not in seen:
                    seen.add(source)
                    work.append(source)
    for value, models in reached.items():
        if len(models) == 1:
            free[value].attributes["model"] = models.pop()


def _origins(root: Op) -> Iterator[tuple[Value, Value]]:
    """Pairs of a value and one that it may be, continue or hold, among those that hold prompts."""
    for op in walk([root]):
        if op.name in REGION_OPS:
            for flow in flows(op):
                if isinstance(flow.source, Value) and _holds_prompt(flow.target.type):
                    yield flow.target, flow.source
        else:
            for result in op.results:
                if _holds_prompt(result.type):
                    yield from ((result, v) for v in op.operands if _holds_prompt(v.type))


def _holds_prompt(type: Type) -> bool:
    return contains(type, (Prompt,))


class _Models(ForwardAnalysis[Aliases]):
    """The models that a prompt may belong to; nothing is known of one that comes out of a list or record."""

    def tracks(self, type: Type) -> bool:
        return isinstance(type, Prompt)

    def entry(self, value: Value) -> Aliases:
        return frozenset()

    def join(self, first: Aliases, second: Aliases) -> Aliases:
        return first | second

    def transfer(self, op: Op) -> Sequence[Aliases | None]:
        if op.name == "prompt.start":
            return [frozenset({str(op.attributes.get("model", ""))})]
        known = op.name.startswith("prompt.")
        return [self.of(op.args[0]) if known else frozenset() for _ in op.results]
