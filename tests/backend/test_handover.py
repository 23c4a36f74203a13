"""Prompts that take a text over while it is generated: their tokens are those of the complete text, always."""

from collections.abc import Sequence
from typing import Any

import pytest
from semlang.backend import handover

PAIR = '''
sem.program(@Main) |%a: text| {
  %0 = engine.fill(engine.root, %a) : ctx
  %x, %1 = engine.generate(%0) {output = "x", max_tokens = 90, regex = "[a-z ]{60,80}"} : text, ctx
  engine.free(%0, %1)
  %2 = engine.fill(engine.root, "You review what others write. The text:") {early = 2, uses = [1]} : ctx
  %3 = engine.fill(%2, %x, "\\nThe review:") {spaced = [0], stream = 0} : ctx
  engine.free(%2)
  %y, %4 = engine.generate(%3) {output = "y", max_tokens = 8} : text, ctx
  engine.free(%3, %4)
  sem.return(%x, %y) {names = ["x", "y"]}
}'''

CHAIN = '''
sem.program(@Main) |%xs: list<text>| {
  %none = flow.const("") : text
  %y = flow.fold(%xs, %none) |%i: int, %x: text, %so: text| {
    %0 = engine.fill(engine.root, "Instructions: ", %x) {early = 64, uses = [0]} : ctx
    %1 = engine.fill(%0, %so, "Next: ") {stream = 0} : ctx
    %r, %2 = engine.generate(%1) {output = "r", max_tokens = 90, regex = "[a-z ]{60,80}"} : text, ctx
    engine.free(%0, %1, %2)
    flow.yield(%r)
  } : text
  sem.return(%y) {names = ["y"]}
}'''

MAP = '''
sem.program(@Main) |%xs: list<text>| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %0 = engine.fill(engine.root, %x) : ctx
    %r, %1 = engine.generate(%0) {output = "r", max_tokens = 90, regex = "[a-z ]{60,80}"} : text, ctx
    engine.free(%0, %1)
    %yes = flow.const(true) : bool
    %s = flow.if(%yes) {
      flow.yield(%r)
    } else {
      %no = flow.const("no") : text
      flow.yield(%no)
    } : text
    %2 = engine.fill(engine.root, role(user), %s) {stream = 1} : ctx
    %t, %3 = engine.generate(%2) {output = "t", max_tokens = 8} : text, ctx
    engine.free(%2, %3)
    flow.yield(%t)
  } : list<text>
  sem.return(%ys) {names = ["ys"]}
}'''
PARTS = [f"part {i} " * 4 for i in range(5)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "CHUNK_TOKENS", 3)
    monkeypatch.setattr(handover, "UNSTABLE_TOKENS", 1)


def watched(engine: Any) -> Any:
    """The engine checks itself after every step."""
    step = engine._step

    def checked() -> bool:
        worked: bool = step()
        engine.check_integrity()
        return worked

    engine._step = checked
    return engine


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(("program", "arguments"), [
    (PAIR, {"a": "Write."}), (CHAIN, {"xs": PARTS}), (MAP, {"xs": PARTS})], ids=["pair", "chain", "map"])
def test_tokens_and_their_number_stay_the_same(execute: Any, program: str, arguments: Any, cache: bool) -> None:
    plain = execute(program, arguments, engine=execute.engine(prefix_cache=cache), record_calls=True)
    early = execute(program, arguments, engine=watched(execute.engine(prefix_cache=cache, speculative_fills=True)),
                    record_calls=True)
    assert early.outputs == plain.outputs
    assert set(early.calls) == set(plain.calls)
    assert plain.stats.handover_tokens == plain.stats.early_tokens == 0
    assert early.stats.handover_tokens > 10
    assert early.stats.filled_tokens <= plain.stats.filled_tokens + early.stats.wasted_tokens
    assert early.stats.peak_kv_tokens <= plain.stats.peak_kv_tokens + early.stats.wasted_tokens


