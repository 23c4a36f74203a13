"""Made-up companies whose incidents a model learns from: no category, machine or message of theirs is in the samples.

A category is a fault of a component. What its incidents share are messages in which fault and component are told in one
of several ways; everything else, services, machines, chatter, lines that look like a reason, is shared across
categories. So what belongs together has to be found by comparing texts; knowing categories does not help.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ..clean import clean

_SLOT = re.compile(r"\{([cCsxhnw])\}")
_SIGNS = "bcdfghjklmnpqrstvwxz2456789"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Fault:
    """A kind of fault: its names, what logs say, what a report says."""

    names: tuple[str, ...]
    messages: tuple[str, ...]
    sentences: tuple[str, ...]


@lru_cache(1)
def faults() -> tuple[Fault, ...]:
    """All kinds of `faults.txt`."""
    rows = [line.split(" | ") for line in _lines("faults.txt")]
    return tuple(Fault(tuple(names.split(" / ")), tuple(messages.split("; ")), tuple(sentences.split("; ")))
                 for names, messages, sentences in rows)


@lru_cache(1)
def words() -> dict[str, tuple[str, ...]]:
    """The lists of `words.txt`."""
    return {name: tuple(entry.strip() for entry in rest.split(";"))
            for name, rest in (line.split(":", 1) for line in _lines("words.txt"))}


def _lines(name: str) -> list[str]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@dataclass(frozen=True)
class Category:
    """A fault of a component: its name, and the messages, sentences and measures that tell it."""

    name: str
    component: str
    messages: tuple[str, ...]
    sentences: tuple[str, ...]
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Incident:
    """What is known of one incident of `category` (its number in the world)."""

    category: int
    text: str
    """As predict.sem gets it: cleaned."""
    signs: tuple[str, ...]
    """The parts of `text` that tell the category."""
    noise: tuple[str, ...]
    """The other parts, in their order."""
    service: str


class World:
    """A company: services, machines and categories. Equal seeds make equal worlds, and incidents in equal order."""

    def __init__(self, seed: int, categories: int) -> None:
        self.random = rng = random.Random(seed)
        self.services = [self.coin(rng.randint(2, 3)) + rng.choice(["", "", "-api", "-core", "-hub", "d"])
                         for _ in range(rng.randint(2, 6))]
        self.hosts = [f"{rng.choice(words()['places'])}-{rng.randint(1, 99)}" for _ in range(5)]
        self.terms = [self.coin(rng.randint(1, 3)) for _ in range(10)]
        self.style = rng.choices(("logs", "report", "measures"), (0.66, 0.24, 0.10))[0]
        self.table = rng.choice(words()["tables"])
        self.herrings = rng.sample(words()["herrings"], 4)
        self.chatter = rng.sample(words()["chatter"], 8)
        self.categories: list[Category] = []
        components = rng.sample(words()["components"], rng.randint(2, categories))
        kinds = rng.sample(range(len(faults())), rng.randint(max(2, categories // 2), categories))
        while len(self.categories) < categories:
            if rng.random() < 0.1:  # so that there are always names enough
                components.append(rng.choice(words()["components"]))
                kinds.append(rng.randrange(len(faults())))
            category = self.invent(rng.choice(components), faults()[rng.choice(kinds)])
            # Names say which is which: none is part of another's.
            if not any(category.name in known.name or known.name in category.name for known in self.categories):
                self.categories.append(category)

    def coin(self, syllables: int) -> str:
        """A word that means nothing."""
        rng = self.random
        word = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables))
        return word + rng.choice(_CONSONANTS)

    def invent(self, component: str, fault: Fault) -> Category:
        """A category; one in four is about words that no list holds."""
        rng = self.random
        if rng.random() < 0.25:
            component = f"{self.coin(2)} {rng.choice(component.split())}"
        name = rng.choice(fault.names)
        shape = rng.random()
        name = name if shape < 0.35 else f"{component} {name}" if shape < 0.7 else f"{name} of {component}"
        own = {"c": component, "C": "".join(map(str.capitalize, component.split())), "w": self.coin(2)}
        messages = rng.sample(fault.messages, rng.randint(2, len(fault.messages)))
        return Category(name, component, tuple(self.fill(text, own, keep="xhn") for text in messages),
                        tuple(self.fill(text, own) for text in fault.sentences),
                        tuple(rng.sample(words()["metrics"], 3)))

    def fill(self, text: str, own: dict[str, str] | None = None, keep: str = "") -> str:
        """`text` with every slot filled, save those in `keep`."""
        rng = self.random

        def value(match: re.Match[str]) -> str:
            slot = match[1]
            if own is not None and slot in own:
                return own[slot]
            if slot in keep:
                return match[0]
            match slot:
                case "n":
                    return str(rng.randint(2, 9999))
                case "h":
                    return rng.choice(self.hosts)
                case "w":
                    return rng.choice(self.terms)
                case _:
                    return rng.choice(self.services)
        return _SLOT.sub(value, text)

    def incident(self, category: int, length: float) -> Incident:
        """An incident; `length` (0 to 1) is how much there is beside what tells the category."""
        rng, kind = self.random, self.categories[category]
        service = rng.choice(self.services)
        tellers = kind.sentences if self.style == "report" else kind.messages
        own = {"c": kind.component, "s": service}
        if self.style == "measures":
            signs = [self.measure(metric, "up") for metric in kind.measures]
            noise = [self.measure(metric, rng.choice(["up", "down"]))
                     for metric in rng.sample(words()["metrics"], 2 + int(8 * length))]
        else:
            told = rng.sample(tellers, rng.randint(1, min(2, len(tellers))))
            signs = [self.line(rng.choice(words()["bad" if rng.random() < 0.8 else "mild"]), self.fill(text, own))
                     for text in told]
            noise = [self.line(rng.choice(words()["levels"]), self.fill(rng.choice(self.chatter), own))
                     for _ in range(int(rng.uniform(0.3, 1.0) * 22 * length))]
            count = min(len(self.herrings), rng.randint(0, 1 + int(2 * length)))
            noise += [self.line(rng.choice(words()["mild" if rng.random() < 0.7 else "bad"]), self.fill(text, own))
                      for text in rng.sample(self.herrings, count)]
        repeated = [sign for sign in signs for _ in range(rng.choice([1, 1, 1, 2, 3]) if length > 0.2 else 1)]
        lines = [*repeated, *noise]
        rng.shuffle(lines)
        head = [self.fill(rng.choice(words()["titles" if rng.random() < 0.5 else "symptoms"]), own)]
        if length > 0.3 and rng.random() < 0.5:
            head.append(self.fill(self.table, own))
        if length > 0.35:
            head += [self.listing() for _ in range(rng.randint(0, 1 + int(2 * length)))]
        return Incident(category, clean("\n".join([*head, *lines])), tuple(clean(sign) for sign in signs),
                        tuple(clean(line) for line in [*head, *noise]), service)

    def listing(self) -> str:
        """A line about an instance, whose name is mostly signs that mean nothing."""
        rng = self.random
        ends = ["".join(rng.choices(_SIGNS, k=size)) for size in (rng.randint(6, 10), 5)]
        return f"{rng.choice(self.services)}-{ends[0]}-{ends[1]} {rng.choice(words()['states'])} {rng.randint(1, 99)}d"

    def measure(self, metric: str, direction: str) -> str:
        """An alert of a metric."""
        return f"{self.random.choice(self.services)} {metric} {direction}"

    def line(self, level: str, text: str) -> str:
        """A line of a log, or a sentence of a report."""
        if self.style == "report":
            return text[0].upper() + text[1:] + "."
        return f"{level.upper()} {text}"
