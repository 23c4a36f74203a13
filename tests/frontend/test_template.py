"""Prompts split at their tags: text, pieces, spans and errors."""

from typing import Any

import pytest
from semlang.frontend import ast
from semlang.frontend.parser import parse_source
from semlang.ir.diagnostics import Diagnostics
from semlang.ir.render_diagnostics import render_all
from semlang.ir.source import SourceFile

HEAD = "semantic S(x: text) -> y: text {\n  "


def template(raw: str) -> ast.Template:
    diagnostics = Diagnostics()
    file = parse_source(SourceFile("x.sem", f'{HEAD}"""{raw}"""\n}}'), diagnostics)
    assert file is not None, render_all(diagnostics)
    (declaration,) = file.declarations
    assert isinstance(declaration, ast.SemanticDecl)
    (part,) = declaration.parts
    assert isinstance(part, ast.Template) and part.raw == raw
    return part


def source_of(node: ast.Node) -> str:
    return node.span.source.text[node.span.start:node.span.end]


def show(pieces: tuple[ast.Piece, ...]) -> list[Any]:
    """Constants as texts, the rest as lists."""
    shown: list[Any] = []
    for piece in pieces:
        match piece:
            case ast.Constant():
                shown.append(piece.text)
            case ast.InputHole():
                shown.append(["input" if piece.explicit else "short", source_of(piece.value)])
            case ast.OutputHole():
                options = [source_of(option) for option in piece.options]
                shown.append(["output", piece.name, *([source_of(piece.type)] if piece.type else []), *options])
            case ast.TemplateFor():
                shown.append(["unordered for" if piece.unordered else "for", ", ".join(piece.target.names),
                              source_of(piece.iterable), show(piece.body)])
            case ast.TemplateIf():
                shown.append(["if", source_of(piece.condition), show(piece.then), show(piece.otherwise)])
    return shown


@pytest.mark.parametrize(("raw", "expected"), [
    ("", []), ("   ", []), ("\n\n  \n", []), ("a", ["a"]), (" a ", [" a "]),
    ("\n  a\n    b\n  c\n  ", ["a\n  b\nc"]),
    ("\n\n  a\n\n   \n  b\n\n  ", ["a\n\n\nb"]),
    ("beside\n    a\n      b", ["beside\na\n  b"]),
    ("\n\ta\n\t  b\n", ["a\n  b"]), ("\n\ta\n  b\n", ["\ta\n  b"]),
    ("\r\n  a\r\n  b\r\n  ", ["a\nb"]), ("\n  a  \n  b\n", ["a  \nb"]),
    (r"a \{{ b \{{input:x}} \\{{ c }}", [r"a {{ b {{input:x}} \{{ c }}"]),
    ("{{input:x}}{{y}}", [["input", "x"], ["short", "y"]]),
    ("{a} {{x}} {", ["{a} ", ["short", "x"], " {"]), ('{"a": {{{x}}}', ['{"a": {', ["short", "x"], "}"]),
    ("{{ input : f(a, [1])[0].b ?? \"}}\" }}", [["input", 'f(a, [1])[0].b ?? "}}"']]),
    ("{{input:if a { {1} } else { 2 }}}", [["input", "if a { {1} } else { 2 }"]]),
    ("{{output:y}}", [["output", "y"]]),
    ("{{output:y: list[int(0..9)](max = 3) max_tokens=n + stop=[\"a\", \"\\n\"], n=-1}}".replace(" +", ""),
     [["output", "y", "list[int(0..9)](max = 3)", "max_tokens=n", 'stop=["a", "\\n"]', "n=-1"]]),
    ("{{y max_tokens=8}}", [["output", "y", "max_tokens=8"]]),
    ("{{input}} {{output}} {{end.a}}", [["short", "input"], " ", ["short", "output"], " ", ["short", "end.a"]]),
    ("{{for a, b in zip(x, y)}}{{a}},{{end}}", [["for", "a, b", "zip(x, y)", [["short", "a"], ","]]]),
    ("{{unordered for d in docs}}{{d}}{{end}}", [["unordered for", "d", "docs", [["short", "d"]]]]),
    ("{{if a}}1{{else if b}}2{{else if c}}3{{else}}4{{end}}5",
     [["if", "a", ["1"], [["if", "b", ["2"], [["if", "c", ["3"], ["4"]]]]]], "5"]),
    ("{{if a}}{{end}}", [["if", "a", [], []]]),
    ("\n  a\n  {{for d in docs}}\n  - {{d}}\n  {{end}}\n  b\n", ["a\n", ["for", "d", "docs", ["- ", ["short", "d"],
                                                                                              "\n"]], "b"]),
    ("\n  {{if a}}{{if b}}\n  x\n  {{end}} {{else}}\n  y\n  {{end}}\n",
     [["if", "a", [["if", "b", ["x\n"], []]], ["y\n"]]]),
    ("\n  a {{if b}}\n  c\n  {{end}} d\n", ["a ", ["if", "b", ["\nc\n"], []], " d"]),
    ("\n  {{output:y\n     max_tokens = 8}}\n    b\n", [["output", "y", "max_tokens = 8"], "\n  b"]),
    ("say \"\"", ['say ""']), ('"a"', ['"a"']),
])
def test_pieces(raw: str, expected: list[Any]) -> None:
    assert show(template(raw).pieces) == expected


