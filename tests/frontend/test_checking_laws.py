"""Laws of checking over mutated programs: nothing but InputError, and what checks also verifies."""

import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semlang.frontend.compile import check_file, compile_file, compile_tests
from semlang.ir.definition import Level
from semlang.ir.diagnostics import InputError
from semlang.ir.printer import print_module
from semlang.ir.render_diagnostics import render_all
from semlang.ir.verifier import verify

HERE = Path(__file__).parent
TOKEN = re.compile(r'\w+|\s+|"""|\{\{|\}\}|[^\w\s]')
VALID = [p.read_text() for p in sorted([*HERE.glob("conformance/*.sem"), *HERE.glob("lowering/*.sem"),
                                        *HERE.parents[1].glob("programs/*.sem")])]
BROKEN = [p.read_text() for p in sorted(HERE.glob("diagnostics/*.sem"))]
WORDS = sorted({t for source in VALID for t in TOKEN.findall(source) if not t.isspace()})
VALUES = ["1", "0.5", '"x"', "none", "[]", "[:]", "chat()", "true", "x", "_", "-1", "(a, b)"]
USED = {path.name: path.read_text() for path in HERE.glob("*/*/*.sem")}


@st.composite
def mutated(draw: st.DrawFn, sources: list[str], most: int) -> str:
    """A source with a few tokens deleted, inserted, swapped, or replaced by other names and values."""
    tokens = TOKEN.findall(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(tokens) - 1))
        match draw(st.sampled_from("dirrrrs")):
            case "d":
                del tokens[at]
            case "i":
                tokens.insert(at, draw(st.sampled_from(WORDS)))
            case "s":
                other = draw(st.integers(0, len(tokens) - 1))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case "r":
                names = [i for i, t in enumerate(tokens) if t[0].isalpha()]
                if names:
                    words = [tokens[i] for i in names] + VALUES
                    tokens[draw(st.sampled_from(names))] = draw(st.sampled_from(words))
        if not tokens:
            return ""
    return "".join(tokens)


def reader(source: str) -> Callable[[str], bytes]:
    """Reads `source` as `main.sem`, and the files that the valid programs use."""
    def read(path: str) -> bytes:
        name = Path(path).name
        if name != "main.sem" and name not in USED:
            raise FileNotFoundError(2, "No such file or directory")
        return (source if name == "main.sem" else USED[name]).encode("utf-8", "surrogatepass")

    return read


def check(source: str) -> bool:
    """Check `source`; compile it every way if it is valid."""
    read = reader(source)
    result = check_file("main.sem", read=read)
    render_all(result.diagnostics)
    if result.program is None:
        assert result.has_errors
        return False
    for program in result.program.programs:
        try:
            module = compile_file("main.sem", program=program.name, read=read).module
        except InputError as error:
            assert [d.code for d in error.diagnostics] == ["E0805"]
            continue
        verify(module, Level.SEM)
        print_module(module)
    for test in compile_tests("main.sem", read=read).tests:
        verify(test.module, Level.SEM)
    return True


LAW = settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck))


@LAW
@given(mutated(VALID, 2))
def test_a_mutated_program_is_reported_or_compiles(source: str) -> None:
    check(source)


@LAW
@given(mutated(BROKEN, 3))
def test_a_mutated_mistake_is_reported_or_compiles(source: str) -> None:
    check(source)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(WORDS + VALUES), max_size=40).map(" ".join))
def test_any_words_are_reported_or_compile(source: str) -> None:
    check(source)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(mutated(VALID, 2))
def test_checking_twice_says_the_same(source: str) -> None:
    first, second = (render_all(check_file("main.sem", read=reader(source)).diagnostics) for _ in range(2))
    assert first == second
