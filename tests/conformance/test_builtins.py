"""Built-in functions: results, edges, failures. See docs/language.md, Built-in functions."""

from typing import Any

import pytest

DECLARATIONS = """
enum Cause { disk = "Full disk", network, unknown = "Unseen incident" }
type Point { x: int, y: float? }
"""


def test_lists(sem: Any, fails: Any) -> None:
    sem.values([
        ('len("né😀")', "int", 3), ("len([1, 2])", "int", 2), ('len(["a": 1])', "int", 1), ('len("")', "int", 0),
        ("range(3)", "list[int]", [0, 1, 2]), ("range(2, 5)", "list[int]", [2, 3, 4]), ("range(5, 2)", "list[int]", []),
        ("range(8, 2, -3)", "list[int]", [8, 5]), ("range(-2)", "list[int]", []),
        ("range(9223372036854775806, 9223372036854775807)", "list[int]", [2**63 - 2]),
        ("range(1, 5, 0)", "list[int]", fails("the step of a range must not be 0")),
        ("sum([1, 2, 3])", "int", 6), ("sum([1.5, 2])", "float", 3.5), ("sum(range(0))", "int", 0),
        ("min([3, 1, 2])", "int?", 1), ("max(range(0))", "int?", None), ("min(3, 1)", "int", 1),
        ("max(1, 2.5)", "float", 2.5), ('max("a", "b", "B")', "text", "b"), ('min(["b", "a"])', "text?", "a"),
        ("sort([3, 1, 2])", "list[int]", [1, 2, 3]), ('sort(["b", "A", "a"])', "list[text]", ["A", "a", "b"]),
        ("sort([2, 1.5])", "list[float]", [1.5, 2.0]), ("reverse([1, 2])", "list[int]", [2, 1]),
        ("flatten([[1], [2, 3], []])", "list[int]", [1, 2, 3]), ("unique([2, 1, 2])", "list[int]", [2, 1]),
        ("unique([1.0, 1])", "list[float]", [1.0]), ("[p.first + p.second for p in zip([1, 2], [5, 6, 7])]",
                                                     "list[int]", [6, 8]),
        ("[p.third for p in zip([1], [2], [3])]", "list[int]", [3]),
        ('[e.index for e in enumerate(["a", "b"])]', "list[int]", [0, 1]),
        ('[e.value for e in enumerate(["a", "b"])]', "list[text]", ["a", "b"]),
        ('keys(["b": 1, "a": 2])', "list[text]", ["a", "b"]), ('values(["b": 1, "a": 2])', "list[int]", [2, 1]),
        ('contains([1, 2], 2)', "bool", True), ('contains(["k": 1], "k")', "bool", True),
    ])


def test_texts(sem: Any, fails: Any) -> None:
    sem.values([
        ('join(["a", "b"])', "text", "ab"), ('join(["a", "b"], "-")', "text", "a-b"), ('join([], "-")', "text", ""),
        ('split("a,b,", ",")', "list[text]", ["a", "b", ""]), ('split("", ",")', "list[text]", [""]),
        ('split("ab", "")', "list[text]", ["a", "b"]), (r'lines("a\r\nb\n\nc\n")', "list[text]", ["a", "b", "", "c"]),
        ('lines("")', "list[text]", []), (r'lines("\n")', "list[text]", [""]),
        (r'lines("a\rb\u{2028}c")', "list[text]", ["a\rb\u2028c"]),
        (r'words(" a\tb\nc ")', "list[text]", ["a", "b", "c"]),
        ('chunk("abcdefg", chars = 3)', "list[text]", ["abc", "def", "g"]), ('chunk("", chars = 3)', "list[text]", []),
        ('chunk("a😀b", chars = 1)', "list[text]", ["a", "😀", "b"]),
        ('join(chunk("naïve 😀 text, and more", tokens = 2))', "text", "naïve 😀 text, and more"),
        ('chunk("abc", chars = 0)', "list[text]", fails("a chunk holds at least 1 of its units, not 0")),
        (r'strip(" \n a ")', "text", "a"), ('lower("ÀB")', "text", "àb"), ('upper("ß")', "text", "SS"),
        ('replace("aaa", "aa", "b")', "text", "ba"), ('contains("abc", "b")', "bool", True),
        ('starts_with("abc", "ab")', "bool", True), ('ends_with("abc", "ab")', "bool", False),
        ('starts_with("a", "")', "bool", True), ('reverse("añ")', "text", "ña"),
    ])


