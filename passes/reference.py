"""The reference of passes, docs/passes.md, from their docstrings: `python -m semlang.passes.reference`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .base import Pass
from .pipeline_parser import option_text, option_types, parse_pipeline
from .pipelines import LEVELS
from .registry import PASSES, pass_class

_EXAMPLE = re.compile(r"^```before\n(.*?)^```\n\s*^```after *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """IR before and after a pass with `options` (text as on the command line, may be empty)."""

    before: str
    after: str
    options: str

    def make(self, cls: type[Pass]) -> Pass:
        """The pass with the options of the example."""
        (made,) = parse_pipeline(f"{cls.name}{{{self.options}}}", origin=f"the docstring of {cls.__name__}")
        return made


def examples(cls: type[Pass]) -> list[Example]:
    """The examples in the docstring of a pass, in order."""
    return [Example(m[1], m[3], m[2].strip().replace(" ", ",")) for m in _EXAMPLE.finditer(inspect.getdoc(cls) or "")]


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([*_head(), *(line for name in PASSES for line in _page(pass_class(name)))])


def _head() -> Iterator[str]:
    yield "# Passes"
    yield ""
    yield "Made from the docstrings of the passes by `python -m semlang.passes.reference`. Every example is a test."
    yield ""
    yield "| level | pipeline |"
    yield "|---|---|"
    for level, names in LEVELS.items():
        yield f"| `-O{level}` | {', '.join(f'`{name}`' for name in names)} |"
    yield ""


def _page(cls: type[Pass]) -> Iterator[str]:
    levels = ", ".join(level.value for level in type(next(iter(cls.levels))) if level in cls.levels)
    gives = f"; gives {cls.gives.value}" if cls.gives else ""
    yield f"## {cls.name}"
    yield ""
    yield f"Preserves {cls.preserves}. Takes a module of level {levels}{gives}."
    yield ""
    text = _EXAMPLE.sub(lambda m: f"Before:\n\n```\n{m[1]}```\n\nAfter{_with(m[2])}:\n\n```\n{m[3]}```",
                        inspect.getdoc(cls) or "")
    yield text
    yield ""
    yield from _options(cls)


def _with(options: str) -> str:
    return f" with `{options.strip()}`" if options.strip() else ""


def _options(cls: type[Pass]) -> Iterator[str]:
    kinds = option_types(cls)
    if kinds:
        yield "| option | takes | default |"
        yield "|---|---|---|"
        for f in dataclasses.fields(cls):
            name = f.name.replace("_", "-")
            yield f"| `{name}` | {kinds[name]} | `{option_text(f.default)}` |"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
