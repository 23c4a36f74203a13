"""What is known of every prompt before the run: its model, whether it is still empty, and the roles begun in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..ir.core import Op, Root, Value, Word
from ..ir.types import Ctx, Prompt, Type, contains
from .dataflow import ForwardAnalysis

PROMPTS = (Prompt, Ctx)


@dataclass(frozen=True)
class PromptFact:
    """None stands for "not known before the run"."""

    model: str | None = None
    """Model alias; the default model is ''."""
    is_start: bool | None = None
    """Whether no piece was appended yet: the next piece is then the first of its prompt."""
    roles: tuple[str, ...] | None = None


UNKNOWN = PromptFact()


class PromptFacts(ForwardAnalysis[PromptFact]):
    """The facts of every prompt and context, and of aggregates of them."""

    def __init__(self, ops: Iterable[Op]) -> None:
        super().__init__()
        self._after: dict[int, PromptFact] = {}
        """What facts become with a piece more, by identity; `_alive` keeps the keys alive."""
        self._alive: list[PromptFact] = []
        self._starts: dict[str, PromptFact] = {}
        self.solve(ops)

    def __getitem__(self, value: Value) -> PromptFact:
        return self.facts.get(value, UNKNOWN)

    def tracks(self, type: Type) -> bool:
        """Prompts and what holds them."""
        return contains(type, PROMPTS)

    def entry(self, value: Value) -> PromptFact:
        """A chat from outside."""
        return UNKNOWN

    def join(self, first: PromptFact, second: PromptFact) -> PromptFact:
        """What both agree on."""
        return PromptFact(
            first.model if first.model == second.model else None,
            first.is_start if first.is_start == second.is_start else None,
            first.roles if first.roles == second.roles else None)

    def transfer(self, op: Op) -> Sequence[PromptFact]:
        """Facts of the results of an operation without regions."""
        fact = self._result(op)
        return [fact] if len(op.results) == 1 else [fact] * len(op.results)

    def _begun(self, fact: PromptFact) -> PromptFact:
        """`_begun`, one object for each of the few facts that there are."""
        found = self._after.get(id(fact))
        if found is None:
            self._alive.append(fact)
            found = self._after[id(fact)] = _begun(fact)
        return found

    def _result(self, op: Op) -> PromptFact:
        match op.name:
            case "prompt.start":
                return self._start(op)
            case "prompt.append":
                fact = self._begun(self.of(op.args[0]))
                role = op.attributes.get("role")
                return _with_role(fact, role.name) if isinstance(role, Word) else fact
            case "prompt.role":
                role = op.attributes["role"]
                assert isinstance(role, Word)
                return _with_role(self._begun(self.of(op.args[0])), role.name)
            case "prompt.generate" | "engine.generate":
                fact = self.of(op.args[0])
                # With `n` the prompt is the one before the samples.
                return fact if "n" in op.attributes else self._begun(fact)
            case "engine.fill":
                return self._filled(op)
            case _:
                return UNKNOWN

    def _start(self, op: Op) -> PromptFact:
        """The empty prompt of a model."""
        model = str(op.attributes.get("model", ""))
        if model not in self._starts:
            self._starts[model] = PromptFact(model, True, ())
        return self._starts[model]

    def _filled(self, op: Op) -> PromptFact:
        fact = self._start(op) if isinstance(op.args[0], Root) else self.of(op.args[0])
        pieces = op.args[1:]
        roles = op.attributes.get("roles", ())
        assert isinstance(roles, tuple)
        for role in (*roles, *(p.arguments[0] for p in pieces if isinstance(p, Word))):
            if isinstance(role, Word):
                fact = _with_role(fact, role.name)
        return self._begun(fact) if pieces else fact


def _begun(fact: PromptFact) -> PromptFact:
    """The fact of a prompt that holds a piece."""
    return fact if fact.is_start is False else PromptFact(fact.model, False, fact.roles)


def _with_role(fact: PromptFact, role: str) -> PromptFact:
    return replace(fact, roles=None if fact.roles is None else (*fact.roles, role))