def steps_and_generates(events: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    return [e for e in events if e.kind == "step"], [e for e in events if e.kind == "generate"]


def test_head_and_text_are_resident_when_the_producer_ends(execute: Any) -> None:
    """By the trace: the step that begins the consumer computes the end of the text and nothing before it."""
    engine = execute.engine(prefix_cache=False, speculative_fills=True, trace=True)
    result = execute(PAIR, {"a": "Write."}, engine=engine, record_calls=True)
    steps, generates = steps_and_generates(engine.drain_events())
    consumer = max(generates, key=lambda event: event.start)
    first = next(step for step in steps if step.start >= consumer.start)
    prompt = consumer.arguments["prompt_tokens"]
    head = len(engine.tokenizer.encode_piece("You review what others write. The text:", first=True))
    text = len(engine.tokenizer.encode_piece(" " + result.outputs["x"], first=False))
    tail = len(engine.tokenizer.encode_piece("\nThe review:", first=False))
    assert prompt == head + text + tail
    # What chunks hold back, what was released with the last token, and the last token of the last chunk remain.
    assert first.arguments["tokens"] <= tail + 2 * 3 + 1 + 1
    assert result.stats.early_tokens >= head + text - 8


def test_heads_are_filled_in_the_order_in_which_they_are_used(execute: Any) -> None:
    engine = execute.engine(prefix_cache=False, speculative_fills=True, trace=True)
    execute(CHAIN, {"xs": PARTS}, engine=engine)
    fills = [e for e in engine.drain_events() if e.kind == "fill" and e.arguments["parent"] == 0]
    made = sorted(fills, key=lambda event: event.start)
    assert [e.end for e in made] == sorted(e.end for e in made)
    assert all(e.arguments["computed"] for e in made)


class Merging:
    """Wraps a tokenizer: the token so far before the end of a text is another one than in a longer text."""

    def __init__(self, inner: Any, before_end: int = 6) -> None:
        self.inner = inner
        self.before_end = before_end

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        ids: list[int] = self.inner.encode_piece(text, first=first)
        if len(ids) > 6:
            ids[-self.before_end] = 300 + len(text) % 50
        return ids


@pytest.mark.parametrize("cache", [False, True])
def test_tokens_that_the_end_of_the_text_changes_are_given_up(execute: Any, cache: bool) -> None:
    engines = [watched(execute.engine(prefix_cache=cache, speculative_fills=early)) for early in (False, True)]
    for engine in engines:
        engine.tokenizer = Merging(engine.tokenizer)
    plain, early = (execute(CHAIN, {"xs": PARTS}, engine=engine, record_calls=True) for engine in engines)
    assert early.outputs == plain.outputs
    assert set(early.calls) == set(plain.calls)
    assert early.stats.wasted_tokens > 0
    assert early.stats.filled_tokens <= plain.stats.filled_tokens + early.stats.wasted_tokens


def test_the_last_tokens_of_a_text_are_held_back(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What more text may change is not handed over, so nothing was computed in vain."""
    monkeypatch.setattr(handover, "UNSTABLE_TOKENS", 4)
    engine = watched(execute.engine(prefix_cache=False, speculative_fills=True))
    engine.tokenizer = Merging(engine.tokenizer, before_end=3)
    stats = execute(CHAIN, {"xs": PARTS}, engine=engine).stats
    assert stats.handover_tokens > 10 and stats.wasted_tokens == 0


@pytest.mark.parametrize("slots", [160, 200, 320])
@pytest.mark.parametrize("cache", [False, True])
def test_little_memory_changes_nothing(execute: Any, slots: int, cache: bool) -> None:
    wanted = execute(CHAIN, {"xs": PARTS}).outputs
    engine = watched(execute.engine(prefix_cache=cache, speculative_fills=True, kv_slots=slots, page_size=4))
    assert execute(CHAIN, {"xs": PARTS}, engine=engine).outputs == wanted


def test_a_producer_that_fails_leaves_nothing(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine gives up the producer in the middle of its text, after some of it was handed over."""
    engine = watched(execute.engine(prefix_cache=False, speculative_fills=True))
    extend = handover.Handover._extend
    extended: list[int] = []

    def failing(self: handover.Handover, ids: list[int]) -> None:
        extend(self, ids)
        extended.append(len(ids))
        if len(extended) == 3:
            for call in list(self.consumer.run.calls):
                engine.abort(call.identifier)

    monkeypatch.setattr(handover.Handover, "_extend", failing)
    result = execute(PAIR, {"a": "Write."}, engine=engine)
    assert len(extended) >= 3
    assert {error.message for error in result.errors.values()} == {"the call was aborted"}
    assert result.stats.wasted_tokens == extended[-1]
    engine.close()
    assert engine._tree.live_tokens == 0
    assert engine._tree.allocator.free_pages >= engine._tree.allocator.pages - 1


def test_a_cancelled_run_leaves_nothing(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = watched(execute.engine(prefix_cache=False, speculative_fills=True))
    handle = execute.prepare(CHAIN, {"xs": PARTS}, engine=engine)
    extend = handover.Handover._extend

    def cancelling(self: handover.Handover, ids: list[int]) -> None:
        extend(self, ids)
        handle.cancel()

    monkeypatch.setattr(handover.Handover, "_extend", cancelling)
    result = handle.run()
    assert "cancelled" in result.errors["y"].message
    engine.close()
    engine.check_integrity()
    assert engine._tree.live_tokens == 0
    assert engine._tree.allocator.free_pages >= engine._tree.allocator.pages - 1


def test_an_engine_that_is_never_early_is_asked_for_nothing(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(self: object, *_: object) -> None:
        raise AssertionError("nothing is to be handed over")

    monkeypatch.setattr(handover.Handovers, "begin", unexpected)
    assert execute(CHAIN, {"xs": PARTS}).stats.handover_tokens == 0
