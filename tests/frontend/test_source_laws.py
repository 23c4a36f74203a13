"""Laws of parser and formatter over random programs, random text and mutated programs."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semlang.frontend import ast
from semlang.frontend.formatter import format_source
from semlang.frontend.parser import parse_source
from semlang.ir.diagnostics import Diagnostics
from semlang.ir.render_diagnostics import render_all, to_json
from semlang.ir.source import SourceFile, Span

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("programs/**/*.sem"))
NAMES = ["a", "b", "text", "type", "model", "unordered", "assert", "from", "input", "end", "semantic", "_", "größe",
         "x1"]
GAP = "\x01"
"""Where a line break or comment may stand: inside brackets and behind operators."""

names = st.sampled_from(NAMES)
types = st.recursive(
    st.sampled_from(["text", "int", "float", "chat", "lib.Finding", "int(0..10)", "int(-5..)", "text(max_tokens = 8)"]),
    lambda inner: st.one_of(inner.map("list[{}](max = 5)".format), inner.map("list[{}]".format),
                            inner.map("map[text, {}]".format), inner.map("{}?".format)),
    max_leaves=3).map(lambda text: re.sub(r"\?+", "?", text))
literals = st.sampled_from(["0", "12", "-3", "1.5", "1e3", "1_000", "true", "false", "none", '""', '"a b"',
                            r'"\n\"\\ \$"',
                            '"é 😀"', '"${a} and ${f(b, "x")}"', "[:]", "[]", "9223372036854775807"])


def joined(items: list[str], separator: str = ",") -> str:
    return f"{separator} {GAP}".join(items)


@st.composite
def bracketed(draw: st.DrawFn, opening: str, elements: st.SearchStrategy[str], closing: str, minimum: int = 0) -> str:
    """Elements in brackets, with or without a trailing comma."""
    items: list[str] = draw(st.lists(elements, min_size=minimum, max_size=3))
    has_comma = draw(st.booleans())
    comma = "," if items and has_comma else ""
    return opening + GAP + joined(items) + GAP + comma + GAP + closing


def arguments(values: Any) -> Any:
    return st.one_of(values, st.tuples(names, values).map(lambda pair: f"{pair[0]} = {pair[1]}"))


def extend(inner: Any) -> Any:
    """Expressions one level deeper."""
    operand = st.one_of(names, literals, inner.map(lambda e: f"({GAP}{e}{GAP})"))
    operators = st.sampled_from(["or", "and", "==", "<", "in", "not in", "??", "+", "-", "*", "/", "//", "%"])
    binary = st.builds(lambda a, o, b: f"{a} {o} {GAP}{b}", operand, operators, operand)
    arithmetic = st.builds(lambda a, o, b, p, c: f"{a} {o} {GAP}{b} {p} {GAP}{c}", operand, st.sampled_from("+-"),
                           operand,
                           st.sampled_from(["*", "+", "??"]), operand)
    call = st.builds(str.__add__, st.sampled_from(["f", "lib.g", "text"]), bracketed("(", arguments(inner), ")"))
    pattern = st.one_of(names, st.sampled_from(["_", "Severity.low", "-1", '"x"', "none"]))
    arm = st.builds(lambda ps, e: f"{' | '.join(ps)} => {e}", st.lists(pattern, min_size=1, max_size=2), inner)
    body = blocks(inner)
    target = st.sampled_from(["x", "i, x", "(k, v)"])
    return st.one_of(
        binary, arithmetic, call, operand.map("-{}".format), operand.map("not {}".format),
        st.builds("{}.{}".format, operand, names), st.builds("{}[{}]".format, operand, inner),
        st.builds("{}[{}:{}]".format, operand, inner, st.one_of(st.just(""), inner)),
        bracketed("[", inner, "]"), bracketed("(", inner, ")", 2),
        bracketed("[", st.builds("{}: {}".format, operand, inner), "]", 1),
        st.builds(lambda e, t, xs, c: f"[{GAP}{e} {GAP}for {t} in {xs}{GAP}{c}]", inner, target, operand,
                  st.one_of(st.just(""), operand.map(" if {}".format))),
        st.builds("if {} {} else {}".format, operand, body, body),
        st.builds("match {} {}".format, operand, bracketed("{", arm, "}", 1)),
        st.builds("(try {} else {})".format, inner, inner),
        st.builds("{}for {} in {} {}".format, st.sampled_from(["", "unordered "]), target, operand, body),
        st.builds("fold a: text = {}, b = {} for {} in {} {}".format, operand, operand, target, operand, body),
        st.builds(lambda ps, c, b: f"loop {ps} while {c} limit 8 {b}",
                  bracketed("(", st.builds("{}: {} = {}".format, names, types, inner), ")"), operand, body),
        st.builds(lambda c, o: f"({c} with {joined(o)})", call, st.lists(
            st.one_of(st.builds("{} = {}".format, names, operand), st.just("engine reference")), min_size=1,
            max_size=2)),
    )


@st.composite
def blocks(draw: st.DrawFn, values: Any) -> str:
    statements = draw(st.lists(st.one_of(values.map("let c = {}".format), values.map("let (p, q) = {}".format),
                                         values.map("if a {{ {} }}".format), values.map("f({})".format)), max_size=2))
    statements.append(draw(st.one_of(values, values.map("yield {}".format), st.builds("yield {}, {}".format, values,
                                                                                      values))))
    opening = draw(st.sampled_from(["{ ", "{\n"])) if len(statements) == 1 else "{\n"
    return opening + draw(st.sampled_from(["\n", "\n\n"])).join(statements) + ("\n}" if opening == "{\n" else " }")


expressions = st.recursive(st.one_of(names, literals), extend, max_leaves=6)
tags = st.sampled_from(["{{input:a}}", "{{b}}", "{{output:y max_tokens=9 stop=\"x\"}}", "{{output:z: int}}", "\\{{",
                        "{{for x in xs}}{{x}}\n{{end}}", "{{if a == 1}}yes{{else if b}}no\n{{else}}\n  {{end}}"])
prompts = st.lists(st.one_of(tags, st.sampled_from(["\n", "  ", "text", " # no comment", '"', "}}", "é"])),
                   max_size=8).map(
    lambda parts: '"""' + re.sub('"{2,}', '"', "".join(parts)) + '"""')
parameters = bracketed("(", st.one_of(st.builds("{}: {}".format, names, types),
                                      st.builds("{}: {} = {}".format, names, types, literals)), ")")
outputs = st.one_of(st.builds("{}: {}".format, names, types),
                    bracketed("(", st.builds("{}: {}".format, names, types), ")", 1))
declarations = st.one_of(
    st.sampled_from(['use "a.sem"', 'use "b.sem" as b', 'model small = "m/n"',
                     'host f(a: text) -> list[text] from "m:f" (pure, timeout = 1.5s, retries = 2,)',
                     'host g() from "m:g"']),
    st.builds("enum {} {}".format, names, bracketed("{", st.one_of(names, names.map('{} = "t"'.format)), "}")),
    st.builds("type {} {}".format, names, bracketed("{", st.builds("{}: {}".format, names, types), "}")),
    st.builds("semantic {}{} -> {}{} {{\n{}\n}}".format, names, parameters, outputs, st.sampled_from(["", " using m"]),
              st.one_of(prompts, st.lists(st.builds("{} {}".format, st.sampled_from(["system", "user", "assistant"]),
                                                    prompts), max_size=3).map("\n".join))),
    st.builds(lambda n, p, o, s, e: f"program {n}{p} -> {o} {{\n" + "".join(f"let c = {x}\n" for x in s) + e + "\n}",
              names, parameters, outputs, st.lists(expressions, max_size=3),
              st.one_of(expressions.map("return {}".format), expressions.map("return {} @ deadline(2s)".format),
                        st.builds("return {} @ latency, {}".format, expressions, expressions))),
    st.builds('test "t" {{\nlet r = {}\n\nassert {}\n}}'.format, expressions, expressions),
)


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A file that the parser accepts, with line breaks and comments where they may stand."""
    between = st.sampled_from(["\n", "\n\n", "\n\n\n# own line\n", "  # behind\n", "\n# one\n\n# two\n\n"])
    text = "".join(part for item in draw(st.lists(declarations, max_size=3)) for part in (item, draw(between)))
    fillers = draw(st.lists(st.sampled_from(["", "", "", " ", "\n", "\n\n", " # c\n", "\n  # own\n",
                                             "  # c\n\n # own\n"]),
                            min_size=1, max_size=8))
    count = 0

    def fill(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return fillers[count % len(fillers)]

    return re.sub(GAP, fill, text)


def parse(text: str) -> tuple[ast.File | None, Diagnostics]:
    diagnostics = Diagnostics()
    return parse_source(SourceFile("x.sem", text), diagnostics), diagnostics


def without_spans(node: Any) -> Any:
    """A tree as plain data."""
    if isinstance(node, tuple):
        return [without_spans(item) for item in node]
    if dataclasses.is_dataclass(node):
        return [type(node).__name__, *(without_spans(getattr(node, f.name)) for f in dataclasses.fields(node)
                                       if not f.name.endswith(("span", "spans", "source", "comments")))]
    return node


def check_formatting(text: str) -> None:
    file, diagnostics = parse(text)
    assert file is not None, render_all(diagnostics)
    formatted = format_source(file.source, diagnostics)
    assert formatted is not None
    again, diagnostics = parse(formatted)
    assert again is not None, formatted + render_all(diagnostics)
    assert without_spans(again.declarations) == without_spans(file.declarations), formatted
    assert [c.text for c in again.comments] == [c.text for c in file.comments], formatted
    assert format_source(again.source, diagnostics) == formatted


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sources())
def test_formatting_keeps_the_tree_and_the_comments_and_is_idempotent(text: str) -> None:
    check_formatting(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_are_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check_formatting(text)
    assert format_source(SourceFile(str(path), text), Diagnostics()) == text, f"run semc fmt {path}"


def check_diagnostics(text: str) -> None:
    """Any text gives a tree or errors, all of them inside the text and fit to be shown."""
    file, diagnostics = parse(text)
    assert (file is None) == diagnostics.has_errors
    for diagnostic in diagnostics:
        assert diagnostic.primary is not None
        assert 0 <= diagnostic.primary.span.start <= diagnostic.primary.span.end <= len(text) + 1
        assert to_json(diagnostic)["code"].startswith("E0")
    assert diagnostics.has_errors == bool(render_all(diagnostics))


PIECES = [*"(){}[],:.;=<>+-*/%?|@!\"'$#\\\n \t\r\0\ufeff\u202e", '"""', "{{", "}}", "\\{{", "${", "//", "->", "=>",
          "..", "&&",
          "1", "9" * 25, "1e999", "0x1f", "10s", "1.", ".5", "é", "😀", "x", "semantic", "program", "use", "for", "in",
          "if",
          "else", "let", "match", "with", "fold", "loop", "yield", "return", "not", "try", "input:", "output:", "end"]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
                 st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)))
def test_any_text_is_parsed_or_diagnosed(text: str) -> None:
    check_diagnostics(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FILES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(["", *PIECES])),
                                        min_size=1, max_size=3))
def test_mutated_programs_are_parsed_or_diagnosed(path: Path, edits: list[tuple[float, int, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for place, length, piece in edits:
        start = int(place * len(text))
        text = text[:start] + piece + text[start + length:]
    check_diagnostics(text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sources())
def test_spans_lie_inside_those_of_their_parents(text: str) -> None:
    file, _ = parse(text)
    assert file is not None

    def walk(node: Any, outer: Span) -> None:
        if isinstance(node, tuple):
            for item in node:
                walk(item, outer)
        elif isinstance(node, ast.Node):
            assert outer.start <= node.span.start <= node.span.end <= outer.end, node
            for field in dataclasses.fields(node):
                walk(getattr(node, field.name), node.span)
        elif isinstance(node, Span):
            assert outer.start <= node.start <= node.end <= outer.end

    walk(file.declarations, Span(file.source, 0, len(text)))
