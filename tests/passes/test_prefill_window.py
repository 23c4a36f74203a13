"""How early prompts may be filled: the widest window whose early tokens fit into the memory that is left."""

from hypothesis import given
from hypothesis import strategies as st
from semlang.ir.core import Op, Value, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.types import CTX
from semlang.passes.manager import run_pipeline
from semlang.passes.plan_prefill import PlanPrefill
from semlang.passes.prefill_window import LOOKAHEAD, EarlyFill, _widest

HEAD = "tokens<100 : \"{0}\" : [{1}]>"


def fills(sizes: list[tuple[int, int]]) -> list[EarlyFill]:
    return [EarlyFill(Op("engine.fill", [], [Value(CTX)]), tokens, step) for tokens, step in sizes]


def held(sizes: list[tuple[int, int]], window: int) -> int:
    """The most tokens that are held early at the beginning of any step."""
    return max(sum(tokens for tokens, step in sizes if max(0, step - window + 1) <= now <= step)
               for now in range(max(step for _, step in sizes) + 1))


def held_in_turns(sizes: list[tuple[int, int]], window: int, span: int) -> int:
    """The same in a loop: a turn takes `span` steps, so a window reaches into so many turns."""
    turns = 0
    while turns * span < window:
        turns += 1
    return turns * sum(tokens for tokens, _ in sizes)


SIZES = st.lists(st.tuples(st.integers(1, 90), st.integers(0, 12)), min_size=1, max_size=6)


@given(SIZES, st.integers(0, 400))
def test_the_window_is_the_widest_that_fits(sizes: list[tuple[int, int]], spare: int) -> None:
    widest = _widest(fills(sizes), spare, LOOKAHEAD, None)
    assert not widest or held(sizes, widest) <= spare
    assert widest == LOOKAHEAD or held(sizes, widest + 1) > spare


@given(SIZES, st.integers(0, 400), st.integers(1, 5))
def test_each_turn_of_a_loop_needs_as_much_again(sizes: list[tuple[int, int]], spare: int, span: int) -> None:
    widest = _widest(fills(sizes), spare, LOOKAHEAD, span)
    assert held_in_turns(sizes, widest, span) <= spare
    assert widest == LOOKAHEAD or held_in_turns(sizes, widest + 1, span) > spare


def early(kv_slots: int | None) -> list[int]:
    """From how many calls before its use on each head of a chain of six is filled; each head has 100 tokens."""
    lines = []
    for number in range(6):
        ids = ", ".join(str(1 + number + 7 * at) for at in range(100))
        lines.append(f'%h{number} = engine.fill(engine.root, tokens<100 : "{"a" * 100}" : [{ids}]>) : ctx\n'
                     f"%p{number} = engine.fill(%h{number}, %x{number}) : ctx\n"
                     f'%x{number + 1}, %c{number} = engine.generate(%p{number}) {{output = "x", osl = [1, 9]}} '
                     f": text, ctx\nengine.free(%h{number}, %p{number}, %c{number})\n")
    module = parse_module(SourceFile("test.sir", "sem.program(@Main) |%x0: text| {\n" + "".join(lines)
                                     + 'sem.return(%x6) {names = ["y"]}\n}'))
    run_pipeline(module, [PlanPrefill()], Target({"": ModelTarget(None, 4096, kv_slots)}, "torch"))
    heads = [op for op in walk(module.ops) if op.name == "engine.fill" and len(op.operands) == 0]
    return [found if isinstance(found := op.attributes.get("early", 0), int) else 0 for op in heads]


def test_memory_that_is_short_makes_heads_wait() -> None:
    assert early(None) == early(100_000) == [0, 2, 3, 4, 5, 6]
    assert early(128) == [0] * 6
    some = early(400)
    assert some[0] == 0 and all(0 < number <= 3 for number in some[1:])
