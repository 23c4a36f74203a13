"""Trees of expressions, statements and declarations."""

import dataclasses
from typing import Any

import pytest
from semlang.frontend import ast
from semlang.frontend.parser import parse_source
from semlang.frontend.tokens import CONTEXTUAL_WORDS, RESERVED_WORDS
from semlang.ir.diagnostics import Diagnostics
from semlang.ir.render_diagnostics import render_all
from semlang.ir.source import SourceFile


def parse(text: str) -> ast.File:
    diagnostics = Diagnostics()
    file = parse_source(SourceFile("x.sem", text), diagnostics)
    assert file is not None, render_all(diagnostics)
    return file


def errors(text: str) -> list[tuple[str, str]]:
    """Code and underlined text of each error."""
    diagnostics = Diagnostics()
    assert parse_source(SourceFile("x.sem", text), diagnostics) is None
    return [(d.code, text[d.primary.span.start:d.primary.span.end] if d.primary else "") for d in diagnostics]


def statements(body: str) -> tuple[ast.Statement, ...]:
    (program,) = parse(f"program P() -> y: text {{\n{body}\n}}").declarations
    assert isinstance(program, ast.ProgramDecl)
    return program.body


def expression(text: str) -> ast.Expr:
    (statement,) = statements(f"let it = {text}")
    assert isinstance(statement, ast.Let)
    return statement.value


def shape(node: Any) -> str:
    """An expression with all its parentheses."""
    match node:
        case ast.Name():
            return node.name
        case ast.Literal():
            return str(node.value)
        case ast.Binary():
            return f"({shape(node.left)} {node.operator} {shape(node.right)})"
        case ast.Unary():
            return f"({node.operator} {shape(node.operand)})"
        case ast.FieldAccess():
            return f"{shape(node.base)}.{node.name}"
        case ast.Index():
            return f"{shape(node.base)}[{shape(node.index)}]"
        case ast.Slice():
            return f"{shape(node.base)}[{shape(node.low)}:{shape(node.high)}]"
        case ast.Call():
            options = "".join(f" with {o.name}={shape(o.value)}" for o in node.options)
            return f"{shape(node.callee)}({', '.join(shape(a.value) for a in node.arguments)}){options}"
        case ast.Try():
            return f"(try {shape(node.body)} else {shape(node.otherwise)})"
        case ast.TextExpr():
            return '"' + "".join(part if isinstance(part, str) else f"${{{shape(part)}}}" for part in node.parts) + '"'
        case ast.ListExpr():
            return f"[{', '.join(map(shape, node.elements))}]"
        case None:
            return ""
    return type(node).__name__


@pytest.mark.parametrize(("text", "expected"), [
    ("a or b and not c == d", "(a or (b and (not (c == d))))"),
    ("a + b * c - d", "((a + (b * c)) - d)"),
    ("a // b % c / d", "(((a // b) % c) / d)"),
    ("-a.b(c)[0]", "(- a.b(c)[0])"),
    ("not a in b", "(not (a in b))"),
    ("a not in b", "(not (a in b))"),
    ("a ?? b ?? c", "(a ?? (b ?? c))"),
    ("a ?? b == c", "((a ?? b) == c)"),
    ("a ?? b + c", "(a ?? (b + c))"),
    ("a ?? b and c", "((a ?? b) and c)"),
    ("(a == b) == c", "((a == b) == c)"),
    ("try f(x) else a ?? b", "(try f(x) else (a ?? b))"),
    ("try f(x) else try g(x) else y", "(try f(x) else (try g(x) else y))"),
    ("f(x) with temperature = 0.7, model = small", "f(x) with temperature=0.7 with model=small"),
    ("f(x) with engine reference, seed = 1", "f(x) with engine=reference with seed=1"),
    ("[f(x) with n = 3, y]", "[f(x) with n=3, y]"),
    ("(f(x) with n = a + b).y", "f(x) with n=(a + b).y"),
    ("xs[1:]", "xs[1:]"), ("xs[:n]", "xs[:n]"), ("xs[:]", "xs[:]"), ("xs[a:b][0]", "xs[a:b][0]"),
    (r'"a\n\"\\ \$ \u00e9\u{1F600}\x41 ${a + "${b}"}!"', '"a\n"\\ $ é😀A ${(a + "${b}")}!"'),
    ("-9223372036854775808", "-9223372036854775808"),
    ("a - 1", "(a - 1)"), ("a -1", "(a - 1)"),
    ("1_000 + 1e3 + 2.5e-1", "((1000 + 1000.0) + 0.25)"),
    ("[a,]", "[a]"), ("f(a, b,)", "f(a, b)"),
])
def test_expressions(text: str, expected: str) -> None:
    assert shape(expression(text)) == expected


