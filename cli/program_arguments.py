"""`--arg` and `--args`: the values of a program's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..ir.core import Op
from ..ir.diagnostics import Diagnostics, InputError
from ..ir.reading import ValueMismatch, parse_value
from ..ir.source import Span
from ..ir.types import TEXT, Option, Text, Type
from ..ir.values import RuntimeValue
from .options import ARGUMENT, read_source


def program_arguments(program: Op, given: Sequence[str], file: str | None) -> dict[str, RuntimeValue]:
    """The values that the command line gives to parameters of `program`, a `sem.program`.

    `given` holds texts `name=value` or `name=@file`; they come before the JSON object in `file`. Raises InputError for
    what cannot be read; the executor checks names and types.
    """
    types = {p.name: p.type for p in program.regions[0].parameters}
    diagnostics = Diagnostics()
    values: dict[str, RuntimeValue] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            diagnostics.error(ARGUMENT, f"`--arg {text}` has no value", None, fix="write --arg name=value")
        elif name in values:
            diagnostics.error(ARGUMENT, f"the argument `{name}` is given twice", None)
        else:
            values[name] = _parse_flag(name, value, types, diagnostics)
    if diagnostics.has_errors:
        raise InputError(diagnostics)
    return {**(read_object(file) if file else {}), **values}


def _parse_flag(name: str, value: str, types: Mapping[str, Type], diagnostics: Diagnostics) -> RuntimeValue:
    try:
        return parse_argument(value, types.get(name, TEXT))
    except ValueMismatch as error:
        diagnostics.error(ARGUMENT, f"the argument `{name}` is wrong: {error}", None)
    except InputError as error:
        diagnostics.items += error.diagnostics
    return None


def parse_argument(text: str, type: Type) -> RuntimeValue:
    """The value that the text after `name=` stands for. ValueMismatch if it is of another type."""
    is_text = isinstance(type.element if isinstance(type, Option) else type, Text)
    if text.startswith("@"):
        text = read_source(text[1:]).text
        text = text if is_text else text.strip()
    return parse_value(text, TEXT if is_text else type)


def read_object(path: str) -> dict[str, object]:
    """The JSON object in a file. InputError, with the place, when the file holds anything else."""
    source = read_source(path)
    try:
        data = json.loads(source.text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise InputError.of(ARGUMENT, f"not JSON: {error.msg}", Span(source, error.pos, error.pos + 1)) from None
    except (ValueError, RecursionError) as error:
        raise InputError.of(ARGUMENT, f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise InputError.of(ARGUMENT, f"{path} must hold a JSON object: parameters and their values")
    return data


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key `{name}` is given twice in one object")
        found[name] = value
    return found
