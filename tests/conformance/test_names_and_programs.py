"""Files, aliases, enums, programs that call programs, and which program runs. See docs/language.md, Declarations."""

from typing import Any

import pytest

COMMON = '''
enum Kind { a, b = "the second" }
type Item { k: Kind }
model small = "someone/small"
semantic Classify(m: text) -> kind: Kind using small { """{{m}} {{kind}}""" }
program Add(n: int) -> x: int { return n + 1 }
host up(x: text) -> text from "case_host:up" (pure)
'''


@pytest.fixture(autouse=True)
def files(sem: Any) -> None:
    sem.write(COMMON, "sub/common.sem")
    sem.write("def up(x):\n    return 'sub ' + x.upper()\n", "sub/case_host.py")
    sem.write("def up(x):\n    return 'top ' + x.upper()\n", "case_host.py")
    sem.write("program Two() -> x: int { return 2 }", "two.sem")
    sem.write("program Two() -> x: int { return 22 }", "other.sem")
    sem.write('use "two.sem"\nprogram One() -> x: int { return Two() - 1 }', "one.sem")


@pytest.mark.parametrize(("source", "outputs"), [
    ('use "sub/common.sem"\nprogram Main() -> (x: int, k: Kind, t: text) { return Add(1), b, up("z") }',
     {"x": 2, "k": "b", "t": "sub Z"}),
    ('use "sub/common.sem" as c\nprogram Main() -> (x: int, k: c.Kind, r: c.Item, t: text) {\n'
     ' return c.Add(1), c.Kind.a, c.Item(k = b), c.up("z") }', {"x": 2, "k": "a", "r": {"k": "b"}, "t": "sub Z"}),
    ('use "sub/common.sem" as c\nhost up(x: text) -> text from "case_host:up" (pure)\n'
     'program Main() -> (t: text, u: text) { return up("z"), c.up("z") }', {"t": "top Z", "u": "sub Z"}),
    ('use "sub/common.sem" as c\nprogram Add(n: int) -> x: int { return n * 10 }\n'
     "program Main() -> (k: int, l: int) { return Add(1), c.Add(1) }", {"k": 10, "l": 2}),
    ('use "sub/common.sem" as c\nprogram Main() -> x: int { let c = 3\n return c }', {"x": 3}),
    ('use "sub/common.sem" as c\nprogram Main(k: c.Kind = b) -> x: int { return match k { c.Kind.a => 1, b => 2 } }',
     {"x": 2}),
    ('use "one.sem"\nuse "two.sem"\nprogram Main() -> x: int { return One() + Two() }', {"x": 3}),
    ('use "two.sem"\nuse "./sub/../two.sem"\nprogram Main() -> x: int { return Two() }', {"x": 2}),
    ('use "two.sem" as a\nuse "two.sem" as b\nprogram Main() -> x: int { return a.Two() + b.Two() }', {"x": 4}),
    ('use "two.sem"\nuse "other.sem" as o\nprogram Main() -> x: int { return Two() * 100 + o.Two() }', {"x": 222}),
    ('use "sub/common.sem" as a\nuse "sub/common.sem" as b\nprogram Main(k: a.Kind = a.Kind.a) -> x: bool {\n'
     " return k == b.Kind.a }", {"x": True}),
])
def test_files(sem: Any, source: str, outputs: dict[str, object]) -> None:
    result = sem.run(source)
    assert result.errors == {} and result.outputs == outputs


@pytest.mark.parametrize(("source", "codes"), [
    ('use "two.sem"\nuse "other.sem"\nprogram Main() -> x: int { return Two() }', ["E0209"]),
    ('use "two.sem"\nprogram Two() -> x: int { return 3 }', ["E0209"]),
    ('use "one.sem"\nprogram Main() -> x: int { return Two() }', ["E0202"]),
    ('use "nope.sem"\nprogram Main() -> x: int { return 1 }', ["E0501"]),
    ('use "main.sem"\nprogram Main() -> x: int { return 1 }', ["E0503"]),
    ('use "cycle.sem"\nprogram Main() -> x: int { return 1 }', ["E0503"]),
    ('use "two.sem" as t\nuse "other.sem" as t\nprogram Main() -> x: int { return t.Two() }', ["E0209"]),
    ('use "two.sem" as t\nprogram Main() -> x: int { return t.Three() }', ["E0202"]),
    ("program Main() -> x: int { return t.Two() }", ["E0201"]),
    ("program Main(t: int) -> x: int { return t.two() }", ["E0408"]),
    ('use "sub/common.sem" as c\nprogram Main(k: Kind) -> x: int { return 1 }', ["E0203"]),
])
def test_wrong_uses(sem: Any, source: str, codes: list[str]) -> None:
    sem.write('use "main.sem"\n', "cycle.sem")
    assert [c for c in sem.codes(source) if c[0] == "E"] == codes