def test_records_of_control_flow() -> None:
    loop = expression('loop (seen: list[text] = [], a: text? = none) while a == none limit 8 { yield seen + ["x"], a }')
    assert isinstance(loop, ast.Loop)
    assert [c.name for c in loop.carried] == ["seen", "a"]
    assert shape(loop.limit) == "8" and len(loop.body.values) == 2
    fold = expression('fold a: text = "", n = 0\n for f in xs { (a, n) }')
    assert isinstance(fold, ast.Fold) and len(fold.carried) == 2 and len(fold.body.values) == 2
    each = expression("unordered for i, x in xs { f(x) }")
    assert isinstance(each, ast.For) and each.unordered and each.target.names == ("i", "x")
    found = expression("[f(x) for k, v in m if k in ks]")
    assert isinstance(found, ast.Comprehension) and shape(found.condition) == "(k in ks)"
    match = expression("match a { x | y => 1\n Severity.low => 2, -1 => (a, b), _ => { let c = 1\n c } }")
    assert isinstance(match, ast.Match) and [len(arm.patterns) for arm in match.arms] == [2, 1, 1, 1]
    assert isinstance(match.arms[2].value, ast.TupleExpr) and isinstance(match.arms[3].value, ast.Block)


def test_if_is_a_value_or_a_statement() -> None:
    value = expression("if a { 1 } else if b { 2 } else { 3 }")
    assert isinstance(value, ast.If) and value.otherwise is not None
    (nested,) = value.otherwise.values
    assert isinstance(nested, ast.If) and nested.otherwise is not None
    (statement,) = statements("if a { f(x) } else if b { g(x) }")
    assert isinstance(statement, ast.ExpressionStatement) and isinstance(statement.value, ast.If)
    assert statement.value.otherwise is not None and not statement.value.otherwise.values
    assert errors("program P() -> y: text {\nlet a = if b { 1 }\n}") == [("E0001", "\n")]


@pytest.mark.parametrize("body", ["yield a, b", "yield (a, b)", "a, b", "(a, b)", "yield a, b,"])
def test_ways_to_give_several_values(body: str) -> None:
    each = expression(f"for x in xs {{\n{body}\n}}")
    assert isinstance(each, ast.For) and [shape(value) for value in each.body.values] == ["a", "b"]


@pytest.mark.parametrize(("body", "count"), [
    ("let a = f\n(b)", 2), ("let a = f(\nb\n)", 1), ("let a = b +\nc", 1), ("let a = b\n+ c", 1), ("let a = b\n.c", 1),
    ("let a = b\n-c", 2), ("let a = b\n[c]", 2), ("let a = if b { 1 }\nelse { 2 }", 1), ("let a = (b\n- c\n(d))", 1),
    ("let a = f(x)\nwith n = 1,\nm = 2", 1), ("let a = b let c = d yield c", 3), ("let a =\n\n# why\nb", 1),
    ("let a = for x in xs\n{\nx\n}", 1), ("let a = b ??\n c\nreturn a,\nb", 2),
])
def test_line_ends_separate_statements_where_one_can_end(body: str, count: int) -> None:
    block = expression(f"{{\n{body}\n}}")
    assert isinstance(block, ast.Block)
    assert len(block.statements) + bool(block.values) == count


def test_a_program_does_not_yield() -> None:
    assert errors("program P() -> y: text {\nyield a\n}") == [("E0034", "yield a")]
    assert errors("program P() -> y: text {\nfor x in xs { yield a\nf(x) }\n}") == [("E0034", "yield a")]
    assert errors("program P() -> y: text {\nfor x in xs {\na, b\nf(x) }\n}") == [("E0034", "a, b")]


