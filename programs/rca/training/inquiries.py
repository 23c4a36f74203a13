"""Questions about what was collected of a made-up incident: those of confidence.sem and explain.sem, with answers.

Incident and evidence are told by the functions that tell real ones (digest.py, quoting.py).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from ..clean import cut_words
from ..digest import evidence_text, incident_text
from ..quoting import quoted
from .questions import Question
from .worlds import Incident, World, faults, words

RATINGS = {"fits": ((7, 1), (8, 2), (9, 4), (10, 3)), "open": ((3, 1), (4, 2), (5, 2)),
           "contradicts": ((0, 4), (1, 3), (2, 2))}
"""Ratings with their weights: of a cause that the evidence shows, that nothing speaks for, that it speaks against."""
BELOW = frozenset({"kernel panic", "firmware fault", "power loss", "cut fibre", "routing loop", "overheating",
                   "clock drift", "capacity shortfall", "exhausted addresses", "surge of demand"})
"""Faults, by their first names, of what an application runs on."""
LOST = ("no answer in time", "access refused", "source unreachable")


@dataclass(frozen=True)
class Case:
    """What was collected: how prompts show it, and what a good model knows of it.

    `sign`: what tells the cause, "" where nothing does; `place`: the number of the evidence that holds it.
    """

    incident: str
    evidence: str
    category: str
    others: tuple[str, ...]
    sign: str
    place: int
    plain: tuple[str, ...]
    lost: bool
    calm: bool
    below: bool
    title: str

    @property
    def shown(self) -> dict[str, str]:
        """The arguments that all questions share."""
        return {"incident": quoted(self.incident, 2000), "evidence": quoted(self.evidence, 8000)}


def case(rng: random.Random) -> Case:
    """Two to four pieces of evidence; in three of five cases one of them tells the cause."""
    world = World(rng.getrandbits(48), 4)
    world.style = "logs"
    number = rng.randrange(4)
    asked = world.incident(number, rng.uniform(0.1, 0.5))
    told, calm = rng.random() < 0.6, rng.random() < 0.3
    pieces, steps = [], []
    count = rng.randint(2, 4)
    at = rng.randrange(count)
    lost = False
    for place in range(count):
        if place == at:
            lines = list(asked.signs if told else ()) + list(asked.noise[1:4])
            rng.shuffle(lines)
            piece, result = log(world, lines), ("something is wrong" if told else "nothing of note")
        elif not calm and rng.random() < 0.25:
            piece, result = missing(world), "not known"
            lost = True
        else:
            high = not calm and rng.random() < 0.4
            piece, result = series(world, high), "raised" if high else "usual"
        pieces.append(piece | {"id": f"E{place + 1}"})
        steps.append({"action": rng.choice(words()["checks"]), "result": result, "evidence": [f"E{place + 1}"]})
    title = world.fill(rng.choice(words()["titles"]), {"s": asked.service})
    incident = {"kind": "".join(map(str.capitalize, title.replace("-", " ").split()[:3])), "title": title,
                "scope": f"service {world.coin(1)}/{asked.service}", "time": "", "description": asked.noise[0],
                "severity": rng.choice(["critical", "high", "warning"])}
    conclusion = asked.signs[0].split(" ", 1)[1] if told and rng.random() < 0.5 else "nothing was settled"
    return Case(incident_text(incident, steps, conclusion, world.coin(2)), evidence_text(steps, pieces),
                world.categories[number].name, tuple(c.name for i, c in enumerate(world.categories) if i != number),
                asked.signs[0] if told else "", at + 1, herrings(asked), lost, calm and not told,
                any(name in world.categories[number].name for fault in faults() if fault.names[0] in BELOW
                    for name in fault.names), title)


def herrings(asked: Incident) -> tuple[str, ...]:
    """Lines that tell nothing."""
    return asked.noise[1:] or asked.noise


def log(world: World, lines: list[str]) -> dict[str, Any]:
    """A piece of evidence that holds lines."""
    service = world.random.choice(world.services)
    return {"source": "journal", "query": f"lines of {service}", "outcome": "ok", "table": {}, "text": "\n".join(lines)}


def series(world: World, high: bool) -> dict[str, Any]:
    """A piece of evidence that is a measure."""
    rng = world.random
    low = rng.uniform(1, 400)
    top = low * (rng.uniform(4, 30) if high else rng.uniform(1.0, 1.2))
    table = {"max": f"{top:.4g}", "min": f"{low:.4g}", "first": f"{low * 1.02:.4g}", "last": f"{top * 0.97:.4g}"}
    return {"source": "meters", "query": f"{rng.choice(words()['metrics'])} of {rng.choice(world.services)}",
            "outcome": "ok", "table": table, "text": ""}


def missing(world: World) -> dict[str, Any]:
    """A piece of evidence that could not be had."""
    rng = world.random
    return {"source": rng.choice(["journal", "meters"]), "query": f"lines of {rng.choice(world.services)}",
            "outcome": rng.choice(["timeout", "denied", "error"]), "table": {}, "text": rng.choice(LOST)}


def judge(rng: random.Random) -> Question:
    """Whether the evidence suffices, and how well it supports a cause: `Judge`, then `Rate`."""
    known = case(rng)
    right = rng.random() < 0.55
    cause = known.category if right else rng.choice(known.others)
    if known.sign:
        analysis = f"E{known.place} shows \"{cut_words(known.sign, 12)}\"."
        kind = "fits" if right else "contradicts"
    else:
        analysis = "Nothing tells the cause" + ("; a source is missing." if known.lost else ".")
        kind = "open"
    values, weights = zip(*RATINGS[kind], strict=True)
    stated = cause + ": " + (known.sign.split(" ", 1)[1] if known.sign and right else "nothing was settled")
    return Question("Judge", {**known.shown, "cause": quoted(stated, 600)},
                    {"analysis": analysis, "suffices": "yes" if known.sign else "no",
                     "rating": str(rng.choices(values, weights)[0])})


def assess(rng: random.Random) -> Question:
    """Whether there is a fault and where: `Assess`."""
    known = case(rng)
    verdict = "fault" if known.sign else "false alarm" if known.calm else "unclear"
    layer = ("infrastructure" if known.below else "application") if known.sign else "unclear"
    return Question("Assess", known.shown, {"verdict": verdict, "layer": layer})


def state(rng: random.Random) -> Question:
    """Claims with the numbers of their evidence: `State`."""
    known = case(rng)
    asked = rng.choice(QUESTIONS)
    claims = []
    if asked == QUESTIONS[0] and known.sign:
        claims = [(known.place, known.sign)]
    elif asked == QUESTIONS[2]:
        claims = [(known.place, known.title)]
    elif asked == QUESTIONS[3] and known.sign:
        claims = [(known.place, known.sign), (known.place, known.title)]
    text = json.dumps([{"evidence": [place], "claim": cut_words(claim, 10)} for place, claim in claims],
                      ensure_ascii=False, separators=(",", ":"))
    cause = f"{known.category}: nothing was settled"
    return Question("State", {**known.shown, "cause": quoted(cause, 600), "question": asked}, {"claims": text})


def verify(rng: random.Random) -> Question:
    """Whether a piece of evidence shows a claim: `Verify`."""
    known = case(rng)
    shown = bool(known.sign) and rng.random() < 0.6
    claim = known.sign if shown else rng.choice(known.others)
    place = known.place
    if shown and rng.random() < 0.2:
        place, shown = place + 1, False
    return Question("Verify", {**known.shown, "claim": quoted(cut_words(claim, 12), 300), "cited": f"E{place}"},
                    {"shown": "yes" if shown else "no"})


QUESTIONS = (
    "What is the root cause?",
    "What else contributed to it?",
    "What are the symptoms?",
    "What led from the cause to the symptoms, in order of time?",
    "What other causes are possible?",
)
"""Those of explain.sem."""
