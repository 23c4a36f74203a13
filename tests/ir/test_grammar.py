"""`ir.lark` documents what the hand-written parser reads: both accept the same texts."""

import importlib.resources
from pathlib import Path

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile

SYNTAX_ERRORS = {"E1001"}
TEXTS = [
    part
    for path in sorted((Path(__file__).parent / "diagnostics").glob("*.sir"))
    for part in path.read_text(encoding="utf-8").split("// -----\n")
]
TOKENS = [
    "%a", "%0", "@f", '@"odd \\u00e9"', "flow.const", "engine.root", "(", ")", "{", "}", "[", "]", "<", ">", "|", ",",
    ":", "=", "!", "..", '"text"', "1", "-2.5e3", "else", "do", "loc", "tokens", "scaffold", "text", "int", "list",
    "record", "true", "word", "// comment\n", "sem.program(@P) {", "sem.return()",
]


@pytest.fixture(scope="module")
def grammar() -> lark.Lark:
    text = importlib.resources.files("semlang.ir").joinpath("ir.lark").read_text(encoding="utf-8")
    return lark.Lark(text, start="module", parser="lalr", strict=True)


def accepts(grammar: lark.Lark, text: str) -> bool:
    try:
        grammar.parse(text)
    except lark.exceptions.UnexpectedInput:
        return False
    return True


def parser_accepts(text: str) -> bool:
    """Whether the hand-written parser finds nothing wrong with the syntax."""
    try:
        parse_module(SourceFile("x.sir", text))
    except InputError as error:
        return not any(d.code in SYNTAX_ERRORS for d in error.diagnostics)
    return True


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_both_accept_the_same_files(grammar: lark.Lark, text: str) -> None:
    if "JSON" in text or "surrogate" in text or "value or literal" in text or "`txt` is no type" in text:
        return  # strings beyond the lexer, and dotted words: the grammar is a little wider
    assert accepts(grammar, text) == parser_accepts(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join))
def test_what_the_parser_accepts_is_in_the_grammar(grammar: lark.Lark, text: str) -> None:
    try:
        parse_module(SourceFile("x.sir", text))
    except InputError:
        return
    assert accepts(grammar, text)
