"""Greedy text of the whole engine equals plain `transformers` token for token, however contexts share and arrive."""

from collections.abc import Callable, Iterator

import pytest
import torch
from engine_models import EIGHT, WAYS, Answers, engine, greedy, random_tokens
from semlang.backend.engine import ROOT, Generation, SamplingOptions
from semlang.backend.model_runner import StepBatch
from semlang.backend.step_engine import StepEngine
from semlang.kernels.cpu.library import find_compiler

COUNT = 6
Tokens = tuple[int, ...]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def options(count: int = COUNT) -> SamplingOptions:
    return SamplingOptions(max_tokens=count, ignore_eos=True)


class Talk:
    """Calls of one engine with what their contexts hold, and the check of all answers."""

    def __init__(self, model: str, engine: StepEngine) -> None:
        self.model = model
        self.engine = engine
        self.answers = Answers()
        self.held: dict[int, Tokens] = {ROOT: ()}
        self.asked: dict[int, tuple[Tokens, int]] = {}

    def fill(self, tokens: Tokens, parent: int = ROOT) -> int:
        number = len(self.held)
        self.held[number] = self.held[parent] + tokens
        self.engine.fill(tokens, number, parent)
        return number

    def ask(self, parent: int, count: int = COUNT) -> int:
        number = len(self.held)
        self.held[number] = ()
        self.asked[number] = self.held[parent], count
        self.engine.generate(options(count), number, parent, self.answers.callbacks(number))
        return number

    def hear(self, number: int) -> int:
        """Wait for an answer, so that its context can go on; its number."""
        self.answers.wait(number)
        answer = self.answers.outcomes[number]
        assert isinstance(answer, Generation), answer
        self.held[number] = self.asked[number][0] + answer.kept_ids + answer.tail_ids
        return number

    def check(self) -> None:
        for number, (prompt, count) in self.asked.items():
            assert self.answers.tokens(number) == greedy(self.model, prompt, count)
        self.engine.check_integrity()


def unshared(talk: Talk) -> None:
    with talk.engine.hold():
        for seed, length in enumerate((1, 15, 40, 66)):
            talk.ask(talk.fill(random_tokens(seed, length)))


def one_shared_prefix(talk: Talk) -> None:
    with talk.engine.hold():
        prefix = talk.fill(random_tokens(10, 37))
        for seed, length in enumerate((0, 1, 8, 25)):
            talk.ask(talk.fill(random_tokens(20 + seed, length), prefix))


def three_levels(talk: Talk) -> None:
    with talk.engine.hold():
        root = talk.fill(random_tokens(30, 20))
        for seed, length in enumerate((9, 17)):
            middle = talk.fill(random_tokens(31 + seed, length), root)
            for leaf in (1, 5, 20):
                talk.ask(talk.fill(random_tokens(40 + leaf + seed, leaf), middle))


def fork_in_the_middle_of_a_page(talk: Talk) -> None:
    """What is found by its tokens ends inside pages; then two of the forks are forked again."""
    first = random_tokens(50, 45)
    talk.hear(talk.ask(talk.fill(first)))
    with talk.engine.hold():
        asked = [talk.ask(talk.fill(first))]
        for seed, length in enumerate((3, 21, 38)):
            asked.append(talk.ask(talk.fill(first[:length] + random_tokens(51 + seed, 7))))
        talk.ask(talk.fill(first[:21] + random_tokens(52, 7)[:3] + random_tokens(60, 4)))
    talk.answers.wait(*asked)
    assert talk.engine.stats().filled_tokens < talk.engine.stats().prompt_tokens - 60


def chat_over_rounds(talk: Talk) -> None:
    """Branches of one chat, each of which goes on from its own answers."""
    system = talk.fill(random_tokens(70, 23))
    branches = [system] * 3
    for turn in range(3):
        with talk.engine.hold():
            asked = [talk.ask(talk.fill(random_tokens(100 * turn + number, 3 + 4 * number), branch))
                     for number, branch in enumerate(branches)]
        branches = [talk.hear(number) for number in asked]


SHAPES: list[Callable[[Talk], None]] = [
    unshared, one_shared_prefix, three_levels, fork_in_the_middle_of_a_page, chat_over_rounds]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EIGHT)
def test_shapes_of_sharing(name: str, way: str) -> None:
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    for shape in SHAPES:
        talk = Talk(name, engine(name, way))
        try:
            shape(talk)
            talk.check()
        finally:
            talk.engine.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EIGHT)
def test_joining_while_others_decode(name: str, way: str) -> None:
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    talk = Talk(name, engine(name, way))
    run, steps = talk.engine._runner.run, 0

    def join(batch: StepBatch) -> object:
        """The fifth step finds a long prompt, a fork of what is decoding, and a prompt that shares its prefix."""
        nonlocal steps
        steps += 1
        if steps == 5:
            talk.ask(talk.fill(random_tokens(83, 70)))
            talk.ask(own)
            talk.ask(talk.fill(random_tokens(84, 9), prefix))
        return run(batch)

    try:
        with talk.engine.hold():
            talk.engine._runner.run = join  # type: ignore[method-assign, assignment]
            prefix = talk.fill(random_tokens(80, 30))
            own = talk.fill(random_tokens(81, 4), prefix)
            first = [talk.ask(own, 16), talk.ask(talk.fill(random_tokens(82, 20)), 16)]
        talk.answers.wait(*first)
        assert len(talk.asked) == 5
        talk.check()
    finally:
        talk.engine.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EIGHT)
def test_a_prefix_that_was_evicted_is_filled_again(name: str, way: str) -> None:
    """Nine pages hold one context and little more: one prefix is found by its tokens, another is referred to."""
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    talk = Talk(name, engine(name, way, kv_slots=144))
    try:
        found = random_tokens(90, 60)
        context = talk.fill(found)
        talk.engine.free_context(talk.hear(talk.ask(context)))
        talk.engine.free_context(context)
        kept = talk.fill(random_tokens(91, 50))
        talk.hear(talk.ask(kept))
        for seed in (92, 93):
            talk.hear(talk.ask(talk.fill(random_tokens(seed, 100))))
        with talk.engine.hold():
            talk.ask(talk.fill(found + random_tokens(94, 5)))
            for seed in (95, 96):
                talk.ask(talk.fill(random_tokens(seed, 9), kept))
        talk.check()
        stats = talk.engine.stats()
        assert stats.evicted_tokens > 0 and stats.preemptions > 0 and stats.refilled_tokens > 0
    finally:
        talk.engine.close()
