"""`order-fields`: what is unordered gets a common order, everything else stays, and outputs are those of that order."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_engine
from semlang.backend.results import RunResult
from semlang.cli.main import main
from semlang.frontend.compile import compile_file
from semlang.ir.builtins.ordering import Item, orders, tree_weight
from semlang.ir.core import Module
from semlang.ir.diagnostics import InputError
from semlang.ir.printer import print_module
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.order_fields import OrderFields
from semlang.passes.pipelines import pipeline
from semlang.passes.registry import pass_class

ANSWER = '''
semantic Answer(question: text, documents: list[text]) -> answer: text {
  """
  Read.
  {{unordered for d in documents}}
  <{{d}}>
  {{end}}
  {{question}}? {{output:answer max_tokens=4}}
  """
}
'''
ROWS = [["b", "a common document"], ["c"], ["d", "e", "a common document"], ["a common document", "d", "f"]]
COMMON = [["a common document", "b"], ["c"], ["a common document", "d", "e"], ["a common document", "d", "f"]]
MAPPED = ANSWER + """
program Main(rows: list[list[text]]) -> (y: list[text]) {
  return for row in rows { Answer("Why", [x for x in row if x != "q"]) }
}
"""


def module_of(source: str, folder: Path) -> Module:
    path = folder / "main.sem"
    path.write_text(source)
    return compile_file(str(path), program="Main").module


def compiled(source: str, folder: Path, *, ordered: bool, level: int = 2) -> Module:
    module = module_of(source, folder)
    allow = frozenset({"text"} if ordered else ())
    run_pipeline(module, pipeline(level, allow), Target({"": ModelTarget(embedded_tokenizer(), 4096)}, "reference"),
                 PipelineOptions(verify_each=True, allow=allow))
    return module


def run(module: Module, **arguments: Any) -> RunResult:
    engine = reference_engine()
    try:
        return run_module(module, {"": engine}, arguments, timeout=30)
    finally:
        engine.close()


@pytest.mark.parametrize("level", [0, 2])
def test_rows_of_a_map_are_ordered_together(level: int, tmp_path: Path) -> None:
    ordered = run(compiled(MAPPED, tmp_path, ordered=True, level=level), rows=ROWS)
    plain = compiled(MAPPED, tmp_path, ordered=False)
    by_hand = run(plain, rows=COMMON)
    assert ordered.outputs == by_hand.outputs
    assert ordered.stats.prompt_tokens == by_hand.stats.prompt_tokens
    if level:
        assert ordered.stats.filled_tokens == by_hand.stats.filled_tokens < run(plain, rows=ROWS).stats.filled_tokens


def test_a_table_fills_each_common_field_once(tmp_path: Path) -> None:
    """Rows with one field of their own and two from few values: written in an order that shares nothing."""
    source = ANSWER.replace("documents: list[text]", "documents: list[Field]").replace("<{{d}}>", "{{d}}") + """
    type Field { name: text, value: text }
    program Main(rows: list[list[Field]]) -> (y: list[text]) { return for row in rows { Answer("Why", row) } }
    """
    rows = [[{"name": "id", "value": str(number)}, {"name": "state", "value": "open" if number % 2 else "closed"},
             {"name": "team", "value": "The team for " + "searching" * (number % 3)}] for number in range(24)]
    tokens = embedded_tokenizer()

    def cost(*texts: str) -> int:
        return sum(len(tokens.encode_piece(text, first=False)) for text in texts)

    result = run(compiled(source, tmp_path, ordered=True), rows=rows)
    as_written = run(compiled(source, tmp_path, ordered=False), rows=rows)
    assert result.stats.prompt_tokens == as_written.stats.prompt_tokens
    assert result.stats.filled_tokens * 2 < as_written.stats.filled_tokens
    every_field = cost(*(f'{{"name":"{f["name"]}","value":"{f["value"]}"}}\n' for row in rows for f in row))
    assert result.stats.filled_tokens < every_field


def test_calls_beside_each_other(tmp_path: Path) -> None:
    source = ANSWER + """
    program Main(p: list[text], q: list[text]) -> (x: text, y: text) { return Answer("Why", p), Answer("How", q) }
    """
    ordered = run(compiled(source, tmp_path, ordered=True), p=["a", "the common one"], q=["the common one", "b"])
    by_hand = run(compiled(source, tmp_path, ordered=False), p=["the common one", "a"], q=["the common one", "b"])
    assert ordered.outputs == by_hand.outputs and ordered.stats.filled_tokens == by_hand.stats.filled_tokens


def test_constants_are_ordered_at_compile_time(tmp_path: Path) -> None:
    source = ANSWER + """
    program Main() -> (x: text, y: text) {
      return Answer("Why", ["a", "the common one"]), Answer("How", ["the common one", "b"])
    }
    """
    text = print_module(compiled(source, tmp_path, ordered=True))
    assert "common_first" not in text and "flow.fold" not in text


def test_a_list_that_waits_for_calls_gets_an_order_of_its_own(tmp_path: Path) -> None:
    source = ANSWER + """
    program Main(xs: list[text]) -> (y: list[text]) {
      return for x in xs { Answer("Why", [x, Answer(x, []), "a"]) }
    }
    """
    module = module_of(source, tmp_path)
    run_pipeline(module, [pass_class("inline")()], Target())
    report = OrderFields().run(module, Target())
    assert report.counters == {"turns": 0, "beside": 0, "alone": 1}
    assert "@canonical_order" in print_module(module)
    assert run(compiled(source, tmp_path, ordered=True), xs=["z"]).outputs["y"]


def test_a_failed_row_fails_alone(tmp_path: Path) -> None:
    source = ANSWER + """
    program Main(ns: list[int]) -> (y: list[text]) {
      return for n in ns { try Answer("Why", ["${10 // n}", "same"]) else "failed" }
    }
    """
    ordered = run(compiled(source, tmp_path, ordered=True), ns=[5, 0, 2])
    reordered = source.replace('["${10 // n}", "same"]', '["same", "${10 // n}"]')
    by_hand = run(compiled(reordered, tmp_path, ordered=False), ns=[5, 0, 2])
    assert ordered.outputs == by_hand.outputs and ordered.outputs["y"][1] == "failed"


@pytest.mark.parametrize(("old", "new"), [("unordered for", "for"), ("unordered for d", "unordered for i, d")],
                         ids=["ordered", "place used"])
def test_nothing_else_is_ordered(old: str, new: str, tmp_path: Path) -> None:
    source = MAPPED.replace(old, new).replace("<{{d}}>", "<{{i}}{{d}}>" if "i, d" in new else "<{{d}}>")
    module = module_of(source, tmp_path)
    run_pipeline(module, [pass_class("inline")()], Target())
    before = print_module(module)
    assert OrderFields().run(module, Target()).fired == 0
    assert print_module(module) == before
    first, second = (run(compiled(source, tmp_path, ordered=o), rows=ROWS) for o in (False, True))
    assert first.outputs == second.outputs


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    module = module_of(MAPPED, tmp_path)
    run_pipeline(module, [pass_class("inline")()], Target())
    assert OrderFields().run(module, Target()).counters["turns"] == 1
    before = print_module(module)
    assert OrderFields().run(module, Target()).fired == 0
    assert print_module(module) == before


def test_an_equal_part_that_is_ordered_stays_as_it_is(tmp_path: Path) -> None:
    source = ANSWER + ANSWER.replace("Answer", "Ordered").replace("unordered for", "for") + """
    program Main(rows: list[list[text]]) -> (y: list[text], z: list[text]) {
      return [Answer("Why", row) for row in rows], [Ordered("Why", row) for row in rows]
    }
    """
    plain = run(compiled(source, tmp_path, ordered=False), rows=ROWS)
    assert run(compiled(source, tmp_path, ordered=True), rows=ROWS).outputs["z"] == plain.outputs["z"]
    module = module_of(source, tmp_path)
    run_pipeline(module, [make() for name in ("inline", "licm", "cse", "order-fields") for make in [pass_class(name)]],
                 Target(), PipelineOptions(allow=frozenset({"text"})))
    loops = [line for line in print_module(module).splitlines() if "flow.for(%rows" in line]
    assert ["%rows, " in line for line in loops] == [False, True, False]


def test_it_has_to_be_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = module_of(MAPPED, tmp_path)
    with pytest.raises(InputError, match="preserves text only"):
        run_pipeline(module, [OrderFields()], Target())
    path = str(tmp_path / "main.sem")
    for flags, expected in (([], False), (["--allow", "text"], True)):
        assert main(["compile", path, "--emit", "prompt", *flags]) == 0
        assert ("common_first" in capsys.readouterr().out) == expected


ROW = st.lists(st.sampled_from("abcdef"), max_size=6).map(
    lambda row: {(value.encode(), row[:number].count(value) + 1): None for number, value in enumerate(row)})


@given(st.lists(ROW, max_size=8))
def test_every_row_keeps_its_items(rows: list[dict[Item, None]]) -> None:
    weights = {letter.encode(): ord(letter) - 90 for letter in "abcdef"}
    found = orders(rows, weights)
    assert [sorted(order) for order in found] == [sorted(row) for row in rows]
    assert tree_weight(found, weights) <= sum(weights[key] for row in rows for key, _ in row)


def test_two_rows_share_all_that_they_have_in_common() -> None:
    rows = [{(b"a", 1): None, (b"b", 1): None, (b"c", 1): None}, {(b"c", 1): None, (b"d", 1): None, (b"b", 1): None}]
    assert [[key for key, _ in row] for row in orders(rows, dict.fromkeys([b"a", b"b", b"c", b"d"], 1))] == [
        [b"b", b"c", b"a"], [b"b", b"c", b"d"]]
