"""Pipelines as text: `hoist-prefixes{min-tokens=8},size-batches`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping

from ..ir.diagnostics import InputError
from ..ir.source import SourceFile, Span
from .base import Pass
from .registry import pass_class

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_VALUE = re.compile(rf'{_STRING}|\[(?:[^\]"]|{_STRING})*\]|[^,{{}}\[\]"\s]+')
_SPACE = re.compile(r"\s*")


def parse_pipeline(text: str, *, origin: str = "--passes") -> list[Pass]:
    """The passes that `text` names, with their options.

    Raises InputError for an unknown pass or option (with the nearest name) and for a value of the wrong type;
    `origin` stands for the file name in the message.
    """
    return _PipelineParser(SourceFile(origin, text)).parse()


def pipeline_text(passes: Iterable[Pass]) -> str:
    """The text that `parse_pipeline` reads back as `passes`; options with their default value are left out."""
    return ",".join(pass_text(p) for p in passes)


def pass_text(p: Pass) -> str:
    """One pass with the options that differ from their defaults."""
    options = []
    for f in dataclasses.fields(p):
        value = getattr(p, f.name)
        if value != f.default:
            options.append(f"{f.name.replace('_', '-')}={option_text(value)}")
    return f"{p.name}{{{','.join(options)}}}" if options else p.name


def make_pass(cls: type[Pass], options: Mapping[str, str]) -> Pass:
    """A pass from options as text, by kebab-case name; InputError for what it does not have or take."""
    source = SourceFile("options", ",".join(f"{k}={v}" for k, v in options.items()))
    span = Span(source, 0, len(source.text))
    return cls(**{k.replace("-", "_"): _convert(cls, k, v, span, span) for k, v in options.items()})


def option_types(cls: type[Pass]) -> dict[str, str]:
    """What each option of a pass takes, in words, by kebab-case name."""
    hints = typing.get_type_hints(cls)
    return {f.name.replace("_", "-"): _kind_name(hints[f.name]) for f in dataclasses.fields(cls)}


def option_text(value: object) -> str:
    """The value of an option as `parse_pipeline` reads it."""
    if value is None:
        return "none"
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    return json.dumps(list(value) if isinstance(value, (tuple, frozenset)) else value, ensure_ascii=False)


class _PipelineParser:
    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self._text = source.text
        self._at = 0

    def parse(self) -> list[Pass]:
        passes: list[Pass] = []
        self._skip()
        while self._at < len(self._text):
            passes.append(self._pass())
            if self._at < len(self._text):
                self._expect(",")
                if self._at == len(self._text):
                    raise self._error("a pass after the comma")
        return passes

    def _pass(self) -> Pass:
        name, span = self._match(_NAME, "the name of a pass")
        cls = pass_class(name, span)
        options: dict[str, object] = {}
        if self._peek() == "{":
            self._expect("{")
            while self._peek() != "}":
                key, key_span = self._match(_NAME, "an option or `}`")
                value, value_span = "true", key_span
                if self._peek() == "=":
                    self._expect("=")
                    value, value_span = self._match(_VALUE, f"a value for `{key}`")
                options[key.replace("-", "_")] = _convert(cls, key, value, key_span, value_span)
                if self._peek() != "}":
                    self._expect(",")
            self._expect("}")
        return cls(**options)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"`{character}`")
        self._at += 1
        self._skip()

    def _match(self, pattern: re.Pattern[str], expected: str) -> tuple[str, Span]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._error(expected)
        self._at = match.end()
        self._skip()
        return match[0], Span(self._source, match.start(), match.end())

    def _error(self, expected: str) -> InputError:
        found = f"`{self._peek()}`" if self._peek() else "the end"
        return InputError.of("E0921", f"expected {expected}, found {found}",
                             Span(self._source, self._at, self._at + 1))


def _convert(cls: type[Pass], key: str, text: str, key_span: Span, span: Span) -> object:
    """The value of the option `key` of `cls` that `text` spells."""
    hints = typing.get_type_hints(cls)
    known = {f.name.replace("_", "-"): hints[f.name] for f in dataclasses.fields(cls)}
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        raise InputError.of("E0922", f"the pass `{cls.name}` has no option `{key}`", key_span, fix=(
            f"did you mean `{near[0]}`?" if near else
            "its options are " + ", ".join(known) if known else "it has no options"))
    value: object = text
    if text.startswith(('"', "[")):
        try:
            value = json.loads(text)
        except ValueError:
            raise InputError.of("E0923", f"`{text}` is no JSON", span) from None
    for kind in typing.get_args(known[key]) if isinstance(known[key], types.UnionType) else (known[key],):
        converted = _convert_to(kind, value)
        if converted is not None or (kind is type(None) and text == "none"):
            return converted
    raise InputError.of("E0923", f"`{text}` is no value for `{key}`, which takes {_kind_name(known[key])}", span)


def _convert_to(kind: object, value: object) -> object | None:
    """`value` (text, or what JSON gave) as a `kind`; None where it is none."""
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            value = [value]
        return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None
    if not isinstance(value, str):
        return None
    try:
        if kind is bool:
            return {"true": True, "false": False}.get(value)
        if kind is int:
            return int(value)
        if kind is float:
            return float(value)
    except ValueError:
        return None
    return value if kind is str else None


def _kind_name(kind: object) -> str:
    names = {int: "an integer", float: "a number", bool: "`true` or `false`", str: "a text", type(None): "`none`"}
    if isinstance(kind, types.UnionType):
        return " or ".join(_kind_name(k) for k in typing.get_args(kind))
    return names.get(kind, "a list of texts") if isinstance(kind, type) else "a list of texts"
