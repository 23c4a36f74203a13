"""Traffic for clusters: random applications of the shapes that Parrot's workloads have, or requests from a trace."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

from ..engine import Priority
from .applications import COMMON, ApplicationShape, CallShape

ASSISTANTS = 64
"""Assistants with long instructions of their own; some are asked far more often than others."""
CHAIN, MAP, JOIN, AGENTS = range(ASSISTANTS, ASSISTANTS + 4)
BLOCK_TOKENS = 512
"""Tokens of one block of prefix in the traces of Mooncake."""
URGENT = Priority(objective="latency")


class TraceError(ValueError):
    """A trace cannot be read; the message is for users."""


class Traffic:
    """Draws applications from a seed. `round_trip`: seconds of a client's round trip before each wave of calls."""

    def __init__(self, seed: int, *, round_trip: float = 0.0) -> None:
        self._chance = random.Random(seed)
        self._keys = count(COMMON)
        self._round_trip = round_trip
        chance = random.Random(seed)
        lengths = [chance.lognormvariate(7.2, 0.8) for _ in range(ASSISTANTS)]
        self._instructions = [round(min(7000.0, max(200.0, length))) for length in lengths]
        self._popularity = [1 / (rank + 1) for rank in range(ASSISTANTS)]
        self._shapes: list[Callable[[float], ApplicationShape]] = [
            self._assistant, self._chain, self._map_reduce, self._agents]

    def poisson(self, calls: int, rate: float) -> Iterator[ApplicationShape]:
        """Applications that arrive at random, `rate` each second, until they have `calls` calls (or a few more)."""
        time, made = 0.0, 0
        while made < calls:
            time += self._chance.expovariate(rate)
            shape = self._chance.choices(self._shapes, (82, 6, 6, 6))[0](time)
            made += len(shape.calls)
            yield shape

    def _length(self, mean: float, most: int) -> int:
        return max(1, min(most, round(self._chance.lognormvariate(0.0, 0.6) * mean * 0.835)))

    def _assistant(self, arrival: float) -> ApplicationShape:
        """One question to one of the assistants."""
        number = self._chance.choices(range(ASSISTANTS), self._popularity)[0]
        segments = ((number, self._instructions[number]), (next(self._keys), self._length(150, 1000)))
        call = CallShape(segments, next(self._keys), self._length(200, 800), (), URGENT, self._round_trip)
        return ApplicationShape(arrival, (call,), "assistant")

    def _chain(self, arrival: float) -> ApplicationShape:
        """A document part by part; each prompt holds the summary before it."""
        calls, summary = [], 0
        parts = self._chance.randint(6, 14)
        for number in range(parts):
            output = next(self._keys)
            before = ((next(self._keys), summary),) if summary else ()
            segments = ((CHAIN, 150), *before, (next(self._keys), 340))
            summary = self._length(60, 120)
            priority = Priority(depth=parts - 1 - number, objective="latency")
            calls.append(CallShape(segments, output, summary, (number - 1,) if number else (), priority,
                                   self._round_trip))
        return ApplicationShape(arrival, tuple(calls), "chain")

    def _map_reduce(self, arrival: float) -> ApplicationShape:
        """The parts of a document side by side, then one call over all summaries."""
        parts = self._chance.randint(8, 24)
        lengths = [self._length(60, 120) for _ in range(parts)]
        maps = [CallShape(((MAP, 125), (next(self._keys), 340)), next(self._keys), length, (),
                          Priority("map", 1), self._round_trip) for length in lengths]
        join = CallShape(((JOIN, 60), (next(self._keys), sum(lengths))), next(self._keys), self._length(120, 240),
                         tuple(range(parts)), Priority("join", 0), self._round_trip)
        return ApplicationShape(arrival, (*maps, join), "map-reduce")

    def _agents(self, arrival: float) -> ApplicationShape:
        """Four agents in three rounds; the prompts of a round begin alike, and each round sees the one before."""
        calls: list[CallShape] = []
        needs: tuple[int, ...] = ()
        written = 0
        for number in range(3):
            shared = ((AGENTS, 1500), (next(self._keys), 400 + written))
            lengths = [self._length(250, 600) for _ in range(4)]
            for length in lengths:
                calls.append(CallShape((*shared, (next(self._keys), 70)), next(self._keys), length, needs,
                                       Priority(f"round {number}", 2 - number, "latency"), self._round_trip))
            needs = tuple(range(len(calls) - 4, len(calls)))
            written = sum(lengths)
        return ApplicationShape(arrival, tuple(calls), "agents")


