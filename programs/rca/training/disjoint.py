"""`python -m semlang.programs.rca.training.disjoint [FILE.jsonl …]`: what training and evaluation have in common.

Compared are runs of words, of category names two, of all that an incident says four, and names of services and hosts.
Runs are taken from a sample of what the generator can write. FILEs are further labelled incidents to compare with.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..labelled import read_labelled
from .inquiries import case
from .worlds import World, faults, words

WORLDS = 600
NAME_WORDS, TEXT_WORDS = 2, 4
SAMPLES = Path(__file__).parents[1] / "samples"
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Wording:
    """Runs of words in category names, in texts, and names of services and machines."""

    categories: frozenset[tuple[str, ...]]
    texts: frozenset[tuple[str, ...]]
    names: frozenset[str]

    def common(self, other: Wording) -> dict[str, list[str]]:
        """What both hold, sorted."""
        return {"categories": sorted(map(" ".join, self.categories & other.categories)),
                "texts": sorted(map(" ".join, self.texts & other.texts)), "names": sorted(self.names & other.names)}


def runs(texts: Iterable[str], length: int) -> frozenset[tuple[str, ...]]:
    """All runs of so many words."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        for line in text.lower().split("\n"):
            parts = _WORD.findall(line)
            found.update(tuple(parts[i:i + length]) for i in range(len(parts) - length + 1))
    return frozenset(found)


def of_training(seed: int = 11, worlds: int = WORLDS) -> Wording:
    """What incidents of so many worlds hold, and every name and message of the lists."""
    names, categories, texts = set(words()["places"]), set[str](), set[str]()
    for number in range(worlds):
        rng = random.Random(f"{seed}/disjoint/{number}")
        world = World(rng.getrandbits(48), 6)
        names.update(world.services)
        names.update(world.hosts)
        categories.update(category.name for category in world.categories)
        texts.update(world.incident(i, rng.random()).text for i in range(6))
        collected = case(rng)
        texts.update((collected.incident, collected.evidence))
    for fault in faults():
        categories.update(fault.names)
        texts.update((*fault.messages, *fault.sentences))
    categories.update(words()["components"])
    return Wording(runs(categories, NAME_WORDS), runs(texts, TEXT_WORDS), frozenset(names))


def of_samples() -> Wording:
    """What the sample incidents hold: alerts, telemetry, and the truth about them."""
    from ..samples.scene import SERVICES

    truths = [json.loads(line) for line in (SAMPLES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [file.read_text(encoding="utf-8").replace("\\n", "\n")
             for folder in ("alerts", "telemetry") for file in sorted((SAMPLES / folder).iterdir())]
    names = {name for services in SERVICES.values() for name in services} | set(SERVICES)
    names |= {found for text in texts for found in re.findall(r"worker-\d+", text)}
    return Wording(runs({truth["category"] for truth in truths}, NAME_WORDS),
                   runs([*texts, *(truth["cause"] for truth in truths)], TEXT_WORDS), frozenset(names))


def of_file(path: str) -> Wording:
    """What labelled incidents hold."""
    incidents = read_labelled(path).incidents
    return Wording(runs({incident.category.replace("_", " ") for incident in incidents}, NAME_WORDS),
                   runs([text for incident in incidents for text in incident.parts.values()], TEXT_WORDS), frozenset())


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is common; 1 where anything is."""
    flags = argparse.ArgumentParser(prog="disjoint", description=(__doc__ or "").split("\n")[0])
    flags.add_argument("files", nargs="*", metavar="FILE.jsonl")
    training, code = of_training(), 0
    files: list[str] = flags.parse_args(argv).files
    for name, other in [("samples", of_samples()), *((file, of_file(file)) for file in files)]:
        common = training.common(other)
        print(json.dumps({"with": name, **common}, ensure_ascii=False))
        code |= any(common.values())
    return code


if __name__ == "__main__":
    sys.exit(main())