def test_returned_values() -> None:
    (statement,) = statements("return a @ latency, b ?? c @ deadline(1m), d")
    assert isinstance(statement, ast.Return)
    objectives = [(v.objective.name, v.objective.seconds) if v.objective else None for v in statement.values]
    assert objectives == [("latency", None), ("deadline", 60.0), None]
    (statement,) = statements("return (a, b)")
    assert isinstance(statement, ast.Return) and len(statement.values) == 2


def test_declarations() -> None:
    file = parse("""
use "a.sem"
use "b.sem" as b
enum Kind { one, two = "Number two"
            three, }
type T { a: map[text, list[int(0..10)]]?, b: text(max_tokens = 8) }
model small = "a/b"
host f(x: text = "d") -> list[text] from "m:f" (pure, timeout = 1.5s, retries = 2, idempotent)
host g() from "m:g"
semantic S(x: b.T,) -> (y: text, z: list[text](max = 5),) using b.small {
  system \"""a\"""
  for p in x { user \"""{{p}}\""" assistant \"""b\""" }
  assistant \"""{{y}}\"""
}
test "t" { assert (a) }
""".replace("\\", ""))
    kinds = [type(d).__name__ for d in file.declarations]
    assert kinds == ["Use", "Use", "EnumDecl", "TypeDecl", "ModelDecl", "HostDecl", "HostDecl", "SemanticDecl",
                     "TestDecl"]
    _, used, enum, record, _, host, _, semantic, test = file.declarations
    assert isinstance(used, ast.Use) and used.alias == "b"
    assert isinstance(enum, ast.EnumDecl) and [(m.name, m.text) for m in enum.members] == [
        ("one", None), ("two", "Number two"), ("three", None)]
    assert isinstance(record, ast.TypeDecl) and isinstance(record.fields[0].type, ast.OptionType)
    keyed = record.fields[0].type.element
    assert isinstance(keyed, ast.NamedType) and isinstance(keyed.arguments[1], ast.NamedType)
    inner = keyed.arguments[1].arguments[0]
    assert isinstance(inner, ast.NamedType)
    assert [(name, shape(value)) for name, value in inner.bounds] == [("low", "0"), ("high", "10")]
    assert isinstance(host, ast.HostDecl) and [(o.name, o.value) for o in host.options] == [
        ("pure", True), ("timeout", 1.5), ("retries", 2), ("idempotent", True)]
    assert isinstance(semantic, ast.SemanticDecl) and semantic.model == "b.small"
    assert [type(p).__name__ for p in semantic.parts] == ["RolePart", "RoleFor", "RolePart"]
    assert isinstance(test, ast.TestDecl) and isinstance(test.body[0], ast.Assert)


@pytest.mark.parametrize("word", [
    *sorted(CONTEXTUAL_WORDS), "assert", "unordered", "system", "user", "assistant", "input", "output", "end", "text",
    "list",
    "engine", "latency", "deadline", "pure", "timeout", "len", "chat",
])
def test_words_that_are_not_reserved_are_names(word: str) -> None:
    file = parse(f"""
type {word} {{ {word}: {word} }}
enum E {{ {word} }}
host {word}({word}: {word}) -> {word} from "m:f"
program {word}({word}: {word} = {word}) -> {word}: {word} {{
  let {word} = {word} + {word}.{word}
  let x = [{word} for {word} in {word}]
  for {word} in {word}({word} = {word}) {{ {word} }}
  {word} == fold {word} = {word} for {word} in {word} {{ {word} }}
  {word}
}}
semantic S({word}: text) -> y: text {{ \"""{{{{{word}: int}}}}\""" }}
""".replace("{{" + word + ": int}}", "{{input:" + word + "}}{{output:" + word + "}}"))
    assert len(file.declarations) == 5


@pytest.mark.parametrize("word", sorted(RESERVED_WORDS))
def test_reserved_words_are_no_names(word: str) -> None:
    assert errors(f"program P({word}: text) -> y: text {{ return y }}")[0] == ("E0001", word)


def test_reserved_words_are_those_of_the_design() -> None:
    words = "let for in if else match yield return fold loop while limit with try none true false and or not"
    assert sorted(words.split()) == sorted(RESERVED_WORDS)


