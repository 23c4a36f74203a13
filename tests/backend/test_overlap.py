"""Steps that are handed over ahead change nothing: a device that works late gives what an engine gives that waits."""

import random
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from engine_scenarios import TOKENIZER, Answers, Op, expected, largest_context, scenarios, submit, submit_one, watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightly import examples
from numpy.typing import NDArray
from semlang.backend.device_runner import Following, TokenChoices
from semlang.backend.engine import ROOT, EngineError, EngineStats, Generation, SamplingOptions
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.reference import reference_engine, reference_runner
from semlang.backend.sampling import choose_token
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import INT

PROMPT = tuple(TOKENIZER.encode_piece("Answer with one word:", first=True))
LAW = settings(max_examples=examples(60, 1_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])


class LatePending:
    """One step of `LateRunner`; nothing is computed before somebody waits for it, or for a later one."""

    def __init__(self, runner: "LateRunner", batch: StepBatch, choices: TokenChoices | None,
                 following: Following | None) -> None:
        self._runner = runner
        # A device has copies of what it was given.
        self.arrays = [part.copy() for part in (batch.token_ids, batch.slots)]
        self.batch, self.choices, self.following = batch, choices, following
        self.runs = [run.slots.copy() for run in batch.runs]
        self.segments = list(batch.segments)
        self.rows: NDArray[np.float32] | None = None
        self.chosen: NDArray[np.int64] | None = None

    def logits(self) -> NDArray[np.float32]:
        assert self.choices is None
        self._runner.run_until(self)
        assert self.rows is not None
        return self.rows

    def tokens(self) -> NDArray[np.int64]:
        assert self.choices is not None
        self._runner.run_until(self)
        assert self.chosen is not None
        return self.chosen


class LateRunner:
    """The reference runner as a device: steps are computed in their order, as late as possible or a little earlier."""

    kernels = "late"
    kv_bytes_per_token = 8

    def __init__(self, seed: int = 0, fails: Sequence[int] = ()) -> None:
        self._inner = reference_runner(TOKENIZER, 8192)
        self.vocabulary_size = self._inner.vocabulary_size
        self.context_length = self._inner.context_length
        self.queue: list[LatePending] = []
        self.random = random.Random(seed)
        self.fails = set(fails)
        self.count = 0
        self.most_waiting = 0

    @property
    def kv(self) -> NDArray[np.uint64]:
        return self._inner.kv

    def allocate(self, slots: int) -> None:
        self._inner.allocate(slots)

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        raise AssertionError("the engine hands steps over")

    def submit(self, batch: StepBatch, choices: TokenChoices | None = None,
               following: Following | None = None) -> LatePending:
        pending = LatePending(self, batch, choices, following)
        self.queue.append(pending)
        self.most_waiting = max(self.most_waiting, len(self.queue))
        if self.random.random() < 0.3:
            self._run_first()
        return pending

    def run_until(self, pending: LatePending) -> None:
        while pending in self.queue:
            self._run_first()
        if pending.rows is None:
            raise RuntimeError("the device broke")

    def _run_first(self) -> None:
        pending = self.queue.pop(0)
        self.count += 1
        if self.count in self.fails:
            return
        token_ids, slots = pending.arrays
        if pending.following is not None:
            before = pending.following.step
            assert isinstance(before, LatePending)
            if before.chosen is None:
                return
            token_ids = before.chosen[pending.following.places]
        segments = []
        at = 0
        for segment in pending.segments:
            end = at + len(segment.slots)
            segments.append(Segment(token_ids[at:end], slots[at:end], segment.first_position, segment.ancestors,
                                    segment.wants_logits))
            at = end
        runs = [KVRun(run.node, copied, run.first_position)
                for run, copied in zip(pending.batch.runs, pending.runs, strict=True)]
        pending.rows = self._inner.run(StepBatch(runs, segments))
        if pending.choices is not None:
            pending.chosen = choose(pending.choices, pending.rows)


