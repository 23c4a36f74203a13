"""Steps that follow from the one before are those that planning from the start gives, and they are what decoding is."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.reference import reference_engine
from semlang.backend.scheduler import Scheduler
from semlang.backend.step_engine import StepEngine

Described = list[tuple[list[int], list[int], int, list[int], bool]]


def described(batch: StepBatch) -> Described:
    """What each segment is and reads, whatever the runs are."""
    return [(s.token_ids.tolist(), s.slots.tolist(), s.first_position,
             [slot for run in s.ancestors for slot in batch.runs[run].slots.tolist()], s.wants_logits)
            for s in batch.segments]


class Recorder:
    """The steps of an engine, and the answers of its calls."""

    def __init__(self, engine: StepEngine) -> None:
        self.engine = engine
        self.steps: list[Described] = []
        self.followed = 0
        self.live: list[int] = []
        self.answers: dict[int, Generation | EngineError] = {}
        self.used: list[tuple[int, ...]] = []
        self._done = threading.Semaphore(0)
        run = engine._runner.run

        def recorded(batch: StepBatch) -> NDArray[np.float32]:
            self.steps.append(described(batch))
            self.followed += batch.age > 0
            assert batch.token_ids.tolist() == [t for s in batch.segments for t in s.token_ids.tolist()]
            assert batch.slots.tolist() == [t for s in batch.segments for t in s.slots.tolist()]
            assert batch.positions.tolist() == [
                s.first_position + i for s in batch.segments for i in range(len(s.token_ids))]
            return run(batch)

        engine._runner.run = recorded  # type: ignore[method-assign]

    def generate(self, number: int, parent: int, options: SamplingOptions, **others: Any) -> None:
        def settle(answer: Generation | EngineError) -> None:
            self.answers[number] = answer
            self.engine.check_integrity()
            self._done.release()

        self.engine.generate(options, number, parent, Callbacks(settle, settle), **others)

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self._done.acquire(timeout=30)
        last_used = [(node.id, node.last_used >> 24) for node in self.engine._tree.nodes()]
        self.used.append(tuple(used for _, used in sorted(last_used)))


def forest(recorder: Recorder) -> None:
    """Calls of several lengths below shared prompts, in two waves; the second finds what the first left."""
    engine = recorder.engine
    for wave in (0, 1):
        with engine.hold():
            for i in range(7):
                base = 100 + 100 * wave + i
                engine.fill([500 + i % 2] * 20, 1000 + base, ROOT)
                engine.fill([600 + i], 2000 + base, 1000 + base)
                recorder.generate(base, 2000 + base, SamplingOptions(5 + 9 * i, ignore_eos=True),
                                  priority=Priority("ab"[i % 2], batch=(None, 3)[i % 2]))
        recorder.wait(7)
        for i in range(7):
            for context in (100 + 100 * wave + i, 1100 + 100 * wave + i, 2100 + 100 * wave + i):
                engine.free_context(context)


ENGINES: dict[str, dict[str, Any]] = {
    "default": {}, "few rows": {"max_batch": 3}, "no cache": {"prefix_cache": False}, "small pages": {"page_size": 3},
    "little memory": {"kv_slots": 160, "page_size": 4}, "traced": {"trace": True},
    "speculative": {"speculative_fills": True},
}


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_steps_as_planned_from_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders = []
    for steady in (True, False):
        if not steady:
            monkeypatch.setattr(Scheduler, "_go_on", lambda self, rows, before: False)
        engine = reference_engine(**ENGINES[name])
        recorder = Recorder(engine)
        try:
            forest(recorder)
        finally:
            engine.close()
        recorders.append(recorder)
    fast, slow = recorders
    assert slow.followed == 0
    assert fast.followed > (len(fast.steps) / 4 if name != "little memory" else 0)
    assert fast.answers == slow.answers
    assert fast.steps == slow.steps, "another step"
    assert fast.used == slow.used, "the cache forgets in another order"
    assert vars(fast.engine.stats()) == vars(slow.engine.stats())


def test_a_step_that_fails_ends_what_followed() -> None:
    engine = reference_engine()
    recorder = Recorder(engine)
    run = engine._runner.run

    def failing(batch: StepBatch) -> NDArray[np.float32]:
        if batch.age == 5:
            raise MemoryError("too much")
        return run(batch)

    engine._runner.run = failing  # type: ignore[method-assign]
    try:
        engine.fill([500] * 20, 1, ROOT)
        recorder.generate(2, 1, SamplingOptions(20, ignore_eos=True))
        recorder.wait(1)
        assert "too much" in str(recorder.answers[2])
        recorder.generate(3, 1, SamplingOptions(4, ignore_eos=True))
        recorder.wait(1)
        assert isinstance(recorder.answers[3], Generation)
        engine.check_integrity()
    finally:
        engine.close()


def test_following_steps_read_what_was_written() -> None:
    first = StepBatch((KVRun(0, np.arange(3), 0),), (
        Segment(np.array([5]), np.array([3]), 3, (0,), True), Segment(np.array([6]), np.array([9]), 3, (0,), True)))
    assert first.can_be_followed and first.wanted.tolist() == [0, 1]
    step = first
    for age in range(1, 30):
        step = step.following(np.array([age, -age]), np.array([10 + age, 100 + age]))
    assert step.chain is first.chain and step.age == 29
    assert step.positions.tolist() == [32, 32]
    one, two = described(step)
    assert one == ([29], [39], 32, [0, 1, 2, 3, *range(11, 39)], True)
    assert two == ([-29], [129], 32, [0, 1, 2, 9, *range(101, 129)], True)
    assert step.chain.slots_between(28, 30).tolist() == [[38, 128], [39, 129]]
    assert not StepBatch((), (Segment(np.arange(2), np.arange(2), 0, (), True),)).can_be_followed
    assert not StepBatch((), (Segment(np.arange(1), np.arange(1), 0, (), False),)).can_be_followed
