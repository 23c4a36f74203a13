"""`bound-lengths`: how long outputs and prompts can be; and the check that every prompt can fit its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op, walk
from ..ir.definition import Level
from ..ir.diagnostics import Diagnostic, InputError
from ..ir.target import Target
from .base import Finding, Pass, Report
from .effects import GENERATES
from .lengths import Lengths, lengths_of


@dataclass(frozen=True)
class BoundLengths(Pass):
    """Each generate says between how many and how many tokens it decodes, and prompts that cannot fit are errors.

    Bounds come from types and options: the budget of a text and the longest token's bytes, the texts of an enum, the
    digits of a bounded int, a bounded regex, choices, constants. A value that is inserted into a later prompt is
    bounded by its bytes under tokenizers that never make more tokens of a text than it has bytes. Nothing but the
    attribute `osl` changes.

    ```before
    sem.enum(@Mood) {members = ["good", "bad"], texts = ["good", "bad"]}
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %a) : prompt
      %x, %2 = prompt.generate(%1) {output = "x", max_tokens = 12} : text, prompt
      %mood, %3 = prompt.generate(%2) {output = "mood"} : enum<Mood>, prompt
      sem.return(%x, %mood) {names = ["x", "mood"]}
    }
    ```

    ```after
    sem.enum(@Mood) {members = ["good", "bad"], texts = ["good", "bad"]}
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %a) : prompt
      %x, %2 = prompt.generate(%1) {output = "x", max_tokens = 12, osl = [1, 12]} : text, prompt
      %mood, %3 = prompt.generate(%2) {output = "mood", osl = [1, 4]} : enum<Mood>, prompt
      sem.return(%x, %mood) {names = ["x", "mood"]}
    }
    ```
    """

    name: ClassVar[str] = "bound-lengths"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT, Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths"})

    def run(self, module: Module, target: Target) -> Report:
        """Bound every generate."""
        lengths = lengths_of(module, target)
        count = bounded = 0
        for op in walk(module.ops):
            if op.name in GENERATES:
                decoded = lengths.output(op).decoded
                op.attributes["osl"] = (decoded.low, decoded.high)
                count += 1
                bounded += lengths.context(op.operands[0]).tokens.high is not None
        return Report(f"{count} outputs bounded, {bounded} of their prompts too", {"outputs": count})


def check_contexts(module: Module, target: Target) -> None:
    """Raise InputError with the arithmetic for each generate that can only fail, because it never fits its model.

    To be called before passes make constants of what is known only in one run, so that all levels agree. Skipped where
    there is no tokenizer or no context length.
    """
    lengths = Lengths(module, target)
    errors = [error for op in walk(module.ops) if op.name in GENERATES
              if (error := _overflow(op, lengths, target)) is not None]
    if errors:
        raise InputError(errors)


def _overflow(op: Op, lengths: Lengths, target: Target) -> Diagnostic | None:
    """The error of a generate whose prompt and shortest output are longer than the context of its model."""
    prompt = op.operands[0]
    alias = lengths.model(prompt)
    model = target.model(alias) if alias is not None else None
    if model is None or model.tokenizer is None or model.context_length is None:
        return None
    context, output = lengths.context(prompt), lengths.output(op).decoded.low
    if context.tokens.low + output <= model.context_length:
        return None
    name = op.attributes.get("output")
    parts = [f"{context.constants} of constants", f"at least {context.values} of inserted values",
             f"at least {context.outputs} of earlier outputs"]
    return Diagnostic(
        "E0950", f"{op.location}: the prompt of the output `{name}` never fits: it and the output have at least "
        f"{context.tokens.low + output} tokens, but the context of {_named(alias)} holds {model.context_length}",
        notes=(f"the prompt has {' + '.join(parts)} = {context.tokens.low} tokens, and the output at least {output}",),
        fix="shorten the prompt, or use a model with a longer context")


def _named(alias: str | None) -> str:
    return f"the model `{alias}`" if alias else "the default model"