def choose(choices: TokenChoices, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """By the host's own function, from the columns."""
    masks = dict(zip(choices.masked.tolist(), choices.masks, strict=True))
    found = []
    for number, row in enumerate(choices.rows.tolist()):
        options = SamplingOptions(temperature=float(choices.temperatures[number]), top_k=int(choices.top_k[number]),
                                  top_p=float(choices.top_p[number]), min_p=float(choices.min_p[number]))
        mask = None
        if number in masks:
            mask = np.unpackbits(masks[number], count=choices.vocabulary_size, bitorder="little").astype(bool)
        allowed = logits[row, : choices.vocabulary_size]
        found.append(choose_token(allowed, options, float(choices.uniforms[number]), mask))
    return np.array(found, np.int64)


def late_engine(runner: LateRunner, **options: object) -> StepEngine:
    given = {"kv_slots": 4096, "speculative_fills": False, **options}
    return StepEngine(runner, TOKENIZER, name="late", **given)  # type: ignore[arg-type]


def run(engine: StepEngine, ops: Sequence[Op], poison: int | None = None) -> tuple[Answers, EngineStats]:
    watch(engine, poison)
    answers = Answers()
    try:
        with engine.hold():
            submit(engine, ops, answers)
        answers.wait(sum(op.options is not None for op in ops))
        for i in range(len(ops)):
            engine.free_context(i + 1)
    finally:
        engine.close()
    engine.check_integrity()
    assert engine._tree.live_tokens == 0
    assert engine._overlap is None or not engine._overlap.loans.slots
    return answers, engine.stats()


ENGINES: dict[str, dict[str, object]] = {
    "default": {},
    "no-cache": {"prefix_cache": False},
    "one-row": {"max_batch": 1},
    "small-steps": {"max_step_tokens": 3, "page_size": 1},
    "speculative": {"speculative_fills": True, "max_step_tokens": 7, "page_size": 4},
}


@pytest.mark.parametrize("name", ENGINES)
@LAW
@given(ops=scenarios(), seed=st.integers(0, 99))
def test_answers_are_those_of_an_engine_that_waits(name: str, ops: list[Op], seed: int) -> None:
    wanted, synchronous = run(reference_engine(**{"kv_slots": 4096, **ENGINES[name]}), ops)  # type: ignore[arg-type]
    answers, stats = run(late_engine(LateRunner(seed), **ENGINES[name]), ops, poison=seed)
    assert answers.outcomes == wanted.outcomes == expected(ops)
    assert answers.streamed == wanted.streamed
    assert answers.pieces == wanted.pieces
    for counter in ("fills", "generates", "prompt_tokens", "generated_tokens"):
        assert getattr(stats, counter) == getattr(synchronous, counter)
    if name != "speculative":  # what is filled early depends on time
        assert stats.filled_tokens == synchronous.filled_tokens


@pytest.mark.parametrize("page_size, cache", [(1, True), (4, True), (8, False)])
@LAW
@given(ops=scenarios(), seed=st.integers(0, 99))
def test_answers_are_the_same_without_a_spare_page(page_size: int, cache: bool, ops: list[Op], seed: int) -> None:
    wanted = expected(ops)
    slots = -(-largest_context(ops, wanted) // page_size) * page_size
    engine = late_engine(LateRunner(seed), kv_slots=slots, page_size=page_size, prefix_cache=cache)
    assert run(engine, ops, poison=seed)[0].outcomes == wanted


@LAW
@given(ops=scenarios(), data=st.data())
def test_aborted_and_freed_calls_leave_nothing_behind(ops: list[Op], data: st.DataObject) -> None:
    engine = watch(late_engine(LateRunner(), kv_slots=256, page_size=4, max_step_tokens=9, prefix_cache=False))
    answers, wanted = Answers(), expected(ops)
    abort = {i for i in wanted if data.draw(st.booleans())}
    try:
        for i in range(len(ops)):
            submit_one(engine, ops, i, answers)
            if i in abort:
                engine.abort(i + 1)
        for i in range(len(ops)):
            engine.free_context(i + 1)
        answers.wait(len(wanted))
    finally:
        engine.close()
    engine.check_integrity()
    assert engine._tree.live_tokens == 0 and not engine._overlap.loans.slots  # type: ignore[union-attr]
    for i, outcome in answers.outcomes.items():
        assert isinstance(outcome, EngineError) or outcome == wanted[i]
        assert i in abort or isinstance(outcome, Generation) or "abort" in str(outcome) or "slots" in str(outcome)


def fixed(tokens: int) -> SamplingOptions:
    return SamplingOptions(tokens, ignore_eos=True)


def test_decoding_calls_are_a_step_ahead() -> None:
    """All steps but the prompt's, and those after which a call ends while another waits for its row."""
    runner = LateRunner()
    runner.random.random = lambda: 1.0  # type: ignore[method-assign]
    engine = late_engine(runner)
    ops = [Op(ROOT, PROMPT)]
    for i in range(4):
        ops += [Op(1, (600 + i, 700)), Op(2 + 2 * i, (), fixed(20 + i))]
    answers, stats = run(engine, ops)
    assert answers.outcomes == expected(ops)
    assert engine._overlap is not None and engine._overlap.steps_ahead >= 20
    assert runner.most_waiting == 2
    assert stats.generated_tokens == 20 + 21 + 22 + 23
    assert stats.filled_tokens == len(PROMPT) + 4 * 2 and stats.refilled_tokens == 0
    assert stats.peak_kv_tokens <= len(PROMPT) + 4 * 2 + 19 + 20 + 21 + 22


def test_steps_of_surplus_rows_only_are_not_counted() -> None:
    ops = [Op(ROOT, PROMPT), Op(1, (), SamplingOptions(30, stop=("e", "a", "o", " ")))]
    wanted, synchronous = run(reference_engine(kv_slots=4096), ops)
    answers, stats = run(late_engine(LateRunner()), ops)
    assert answers.outcomes == wanted.outcomes
    assert stats.engine_steps == synchronous.engine_steps and stats.batch_sizes == synchronous.batch_sizes


def test_rows_with_a_grammar_wait_for_their_token() -> None:
    runner = LateRunner()
    engine = late_engine(runner)
    ops = [Op(ROOT, PROMPT), Op(1, (), SamplingOptions(9, type=INT)), Op(1, (), fixed(4))]
    answers, _ = run(engine, ops)
    assert answers.outcomes == expected(ops) and engine._overlap is not None


def test_log_probabilities_come_from_logits() -> None:
    ops = [Op(ROOT, PROMPT), Op(1, (), SamplingOptions(6, logprobs=2)), Op(1, (), fixed(9))]
    assert run(late_engine(LateRunner()), ops)[0].outcomes == expected(ops)


def test_steps_ahead_can_be_left_out() -> None:
    runner = LateRunner()
    ops = [Op(ROOT, PROMPT), Op(1, (), fixed(9))]
    engine = late_engine(runner, overlap=False)
    assert run(engine, ops)[0].outcomes == expected(ops)
    assert engine._overlap is not None and engine._overlap.steps_ahead == 0 and runner.most_waiting == 1


def test_a_runner_that_cannot_be_handed_steps_is_waited_for() -> None:
    engine = reference_engine()
    engine.close()
    assert engine._overlap is None


@settings(max_examples=40, deadline=None)
@given(ops=scenarios(), fails=st.sets(st.integers(1, 12), min_size=1, max_size=2), seed=st.integers(0, 9))
def test_a_device_that_breaks_fails_the_calls_of_the_step(ops: list[Op], fails: set[int], seed: int) -> None:
    engine = watch(late_engine(LateRunner(seed, sorted(fails)), kv_slots=1024, page_size=4))
    answers, wanted = Answers(), expected(ops)
    try:
        with engine.hold():
            submit(engine, ops, answers)
        answers.wait(len(wanted))
        for i in range(len(ops)):
            engine.free_context(i + 1)
        later = Answers()
        engine.fill(PROMPT, 1000, ROOT)
        engine.generate(fixed(5), 1001, 1000, later.callbacks(0))
        later.wait(1)
    finally:
        engine.close()
    engine.check_integrity()
    for i, outcome in answers.outcomes.items():
        assert outcome == wanted[i] or "the device broke" in str(outcome)


def test_calls_come_and_go_while_others_decode() -> None:
    engine = watch(late_engine(LateRunner(3), page_size=4))
    answers, done = Answers(), threading.Event()
    ops = [Op(ROOT, PROMPT), *(Op(1, (), fixed(40)) for _ in range(3))]
    for i in range(12):
        ops += [Op(ROOT, (500 + i, 501, 502)), Op(len(ops) + 1, (), fixed(3 + i))]
    try:
        for i in range(len(ops)):
            submit_one(engine, ops, i, answers)
            done.wait(0.002)
        answers.wait(15)
    finally:
        engine.close()
    assert answers.outcomes == expected(ops)
