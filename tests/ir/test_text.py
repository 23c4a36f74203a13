"""IR text: what is printed parses back to the same module, and any other text gives a diagnostic or a module."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from semlang.ir.core import (
    Arg,
    Literal,
    Module,
    Op,
    Region,
    Root,
    Symbol,
    Table,
    TokenList,
    Value,
    Word,
    clone_module,
    walk,
)
from semlang.ir.definition import Trait
from semlang.ir.diagnostics import InputError
from semlang.ir.dialects import DEFINITIONS
from semlang.ir.equality import equal_modules
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_literal, print_module
from semlang.ir.source import Location, Site, SourceFile
from semlang.ir.types import (
    BOOL,
    CTX,
    EFFECT,
    FLOAT,
    INT,
    PROMPT,
    TEXT,
    TOKENS,
    Enum,
    EnumMember,
    Field,
    Int,
    List,
    Map,
    Option,
    Record,
    Text,
    Type,
)
from semlang.ir.verifier import VerificationError, verify, verify_input

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.one_of(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), TEXTS)
WORDS = st.from_regex(r"[a-zäö_][a-z0-9_]{0,6}", fullmatch=True).filter(lambda w: w not in ("true", "false", "none"))
COLOR = Enum("Color", (EnumMember("red", "red"), EnumMember("green", 'a "green"\n one')))
ODD = Enum("odd name", (EnumMember("x", ""),))
CARD = Record("mod.Card", (Field("title", TEXT), Field("a b", List(COLOR, 3))))
DECLARATIONS = [
    Op("sem.record", [Symbol("mod.Card")], [], {"fields": Table((("title", TEXT), ("a b", List(COLOR, 3))))}),
    Op("sem.enum", [Symbol("odd name")], [], {"members": ("x",), "texts": ("",)}),
    Op("sem.enum", [Symbol("Color")], [], {"members": ("red", "green"), "texts": ("red", 'a "green"\n one')}),
]


def records(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.lists(st.tuples(NAMES, types), max_size=3, unique_by=lambda f: f[0])
    return fields.map(lambda pairs: Record(None, tuple(Field(n, t) for n, t in pairs)))


NATURAL = st.integers(0, 1000)
TYPES: st.SearchStrategy[Type] = st.recursive(
    st.one_of(
        st.sampled_from([TEXT, INT, FLOAT, BOOL, PROMPT, CTX, TOKENS, EFFECT, COLOR, ODD, CARD]),
        st.builds(Text, NATURAL), st.builds(Int, st.none() | INT64, st.none() | INT64)),
    lambda inner: st.one_of(
        st.builds(List, inner, st.none() | NATURAL), st.builds(Option, inner), st.builds(Map, inner), records(inner)),
    max_leaves=4,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def compounds(inner: st.SearchStrategy[Literal]) -> st.SearchStrategy[Literal]:
    entries = st.lists(st.tuples(NAMES, inner), max_size=3, unique_by=lambda e: e[0])
    return st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        entries.map(lambda pairs: Table(tuple(pairs))),
        st.builds(Word, WORDS, st.lists(inner, max_size=2).map(tuple)),
    )


LITERALS: st.SearchStrategy[Literal] = st.recursive(
    st.one_of(
        TEXTS, INT64, FLOATS, st.booleans(), st.none(), st.builds(Symbol, NAMES), st.builds(Word, WORDS),
        st.builds(TokenList, st.lists(st.integers(0, 10**6), max_size=3).map(tuple), TEXTS, st.booleans()),
        st.just(Root()), TYPES),
    compounds, max_leaves=5,
)
SITES = st.builds(Site, TEXTS, st.integers(1, 10**6), st.integers(1, 10**6))
LOCATIONS = st.builds(
    Location, st.lists(st.lists(SITES, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple))
BODY_OPS = sorted(d.name for d in DEFINITIONS.values() if Trait.DECLARATION not in d.traits)


@st.composite
def regions(draw: st.DrawFn, visible: list[Value], depth: int) -> Region:
    region = Region(draw(values()))
    inner = [*visible, *region.parameters]
    for _ in range(draw(st.integers(0, 3))):
        op = draw(operations(inner, depth))
        region.ops.append(op)
        inner.extend(op.results)
    return region


def values() -> st.SearchStrategy[list[Value]]:
    return st.lists(st.builds(Value, TYPES, NAMES), max_size=2)


@st.composite
def operations(draw: st.DrawFn, visible: list[Value], depth: int, names: list[str] = BODY_OPS) -> Op:
    name = draw(st.sampled_from(names))
    literals: st.SearchStrategy[Arg] = LITERALS
    args = draw(st.lists(literals | st.sampled_from(visible) if visible else literals, max_size=3))
    known = [a.name for a in DEFINITIONS[name].attributes]
    keys = NAMES | st.sampled_from(known) if known else NAMES
    op = Op(name, args, [], draw(st.dictionaries(keys, LITERALS, max_size=3)), [], draw(LOCATIONS))
    if DEFINITIONS[name].regions and depth > 0:
        op.regions = [draw(regions(visible, depth - 1)) for _ in range(len(DEFINITIONS[name].keywords) + 1)]
    op.results = draw(values())
    return op


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """Any module that can be written, well formed or not: text knows more than the verifier lets through."""
    order = draw(st.permutations(DECLARATIONS))
    programs = draw(st.lists(operations([], 3, ["sem.program", "sem.func"]), max_size=2))
    return clone_module(Module([*order[:1], *programs, *order[1:]]))


def parse(text: str) -> Module:
    return parse_module(SourceFile("m.sir", text))


@settings(max_examples=120, deadline=None)
@given(modules())
def test_print_and_parse_are_inverse(module: Module) -> None:
    text = print_module(module)
    again = parse(text)
    assert print_module(again) == text
    assert equal_modules(module, again)
    located = print_module(module, locations=True)
    reparsed = parse(located)
    assert print_module(reparsed, locations=True) == located
    assert [op.location for op in walk(reparsed.ops)] == [op.location for op in walk(module.ops)]


@settings(max_examples=60, deadline=None)
@given(modules())
def test_printed_text_is_plain_lines(module: Module) -> None:
    text = print_module(module)
    assert text.splitlines() == text.split("\n")[:-1], "no character but the newline ends a line"
    text.encode()


@settings(max_examples=80, deadline=None)
@given(modules(), st.data())
def test_equality_sees_a_change(module: Module, data: st.DataObject) -> None:
    other = clone_module(module)
    assert equal_modules(module, other)
    op = data.draw(st.sampled_from(list(walk(other.ops))))
    change = data.draw(st.sampled_from(["attribute", "argument", "result", "drop"]))
    if change == "attribute":
        op.attributes["zz new"] = 1
    elif change == "argument":
        op.args.append("one more")
    elif change == "result":
        op.results.append(Value(BOOL))
    else:
        other.ops.pop()
    assert not equal_modules(module, other)


@given(LITERALS, LITERALS)
@example(1, True)
@example(1, 1.0)
@example(0.0, -0.0)
@example((), Table(()))
def test_literals_print_differently(a: Literal, b: Literal) -> None:
    def key(literal: Literal) -> str:
        return re.sub(r"scaffold=False", "", repr(literal))

    assert (print_literal(a) == print_literal(b)) == (key(a) == key(b))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("%@{}()<>[]|:=,.\"\\ \nab1-!/", max_size=60))
def test_any_text_gives_a_module_or_diagnostics(text: str) -> None:
    read(text)


@settings(max_examples=150, deadline=None)
@given(modules(), st.data())
def test_damaged_text_gives_a_module_or_diagnostics(module: Module, data: st.DataObject) -> None:
    text = print_module(module)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 8)))
        inserted = data.draw(st.sampled_from(["", "}", "{", ")", '"', "%a", " : text", "@x", "9", "<"]))
        text = text[:start] + inserted + text[end:]
    read(text)


def read(text: str) -> None:
    """Parse and verify: nothing but InputError may come out, with places inside the text."""
    source = SourceFile("fuzz.sir", text)
    try:
        module = parse_module(source)
        assert print_module(parse(print_module(module))) == print_module(module)
        verify_input(module, source)
    except InputError as error:
        assert error.diagnostics
        for diagnostic in error.diagnostics:
            assert diagnostic.message and diagnostic.code
            assert diagnostic.primary and 0 <= diagnostic.primary.span.start <= len(text)


@settings(max_examples=80, deadline=None)
@given(modules())
def test_the_verifier_raises_nothing_else(module: Module) -> None:
    try:
        verify(module)
    except VerificationError as error:
        assert error.problems and str(error)


def test_names_are_unique_and_kept() -> None:
    ops = [Op("flow.const", [1], [Value(INT, name)]) for name in ("a", "a", "a_1", "", "a", "x y", "3", "é")]
    ops.append(Op("sem.return", [op.results[0] for op in ops]))
    text = print_module(Module([Op("sem.program", [Symbol("P")], [], {}, [Region([], ops)])]))
    assert re.findall(r"^  (%\S+) =", text, re.MULTILINE) == [
        "%a", "%a_1", "%a_2", "%0", "%a_3", "%x_y", "%1", "%é"]
    assert print_module(parse(text)) == text


def test_thousands_of_equal_hints_stay_linear() -> None:
    ops = [Op("flow.const", [1], [Value(INT, "x")]) for _ in range(20_000)]
    text = print_module(Module([Op("sem.program", [Symbol("P")], [], {}, [Region([], [*ops, Op("sem.return")])])]))
    assert "%x_19999 =" in text


@pytest.mark.parametrize("text", [
    "sem.host(@h) {retries = " + "[" * 50_000,
    "sem.host(@h) {result = !" + "list<" * 50_000,
    "sem.host(@h) {x = " + "{a = " * 50_000,
    "sem.host(@h) {x = " + "a(" * 50_000,
    "flow.if(%c) {" * 50_000,
    "(" * 100_000,
    '"' + "\\" * 100_001,
    "sem.program(@P) {" + "\n" * 100_000,
    "/" * 100_000,
    "// " + "x" * 100_000,
    " \n" * 100_000,
    "%" * 100_000,
    "%a, " * 50_000,
    "1" * 100_000,
    "sem.host(@h) {x = 1" + "1" * 100_000 + "}",
    "sem.host(@h) {x = 1e" + "1" * 100_000 + "}",
    '"\\ud83d',
], ids=range(17))
def test_long_and_deep_texts_end_quickly(text: str) -> None:
    read(text)


def test_regions_nest_deeply() -> None:
    depth = 900
    text = ("sem.program(@P) |%c: bool| {\n" + "flow.if(%c) {\n" * depth
            + "flow.yield()\n} else {\nflow.yield()\n}\n" * depth + "sem.return() {names = []}\n}\n")
    module = parse(text)
    verify(module)
    assert equal_modules(parse(print_module(module)), module)


def test_strings_read_as_json() -> None:
    for text in ["\u2028\u0085\x7f\u200b", "é😀\t\r\n\\\"", "\x00\x1f"]:
        printed = print_literal(text)
        assert json.loads(printed) == text
        assert printed.isprintable()


@pytest.mark.parametrize("literal", [float("nan"), float("inf"), Word("no word"), Word("true")])
def test_what_cannot_be_written_is_refused(literal: Literal) -> None:
    with pytest.raises(ValueError, match=r"finite|bare word"):
        print_literal(literal)