@pytest.mark.parametrize(("source", "outputs"), [
    ("program A(n: int) -> (x: int, y: int) { return n, n + 1 }\nprogram Main() -> (p: int, q: int, r: int) {\n"
     " let (a, b) = A(1)\n let r = A(n = 5)\n return a, b, r.y }", {"p": 1, "q": 2, "r": 6}),
    ("program A(n: int) -> (x: int, y: int) { return n, n + 1 }\nprogram Main() -> (t: text, l: list[int]) {\n"
     ' return "${A(1)}", [r.y for r in [A(i) for i in range(3)]] }', {"t": '{"x":1,"y":2}', "l": [1, 2, 3]}),
    ('program A(n: int = 5, t: text = "x") -> x: text { return "${n}${t}" }\n'
     'program Main() -> (x: text, y: text, z: text) { return A(), A(t = "q"), A(1, t = "r") }',
     {"x": "5x", "y": "5q", "z": "1r"}),
    ("enum E { p, q = \"Q\" }\ntype R { a: int, e: E }\n"
     "program Main(n: float = 1, xs: list[int] = [], m: map[text, int] = [:], o: int? = none, e: E = q,\n"
     " r: R = R(a = -1, e = p), d: list[R] = [R(1, q)]) -> (\n"
     " n: float, xs: list[int], o: int, e: E, d: list[R], r: R) {\n"
     " return n, xs, o ?? len(m), e, d, r }",
     {"n": 1.0, "xs": [], "o": 0, "e": "q", "d": [{"a": 1, "e": "q"}], "r": {"a": -1, "e": "p"}}),
    ("program C(n: int) -> x: int { return n * 2 }\nprogram B(n: int) -> x: int { return C(n) + C(n + 1) }\n"
     "program Main() -> x: list[int] { return [B(i) for i in range(2)] }", {"x": [2, 6]}),
    ("program Main() -> x: int { return Later(2) }\nprogram Later(n: int) -> x: int { return n }", {"x": 2}),
    ("program Main(text: int = 1, model: int = 2, use: int = 3, host: int = 4, input: int = 5,\n"
     " end: int = 6, test: int = 7, int: int = 8) -> x: int {\n"
     " return text + model + use + host + input + end + test + int }", {"x": 36}),
    ("program Main(größe: int = 2) -> x: int { let Ω = größe\n return Ω }", {"x": 2}),
    ("enum E { a = \"b\", b = \"a\" }\nprogram Main() -> (x: text, e: E?) {\n"
     " let e: E? = parse_json(\"\\\"a\\\"\")\n return \"${E.a}\", e }", {"x": "b", "e": "b"}),
    ("type P { x: int, y: int }\nprogram Main() -> (p: P, q: P) { return P(1, y = 2), P(y = 3, x = 4) }",
     {"p": {"x": 1, "y": 2}, "q": {"x": 4, "y": 3}}),
])
def test_programs_and_records(sem: Any, source: str, outputs: dict[str, object]) -> None:
    result = sem.run(source)
    assert result.errors == {} and result.outputs == outputs


def test_a_call_of_a_program_with_several_outputs_fails_apart(sem: Any) -> None:
    result = sem.run("program A(n: int) -> (x: int, y: int) { return 10 // n, n + 1 }\n"
                     "program Main() -> (a: int, b: int) { let (a, b) = A(0)\n return a, b }")
    assert result.outputs == {"b": 1}
    assert result.errors["a"].location.endswith("main.sem:1:48")
    assert result.errors["a"].sites[0].count("main.sem:2:") == 1, "the chain of calls names the caller"


