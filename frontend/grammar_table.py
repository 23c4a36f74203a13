"""The LALR(1) tables of `grammar.lark`: lark computes them once, `grammar_table.json` keeps them.

Building them takes lark about 0.4 s; loading them takes 2 ms and needs no lark. A table that does not belong to the
grammar beside it is rebuilt in memory, so an edited grammar is never ignored; write the file anew with
`python -m semlang.frontend.grammar_table`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

GRAMMAR_PATH = Path(__file__).with_name("grammar.lark")
TABLE_PATH = Path(__file__).with_name("grammar_table.json")
START_SYMBOLS = ("declaration", "input_tag", "output_tag", "short_tag", "if_tag", "for_tag")


@dataclass(frozen=True, slots=True)
class Rule:
    """A production. `kept` lists the children that the tree has: (position, splice a list, Nones before it)."""

    origin: str
    size: int
    action: str
    kept: tuple[tuple[int, bool, int], ...]
    nones_after: int
    passes_single_child: bool

    @property
    def is_list(self) -> bool:
        """Whether the value is a list of children that the parent splices in."""
        return self.origin.startswith("_")


@dataclass(frozen=True, slots=True)
class GrammarTable:
    """`rows[state][symbol]`: n >= 0 shifts to (or, for a nonterminal, goes to) state n; n < 0 reduces by rule -1-n.

    Shifting `$END` accepts. A symbol is a nonterminal's name, a token class (`NAME`) or the text of a token (`"let"`).
    """

    rules: tuple[Rule, ...]
    passed_origins: tuple[str | None, ...]
    """Of a rule that only passes its single child on, the nonterminal; else None."""
    rows: tuple[dict[str, int], ...]
    start: dict[str, int]
    nonterminals: frozenset[str]


def build_table(grammar: str) -> dict[str, Any]:
    """Compute the tables with lark, in the form that the file has; a conflict is a lark `GrammarError`."""
    from lark import Lark

    lark = Lark(grammar, parser="lalr", lexer="contextual", strict=True, maybe_placeholders=True,
                start=list(START_SYMBOLS))
    text_of = {t.name: t.pattern.value for t in lark.terminals if t.pattern is not None}
    clashes = {rule.origin.name for rule in lark.rules} & set(text_of.values())
    if clashes:
        raise ValueError(f"both a rule and a token: {', '.join(sorted(clashes))}")
    rules = sorted(lark.rules, key=lambda rule: (str(rule.origin.name), [symbol.name for symbol in rule.expansion]))
    rule_numbers = {rule: number for number, rule in enumerate(rules)}
    parse_table = lark.parser.parser._parse_table
    numbers = _number_states(parse_table)
    rows: list[dict[str, int]] = [{} for _ in numbers]
    for state, number in numbers.items():
        for symbol, (action, argument) in sorted(parse_table.states[state].items()):
            entry = -1 - rule_numbers[argument] if action.name == "Reduce" else numbers[argument]
            rows[number][text_of.get(symbol, symbol)] = entry
    for end in parse_table.end_states.values():
        rows[numbers[end]]["$END"] = numbers[end]
    return {
        "grammar": sha256(grammar.encode()).hexdigest(),
        "start": {symbol: numbers[parse_table.start_states[symbol]] for symbol in START_SYMBOLS},
        "rules": [_describe_rule(rule) for rule in rules],
        "rows": rows,
    }


def _number_states(parse_table: Any) -> dict[int, int]:
    """Numbers for lark's states in the order in which they are reached: lark's own differ from run to run."""
    numbers: dict[int, int] = {}
    pending = [parse_table.start_states[symbol] for symbol in START_SYMBOLS]
    for state in pending:
        if state not in numbers:
            numbers[state] = len(numbers)
            row = parse_table.states[state]
            pending += [row[symbol][1] for symbol in sorted(row) if row[symbol][0].name == "Shift"]
    return numbers


def _describe_rule(rule: Any) -> list[Any]:
    """A row of the file for a lark rule: the fields of `Rule`."""
    kept = []
    nones = 0
    empty = rule.options.empty_indices or [False] * len(rule.expansion)
    before = "".join("1" if is_empty else "0" for is_empty in empty).split("0")
    for position, symbol in enumerate(rule.expansion):
        nones += len(before[position])
        if rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out):
            kept.append([position, not symbol.is_term and symbol.name.startswith("_"), nones])
            nones = 0
    nones += len(before[len(rule.expansion)])
    passes_single_child = bool(rule.options.expand1 and not rule.alias)
    return [rule.origin.name, len(rule.expansion), rule.alias or rule.origin.name, kept, nones, passes_single_child]


@cache
def load_table() -> GrammarTable:
    """The tables, from the file where it is up to date."""
    grammar = GRAMMAR_PATH.read_text(encoding="utf-8")
    table = json.loads(TABLE_PATH.read_text(encoding="utf-8")) if TABLE_PATH.exists() else {}
    if table.get("grammar") != sha256(grammar.encode()).hexdigest():
        table = build_table(grammar)
    rules = tuple(Rule(origin, size, action, tuple((p, s, n) for p, s, n in kept), after, single)
                  for origin, size, action, kept, after, single in table["rules"])
    passed = tuple(rule.origin if rule.size == 1 and rule.passes_single_child else None for rule in rules)
    return GrammarTable(rules, passed, tuple(table["rows"]), table["start"], frozenset(r.origin for r in rules))


def write_table() -> None:
    """Write `grammar_table.json`, a row a line."""
    table = build_table(GRAMMAR_PATH.read_text(encoding="utf-8"))
    lists = {key: "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in table[key]) + "\n]"
             for key in ("rules", "rows")}
    TABLE_PATH.write_text(f'{{"grammar": "{table["grammar"]}",\n"start": {json.dumps(table["start"])},\n'
                          f'"rules": {lists["rules"]},\n"rows": {lists["rows"]}}}\n', encoding="utf-8")


if __name__ == "__main__":
    write_table()
