"""The grammar has no conflicts, its tables are those in the file, and parsing needs neither lark nor numpy."""

import json
import subprocess
import sys

from lark import Lark
from semlang.frontend.grammar_table import GRAMMAR_PATH, START_SYMBOLS, TABLE_PATH, build_table, load_table
from semlang.frontend.tokens import CONTEXTUAL_WORDS, RESERVED_WORDS
from semlang.frontend.tree_builder import TreeBuilder

GRAMMAR = GRAMMAR_PATH.read_text(encoding="utf-8")


def test_grammar_is_lalr_without_conflicts() -> None:
    Lark(GRAMMAR, parser="lalr", lexer="contextual", strict=True, maybe_placeholders=True, propagate_positions=True,
         start=list(START_SYMBOLS))


def test_tables_belong_to_the_grammar() -> None:
    written = json.loads(TABLE_PATH.read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(build_table(GRAMMAR))), "run python -m semlang.frontend.grammar_table"


def test_every_rule_has_its_builder() -> None:
    table = load_table()
    needed = {rule.action for rule, passed in zip(table.rules, table.passed_origins, strict=True)
              if passed is None and not rule.is_list and not (rule.passes_single_child and len(rule.kept) == 1)}
    assert [name for name in sorted(needed) if not hasattr(TreeBuilder, name)] == []


def test_words_of_the_grammar_are_reserved_or_contextual() -> None:
    table = load_table()
    words = {symbol for row in table.rows for symbol in row if symbol.isalpha() and symbol.islower()}
    assert words - table.nonterminals == RESERVED_WORDS | CONTEXTUAL_WORDS | {"assert", "unordered"}


def test_parsing_imports_little() -> None:
    code = ("import sys; from semlang.frontend.parser import parse_file\n"
            "from semlang.ir.diagnostics import Diagnostics\n"
            "parse_file(sys.argv[1], Diagnostics())\n"
            "print({'lark', 'numpy', 'torch', 'transformers', 'tokenizers'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
