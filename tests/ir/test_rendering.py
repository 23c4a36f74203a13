"""Rendering, canonical bytes, reading and bounds of values."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.ir.rendering import ValueMismatch, canonical_bytes, from_json, json_text, parse_value, render, to_json
from semlang.ir.types import (
    BOOL,
    CTX,
    FLOAT,
    INT,
    TEXT,
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
from semlang.ir.values import Failure, constant_literal, constant_value, first_failure

COLOR = Enum("Color", (EnumMember("red", "red"), EnumMember("green", 'deep "green"'), EnumMember("blue", "é")))
CARD = Record("Card", (Field("title", TEXT), Field("score", Option(INT)), Field("color", COLOR)))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def types() -> st.SearchStrategy[Type]:
    leaves = st.sampled_from([TEXT, INT, FLOAT, BOOL, COLOR, CARD, Int(-5, 120), Int(7, 9)])
    names = st.sampled_from(["a", "b", "odd \n name"])
    return st.recursive(leaves, lambda inner: st.one_of(
        st.builds(List, inner, st.none() | st.integers(2, 4)), st.builds(Map, inner),
        inner.map(lambda t: t if isinstance(t, Option) else Option(t)),
        st.lists(st.tuples(names, inner), max_size=3, unique_by=lambda f: f[0]).map(
            lambda fields: Record(None, tuple(Field(n, t) for n, t in fields)))), max_leaves=4)


def values(type: Type) -> st.SearchStrategy[Any]:
    """Run-time values of a type."""
    match type:
        case Text():
            return TEXTS
        case Int(low, high):
            return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
        case Enum(_, members):
            return st.sampled_from([m.name for m in members])
        case List(element, maximum):
            return st.lists(values(element), max_size=maximum if maximum is not None else 3)
        case Map(element):
            return st.dictionaries(TEXTS, values(element), max_size=3)
        case Option(element):
            return st.none() | values(element)
        case Record(_, fields):
            return st.fixed_dictionaries({f.name: values(f.type) for f in fields})
    return st.booleans() if type == BOOL else st.floats(allow_nan=False, allow_infinity=False)


TYPED = types().flatmap(lambda t: st.tuples(st.just(t), values(t)))


@given(TYPED)
def test_json_is_compact_and_reads_back(typed: tuple[Type, Any]) -> None:
    type, value = typed
    text = json_text(value, type)
    assert parse_value(text, type) == value if not isinstance(type, Text) else json.loads(text) == value
    assert from_json(json.loads(text), type) == value
    assert json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) == text


@given(TYPED)
def test_a_rendering_parses_to_its_value(typed: tuple[Type, Any]) -> None:
    type, value = typed
    plain = type.element if isinstance(type, Option) and value is not None else type
    assert parse_value(render(value, type), plain) == value


@given(TYPED)
def test_a_constant_is_its_value(typed: tuple[Type, Any]) -> None:
    type, value = typed
    assert constant_value(constant_literal(value), type) == value


@given(types().flatmap(lambda t: st.tuples(st.just(t), values(t), values(t))))
def test_canonical_bytes_are_the_value(drawn: tuple[Type, Any, Any]) -> None:
    type, a, b = drawn
    same = canonical_bytes(a, type) == canonical_bytes(b, type)
    assert same == (json_text(a, type) == json_text(b, type))
    if same:
        assert a == b


def test_canonical_bytes_know_types() -> None:
    typed: list[tuple[object, Type]] = [
        (1, INT), (1.0, FLOAT), ("1", TEXT), (True, BOOL), (1, Option(INT)), ([], List(INT)), ([], List(TEXT)),
        (0.0, FLOAT), (-0.0, FLOAT)]
    assert len({canonical_bytes(value, type) for value, type in typed}) == len(typed)
    other = Enum("Color", (EnumMember("red", "red"),))
    assert canonical_bytes("red", COLOR) != canonical_bytes("red", other)
    assert canonical_bytes(3, Int(0, 5)) == canonical_bytes(3, INT)


def test_rendering_as_the_language_says() -> None:
    assert render("a\nb", TEXT) == "a\nb"
    assert render("green", COLOR) == 'deep "green"'
    assert [render(x, FLOAT) for x in (1.0, 1e16, 1e-7, -0.0)] == ["1.0", "1e+16", "1e-07", "-0.0"]
    assert (render(True, BOOL), render(-3, INT)) == ("true", "-3")
    assert render({"b": 1, "a": 2, "ä": 3, "Z": 4}, Map(INT)) == '{"Z":4,"a":2,"b":1,"ä":3}'
    card = {"title": "é\u2028", "score": None, "color": "green"}
    assert render([card], List(CARD)) == '[{"title":"é\u2028","score":null,"color":"deep \\"green\\""}]'
    assert to_json(card, CARD) == {"title": "é\u2028", "score": None, "color": 'deep "green"'}


def test_a_failure_or_context_has_no_rendering() -> None:
    with pytest.raises(TypeError, match="boom"):
        render([Failure("boom")], List(TEXT))
    with pytest.raises(TypeError, match="ctx"):
        render(object(), CTX)


@dataclasses.dataclass
class Card:
    title: str
    score: int | None
    color: str


class Subtext(str):
    __slots__ = ()


def test_host_values_are_copied_and_converted() -> None:
    inner = ["a"]
    out = from_json(inner, List(TEXT))
    assert out == inner and out is not inner
    assert from_json(("a", Subtext("b")), List(TEXT)) == ["a", "b"]
    assert type(from_json(Subtext("b"), TEXT)) is str
    converted = from_json(3, FLOAT)
    assert converted == 3.0 and isinstance(converted, float)
    assert from_json(Card("t", None, 'deep "green"'), CARD) == {"title": "t", "score": None, "color": "green"}
    assert from_json({"title": "t", "color": "green"}, CARD) == {"title": "t", "score": None, "color": "green"}


@pytest.mark.parametrize(("value", "type", "message"), [
    (True, INT, "expected an int, found the bool True"),
    (1.0, INT, "expected an int, found the float 1.0"),
    (True, FLOAT, "expected a float, found the bool True"),
    (1, BOOL, "expected true or false, found the int 1"),
    (float("nan"), FLOAT, "a float must be finite"),
    (10**400, FLOAT, "a float must be finite"),
    (2**63, INT, "9223372036854775808 is beyond 64 bits"),
    (-(2**63) - 1, INT, "is beyond 64 bits"),
    (11, Int(0, 10), "11 is not within 0..10"),
    ("\ud800", TEXT, "lone surrogate"),
    (b"a", TEXT, "expected a text, found a bytes"),
    (None, TEXT, "expected a text, found none"),
    ("purple", COLOR, "expected one of red, deep \"green\", é, found the text 'purple'"),
    ([1, "a"], List(INT), r"[1]: expected an int, found the text 'a'"),
    ([1, 2], List(INT, 1), "expected at most 1 elements, found 2"),
    ({"a": 1, 2: 3}, Map(INT), "key: expected a text"),
    ({"title": "t"}, CARD, "the field color of the record Card is missing"),
    ({"title": "t", "color": "red", "x": 1}, CARD, "the record Card has no field 'x', only title, score, color"),
    ({"title": 3, "color": "red"}, CARD, "title: expected a text, found the int 3"),
    ("abc", List(TEXT), "expected a list, found the text 'abc'"),
    (3, CARD, "expected the record Card, found the int 3"),
])
def test_wrong_values_are_refused(value: object, type: Type, message: str) -> None:
    with pytest.raises(ValueMismatch) as error:
        from_json(value, type)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["nan", "Infinity", "[1", "1" * 5000, "[" * 100_000, "", "1e999", '{"a":1}'])
def test_wrong_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueMismatch):
        parse_value(text, FLOAT)


def test_failures_are_found_in_order() -> None:
    first, second = Failure("first"), Failure("second")
    assert first_failure([1, {"a": [], "b": ["x", {"c": first}]}, second]) is first
    assert first_failure([[], {}, "text"]) is None
