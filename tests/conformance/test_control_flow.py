"""Blocks, branches, matches, loops, shadowing and narrowing. See docs/language.md, Branches, loops, failures."""

from typing import Any

import pytest

DECLARATIONS = """
enum Severity { critical, high, low }
enum Cause { disk = "Full disk", network, unknown = "Unseen incident" }
type Box { m: int? }
"""


def value(sem: Any, body: str, type: str = "int", parameters: str = "") -> Any:
    result = sem.run(f"{DECLARATIONS}\nprogram Main({parameters}) -> x: {type} {{\n{body}\n}}")
    assert result.errors == {}, body
    return result.outputs["x"]


@pytest.mark.parametrize(("body", "wanted"), [
    ("let a = 1\nlet b = if true { let a = 2\n a } else { 3 }\nreturn a * 10 + b", 12),
    ("let x = { let y = 2\n y * 3 }\nreturn x", 6), ("let x = { yield 3 }\nreturn x", 3),
    ("let a = [a for a in [1, 2]]\nreturn sum(a)", 3), ("let (a, b) = (1, 2)\nreturn a + b", 3),
    ("let (a, b) = if true { (1, 2) } else { (3, 4) }\nreturn a * 10 + b", 12),
    ("let (a, b) = if false { yield 1, 2 } else { yield 3, 4 }\nreturn a * 10 + b", 34),
    ("let (a, b) = match 2 { 1 => (1, 2), _ => (3, 4) }\nreturn a * 10 + b", 34),
    ("let total: float = 1\nreturn len(\"${total}\")", 3), ("return (((1)))", 1),
    ("let len = 3\nreturn len", 3), ("return 1 +\n2 + (\n3\n)", 6), ("return 1\n  + 2", 3),
    ("return [1,\n 2,\n][1] ?? 0", 2), ("# a comment\nreturn 1 # another", 1),
    ("let a = 1\nlet f = for a in [5] { a }\nreturn a + (f[0] ?? 0)", 6),
    ("return if 1 > 2 { 1 } else if 2 > 3 { 2 } else { 3 }", 3),
])
def test_blocks(sem: Any, body: str, wanted: int) -> None:
    assert value(sem, body) == wanted


@pytest.mark.parametrize(("pattern", "subject", "wanted"), [
    ("critical => 1, high | low => 2", "Severity.low", 2), ("Severity.critical => 1, _ => 2", "Severity.critical", 1),
    ("1 | 2 => 5, -1 => 6, _ => 7", "-1", 6), ("1 => 5, _ => 7", "2", 7), ("1.5 => 5, _ => 7", "1.5", 5),
    ("\"x\" => 5, _ => 7", "\"x\"", 5), ("true => 5, false => 7", "1 > 2", 7), ("none => 0, _ => 1", "[1][3]", 0),
    ("critical => 0, none => 5, high | low => 1", "[Severity.low][1]", 5), ("1 => 0, _ => 1", "[1][0]", 0),
    ("none => 0, 3 => 4, _ => 9", "[3][0]", 4),
    ("disk => 1, network => 2, unknown => 3", "Cause.network", 2),
    ("1 => { let a = 4\n a + 1 }, _ => { yield 4 }", "1", 5),
    ("1 => 5\n _ => 7", "1", 5),
])
def test_match(sem: Any, pattern: str, subject: str, wanted: int) -> None:
    assert value(sem, f"return match {subject} {{ {pattern} }}") == wanted


@pytest.mark.parametrize(("body", "wanted"), [
    ("return if o != none { o + 1 } else { 0 }", 4), ("return if o == none { 0 } else { o + 1 }", 4),
    ("return if none != o { o } else { 0 }", 3), ("return if o != none and o > 2 { o + 1 } else { 0 }", 4),
    ("return if o == none or o < 2 { 0 } else { o }", 3), ("return if not (o == none) { o } else { 0 }", 3),
    ("return if o != none and p != none { o + p } else { 7 }", 7), ("return if p != none { p } else { 8 }", 8),
    ("let r = Box(m = 1)\nreturn if r.m != none { r.m } else { 0 }", 1),
    ("return match o { none => 0, _ => o + 1 }", 4), ("return if o != none { [o] } else { [] }[0] ?? 9", 3),
    ("return sum([x for x in [1, none, 3] if x != none])", 4), ("return sum([q + 1 for q in [o, p] if q != none])", 4),
])
def test_narrowing(sem: Any, body: str, wanted: int) -> None:
    assert value(sem, body, "int", "o: int? = 3, p: int? = none") == wanted


