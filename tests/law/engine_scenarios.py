"""Random calls of engines: forests of fills and generates, what they must answer, and what an engine answers."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from semlang.backend.decoding.output_decoder import OutputDecoder
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import Callbacks, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.random_stream import stream_key
from semlang.backend.reference import reference_runner
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import BOOL, INT, Field, Int, List, Record, Text

TOKENIZER = embedded_tokenizer()
assert TOKENIZER.bos_id is not None
PIECES = ["the cache ", "the cache keeps ", "x", "é€", "", "Answer with one word.\n" * 3, "{", " the", "the "]
RECORD = Record("R", (Field("a", Text(3)), Field("n", Int(0, 10)), Field("l", List(BOOL, 2))))
DEFAULT = Priority()
TIMEOUT = 30


@dataclass(frozen=True)
class Op:
    """A fill (`options` None) or a generate after context `parent` (0 is the root, i + 1 the context of op i)."""

    parent: int
    tokens: tuple[int, ...] = ()
    options: SamplingOptions | None = None
    priority: Priority = DEFAULT


@st.composite
def options(draw: st.DrawFn) -> SamplingOptions:
    kind = draw(st.sampled_from(["text", "text", "stop", "words", "int", "record", "choice"]))
    temperature = draw(st.sampled_from([0.0, 0.8]))
    key = stream_key(1, "p", [draw(st.integers(0, 2))], "o", 0) if temperature else None
    limit = draw(st.integers(1, 24))
    strip = draw(st.booleans())
    match kind:
        case "stop":
            stop = tuple(draw(st.lists(st.sampled_from(["e", "th", " a", "on", "\n"]), min_size=1, max_size=3)))
            return SamplingOptions(limit, temperature=temperature, stream_key=key, stop=stop, strip_leading_space=strip)
        case "words":
            words = draw(st.integers(0, 4))
            return SamplingOptions(limit, words, temperature, stream_key=key, top_k=5, strip_leading_space=strip)
        case "int":
            return SamplingOptions(limit, temperature=temperature, stream_key=key, type=INT, strip_leading_space=strip)
        case "record":
            return SamplingOptions(60, temperature=temperature, stream_key=key, type=RECORD)
        case "choice":
            return SamplingOptions(limit + 8, temperature=temperature, stream_key=key, choices=("the", "then", "a cat"))
        case _:
            return SamplingOptions(limit, temperature=temperature, stream_key=key, top_p=0.9, strip_leading_space=strip)


@st.composite
def scenarios(draw: st.DrawFn) -> list[Op]:
    ops: list[Op] = []
    for i in range(draw(st.integers(3, 14))):
        parent = draw(st.integers(0, i))
        if draw(st.booleans()):
            ops.append(Op(parent, tuple(TOKENIZER.encode_piece(draw(st.sampled_from(PIECES)), first=False))))
        else:
            group = draw(st.sampled_from([None, "a", "b"]))
            objective = draw(st.sampled_from(["latency", "throughput"]))
            priority = Priority(group, draw(st.integers(0, 2)), objective, draw(st.integers(0, 1)),
                                draw(st.sampled_from([0.0, 9.0])), None, draw(st.sampled_from([None, 1, 2])))
            ops.append(Op(parent, (), draw(options()), priority))
    return ops


def expected(ops: Sequence[Op]) -> dict[int, Generation]:
    """What each generate must answer: one context at a time, its prompt computed in one piece."""
    runner = reference_runner(TOKENIZER, 8192)
    runner.allocate(4096)
    contexts: list[list[int]] = [[TOKENIZER.bos_id or 0]]
    answers = {}
    for i, op in enumerate(ops):
        tokens = contexts[op.parent] + list(op.tokens)
        if op.options is not None:
            decoder = OutputDecoder(op.options, TOKENIZER, TOKENIZER.vocabulary_size)
            done = 0
            while decoder.finished is None:
                ids = np.array(tokens + decoder.tokens, dtype=np.int64)
                known = KVRun(0, np.arange(done), 0)
                segment = Segment(ids[done:], np.arange(done, len(ids)), done, (0,), True)
                decoder.advance(runner.run(StepBatch((known,), (segment,)))[0])
                done = len(ids)
            answers[i] = decoder.finished
            tokens = tokens + list(decoder.finished.kept_ids + decoder.finished.tail_ids)
        contexts.append(tokens)
    return answers


class Answers:
    """Collects what the calls of one scenario answer."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Generation | EngineError] = {}
        self.streamed: dict[int, str] = {}
        self.pieces: dict[int, list[str]] = {}
        self._changed = threading.Condition()

    def callbacks(self, call: int) -> Callbacks:
        def settle(outcome: Generation | EngineError) -> None:
            with self._changed:
                assert call not in self.outcomes, "a call settled twice"
                self.outcomes[call] = outcome
                self._changed.notify_all()

        def on_text(text: str) -> None:
            assert text and call not in self.outcomes
            self.streamed[call] = self.streamed.get(call, "") + text
            self.pieces.setdefault(call, []).append(text)

        return Callbacks(settle, settle, on_text)

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, TIMEOUT), "the engine is stuck"


def submit(engine: StepEngine, ops: Sequence[Op], answers: Answers) -> None:
    for i, op in enumerate(ops):
        if op.options is None:
            engine.fill(op.tokens, i + 1, op.parent)
        else:
            engine.generate(op.options, i + 1, op.parent, answers.callbacks(i), priority=op.priority)


def submit_one(engine: StepEngine, ops: Sequence[Op], i: int, answers: Answers) -> None:
    op = ops[i]
    if op.options is None:
        engine.fill(op.tokens, i + 1, op.parent)
    else:
        engine.generate(op.options, i + 1, op.parent, answers.callbacks(i), priority=op.priority)


def largest_context(ops: Sequence[Op], answers: dict[int, Generation]) -> int:
    """The largest context of a scenario, in tokens, while it is being decoded."""
    sizes = [1]
    largest = 1
    for i, op in enumerate(ops):
        size = sizes[op.parent] + len(op.tokens)
        if op.options is not None:
            largest = max(largest, size + len(answers[i].sampled_ids) + len(answers[i].tail_ids))
            size += len(answers[i].kept_ids) + len(answers[i].tail_ids)
        sizes.append(size)
    return largest


def watch(engine: StepEngine, poison: int | None = None) -> StepEngine:
    """Check integrity after every step; with `poison`, overwrite all free and scratch slots before it."""
    step = engine._step
    random = np.random.default_rng(poison)

    def checked() -> bool:
        if poison is not None:
            kv = engine._runner.kv  # type: ignore[attr-defined]
            allocator = engine._tree.allocator
            for slots in (allocator.free_slots(), np.arange(allocator.capacity, len(kv))):
                kv[slots] = random.integers(2**63, size=len(slots), dtype=np.uint64)
        worked = step()
        engine.check_integrity()
        return worked

    engine._step = checked  # type: ignore[method-assign]
    return engine
