"""What the model is asked in training, and the answers: arguments of programs of predict.sem over made-up incidents."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from ..clean import cut_words
from ..prediction import LETTERS, shown
from .worlds import Incident, World

UNSEEN_SHARE = 0.15
"""Questions whose right answer is `Unseen incident`."""


@dataclass(frozen=True)
class Question:
    """One call of a semantic function: its arguments, and by output what a good model writes.

    `fits`: for each option in the order of the prompt whether it is the right one, where there are options.
    """

    function: str
    arguments: dict[str, Any]
    answers: dict[str, str]
    fits: tuple[bool, ...] = ()


def choose(rng: random.Random, length: float, most_options: int, error: float = 0.3) -> Question:
    """Which past incident has the same root cause, as `Choose` asks.

    Options mostly stand in the order of their likeness, as retrieval would show them; how far off it is: `error`.
    """
    world = World(rng.getrandbits(48), rng.randint(most_options + 1, most_options + 4))
    count = rng.randint(min(3, most_options - 1), most_options)
    truth = rng.randrange(len(world.categories))
    others = [i for i in range(len(world.categories)) if i != truth]
    unseen = rng.random() < UNSEEN_SHARE
    members = rng.sample(others, count) if unseen else [truth, *rng.sample(others, count - 1)]
    input_length = length * rng.uniform(0.3, 1.0)
    asked = world.incident(truth, input_length)
    past = [world.incident(member, length * rng.uniform(0.2, 1.0)) for member in members]
    if rng.random() < 1 - error * 4 / 3:
        past = [past[i] for i in by_likeness(asked.text, [incident.text for incident in past], rng, error)]
    else:
        rng.shuffle(past)
    summary = shown(asked.text)
    candidates = [{"letter": letter, "id": str(i), "category": world.categories[one.category].name,
                   "summary": shown(one.text), "similarity": 0.5}
                  for i, (letter, one) in enumerate(zip(LETTERS, past, strict=False))]
    fits = tuple(one.category == truth for one in past)
    letter = LETTERS[fits.index(True)] if True in fits else "A"
    rationale = reason(asked, past[fits.index(True)], world.categories[truth].name) if True in fits else refusal(asked)
    return Question("Choose", {"summary": summary, "candidates": candidates,
                               "letters": ["A", *(one["letter"] for one in candidates)]},
                    {"letter": letter, "rationale": rationale}, fits)


def by_likeness(text: str, others: list[str], rng: random.Random, error: float) -> list[int]:
    """Numbers of `others`, those first whose words, rare ones above all, are in `text`; not without error."""
    sets = [set(other.lower().split()) for other in others]
    seen = Counter(word for one in sets for word in one)
    own = set(text.lower().split())
    weights = {word: math.log(1 + (len(sets) + 1) / count) for word, count in seen.items()}
    likeness = [sum(weights[word] for word in one & own) / math.sqrt(1 + sum(weights[word] for word in one))
                for one in sets]
    return sorted(range(len(others)), key=lambda i: -likeness[i] * rng.uniform(1 - error, 1 + error))


def reason(asked: Incident, past: Incident, category: str) -> str:
    """Why an option was chosen: what both say that tells the category."""
    mine = asked.text.split()
    lower = [word.lower() for word in mine]
    runs = [SequenceMatcher(None, lower, sign.lower().split(), autojunk=False).find_longest_match()
            for sign in past.signs]
    best = max(runs, key=lambda run: run.size)
    if best.size < 3:
        return f"The input shows \"{cut_words(asked.signs[0], 12)}\", which fits {category}."
    return f"Both show \"{' '.join(mine[best.a:best.a + min(best.size, 12)])}\", which fits {category}."


def refusal(asked: Incident) -> str:
    """Why none was chosen."""
    return f"No option shows \"{cut_words(asked.signs[0], 12)}\"."


def choose_name(rng: random.Random, length: float, most_names: int) -> Question:
    """Which category, of names alone, as `ChooseName` asks."""
    world = World(rng.getrandbits(48), rng.randint(3, most_names))
    truth = rng.randrange(len(world.categories))
    asked = world.incident(truth, length * rng.uniform(0.3, 1.0))
    unseen = rng.random() < UNSEEN_SHARE
    known = sorted(category.name for i, category in enumerate(world.categories) if not (unseen and i == truth))
    answer = "Unseen incident" if unseen else world.categories[truth].name
    return Question("ChooseName", {"summary": shown(asked.text), "known": ["Unseen incident", *known]},
                    {"category": answer})


def name_cause(rng: random.Random, length: float) -> Question:
    """A name for what has not been seen, as `NameCause` asks."""
    world = World(rng.getrandbits(48), rng.randint(2, 5))
    truth = rng.randrange(len(world.categories))
    asked = world.incident(truth, length * rng.uniform(0.2, 1.0))
    known = [category.name for i, category in enumerate(world.categories) if i != truth]
    return Question("NameCause", {"summary": shown(asked.text), "known": known},
                    {"name": cut_words(world.categories[truth].name, 4)})


def summarise(rng: random.Random) -> Question:
    """A summary of 120 to 140 words: what is out of the ordinary first, each once, then what else there is."""
    parts: list[str] = []
    while sum(len(part.split()) for part in parts) < 130:
        world = World(rng.getrandbits(48), 3)
        asked = world.incident(rng.randrange(3), rng.uniform(1.4, 2.4))
        parts = list(dict.fromkeys([asked.noise[0], *asked.signs, *asked.noise[1:]]))
    chosen: list[str] = []
    for part in parts:
        chosen += part.split() if len(chosen) < 124 else []
    return Question("Summarise", {"diagnosis": asked.text}, {"summary": " ".join(chosen[:138])})