@pytest.mark.parametrize(("body", "wanted"), [
    ("for x in [1, 2] { x * 2 }", [2, 4]), ("for i, x in [5, 6] { i * 10 + x }", [5, 16]),
    ("for k, v in [\"b\": 1, \"a\": 2] { v }", [2, 1]), ("for a, b in zip([1, 2], [10, 20]) { a + b }", [11, 22]),
    ("for (a, b) in zip([1], [2]) { a - b }", [-1]), ("for i, a, b in zip([1, 2], [3, 4]) { i * (a + b) }", [0, 6]),
    ("for a, b, c in zip([1], [2], [3]) { a + b + c }", [6]), ("for e in enumerate([5]) { e.index + e.value }", [5]),
    ("for i, e in enumerate([7]) { i + e }", [7]), ("for x in range(0) { x }", []), ("for x in [1] { yield x }", [1]),
    ("for x in [[1, 2], [3]] { sum(x) }", [3, 3]), ("for i in range(2) { len(for j in range(i) { j }) }", [0, 1]),
    ("[x * x for x in [1, 2, 3] if x != 2]", [1, 9]), ("[i * x for i, x in [5, 6, 7] if x != 5]", [6, 14]),
    ("[x + y for x, y in zip([1, 2], [3, 4]) if x > 1]", [6]), ("[sum([x for x in range(y)]) for y in [2, 3]]", [1, 3]),
    ("unordered for x in [1, 2] { x }", [1, 2]),
])
def test_maps(sem: Any, body: str, wanted: list[int]) -> None:
    assert value(sem, f"return {body}", "list[int]") == wanted


@pytest.mark.parametrize(("body", "wanted"), [
    ("return fold acc = 7 for x in range(0) { acc + x }", 7),
    ("return fold acc = 1 for x in [2, 3] { acc * 10 + x }", 123),
    ("return fold acc = 0 for i, x in [4, 5] { acc + i * x }", 5),
    ("let r = fold a = 1, b = 2 for x in [1, 2] { yield b, a + b }\nreturn r.a * 10 + r.b", 35),
    ("let (a, b) = fold p = 1, q = 2 for x in [1, 2] { (q, p + q) }\nreturn a * 10 + b", 35),
    ("let r = fold a: list[int] = [] for x in [1, 2] { a + [x] }\nreturn len(r)", 2),
    ("return fold acc = 0 for x in [1, 2] { fold inner = acc for y in [10] { inner + x * y } }", 30),
    ("return loop (i = 0) while i < 10 limit 3 { i + 1 }", 3), ("return loop (i = 0) while i < 2 limit 9 { i + 1 }", 2),
    ("return loop (i = 5) while i < 2 limit 9 { i + 1 }", 5), ("return loop (i = 5) while true limit 0 { i + 1 }", 5),
    ("return loop (i = 0) while true limit n { i + 1 }", 4),
    ("return loop (i = 5) while true limit n - 9 { i + 1 }", 5),
    ("let r = loop (a: int? = none, n = 0) while a == none limit 9 { yield if n == 2 { n } else { none }, n + 1 }\n"
     "return r.a ?? -1", 2),
    ("let (a, b) = loop (i = 1, j = 1) while j < 50 limit 99 { yield j, i + j }\nreturn a * 100 + b", 3455),
])
def test_folds_and_loops(sem: Any, body: str, wanted: int) -> None:
    assert value(sem, body, "int", "n: int = 4") == wanted


