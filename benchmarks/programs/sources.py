"""The programs of this folder, and their prompts as a client would write them down.

`<<n>>` in a source stands for n invented words, so that long instructions need not be in the repository.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model import text_of

FOLDER = Path(__file__).parent
_SEMANTIC = re.compile(r'^semantic (\w+)\(.*?"""\n(.*?)"""', re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"\{\{(.*?)\}\}")
_LONE_TAG = re.compile(r"^[ ]*(\{\{(?:for .*?|end)\}\})\n", re.MULTILINE)


def read_source(path: str) -> bytes:
    """The bytes of a source file, its `<<n>>` replaced; other words in every place."""
    text = Path(path).read_text(encoding="utf-8")
    numbers = iter(range(1000))
    expanded = re.sub(r"<<(\d+)>>", lambda found: text_of(int(found[1]), seed=next(numbers)), text)
    return expanded.encode()


@dataclass(frozen=True)
class Prompt:
    """The template of a semantic function: constants and tags in turns, a constant first."""

    parts: tuple[str, ...]

    def pieces(self, values: Mapping[str, object]) -> list[str]:
        """The pieces of the prompt up to its output, by the rules of docs/language.md, Tokens."""
        result: list[str] = []
        self._render(0, dict(values), result)
        return [piece for piece in result if piece]

    def _render(self, start: int, values: dict[str, object], result: list[str]) -> int:
        """Append the pieces from part `start` on, up to the end of its block; the number of the part after it."""
        at, space = start, ""
        while True:
            constant = self.parts[at]
            if at + 1 == len(self.parts):
                result.append(constant)
                return at + 1
            tag = self.parts[at + 1]
            is_hole = tag.startswith(("input:", "output:"))
            space = " " if is_hole and constant.endswith(" ") else ""
            result.append(constant.removesuffix(" ") if is_hole else constant)
            if tag.startswith("output:"):
                return len(self.parts)
            if tag.startswith("input:"):
                result.append(space + str(values[tag.removeprefix("input:")]))
            elif tag == "end":
                return at + 2
            else:
                _, name, _, items = tag.split()
                elements = values[items]
                assert isinstance(elements, list) and elements
                for element in elements:
                    after = self._render(at + 2, values | {name: element}, result)
                at = after - 2
            at += 2


@cache
def prompts_of(file: str) -> dict[str, Prompt]:
    """The prompts of a source file and of those that it uses, by the name of their function."""
    text = read_source(str(FOLDER / file)).decode()
    found: dict[str, Prompt] = {}
    for used in re.findall(r'^use "(.*?)"', text, re.MULTILINE):
        found |= prompts_of(used)
    for name, template in _SEMANTIC.findall(text):
        dedented = _LONE_TAG.sub(r"\1", textwrap.dedent(template).strip("\n"))
        found[name] = Prompt(tuple(_TAG.split(dedented)))
    return found