@pytest.mark.parametrize(("text", "code", "caret"), [
    ("9223372036854775808", "E0015", "9223372036854775808"), ("0 - 9223372036854775808", "E0015",
                                                              "9223372036854775808"),
    ("1e400", "E0015", "1e400"), ("12abc", "E0014", "12abc"), ("0x1F", "E0014", "0x1F"), ("1__0", "E0014", "1__0"),
    ("007", "E0014", "007"), (".5", "E0014", ".5"), ("٣", "E0014", "٣"), (r'"\q"', "E0018", r"\q"),
    (r'"\ud800"', "E0018", r"\ud800"), (r'"\u{110000}"', "E0018", r"\u{110000}"), ('"abc', "E0017", '"abc'),
    ('"a ${b"', "E0017", '"'), ('"a ${b', "E0019", "${"), ("'a'", "E0012", "'a'"), ("a && b", "E0011", "&&"),
    ("!a", "E0011", "!"), ('f"a"', "E0016", "f"), ("a < b < c", "E0038", "a < b < c"), ("f(x).y with n = 1", "E0036",
                                                                                        "f(x).y"),
    ("a $ b", "E0013", "$"), ("(a", "E0021", "("), ("a)", "E0023", ")"), ("(a]", "E0024", "]"), ("f(x) with n 1",
                                                                                                 "E0001", "1"),
    ("a;", "E0025", ";"),
])
def test_errors_are_marked(text: str, code: str, caret: str) -> None:
    assert (code, caret) in errors(f"program P() -> y: text {{\nlet a = {text}\n}}")


def test_spans_are_exact() -> None:
    text = 'program P(a: text) -> y: text {\n  let b = f(a,  c = [1 , 2]) with n = 3\n  return "x ${ b . d }"\n}\n'
    found: dict[str, list[str]] = {}

    def walk(node: Any) -> None:
        if isinstance(node, ast.Node):
            found.setdefault(type(node).__name__, []).append(text[node.span.start:node.span.end])
            for field in dataclasses.fields(node):
                walk(getattr(node, field.name))
        elif isinstance(node, tuple):
            for item in node:
                walk(item)

    walk(parse(text).declarations)
    assert found["Call"] == ["f(a,  c = [1 , 2]) with n = 3"]
    assert found["Argument"] == ["a", "c = [1 , 2]", "n = 3"]
    assert found["ListExpr"] == ["[1 , 2]"]
    assert found["FieldAccess"] == ["b . d"]
    assert found["TextExpr"] == ['"x ${ b . d }"']
    assert found["Let"] == ["let b = f(a,  c = [1 , 2]) with n = 3"]
    assert found["Parameter"] == ["a: text"]


def test_one_run_reports_every_error() -> None:
    text = """use "a.sem" with
def f(x):
  return x
program P(x: text) -> y: text {
  let a = (b +)
  let c = [1, 2
  let d = 3
}
program Q(x: text) -> y: text {
  let = 3
  for x in xs {
    f(x
      y)
    g(
  }
}
program R(x: text) -> y: text {
  let a b
  for x in xs {
    let = f(x)
    g(x) h(x)
  }
  match a { x => , y = 1, z => 2 }
  return
}
type T { a text, b: int, c: }
"""
    diagnostics = Diagnostics()
    parse_source(SourceFile("x.sem", text), diagnostics)
    reported = [d.primary.span.source.line_column(d.primary.span.start)[0] for d in diagnostics if d.primary]
    assert reported == [1, 2, 5, 6, 10, 12, 14, 18, 20, 21, 23, 23, 24, 26, 26]


@pytest.mark.parametrize("text", [
    "(" * 10_000, "[" * 10_000, "{" * 10_000, "(" * 10_000 + "1" + ")" * 10_000, "not " * 10_000 + "x",
    "-" * 10_000 + "x",
    "x + " * 10_000 + "x", "x ?? " * 10_000 + "x", "x" + ".y" * 10_000, "if x { 1 } else " * 10_000 + "{ 2 }",
    '"${' * 10_000,
    "try " * 10_000, "f(" * 10_000,
])
def test_deep_nesting_is_an_error(text: str) -> None:
    assert "E0022" in [code for code, _ in errors(f"program P() -> y: text {{\nlet a = {text}\n}}")]


def test_long_programs_are_parsed() -> None:
    lines = "".join(f"  let v{i} = F(x, {i}) with n = 2\n" for i in range(20_000))
    (program,) = parse(f"program P(x: text) -> y: text {{\n{lines}}}").declarations
    assert isinstance(program, ast.ProgramDecl) and len(program.body) == 20_000
