"""Writes errors.md: every code, what it means, and an example where the tests have one.

    .venv/bin/python docs/error_reference.py

The frontend explains its codes; for others there are their messages, which are read from the calls in the source that
make diagnostics. Examples come from tests/frontend/diagnostics.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from semlang.frontend.diagnostic_codes import DIAGNOSTIC_CODES

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("errors.md")
FOLDERS = ("ir", "frontend", "passes", "backend", "cli")
EXAMPLES = ROOT / "tests" / "frontend" / "diagnostics"
CODE = re.compile(r"[EW]\d{4}")
GROUPS = {
    "E00": "Syntax",
    "E02": "Names",
    "E03": "Types",
    "E04": "Calls",
    "E05": "Files",
    "E06": "Branches, loops, returns",
    "E07": "Prompts",
    "E08": "Hosts and programs",
    "E09": "Passes and runs",
    "E10": "IR as text",
    "E11": "The command line",
    "W01": "Warnings",
}
COMPUTED = {
    "E0804": "Programs that call one another in a circle.",
    "E0935": "Functions or programs of a module that call one another in a circle.",
    "E1010": "IR that is not well formed: the verifier says what is wrong with which operation.",
    "E1108": "An assertion of a test does not hold, or what it looks at failed.",
}
"""What codes mean whose messages are put together while running."""
HEAD = """\
# Errors and warnings

<!-- Written by docs/error_reference.py; do not edit. -->

Codes are stable. Where only messages are listed, `…` stands for what a message names.
"""


@dataclass
class Entry:
    """A code: its messages, and how one of them looks."""

    messages: list[str] = field(default_factory=list)
    example: str = ""


def page() -> str:
    """The text of errors.md."""
    entries = collect()
    parts = [HEAD]
    for prefix, title in GROUPS.items():
        codes = sorted(code for code in entries if code.startswith(prefix))
        if codes:
            parts.append(f"\n## {title}\n")
        for code in codes:
            entry = entries.pop(code)
            messages = "\n".join(f"* {message}" for message in entry.messages)
            meaning = DIAGNOSTIC_CODES.get(code) or COMPUTED.get(code) or messages
            parts.append(f"\n### {code}\n\n{meaning}\n")
            if entry.example:
                parts.append(f"\n```\n{entry.example}\n```\n")
    assert not entries, f"no group for {sorted(entries)}"
    return "".join(parts)


def collect() -> dict[str, Entry]:
    """Every code in the source and what there is to say about it."""
    entries: dict[str, Entry] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for code, message in messages_in(path):
                entry = entries.setdefault(code, Entry())
                if message and message not in entry.messages:
                    entry.messages.append(message)
    for path in sorted(EXAMPLES.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            code = re.match(r"(?:error|warning)\[(\w+)\]", block)
            if code and code[1] in entries and not entries[code[1]].example:
                entries[code[1]].example = block.rstrip()
    return entries


def messages_in(path: Path) -> Iterator[tuple[str, str]]:
    """Code and message of each call in a file that has both, side by side; the message is empty if it is computed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = dict(constants(tree, path))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for first, second in zip(node.args, node.args[1:], strict=False):
            code = names.get(first.id) if isinstance(first, ast.Name) else code_of(first)
            if code:
                yield code, message_of(second)


def constants(tree: ast.Module, path: Path) -> Iterator[tuple[str, str]]:
    """Names that stand for codes in a file: assigned there, or imported from a file beside it."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            other = path.parent / f"{node.module}.py"
            if other.is_file() and other != path:
                wanted = {alias.name for alias in node.names}
                found = constants(ast.parse(other.read_text(encoding="utf-8")), other)
                yield from ((name, code) for name, code in found if name in wanted)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                for name, value in pairs:
                    code = code_of(value)
                    if isinstance(name, ast.Name) and code:
                        yield name.id, code


def code_of(node: ast.expr) -> str | None:
    """The code that a literal is."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and CODE.fullmatch(value) else None


def message_of(node: ast.expr) -> str:
    """A literal message, with `…` for what is inserted; empty for a computed one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
