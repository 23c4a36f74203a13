"""The texts of `diagnostics/*.sir` give exactly the errors that their `expected-error` comments say.

`// expected-error@+1 {{part of the message}}` speaks of the next line (`@-2` of the one before the last, none of its
own). `// -----` begins a new text in the same file, as the first error may end the reading of one.
"""

import re
from pathlib import Path

import pytest
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.verifier import verify_input

FILES = sorted((Path(__file__).parent / "diagnostics").glob("*.sir"))
EXPECTED = re.compile(r"expected-error(?:@([+-]\d+))? \{\{(.*?)\}\}")


def texts(path: Path) -> list[tuple[int, str]]:
    """Each text of a file after as many newlines as stand before it, with its first line."""
    parts, line = [], 1
    for part in path.read_text(encoding="utf-8").split("// -----\n"):
        parts.append((line, "\n" * (line - 1) + part))
        line += part.count("\n") + 1
    return parts


CASES = [pytest.param(path, text, id=f"{path.stem}:{line}") for path in FILES for line, text in texts(path)]


def found(source: SourceFile) -> list[tuple[int, str]]:
    """Line and message of each error."""
    try:
        verify_input(parse_module(source), source)
    except InputError as error:
        assert all(d.primary for d in error.diagnostics), "an error without a place"
        return [(source.line_column(d.primary.span.start)[0], d.message) for d in error.diagnostics if d.primary]
    return []


@pytest.mark.parametrize(("path", "text"), CASES)
def test_errors(path: Path, text: str) -> None:
    expected = [
        (number + int(match[1] or 0), match[2])
        for number, line in enumerate(text.split("\n"), 1)
        for match in EXPECTED.finditer(line)
    ]
    errors = found(SourceFile(path.name, text))
    for line, part in expected:
        match = next((e for e in errors if e[0] == line and part in e[1]), None)
        assert match, f"no error {part!r} on line {line}, but {errors}"
        errors.remove(match)
    assert not errors, "errors that the file does not expect"