def test_reading_and_writing(sem: Any) -> None:
    sem.values([
        ("json([1])", "text", "[1]"), (r'json("a\"ü\n")', "text", '"a\\"ü\\n"'), ("json(1.0)", "text", "1.0"),
        ('json(["b": 1, "a": 2])', "text", '{"a":2,"b":1}'), ("json([1][4])", "text", "null"),
        ("json(Point(x = 1, y = none))", "text", '{"x":1,"y":null}'), ("json(Cause.disk)", "text", '"Full disk"'),
        ('parse_json("[1, 2]")', "list[int]?", [1, 2]), ('parse_json("1.0")', "int?", None),
        ('parse_json("true")', "int?", None), ('parse_json("1")', "float?", 1.0), ('parse_json("nope")', "int?", None),
        ('parse_json("NaN")', "float?", None), ('parse_json("1e999")', "float?", None),
        ('parse_json("99999999999999999999")', "int?", None), (r'parse_json("\"\\ud800\"")', "text?", None),
        (r'parse_json("{\"x\": 1}")', "Point?", {"x": 1, "y": None}), (r'parse_json("{\"z\": 1}")', "Point?", None),
        (r'parse_json("{\"x\": 1, \"z\": 2}")', "Point?", None), (r'parse_json("\"Full disk\"")', "Cause?", "disk"),
        (r'parse_json("{\"k\": [1]}")', "map[text, list[int]]?", {"k": [1]}), ('parse_json("null")', "int?", None),
        ('parse_int("42")', "int?", 42), ('parse_int("-0")', "int?", 0), ('parse_int("007")', "int?", 7),
        ('parse_int("4_2")', "int?", None), ('parse_int("٣")', "int?", None), ('parse_int("4.0")', "int?", None),
        ('parse_int("9223372036854775808")', "int?", None), ('parse_int("")', "int?", None),
        ('parse_float("4.2")', "float?", 4.2), ('parse_float("3")', "float?", 3.0),
        ('parse_float("1e5")', "float?", 1e5),
        ('parse_float("inf")', "float?", None), ('parse_float("nan")', "float?", None),
        ('parse_float("1e999")', "float?", None), ('parse_float("1_0")', "float?", None),
    ], DECLARATIONS)


def test_rendering(sem: Any) -> None:
    sem.values([
        ('"${1.0} ${0.1} ${-0.0} ${1e16} ${1e-5} ${1e22} ${2.5e300}"', "text",
         "1.0 0.1 -0.0 1e+16 1e-05 1e+22 2.5e+300"),
        ('"${true} ${false} ${-3} ${Cause.disk}"', "text", "true false -3 Full disk"),
        (r'"${["é", "\n", "😀", "\u{7f}"]}"', "text", '["é","\\n","😀","\x7f"]'),
        ('"${["b": 1, "a": 2, "B": 3, "é": 4, "😀": 5, "\\uffff": 6]}"', "text",
         '{"B":3,"a":2,"b":1,"é":4,"\uffff":6,"😀":5}'),
        ('"${Point(y = 2, x = 1)}"', "text", '{"x":1,"y":2.0}'), ('"${[Cause.disk]}"', "text", '["Full disk"]'),
        ('"${[Point(x = 1, y = none)]}"', "text", '[{"x":1,"y":null}]'), ('"${[1, none]}"', "text", "[1,null]"),
        ('"${[1.0, 1e16]}"', "text", "[1.0,1e+16]"), ('"${range(0)}"', "text", "[]"),
        (r'"${["\\"]}"', "text", '["\\\\"]'),
        ('"${outcome(1 // 0)}"', "text", '{"ok":false,"value":null,"message":"division by zero"}'),
    ], DECLARATIONS)


@pytest.mark.parametrize(("expression", "code"), [
    ("len(1)", "E0301"), ("len()", "E0403"), ("len([1], [2])", "E0403"), ("range(1.5)", "E0301"),
    ("sum([\"a\"])", "E0301"),
    ("min(1)", "E0301"), ("min(1, \"a\")", "E0303"), ("sort([[1]])", "E0301"), ("flatten([1])", "E0301"),
    ("zip([1])", "E0403"), ("join([1])", "E0301"), ("split(1, \"\")", "E0301"), ("chunk(\"a\", 3)", "E0401"),
    ("chunk(\"a\", words = 3)", "E0401"), ("upper(1)", "E0301"), ("parse_json(\"1\")", "E0304"), ("lenn([1])", "E0202"),
    ("len(x = [1])", "E0402"), ("replace(\"a\", \"b\")", "E0401"),
])
def test_mistakes(sem: Any, expression: str, code: str) -> None:
    found = sem.check(f"program Main() -> n: int {{\n  let x = {expression}\n  return len(json(x))\n}}")
    assert [d.code for d in found][:1] == [code]
    assert str(found[0].primary.span).startswith(f"{sem.path}:2:")
