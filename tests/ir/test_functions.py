"""The built-in functions: what each gives, their laws, their failures, and their types."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.ir.core import Word
from semlang.ir.functions import (
    FUNCTIONS,
    EvaluationError,
    OperandMismatch,
    PureContext,
    Strictness,
    evaluate,
    result_type,
)
from semlang.ir.rendering import canonical_bytes
from semlang.ir.types import (
    BOOL,
    CTX,
    FLOAT,
    INT,
    PROMPT,
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
from semlang.ir.values import Failure

MAX, MIN = 2**63 - 1, -(2**63)
COLOR = Enum("Color", (EnumMember("red", "Red!"), EnumMember("blue", "a blue")))
POINT = Record("Point", (Field("x", INT), Field("name", TEXT)))
F = Failure("broken")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


def call(name: str, types: Sequence[Type], /, *args: Any, gives: Type | None = None, **attributes: Any) -> Any:
    """The result of a function; its type is the inferred one unless `gives` says it."""
    inferred = result_type(name, types, attributes)
    type = gives or inferred
    assert type is not None
    return evaluate(name, args, PureContext(tuple(types), type, attributes))


CASES: list[tuple[str, list[Type], list[Any], Any, Type]] = [
    ("add", [INT, INT], [2, 3], 5, INT),
    ("add", [TEXT, TEXT], ["a", "b"], "ab", TEXT),
    ("add", [List(INT), List(INT)], [[1], [2]], [1, 2], List(INT)),
    ("add", [FLOAT, INT], [0.5, 1], 1.5, FLOAT),
    ("sub", [INT, INT], [2, 3], -1, INT),
    ("mul", [INT, INT], [-2, 3], -6, INT),
    ("div", [INT, INT], [7, 2], 3.5, FLOAT),
    ("floordiv", [INT, INT], [-7, 2], -4, INT),
    ("floordiv", [FLOAT, FLOAT], [-7.0, 2.0], -4.0, FLOAT),
    ("mod", [INT, INT], [-7, 2], 1, INT),
    ("mod", [INT, INT], [7, -2], -1, INT),
    ("neg", [INT], [3], -3, INT),
    ("eq", [TEXT, TEXT], ["é", "e\u0301"], False, BOOL),
    ("eq", [List(FLOAT), List(FLOAT)], [[0.0], [-0.0]], True, BOOL),
    ("eq", [INT, FLOAT], [1, 1.0], True, BOOL),
    ("ne", [COLOR, COLOR], ["red", "blue"], True, BOOL),
    ("lt", [TEXT, TEXT], ["Z", "a"], True, BOOL),
    ("le", [INT, INT], [2, 2], True, BOOL),
    ("gt", [TEXT, TEXT], ["\U0001f600", "\uffff"], True, BOOL),
    ("ge", [FLOAT, FLOAT], [1.0, 2.0], False, BOOL),
    ("not", [BOOL], [True], False, BOOL),
    ("to_float", [INT], [3], 3.0, FLOAT),
    ("range", [INT], [3], [0, 1, 2], List(INT)),
    ("range", [INT, INT], [3, 1], [], List(INT)),
    ("range", [INT, INT, INT], [5, 0, -2], [5, 3, 1], List(INT)),
    ("sum", [List(INT)], [[1, 2, 3]], 6, INT),
    ("sum", [List(INT)], [[]], 0, INT),
    ("sum", [List(FLOAT)], [[0.1] * 10], 1.0, FLOAT),
    ("sum", [List(FLOAT)], [[]], 0.0, FLOAT),
    ("concat", [TEXT, TEXT, TEXT], ["a", "", "b"], "ab", TEXT),
    ("concat", [], [], "", TEXT),
    ("join", [List(TEXT), TEXT], [["a", "b"], ", "], "a, b", TEXT),
    ("join", [List(TEXT)], [["a", "b"]], "ab", TEXT),
    ("split", [TEXT, TEXT], ["a,b,", ","], ["a", "b", ""], List(TEXT)),
    ("split", [TEXT], [" a \n b "], ["a", "b"], List(TEXT)),
    ("split", [TEXT, TEXT], ["aé", ""], ["a", "é"], List(TEXT)),
    ("lines", [TEXT], ["a\r\nb\n\nc\rd\u2028e\n"], ["a", "b", "", "c\rd\u2028e"], List(TEXT)),
    ("lines", [TEXT], [""], [], List(TEXT)),
    ("words", [TEXT], [" a  b\n"], ["a", "b"], List(TEXT)),
    ("strip", [TEXT], [" a \n"], "a", TEXT),
    ("strip", [TEXT, TEXT], ["xxaxx", "x"], "a", TEXT),
    ("lower", [TEXT], ["ÄB"], "äb", TEXT),
    ("upper", [TEXT], ["ß"], "SS", TEXT),
    ("replace", [TEXT, TEXT, TEXT], ["aaa", "aa", "b"], "ba", TEXT),
    ("starts_with", [TEXT, TEXT], ["abc", "ab"], True, BOOL),
    ("ends_with", [TEXT, TEXT], ["abc", "ab"], False, BOOL),
    ("list", [INT, Int(0, 3)], [1, 2], [1, 2], List(INT)),
    ("len", [TEXT], ["é😀"], 2, INT),
    ("len", [Map(INT)], [{"a": 1}], 1, INT),
    ("index", [List(INT), INT], [[1, 2], -1], 2, Option(INT)),
    ("index", [List(INT), INT], [[1, 2], 2], None, Option(INT)),
    ("index", [List(INT), INT], [[1, 2], -3], None, Option(INT)),
    ("index", [Map(Option(INT)), TEXT], [{"a": None}, "b"], None, Option(INT)),
    ("slice", [TEXT, INT, INT], ["abcd", 1, -1], "bc", TEXT),
    ("slice", [List(INT), Option(INT), Option(INT)], [[1, 2, 3], None, 2], [1, 2], List(INT)),
    ("slice", [List(INT)], [[1]], [1], List(INT)),
    ("in", [INT, List(INT)], [2, [1, 2]], True, BOOL),
    ("in", [TEXT, Map(INT)], ["a", {"a": 1}], True, BOOL),
    ("contains", [TEXT, TEXT], ["abc", "bc"], True, BOOL),
    ("contains", [List(COLOR), COLOR], [["red"], "blue"], False, BOOL),
    ("enumerate", [List(TEXT)], [["a"]], [{"index": 0, "value": "a"}],
     List(Record(None, (Field("index", INT), Field("value", TEXT))))),
    ("zip", [List(TEXT), List(INT)], [["a", "b"], [1]], [{"first": "a", "second": 1}],
     List(Record(None, (Field("first", TEXT), Field("second", INT))))),
    ("min", [List(TEXT)], [["b", "a"]], "a", Option(TEXT)),
    ("min", [List(INT)], [[]], None, Option(INT)),
    ("max", [INT, INT, INT], [1, 3, 2], 3, INT),
    ("sort", [List(TEXT)], [["b", "B", "a"]], ["B", "a", "b"], List(TEXT)),
    ("sort", [List(COLOR)], [["blue", "red"]], ["red", "blue"], List(COLOR)),
    ("reverse", [List(INT)], [[1, 2]], [2, 1], List(INT)),
    ("reverse", [TEXT], ["ab"], "ba", TEXT),
    ("canonical_order", [List(TEXT)], [["b", "a", "b"]], ["a", "b", "b"], List(TEXT)),
    ("common_first", [List(List(TEXT))], [[["c", "bb"], ["d"], ["bb", "a"], ["bb", "c"]]],
     [["bb", "c"], ["d"], ["bb", "a"], ["bb", "c"]], List(List(TEXT))),
    ("flatten", [List(List(INT))], [[[1], [], [2]]], [1, 2], List(INT)),
    ("unique", [List(FLOAT)], [[0.0, 1.0, -0.0, 1.0]], [0.0, 1.0], List(FLOAT)),
    ("unique", [List(List(TEXT))], [[["a"], ["b"], ["a"]]], [["a"], ["b"]], List(List(TEXT))),
    ("unique", [List(Map(INT))], [[{"a": 1, "b": 2}, {"b": 2, "a": 1}]], [{"a": 1, "b": 2}], List(Map(INT))),
    ("select", [List(TEXT), List(BOOL)], [["a", "b", "c"], [True, False, True]], ["a", "c"], List(TEXT)),
    ("positions", [List(BOOL)], [[True, False, True]], [0, 2], List(INT)),
    ("map", [TEXT, INT, TEXT, INT], ["a", 1, "a", 2], {"a": 2}, Map(INT)),
    ("keys", [Map(INT)], [{"b": 1, "Z": 2, "a": 3}], ["Z", "a", "b"], List(TEXT)),
    ("values", [Map(INT)], [{"b": 1, "Z": 2, "a": 3}], [2, 3, 1], List(INT)),
    ("some", [INT], [1], 1, Option(INT)),
    ("is_some", [Option(INT)], [None], False, BOOL),
    ("unwrap", [Option(INT)], [0], 0, INT),
    ("outcome", [INT], [1], {"ok": True, "value": 1, "message": ""},
     Record(None, (Field("ok", BOOL), Field("value", Option(INT)), Field("message", TEXT)))),
    ("render", [COLOR], ["red"], "Red!", TEXT),
    ("render", [List(COLOR)], [["red"]], '["Red!"]', TEXT),
    ("json", [TEXT], ['a"'], '"a\\""', TEXT),
    ("parse_int", [TEXT], [" -0012\n"], -12, Option(INT)),
    ("parse_float", [TEXT], ["1e3"], 1000.0, Option(FLOAT)),
]


@pytest.mark.parametrize(("name", "types", "args", "result", "type"), CASES,
                         ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_result(name: str, types: list[Type], args: list[Any], result: Any, type: Type) -> None:
    found = call(name, types, *args)
    assert found == result and isinstance(found, bool) == isinstance(result, bool)
    assert isinstance(found, float) == isinstance(result, float)
    assert result_type(name, types, {}) == type


def test_every_function_has_a_case() -> None:
    others = {"chunk", "field", "record", "parse_json"}
    assert {case[0] for case in CASES} | others == set(FUNCTIONS)


@pytest.mark.parametrize(("name", "types", "args", "message"), [
    ("add", [INT, INT], [MAX, 1], "integer overflow"),
    ("sub", [INT, INT], [MIN, 1], "integer overflow"),
    ("mul", [INT, INT], [2**40, 2**40], "integer overflow"),
    ("neg", [INT], [MIN], "integer overflow"),
    ("floordiv", [INT, INT], [MIN, -1], "integer overflow"),
    ("add", [FLOAT, FLOAT], [1.7e308, 1.7e308], "beyond the range of floats"),
    ("mul", [FLOAT, FLOAT], [1e200, 1e200], "beyond the range of floats"),
    ("div", [FLOAT, FLOAT], [1e300, 1e-300], "beyond the range of floats"),
    ("div", [INT, INT], [1, 0], "division by zero"),
    ("div", [FLOAT, FLOAT], [1.0, -0.0], "division by zero"),
    ("floordiv", [INT, INT], [1, 0], "division by zero"),
    ("mod", [FLOAT, FLOAT], [1.0, 0.0], "division by zero"),
    ("sum", [List(INT)], [[MAX, 1]], "integer overflow"),
    ("sum", [List(FLOAT)], [[1.7e308, 1.7e308]], "beyond the range of floats"),
    ("range", [INT, INT, INT], [0, 1, 0], "step of a range must not be 0"),
    ("range", [INT], [10**12], "longer than"),
    ("add", [TEXT, TEXT], ["a" * (1 << 28), "b"], "longer than"),
    ("join", [List(TEXT), TEXT], [["a", "b", "c"], "s" * (1 << 27)], "longer than"),
    ("replace", [TEXT, TEXT, TEXT], ["a" * 20_000, "a", "b" * 20_000], "longer than"),
    ("range", [INT, INT, INT], [MAX, MIN, -1], "longer than"),
    ("unwrap", [Option(INT)], [None], "value is none"),
])
def test_failure(name: str, types: list[Type], args: list[Any], message: str) -> None:
    assert FUNCTIONS[name].fallible
    with pytest.raises(EvaluationError, match=message):
        call(name, types, *args)


def test_the_largest_numbers_are_values() -> None:
    assert call("add", [INT, INT], MAX - 1, 1) == MAX
    assert call("sub", [INT, INT], MIN + 1, 1) == MIN
    assert call("sum", [List(INT)], [MAX, 1, -1]) == MAX
    assert call("sum", [List(FLOAT)], [1e308, 1e308, -1e308]) == 1e308


# ---- records, JSON, chunks ----


def test_records() -> None:
    made = call("record", [INT, TEXT], 1, "a", gives=POINT)
    assert made == {"x": 1, "name": "a"} and list(made) == ["x", "name"]
    assert call("field", [POINT], made, name="name") == "a"
    with pytest.raises(OperandMismatch, match="no field y"):
        call("field", [POINT], made, name="y")


@pytest.mark.parametrize(("text", "type", "value"), [
    ('{"x": 1, "name": "é"}', POINT, {"x": 1, "name": "é"}),
    ('{"name": "a", "x": 1}', POINT, {"x": 1, "name": "a"}),
    ('{"x": 1}', POINT, None), ('{"x": 1, "name": "a", "y": 2}', POINT, None),
    ('{"x": true, "name": "a"}', POINT, None), ("[1, 2]", List(FLOAT), [1.0, 2.0]),
    ("3", Int(0, 2), None), ('"Red!"', COLOR, "red"), ('"green"', COLOR, None),
    ("null", INT, None), ("NaN", FLOAT, None), ('"\\ud800"', TEXT, None), ("", TEXT, None),
    ("[" * 10**5, List(TEXT), None), ("9" * 10**4, INT, None), (' "a" ', TEXT, "a"),
])
def test_parse_json(text: str, type: Type, value: Any) -> None:
    assert call("parse_json", [TEXT], text, gives=Option(type)) == value


@pytest.mark.parametrize("text", ["", "x", "1.5", "0x10", "1_000", "١", "- 1", "--1", "9223372036854775808",
                                  "1" * 5000])
def test_no_int(text: str) -> None:
    assert call("parse_int", [TEXT], text) is None


@pytest.mark.parametrize("text", ["", "x", ".", "1e", "nan", "inf", "1e999", "1_0.0", "0x1p3", "١.٥", "1,5"])
def test_no_float(text: str) -> None:
    assert call("parse_float", [TEXT], text) is None


@given(st.integers(MIN, MAX))
def test_parse_int_reads_renderings(value: int) -> None:
    assert call("parse_int", [TEXT], call("render", [INT], value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_parse_float_reads_renderings(value: float) -> None:
    parsed = call("parse_float", [TEXT], call("render", [FLOAT], value))
    assert canonical_bytes(parsed, FLOAT) == canonical_bytes(value, FLOAT)


@given(TEXTS, st.integers(1, 4))
def test_chunks_of_characters(text: str, size: int) -> None:
    chunks = call("chunk", [TEXT, INT], text, size, unit=Word("chars"))
    assert "".join(chunks) == text and all(len(c) == size for c in chunks[:-1])
    assert all(0 < len(c) <= size for c in chunks)


class PairTokenizer:
    """Tokens are UTF-8 bytes, but each `ab` is one token: cutting inside a pair changes the tokens around."""

    vocabulary_size = 258
    eos_ids = frozenset({257})
    bos_id: int | None = None
    has_dummy_prefix = False
    longest_token_bytes = 2
    digest = "pairs"

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        ids: list[int] = []
        for part in text.split("ab"):
            ids += [256, *part.encode()]
        return ids[1:]

    def encode_scaffold(self, text: str) -> list[int]:
        return self.encode_piece(text, first=False)

    def token_bytes(self, token_id: int) -> bytes:
        return b"ab" if token_id == 256 else bytes([token_id])

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, token_ids)).decode(errors="ignore")

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        return ""


@given(st.text("abé😀 ", max_size=20), st.integers(1, 5))
def test_chunks_of_tokens(text: str, size: int) -> None:
    tokenizer = PairTokenizer()
    context = PureContext((TEXT, INT), List(TEXT), {"unit": Word("tokens")}, tokenizer)
    chunks = evaluate("chunk", [text, size], context)
    assert "".join(chunks) == text
    for chunk in chunks:
        assert len(tokenizer.encode_piece(chunk, first=False)) <= size or len(chunk) == 1
    assert all(chunks)


@pytest.mark.parametrize(("size", "unit", "message"), [
    (0, "chars", "at least 1"), (-1, "tokens", "at least 1"), (2, "tokens", "need the tokenizer")])
def test_no_chunks(size: int, unit: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        call("chunk", [TEXT, INT], "abc", size, unit=Word(unit))


# ---- laws ----

INTS = st.lists(st.integers(-50, 50), max_size=8)


@given(INTS, INTS)
def test_laws_of_lists(xs: list[int], ys: list[int]) -> None:
    ints = [List(INT)]
    assert call("reverse", ints, call("reverse", ints, xs)) == xs
    assert call("len", ints, call("add", ints * 2, xs, ys)) == len(xs) + len(ys)
    assert call("flatten", [List(List(INT))], [xs, ys]) == call("add", ints * 2, xs, ys)
    ordered = call("sort", ints, xs)
    assert ordered == sorted(xs)
    unique = call("unique", ints, xs)
    assert call("unique", ints, unique) == unique and set(unique) == set(xs)
    assert call("sum", ints, xs) + call("sum", ints, ys) == call("sum", ints, xs + ys)
    assert call("min", ints, xs) == (ordered[0] if xs else None)
    zipped = call("zip", ints * 2, xs, ys)
    assert [(r["first"], r["second"]) for r in zipped] == list(zip(xs, ys, strict=False))


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=6))
def test_select_and_positions_agree(pairs: list[tuple[str, bool]]) -> None:
    xs, mask = [x for x, _ in pairs], [keep for _, keep in pairs]
    positions = call("positions", [List(BOOL)], mask)
    assert call("select", [List(TEXT), List(BOOL)], xs, mask) == [xs[i] for i in positions]


@given(TEXTS, st.text("ab,", min_size=1, max_size=2))
def test_join_undoes_split(text: str, separator: str) -> None:
    assert call("join", [List(TEXT), TEXT], call("split", [TEXT, TEXT], text, separator), separator) == text


@given(st.integers(-20, 20), st.integers(-20, 20))
def test_division_and_remainder(a: int, b: int) -> None:
    if b:
        q, r = call("floordiv", [INT, INT], a, b), call("mod", [INT, INT], a, b)
        assert q * b + r == a and abs(r) < abs(b) and (r == 0 or (r < 0) == (b < 0))


@given(TEXTS, st.none() | st.integers(-5, 5), st.none() | st.integers(-5, 5))
def test_slices_are_those_of_lists_of_characters(text: str, low: int | None, high: int | None) -> None:
    bounds: list[Type] = [Option(INT), Option(INT)]
    as_list = call("slice", [List(TEXT), *bounds], list(text), low, high)
    assert call("slice", [TEXT, *bounds], text, low, high) == "".join(as_list)


# ---- failures ----


def test_deep_functions_fail_with_the_first_failure() -> None:
    second = Failure("second")
    assert call("concat", [TEXT, TEXT], F, second) is F
    assert call("eq", [List(INT), List(INT)], [1, second], [F]) is second
    assert call("sort", [List(INT)], [1, F]) is F
    assert call("render", [POINT], {"x": F, "name": "a"}) is F
    assert call("join", [List(TEXT), TEXT], ["a", F], ", ") is F


def test_aggregates_hold_failures() -> None:
    assert call("list", [INT, INT], F, 1) == [F, 1]
    assert call("record", [INT, TEXT], F, "a", gives=POINT) == {"x": F, "name": "a"}
    assert call("map", [TEXT, INT], "a", F) == {"a": F}
    assert call("map", [TEXT, INT], F, 1) is F


@pytest.mark.parametrize(("name", "types", "args", "result"), [
    ("field", [POINT], [{"x": F, "name": "a"}], "a"),
    ("index", [List(INT), INT], [[1, F], 0], 1),
    ("index", [List(INT), INT], [[1, F], 1], F),
    ("index", [List(INT), INT], [[1], F], F),
    ("slice", [List(INT), INT], [[1, F], 1], [F]),
    ("len", [List(INT)], [[1, F]], 2),
    ("reverse", [List(INT)], [[1, F]], [F, 1]),
    ("flatten", [List(List(INT))], [[[1], [F]]], [1, F]),
    ("flatten", [List(List(INT))], [[[1], F]], F),
    ("enumerate", [List(INT)], [[F]], [{"index": 0, "value": F}]),
    ("zip", [List(INT), List(INT)], [[1, F], [F, 2]], [{"first": 1, "second": F}, {"first": F, "second": 2}]),
    ("zip", [List(INT), List(INT)], [[1], F], F),
    ("select", [List(INT), List(BOOL)], [[F, 2], [True, False]], [F]),
    ("select", [List(INT), List(BOOL)], [[1, 2], [True, F]], F),
    ("keys", [Map(INT)], [{"a": F}], ["a"]),
    ("values", [Map(INT)], [{"a": F}], [F]),
    ("is_some", [Option(List(INT))], [[F]], True),
    ("unwrap", [Option(List(INT))], [[F]], [F]),
    ("some", [List(INT)], [[F]], [F]),
    ("len", [List(INT)], [F], F),
])
def test_shallow_functions_look_at_what_they_need(name: str, types: list[Type], args: list[Any], result: Any) -> None:
    attributes: dict[str, Any] = {"name": "name"} if name == "field" else {}
    assert call(name, types, *args, **attributes) == result


def test_outcome_sees_the_failure() -> None:
    assert call("outcome", [INT], F) == {"ok": False, "value": None, "message": "broken"}
    assert call("outcome", [List(INT)], [F]) == {"ok": True, "value": [F], "message": ""}


def test_strictness_is_what_the_function_says() -> None:
    assert FUNCTIONS["concat"].strict and not FUNCTIONS["index"].strict
    non_strict = {name for name, f in FUNCTIONS.items() if f.strictness != Strictness.DEEP}
    assert non_strict == {
        "record", "list", "map", "field", "index", "slice", "select", "enumerate", "zip", "reverse", "common_first",
        "flatten", "len",
        "keys", "values", "outcome", "some", "is_some", "unwrap"}


# ---- types ----


@pytest.mark.parametrize(("name", "types", "message"), [
    ("lowr", [TEXT], "did you mean `lower`"),
    ("lower", [], "takes 1 operands, not 0"),
    ("range", [INT] * 4, "takes 1 to 3 operands"),
    ("zip", [], "takes 1 or more operands"),
    ("zip", [List(INT)] * 9, "at most 8 lists"),
    ("add", [TEXT, INT], "different types"),
    ("add", [BOOL, INT], "takes numbers"),
    ("sub", [TEXT, TEXT], "takes numbers"),
    ("lt", [BOOL, BOOL], "takes numbers or texts"),
    ("not", [INT], "takes a bool"),
    ("sum", [List(TEXT)], "takes a list of numbers"),
    ("sum", [INT], "not a list"),
    ("len", [INT], "takes a list, map or text"),
    ("sort", [List(POINT)], "has no order"),
    ("min", [List(BOOL)], "takes numbers or texts"),
    ("index", [TEXT, INT], "only lists and maps"),
    ("index", [List(INT), TEXT], "indexed by an int"),
    ("index", [Map(INT), INT], "indexed by a text"),
    ("slice", [List(INT), TEXT], "ends of a slice"),
    ("select", [List(INT), List(INT)], "list of bools"),
    ("flatten", [List(INT)], "not a list"),
    ("join", [List(INT)], "operand 1 is list<int>, not list<text>"),
    ("contains", [INT, INT], "takes a list, map or text"),
    ("in", [INT, TEXT], "contains texts, not int"),
    ("unwrap", [INT], "takes an option"),
    ("keys", [List(INT)], "takes a map"),
    ("map", [TEXT], "keys and values in turn"),
    ("map", [INT, INT], "keys of a map are texts"),
    ("field", [INT], "`name` is missing"),
    ("render", [PROMPT], "has no rendering"),
    ("json", [List(CTX)], "has no rendering"),
    ("list", [INT, TEXT], "different types"),
    ("parse_json", [INT], "takes a text"),
])
def test_wrong_operands(name: str, types: list[Type], message: str) -> None:
    with pytest.raises(OperandMismatch, match=message):
        result_type(name, types, {})


def test_result_types_carry_no_bounds() -> None:
    assert result_type("add", [Int(0, 3), Int(0, 3)], {}) == INT
    assert result_type("index", [List(Text(8), 3), INT], {}) == Option(TEXT)
    assert result_type("sort", [List(Int(0, 3), 5)], {}) == List(INT)
    assert result_type("list", [], {}) is None and result_type("record", [INT], {}) is None


def test_documentation() -> None:
    for name, function in FUNCTIONS.items():
        assert function.name == name
        assert function.summary[0].isupper() and function.summary.endswith(".") and function.signature