def test_quotes_at_the_end_belong_to_the_text() -> None:
    assert show(template('he said "hi"').pieces) == ['he said "hi"']


def test_spans_of_pieces_are_those_of_their_source() -> None:
    pieces = template("\n  Hi {{input:x.y}},\n  {{for d in ds}}{{d}}{{end}} and {{output:y n=2}}.\n").pieces
    assert [source_of(p) for p in pieces] == [
        "Hi ", "{{input:x.y}}", ",", "{{for d in ds}}{{d}}{{end}}", " and ", "{{output:y n=2}}", "."]
    hole = pieces[1]
    assert isinstance(hole, ast.InputHole) and source_of(hole.value) == "x.y"


@pytest.mark.parametrize(("raw", "code", "caret"), [
    ("{{x", "E0040", "{{"), ("a {{x} b", "E0040", "{{"), ("{{}}", "E0041", "{{}}"), ("{{input:}}", "E0041",
                                                                                     "{{input:}}"),
    ("{{inptu:x}}", "E0042", "inptu:"), ("{{endif}}", "E0042", "{{endif}}"), ('{{"a": 1}}', "E0042", '{{"a": 1}}'),
    ("{{#if x}}", "E0042", "{{#if x}}"), ("{{elif x}}", "E0042", "{{elif x}}"), ("{{/if}}", "E0042", "{{/if}}"),
    ("{{foreach x in xs}}", "E0042", "{{foreach x in xs}}"),
    ("{{if a}}", "E0043", "{{if a}}"), ("a{{end}}", "E0043", "{{end}}"), ("{{for a in b}}", "E0043", "{{for a in b}}"),
    ("{{else}}", "E0044", "{{else}}"), ("{{for a in b}}{{else}}{{end}}", "E0044", "{{else}}"),
    ("{{if a}}{{else}}{{else}}{{end}}", "E0044", "{{else}}"), ("{{if a}}{{else}}{{else if b}}{{end}}", "E0044",
                                                               "{{else if b}}"),
    ("{{x +}}", "E0001", "}"), ("{{for x}}{{end}}", "E0001", "}"), ("{{output:1}}", "E0001", "1"),
    ("{{output:y max_tokens=}}", "E0001", "}"), ("{{input:(x}}", "E0021", "("), ("{{input:x)}}", "E0023", ")"),
    ('{{input:"x}}', "E0017", '"x}}'), ("{{a b}}", "E0001", "}"), ("{{if a}}" * 60, "E0022", "{{if a}}"),
])
def test_errors(raw: str, code: str, caret: str) -> None:
    diagnostics = Diagnostics()
    text = f'{HEAD}"""\n{raw}\n"""\n}}'
    assert parse_source(SourceFile("x.sem", text), diagnostics) is None
    found = [(d.code, text[d.primary.span.start:d.primary.span.end]) for d in diagnostics if d.primary]
    assert found[0] == (code, caret)
    assert len(found) == 1 or code in ("E0042", "E0044")


def test_several_errors_in_one_prompt() -> None:
    diagnostics = Diagnostics()
    parse_source(SourceFile("x.sem", HEAD + '"""{{a +}} {{b c}} {{}} {{end}}"""\n}'), diagnostics)
    assert [d.code for d in diagnostics] == ["E0001", "E0001", "E0041", "E0043"]


def test_a_prompt_that_is_not_closed_is_reported_where_it_opens() -> None:
    diagnostics = Diagnostics()
    parse_source(SourceFile("x.sem", HEAD + '"""hello\n}\nprogram P() -> y: text {\n return ""\n}\n'), diagnostics)
    assert [(d.code, str(d.primary.span)) for d in diagnostics if d.primary] == [("E0020", "x.sem:2:3")]