@pytest.mark.parametrize(("type", "expression", "wanted"), [
    ("Severity", "critical", "critical"), ("list[Severity]", "[critical, low]", ["critical", "low"]),
    ("map[text, Severity]", "[\"a\": critical]", {"a": "critical"}),
    ("Severity", "if true { high } else { low }", "high"),
    ("Severity", "s ?? high", "high"), ("bool", "t == critical", True), ("bool", "critical == t", True),
    ("bool", "t in [critical, low]", True), ("bool", "low in [t]", False), ("Severity", "match t { _ => low }", "low"),
    ("Severity", "try high else low", "high"), ("list[Severity]", "for x in [1] { low }", ["low"]),
    ("list[Severity]", "[high for x in [1, 2]]", ["high", "high"]), ("text", "Name(critical)", "critical"),
    ("Severity", "fold acc: Severity = low for x in [1] { high }", "high"), ("Severity?", "high", "high"),
    ("text", "\"${Severity.low}\"", "low"), ("bool", "Cause.disk == Cause.disk", True),
    ("list[Severity]", "sort([Severity.low, Severity.critical])", ["critical", "low"]),
])
def test_enum_members_by_expected_type(sem: Any, type: str, expression: str, wanted: object) -> None:
    declarations = DECLARATIONS + 'program Name(s: Severity) -> x: text { return "${s}" }\n'
    result = sem.run(f"{declarations}program Main(s: Severity? = none, t: Severity = critical) -> x: {type} {{\n"
                     f"  return {expression}\n}}", program="Main")
    assert result.errors == {} and result.outputs["x"] == wanted


def test_variables_come_before_members(sem: Any) -> None:
    assert value(sem, "let critical = Severity.low\nlet b: Severity = critical\nreturn b", "Severity") == "low"


@pytest.mark.parametrize(("body", "code"), [
    ("let a = 1\nlet a = 2\nreturn a", "E0207"), ("return if true { 1 }", "E0001"), ("let x = { }\nreturn 1", "E0310"),
    ("return match s { critical => 1, high => 2 }", "E0602"), ("return match 1 { 1 => 2 }", "E0602"),
    ("return match [1][0] { 1 => 2, _ => 3, none => 1 }", "W0104"), ("return match o { 1 => 2 }", "E0602"),
    ("return match true { true => 1 }", "E0602"), ("return match 1 { \"a\" => 1, _ => 2 }", "E0603"),
    ("return match s { nope => 1, _ => 2 }", "E0210"), ("return match s { critical => 1, _ => \"a\" }", "E0301"),
    ("return if true { 1 } else { \"a\" }", "E0301"), ("let x = if true { 1 } else { \"a\" }\nreturn 1", "E0303"),
    ("return loop (i = 0) while i < 3 { i + 1 }", "E0601"),
    ("return loop () while true limit 3 { 1 }", "E0608"), ("return sum(for x in 3 { x })", "E0605"),
    ("return sum(for a, b, c in [1] { a })", "E0606"), ("return fold a = 1, b = 2 for x in [1] { a }", "E0607"),
    ("let x = for x in [1, 2] { yield x, x }\nreturn 1", "E0311"),
    ("return fold a = 1 for x in [1] { \"a\" }", "E0301"),
    ("return loop (i = 0) while F(\"a\") == \"\" limit 2 { i }", "E0407"), ("return low", "E0201"),
    ("let x = critical\nreturn 1", "E0201"), ("let x: Severity = nope\nreturn 1", "E0210"),
    ("return if o != none { o } else { o }", "E0307"), ("return match s { Cause.disk => 1, _ => 2 }", "E0603"),
])
def test_mistakes(sem: Any, body: str, code: str) -> None:
    found = sem.check(DECLARATIONS + 'semantic F(t: text) -> y: text { """{{t}} {{y}}""" }\n'
                      f"program Main(s: Severity, o: int?) -> x: int {{\n{body}\n}}")
    assert code in [d.code for d in found]
    assert all(d.primary is not None and (d.fix or d.notes or d.labels or d.primary.text) for d in found)
