"""Batches of lessons, each a function of the seed and the number of its step, so that training can go on anywhere."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ....ir.target import Tokenizer
from .inquiries import assess, judge, state, verify
from .questions import Question, choose, choose_name, name_cause, summarise
from .teacher import Lesson, Teacher

SIZES = {128: 48, 256: 24, 512: 12, 768: 8}
"""Lessons of a batch by the tokens that each may have."""
SHAPES = {128: (0.05, 0, 4), 256: (0.03, 3, 0), 512: (0.4, 5, 0), 768: (1.2, 5, 24)}
"""By size: how long texts get, most options, most names."""
TRIES = 6
"""How often a question that became too long is asked with shorter texts, before there is another."""
MOST_MISSES = 1000


@dataclass(frozen=True)
class Stage:
    """A part of the course, from step `begin` on: how often each size comes, whether all is asked or choices only."""

    begin: int
    sizes: dict[int, int]
    all_is_asked: bool = True
    error: float = 0.3
    """How far options are from the order that retrieval gives them; see `questions.choose`."""
    choice: float = 1.0
    """The weight of the first token of a choice; see `train.py`."""


COURSE = (Stage(0, {128: 2, 256: 8}, all_is_asked=False),
          Stage(300, {256: 7, 512: 3}, all_is_asked=False, error=0.1, choice=4.0))
"""Short choices first, which teach to compare; the time of long ones is better spent once that is there."""
INQUIRIES = ((0.18, judge), (0.26, state), (0.34, assess), (0.42, verify))
"""Of lessons of 512 tokens: up to which share of them each is asked, once all is asked."""


@dataclass(frozen=True)
class Batch:
    """Lessons that begin together, and what is known of their tokens.

    `ends`: by lesson the positions where options end, in the order of `fits` of the question.
    `echoes` [lessons, tokens, 3]: whether a token is in the part that is to be compared with, whether it and the one
    before are, and whether the two stood together before; -1 where it does not matter.
    `choice`: the weight of a choice.
    """

    tokens: int
    lessons: tuple[Lesson, ...]
    questions: tuple[Question, ...]
    ends: tuple[tuple[int, ...], ...]
    echoes: NDArray[np.int8]
    choice: float


def stage_of(step: int) -> Stage:
    """The part of the course that a step is in."""
    return COURSE[bisect_right([stage.begin for stage in COURSE], step) - 1]


def size_of(step: int, seed: int) -> int:
    """How many tokens a lesson of the step may have."""
    sizes = stage_of(step).sizes
    return random.Random(f"{seed}/size/{step}").choices(list(sizes), list(sizes.values()))[0]


def question(rng: random.Random, tokens: int, stage: Stage, shorter: float) -> Question:
    """One for a lesson of about so many tokens; `shorter` is at most 1."""
    length, options, names = SHAPES[tokens]
    length *= shorter
    kind = rng.random()
    if tokens == 128:
        return choose_name(rng, length, names) if kind < 0.65 else name_cause(rng, length)
    if tokens == 512 and stage.all_is_asked:
        for share, ask in INQUIRIES:
            if kind < share:
                return ask(rng)
    if tokens > 512 and kind < 0.3:
        return summarise(rng) if kind < 0.2 else choose_name(rng, length, names)
    return choose(rng, length, options, stage.error)


def batch(teacher: Teacher, tokenizer: Tokenizer, step: int, seed: int) -> Batch:
    """The batch of a step."""
    tokens = size_of(step, seed)
    rng = random.Random(f"{seed}/batch/{step}")
    lessons, questions, misses = list[Lesson](), list[Question](), 0
    while len(lessons) < SIZES[tokens]:
        one = rng.getrandbits(48)
        for tried in range(TRIES):
            asked = question(random.Random(one), tokens, stage_of(step), 1.0 - tried / TRIES)
            lesson = teacher.lesson(asked)
            if len(lesson.ids) <= tokens:
                lessons.append(lesson)
                questions.append(asked)
                break
        else:
            misses += 1
        if misses > MOST_MISSES:
            raise ValueError(f"lessons do not fit into {tokens} tokens of this tokenizer")
    pairs = list(zip(lessons, questions, strict=True))
    echoes = np.full((len(lessons), tokens, 3), -1, dtype=np.int8)
    for row, (lesson, asked) in enumerate(pairs):
        echoes[row, :len(lesson.ids)] = echoes_in(tokenizer, lesson, asked)
    ends = tuple(ends_of_options(tokenizer, lesson, asked) for lesson, asked in pairs)
    return Batch(tokens, tuple(lessons), tuple(questions), ends, echoes, stage_of(step).choice)


def ends_of_options(tokenizer: Tokenizer, lesson: Lesson, asked: Question) -> tuple[int, ...]:
    """Positions of the last tokens of the options of `Choose`."""
    if not asked.fits:
        return ()
    text, ends = text_and_ends(tokenizer, lesson)
    found, at = [], text.index(b"\n\nOptions:\n")
    for candidate in asked.arguments["candidates"]:
        ending = f" category: {candidate['category']}.\n".encode()
        at = text.index(ending, at) + len(ending)
        found.append(bisect_right(ends, at - 1))
    return tuple(found)


def echoes_in(tokenizer: Tokenizer, lesson: Lesson, asked: Question) -> NDArray[np.int8]:
    """See `Batch`; [tokens, 3]."""
    ids = np.array(lesson.ids)
    before = np.concatenate([[-1], ids[:-1]])
    couples = before * (1 << 20) + ids
    found = np.full((len(ids), 3), -1, dtype=np.int8)
    first = np.unique(couples, return_index=True)[1]
    found[:, 2] = 1
    found[first, 2] = 0
    if asked.function in BORDERS:
        text, ends = text_and_ends(tokenizer, lesson)
        a, b, c = (bisect_right(ends, text.index(border)) for border in BORDERS[asked.function])
        found[b:c, 0] = np.isin(ids[b:c], ids[a:b])
        found[b:c, 1] = np.isin(couples[b:c], couples[a + 1:b])
    return found


BORDERS = {"Choose": (b"\nInput: ", b"\nOptions:", b"\nAnswer:"),
           "ChooseName": (b"\nCategories:", b"\nInput: ", b"\nCategory:")}
"""Where the part that is compared with begins, where it ends and the other part begins, and where that ends."""


def text_and_ends(tokenizer: Tokenizer, lesson: Lesson) -> tuple[bytes, list[int]]:
    """The bytes of a lesson, and how many of them there are up to each token's end."""
    parts = [tokenizer.token_bytes(token) for token in lesson.ids]
    return b"".join(parts), list(accumulate(map(len, parts)))
