"""Operators: precedence, results, failures, and the mistakes that are errors. See docs/language.md, Expressions."""

from typing import Any

import pytest

OVERFLOW = "integer overflow: the result does not fit in 64 bits"
ZERO = "division by zero"
LARGEST, SMALLEST = "9223372036854775807", "-9223372036854775808"


def test_arithmetic(sem: Any, fails: Any) -> None:
    sem.values([
        ("1 + 2 * 3", "int", 7), ("(1 + 2) * 3", "int", 9), ("2 - 3 - 4", "int", -5), ("8 / 4 / 2", "float", 1.0),
        ("7 / 2", "float", 3.5), ("4 / 2", "float", 2.0), ("-7 // 2", "int", -4), ("7 // -2", "int", -4),
        ("-7 % 3", "int", 2), ("7 % -3", "int", -2), ("-(7 % 3)", "int", -1), ("7.5 // 2", "float", 3.0),
        ("-7.5 % 2", "float", 0.5), ("-2 * 3", "int", -6), ("- -2", "int", 2), ("2 * -3", "int", -6),
        ("1 + 0.5", "float", 1.5), ("1", "float", 1.0), ("2 * 0.5", "float", 1.0), ("1_000 + 1", "int", 1001),
        ("2e3", "float", 2000.0), ("1_0.5", "float", 10.5), ("9007199254740993 + 0.0", "float", 9007199254740992.0),
        (LARGEST, "int", 2**63 - 1), (SMALLEST, "int", -(2**63)),
        (f"{LARGEST} + 1", "int", fails(OVERFLOW)), (f"{SMALLEST} - 1", "int", fails(OVERFLOW)),
        (f"{LARGEST} * 2", "int", fails(OVERFLOW)), (f"{SMALLEST} // -1", "int", fails(OVERFLOW)),
        (f"sum([{LARGEST}, 1])", "int", fails(OVERFLOW)), (f"{LARGEST} + 1 - 1", "int", fails(OVERFLOW)),
        ("1 // 0", "int", fails(ZERO)), ("1 % 0", "int", fails(ZERO)), ("1 / 0", "float", fails(ZERO)),
        ("1.0 // 0.0", "float", fails(ZERO)), ("1.0 % 0", "float", fails(ZERO)),
        ("1e308 * 10.0", "float", fails("the result is beyond the range of floats")),
        ("1e308 + 1e308", "float", fails("the result is beyond the range of floats")),
    ])


def test_comparisons_and_logic(sem: Any, fails: Any) -> None:
    sem.values([
        ("1 == 1.0", "bool", True), ("1 < 1.5", "bool", True), ("2 >= 2", "bool", True), ("1 != 2", "bool", True),
        ('"a" < "b"', "bool", True), ('"Z" < "a"', "bool", True), (r'"\u{1F600}" > "\uffff"', "bool", True),
        ('"ab" > "a"', "bool", True), (r'"é" == "e\u{301}"', "bool", False), ("0.0 == -0.0", "bool", True),
        ("[1, 2] == [1, 2]", "bool", True), ("[1] == [1, 2]", "bool", False), ('["a": 1] == ["a": 1]', "bool", True),
        ('["a": 1, "b": 2] == ["b": 2, "a": 1]', "bool", True), ("none == [1][3]", "bool", True),
        ("[1][0] == 1", "bool", True), ("[1][3] == 1", "bool", False), ("[1][3] != none", "bool", False),
        ("R(a = 1, b = none) == R(a = 1, b = none)", "bool", True), ("R(1, 2) == R(1, 3)", "bool", False),
        ("not true or true", "bool", True), ("not (true or true)", "bool", False), ("not 1 == 2", "bool", True),
        ("true or false and false", "bool", True), ("1 < 2 and 2 < 3", "bool", True), ("not not true", "bool", True),
        ("1 + 1 in [2]", "bool", True), ("not 1 in [2]", "bool", True), ("1 not in [2] and true", "bool", True),
        ('"a" in ["a": 1]', "bool", True), ('"b" not in ["a": 1]', "bool", True), ('"oa" in "oak"', "bool", True),
        ('"" in "x"', "bool", True), ("[1] in [[1], [2]]", "bool", True), ("1 in range(0)", "bool", False),
        ("true and 1 // 0 == 0", "bool", fails(ZERO)), ("false and 1 // 0 == 0", "bool", False),
        ("true or 1 // 0 == 0", "bool", True), ("1 // 0 == 0 or true", "bool", fails(ZERO)),
    ], "type R { a: int, b: int? }")