def as_programs(applications: Iterator[ApplicationShape]) -> Iterator[ApplicationShape]:
    """The same applications as whole programs: one round trip for each, none between its calls."""
    for shape in applications:
        calls = tuple(
            call if not call.needs else CallShape(call.segments, call.output, call.tokens, call.needs, call.priority)
            for call in shape.calls)
        yield ApplicationShape(shape.arrival, calls, shape.kind)


def as_requests(applications: Iterator[ApplicationShape]) -> Iterator[ApplicationShape]:
    """The same applications as engines see them whose clients say nothing of their programs."""
    plain = Priority()
    for shape in applications:
        calls = tuple(CallShape(call.segments, call.output, call.tokens, call.needs, plain, call.delay)
                      for call in shape.calls)
        yield ApplicationShape(shape.arrival, calls, shape.kind)


def trace(path: Path, *, speed: float = 1.0, most: int | None = None) -> Iterator[ApplicationShape]:
    """The requests of a trace, `speed` times as fast, at most `most` of them. Raises TraceError.

    Formats: Azure's CSV (`TIMESTAMP,ContextTokens,GeneratedTokens`), and JSON lines as Mooncake has them
    (`timestamp` in milliseconds, `input_length`, `output_length`, `hash_ids` of blocks of 512 tokens that begin alike).
    """
    number, line, last = -1, 0, 0.0

    def numbered(file: Iterator[str]) -> Iterator[str]:
        nonlocal line
        for text in file:
            line += 1
            yield text

    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = file.readline()
            file.seek(0)
            read = _mooncake if first.lstrip().startswith("{") else _azure
            for number, (seconds, segments, tokens) in enumerate(read(numbered(file))):
                if number == most:
                    return
                if not last <= seconds < math.inf:
                    raise ValueError("the request arrives before the one above it")
                last = seconds
                own = COMMON + 2 * number
                call = CallShape((*segments[:-1], (own, segments[-1][1])), own + 1, max(1, tokens), (), URGENT)
                yield ApplicationShape(seconds / speed, (call,), "request")
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from None
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        reason = str(error)
        if isinstance(error, KeyError | TypeError):
            reason = f"{error} is missing" if isinstance(error, KeyError) else "a value is missing or of the wrong type"
        raise TraceError(f"{path} is no trace of Azure's or Mooncake's format: line {max(1, line)}: {reason}") from None
    if number < 0:
        raise TraceError(f"{path} holds no requests")


Row = tuple[float, list[tuple[int, int]], int]


def _azure(lines: Iterator[str]) -> Iterator[Row]:
    began: datetime | None = None
    for row in csv.DictReader(lines):
        time = datetime.fromisoformat(row["TIMESTAMP"][:26])
        began = began or time
        yield (time - began).total_seconds(), [(0, max(1, int(row["ContextTokens"])))], int(row["GeneratedTokens"])


def _mooncake(lines: Iterator[str]) -> Iterator[Row]:
    blocks: dict[int, int] = {}
    for line in lines:
        if not line.strip():
            continue
        row = json.loads(line)
        length, segments = max(1, int(row["input_length"])), []
        for block in row["hash_ids"]:
            if length > BLOCK_TOKENS:
                segments.append((blocks.setdefault(int(block), len(blocks)) % COMMON, BLOCK_TOKENS))
                length -= BLOCK_TOKENS
        yield int(row["timestamp"]) / 1000, [*segments, (0, length)], int(row["output_length"])
