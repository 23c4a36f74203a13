"""The reference of operations and built-in functions, docs/ops.md: `python -m semlang.ir.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from .definition import EVERY_LEVEL, Level, OpDefinition
from .dialects import DEFINITIONS, engine, flow, prompt, sem
from .functions import FUNCTIONS, PureFunction, Strictness

DIALECTS = {"sem": sem, "flow": flow, "prompt": prompt, "engine": engine}
FAILURES = {
    Strictness.DEEP: "any",
    Strictness.SHALLOW: "of operands",
    Strictness.COMPONENTS: "kept as components",
    Strictness.NONE: "seen",
}
"""What a function does with failures, in the table of functions."""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([*_head(), *_dialects(), *_functions()]) + "\n"


def _head() -> Iterator[str]:
    yield "# Operations"
    yield ""
    yield "Made from the definitions of operations by `python -m semlang.ir.reference`."
    yield ""
    yield "```"
    yield "%a, %b = dialect.op(args) {attribute = literal, …} |%p: type, …| { ops } else |…| { ops } : type, …"
    yield "```"
    yield ""
    yield "The grammar is `ir/ir.lark`. Attributes that are not compared differ between operations that are the same."
    yield ""


def _dialects() -> Iterator[str]:
    for name, dialect in DIALECTS.items():
        yield f"## {name}"
        yield ""
        text = (dialect.__doc__ or "").strip().partition(": ")[2]
        yield text[:1].upper() + text[1:]
        yield ""
        for definition in DEFINITIONS.values():
            if definition.name.startswith(f"{name}."):
                yield from _operation(definition)


def _operation(definition: OpDefinition) -> Iterator[str]:
    yield f"### {definition.name}"
    yield ""
    yield definition.summary
    yield ""
    arguments = f"({definition.arguments})"
    results = f" → {definition.results}" if definition.results else ""
    regions = " { … }" + "".join(f" {keyword} {{ … }}" for keyword in definition.keywords) if definition.regions else ""
    yield f"`{definition.name}{arguments}{regions}{results}`"
    yield ""
    traits = ", ".join(sorted(trait.value for trait in definition.traits)) or "none"
    levels = "every level" if definition.levels == EVERY_LEVEL else "level " + ", ".join(
        level.value for level in Level if level in definition.levels)
    yield f"Traits: {traits}; {levels}."
    yield ""
    if definition.attributes:
        yield "| attribute | kind | meaning |"
        yield "|---|---|---|"
        for attribute in definition.attributes:
            notes = [note for note, holds in (("required", attribute.required), ("not compared", not attribute.merge))
                     if holds]
            meaning = _cell(attribute.summary) + (f" ({', '.join(notes)})" if notes else "")
            yield f"| `{attribute.name}` | {attribute.kind} | {meaning} |"
        yield ""


def _functions() -> Iterator[str]:
    yield "## Functions of flow.pure"
    yield ""
    yield "In the language, most are operators or built-in functions. `failures` says which failed operands fail the"
    yield "result: any (failed components too), those of operands themselves, or none. `can fail`: on other operands."
    yield ""
    yield "| function | in the language | meaning | failures | can fail |"
    yield "|---|---|---|---|---|"
    for function in FUNCTIONS.values():
        yield _function(function)


def _function(function: PureFunction) -> str:
    signature = _cell(function.signature)
    summary, fails = _cell(function.summary), "yes" if function.fallible else ""
    return f"| `{function.name}` | `{signature}` | {summary} | {FAILURES[function.strictness]} | {fails} |"


def _cell(text: str) -> str:
    """Text for the cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