def test_options(sem: Any, fails: Any) -> None:
    sem.values([
        ("none ?? 3", "int", 3), ("[1, 2][5] ?? 9", "int", 9), ("[1][5] ?? [3][4] ?? 8", "int", 8),
        ("[1][0] ?? 1 // 0", "int", 1), ("[1][1] ?? 1 // 0", "int", fails(ZERO)), ("[1][3] ?? 0 == 0", "bool", True),
        ("[1][3] ?? 1 + 1", "int", 2), ("1 + ([2][0] ?? 5)", "int", 3), ("[1][3] ?? [2][0]", "int?", 2),
        ("[1, 2, 3][-1]", "int?", 3), ("[1, 2, 3][-4]", "int?", None), ("[1, 2, 3][3]", "int?", None),
        ('["a": 1]["a"]', "int?", 1), ('["a": 1]["b"]', "int?", None), ("3", "int?", 3), ("none", "text?", None),
        ("[1, none, 3]", "list[int?]", [1, None, 3]), ("if true { none } else { 4 }", "int?", None),
        ("len([none, 1])", "int", 2),
    ])


def test_parts(sem: Any) -> None:
    xs = "[1, 2, 3]"
    sem.values([
        (f"{xs}[1:]", "list[int]", [2, 3]), (f"{xs}[:1]", "list[int]", [1]), (f"{xs}[-2:]", "list[int]", [2, 3]),
        (f"{xs}[5:9]", "list[int]", []), (f"{xs}[:]", "list[int]", [1, 2, 3]), (f"{xs}[2:1]", "list[int]", []),
        (f"{xs}[:-1]", "list[int]", [1, 2]), ('"héllo"[1:3]', "text", "él"), ('"abc"[-2:]', "text", "bc"),
        (r'"a\u{1F600}b"[1:2]', "text", "😀"), ('"a" + "b"', "text", "ab"), ("[1] + [2, 3]", "list[int]", [1, 2, 3]),
        ("[] + [1]", "list[int]", [1]), ("[1] + []", "list[int]", [1]), ("[:]", "map[text, int]", {}),
        ('["b": 1, "a": 2, "b": 3]', "map[text, int]", {"b": 3, "a": 2}), ("[[], [1]]", "list[list[int]]", [[], [1]]),
        ("[1, 2.5]", "list[float]", [1.0, 2.5]), ('["k": 1]', "map[text, float]", {"k": 1.0}),
    ])


def test_texts(sem: Any) -> None:
    sem.values([
        (r'"a\n\t\r\b\f\0\\\"\$\x41\u00e9\u{1F600}"', "text", 'a\n\t\r\b\f\0\\"$Aé😀'), ('"$x $"', "text", "$x $"),
        ('"${1 + 1}${"in ${2}"}"', "text", "2in 2"), (r'"\${1}"', "text", "${1}"), ('"a # b"', "text", "a # b"),
        ('"${"}"}"', "text", "}"), ('"{{x}}"', "text", "{{x}}"),
    ])


@pytest.mark.parametrize(("expression", "code"), [
    ("1 + \"a\"", "E0302"), ("1 + true", "E0302"), ("\"a\" * 3", "E0302"), ("-true", "E0302"), ("not 1", "E0301"),
    ("1 and true", "E0301"), ("1 == true", "E0302"), ("1 == \"1\"", "E0302"), ("[1] == [1.0]", "E0302"),
    ("true < false", "E0302"), ("[1] < [2]", "E0302"), ("1 < 2 < 3", "E0038"), ("1 == 1 == true", "E0038"),
    ("if 1 { 2 } else { 3 }", "E0301"), ("2 ** 3", "E0001"), ("1 && 2", "E0011"), ("!true", "E0011"), ("'a'", "E0012"),
    ("0x10", "E0014"), ("007", "E0014"), (".5", "E0014"), ("1e400", "E0015"), ("9223372036854775808", "E0015"),
    ("f\"a\"", "E0016"), ("\"\\q\"", "E0018"), ("\"abc\"[0]", "E0302"), ("1[0]", "E0302"), ("[1][true]", "E0301"),
    ("1 ?? 2", "E0302"), ("\"${none}\"", "E0307"), ("\"${[1][0]}\"", "E0307"), ("[1][0] + 1", "E0302"),
    ("1.x", "E0204"),
    ("nope", "E0201"), ("Nope()", "E0202"), ("[]", "E0304"), ("[1, \"a\"]", "E0303"),
])
def test_mistakes(sem: Any, expression: str, code: str) -> None:
    found = sem.check(f"program Main() -> n: int {{\n  let x = {expression}\n  return len(\"${{x}}\")\n}}")
    assert [d.code for d in found][:1] == [code]
    assert found[0].primary is not None and str(found[0].primary.span).startswith(f"{sem.path}:2:")