@pytest.mark.parametrize(("source", "chosen", "code"), [
    ("program A() -> x: int { return 1 }\nprogram B() -> x: int { return A() }", None, 0),
    ("program A() -> x: int { return 1 }\nprogram B() -> x: int { return 2 }", None, 2),
    ("program A() -> x: int { return 1 }\nprogram B() -> x: int { return 2 }", "B", 0),
    ("program A() -> x: int { return 1 }\nprogram B() -> x: int { return A() }", "A", 0),
    ("program A() -> x: int { return 1 }", "C", 2), ("enum E { a }", None, 2), ("", None, 2),
    ('use "two.sem"\nprogram A() -> x: int { return 1 }', None, 0),
])
def test_which_program_runs(sem: Any, semc: Any, source: str, chosen: str | None, code: int) -> None:
    sem.write(source)
    semc("run", "main.sem", "--engine", "reference", *(["--program", chosen] if chosen else []), code=code)
    if code == 2 and "program B" in source:
        assert "E0807" in semc.err and "`A`, `B`" in semc.err and "--program" in semc.err


@pytest.mark.parametrize(("source", "code"), [
    ("program A() -> x: int { return A() }", "E0804"), ("program Main() -> x: int { return 1, 2 }", "E0613"),
    ("program A() -> x: int { return B() }\nprogram B() -> x: int { return A() }", "E0804"),
    ("program Main() -> x: int { let y = 1 }", "E0612"),
    ("program Main() -> (x: int, x: int) { return 1, 2 }", "E0206"),
    ("program Main(a: int, a: int) -> x: int { return a }", "E0206"),
    ("program A() -> x: int { return 1 }\nenum A { a }", "E0206"),
    ("program Main(a: int = 1 + 1) -> x: int { return a }", "E0314"),
    ("program Main(a: int = b, b: int = 1) -> x: int { return a }",
                                                                   "E0314"),
    ("enum E { }\nprogram Main() -> x: int { return 1 }", "E0212"),
    ("type T { }\nprogram Main() -> x: int { return 1 }", "E0212"),
    ("enum E { a, a }\nprogram Main() -> x: int { return 1 }", "E0206"),
    ("type T { a: T? }\nprogram M() -> x: int { return 1 }", "E0308"),
    ("enum E { a = \"x\", b = \"x\" }\nprogram Main() -> x: int { return 1 }", "E0212"),
    ("program Main(a: image) -> x: int { return 1 }", "E0211"),
    ("program Main(a: strng) -> x: int { return 1 }", "E0203"),
    ("program Main(a: int??) -> x: int { return 1 }", "E0001"),
    ("program Main(a: map[int, int]) -> x: int { return 1 }", "E0306"),
    ("program Main(a: float(0..1)) -> x: int { return 1 }", "E0306"),
    ("program Main(a: int(5..2)) -> x: int { return 1 }", "E0306"),
    ("program Main(let: int) -> x: int { return 1 }", "E0001"), ("program text() -> x: int { return 1 }", "E0206"),
    ("type T { a: int }\nprogram Main() -> x: int { return T(1, 2).a }", "E0403"),
    ("type T { a: int }\nprogram Main() -> x: int { return T().a }",
                                                                             "E0401"),
    ("type T { a: int }\nprogram Main() -> x: int { return T(a = 1, b = 2).a }", "E0402"),
    ("type T { a: int }\nprogram Main() -> x: int { return T(a = 1).b }", "E0204"),
    ("program A(n: int) -> x: int { return n }\nprogram Main() -> x: int { return A(n = 1, 2) }", "E0405"),
    ("program A(n: int) -> x: int { return n }\nprogram Main() -> x: int { return A(1, n = 2) }", "E0404"),
    ("program Main(h: chat) -> x: int { return 1 }", ""),
])
def test_mistakes(sem: Any, source: str, code: str) -> None:
    errors = [d for d in sem.check(source) if d.severity == "error"]
    assert [d.code for d in errors] == ([code] if code else [])


@pytest.mark.parametrize("what", ["parameter", "output"])
def test_the_root_program_takes_and_gives_no_chats(sem: Any, semc: Any, what: str) -> None:
    sem.write('semantic F(h: chat) -> y: text { """{{h}}a{{y}}""" }\n' + {
        "parameter": "program Main(h: chat) -> x: text { return F(h) }",
        "output": "program Main() -> x: chat { return F(chat()).chat }"}[what])
    semc("run", "main.sem", "--engine", "reference", code=2)
    assert "E0805" in semc.err or "E0213" in semc.err
