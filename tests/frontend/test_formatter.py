"""The canonical layout, by example; the laws are in `test_source_laws`."""

import pytest
from semlang.frontend.formatter import format_source
from semlang.ir.diagnostics import Diagnostics
from semlang.ir.source import SourceFile


def formatted(text: str) -> str:
    result = format_source(SourceFile("x.sem", text), Diagnostics())
    assert result is not None
    return result


def body(text: str) -> str:
    """The lines of a program's body."""
    return formatted(f"program P() -> y: text {{\n{text}\n}}").split("\n", 1)[1].rsplit("}", 1)[0]


@pytest.mark.parametrize(("text", "expected"), [
    ("let   a=f( b,c =1 )[ 0 ].d", "let a = f(b, c = 1)[0].d"),
    ("let a:list[ text ]?=- b+c*( d )", "let a: list[text]? = -b + c * (d)"),
    ("let (a,b)=f(x)", "let (a, b) = f(x)"),
    ("let a=[x for i,x in xs if not x in ys]", "let a = [x for i, x in xs if not x in ys]"),
    ('let a=["k":v,"l":w]', 'let a = ["k": v, "l": w]'), ("let a=xs[1 :n]", "let a = xs[1:n]"), ("let a=[ : ]",
                                                                                                 "let a = [:]"),
    ("let a=if b{c}else if d{e}else{f}", "let a = if b { c } else if d { e } else { f }"),
    ("let a=f(x)with n=1,m=2", "let a = f(x) with n = 1, m = 2"), ("let a=try f(x)else\nnone",
                                                                   "let a = try f(x) else none"),
    ("return a@latency,b  @ deadline(2s),", "return a @ latency, b @ deadline(2s)"),
    ("for x in xs{yield(a,b)}", "for x in xs { yield (a, b) }"), ("let a=b\n  ??c", "let a = b ?? c"),
    ("let a = x\n.y", "let a = x.y"),
    ('let a="${ b }  #"', 'let a = "${ b }  #"'), ("let a=match b{c|d=>1,_=>2}",
                                                   "let a = match b { c | d => 1, _ => 2 }"),
    ("let a=loop(b:text=\"\")while b==\"\"limit 3{b}", 'let a = loop (b: text = "") while b == "" limit 3 { b }'),
    ("let a=fold b=0,c=1 for x in xs{(b,c)}", "let a = fold b = 0, c = 1 for x in xs { (b, c) }"),
    ("for x in xs{f(x)}", "for x in xs { f(x) }"), ("let a=(b,)", "let a = (b,)"), ("assert(a)", "assert (a)"),
    ("let a = b let c = d", "let a = b\n  let c = d"),
])
def test_statements(text: str, expected: str) -> None:
    assert body(text) == f"  {expected}\n"


def test_bodies_stay_open_or_closed() -> None:
    assert body("for x in xs {\nf(x) }") == "  for x in xs {\n    f(x)\n  }\n"
    assert body("for x in xs { let a = b yield a }") == "  for x in xs {\n    let a = b\n    yield a\n  }\n"
    assert body("let a = if b {\nc } else { d }") == "  let a = if b {\n    c\n  } else {\n    d\n  }\n"
    assert formatted("enum E { a, b, }") == "enum E { a, b }\n"
    assert formatted("enum E {\na\nb }") == "enum E {\n  a,\n  b,\n}\n"


def test_long_lines_are_broken() -> None:
    long = [f"argument_number_{i}" for i in range(9)]
    assert body(f"let a = f({', '.join(long)})") == "  let a = f(\n" + "".join(f"    {a},\n" for a in long) + "  )\n"
    assert body(f"let a = {' + '.join(long)}") == "  let a = " + " +\n    ".join(long) + "\n"
    assert body("f(a, b,)") == "  f(\n    a,\n    b,\n  )\n"
    parameters = ", ".join(f"{name}: text" for name in long)
    wrapped = formatted(f"program P({parameters}) -> y: text {{\nreturn {', '.join(long)}\n}}")
    assert all(len(line) <= 120 for line in wrapped.split("\n"))
    chosen = f"f(x) with {', '.join(f'{a} = 1' for a in long)}"
    start = "  let a = f(x)\n    with argument_number_0 = 1,\n    argument_number_1"
    assert body(f"let a = {chosen}").startswith(start)
    found = f"[{long[0]}({', '.join(long[:4])}) for x in {long[5]} if {long[6]}]"
    assert body(f"let a = {found}").split("\n")[2:4] == ["    for x in argument_number_5", "    if argument_number_6"]


def test_comments_and_empty_lines() -> None:
    text = """

# head


use "a.sem"   # why
# about E
enum E { # open
  a, # first


  # between
  b
  # last
}
program P() -> y: text { # here
  # first


  let a = [ # list
    1, # one
    2 # two
  ]

  # end
}


# tail
"""
    assert formatted(text) == """# head

use "a.sem"  # why
# about E
enum E {  # open
  a,  # first

  # between
  b,
  # last
}
program P() -> y: text {  # here
  # first

  let a = [  # list
    1,  # one
    2,  # two
  ]

  # end
}

# tail
"""


def test_prompts_stay_byte_for_byte() -> None:
    raw = '"""\r\n\t  Hi  {{ input : x }}  \r\n{{if x}}  \n  # no comment\n{{end}}   """'
    text = f"semantic S(x: text) -> y: text {{   {raw}   }}"
    assert formatted(text) == f"semantic S(x: text) -> y: text {{\n  {raw}\n}}\n"
    roles = f"semantic S(x:text)->y:text{{system {raw} for p in x{{user {raw}}}\nassistant {raw}}}"
    parts = f"  system {raw}\n  for p in x {{\n    user {raw}\n  }}\n  assistant {raw}\n"
    assert formatted(roles) == f"semantic S(x: text) -> y: text {{\n{parts}}}\n"


def test_declarations() -> None:
    text = ('host f(a:text=1)->list[ int(0 .. 3) ]?from "m:f"(pure,timeout=10s)\nmodel m="x"\nuse "a.sem"as a\n'
            "type T{a:map[text,a.B],b:text(max_tokens=8)}\nsemantic S(a:text,)->(y:text)using a.m{\"\"\"x\"\"\"}")
    assert formatted(text) == """\
host f(a: text = 1) -> list[int(0..3)]? from "m:f" (pure, timeout = 10s)
model m = "x"
use "a.sem" as a
type T { a: map[text, a.B], b: text(max_tokens = 8) }
semantic S(
  a: text,
) -> (y: text) using a.m { \"""x\""" }
"""


def test_empty_and_broken_files() -> None:
    assert formatted("") == "" and formatted(" \n\n") == "" and formatted("# a") == "# a\n"
    diagnostics = Diagnostics()
    assert format_source(SourceFile("x.sem", "enum"), diagnostics) is None and diagnostics.has_errors


def test_deep_and_long_code() -> None:
    deep = "(" * 95 + "a" + ")" * 95
    assert "".join(body(f"let b = {deep}").split()) == f"letb={deep}"
    many = "\n".join(f"let v{i} = f({i})" for i in range(2000))
    assert body(many).count("\n") == 2000
    assert body(f"let a = [{', '.join(map(str, range(2000)))}]").count("\n") == 2002
