"""The workloads: what is asked for and when, and each application as a client would program it.

Sizes are those of Parrot's evaluation with prompts divided by 8 and outputs by 2 to 16, and fewer steps or requests,
so that a run takes seconds on two CPU cores. The lengths of outputs vary from call to call as they do there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from client import Client
from model import text_of

Application = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Request:
    """A run of `program` with `arguments` that begins `arrival` seconds after the first."""

    program: str
    arguments: dict[str, Any]
    application: Application
    arrival: float = 0.0


@dataclass(frozen=True)
class Workload:
    """`source`: the file with the programs; `scale`: the sizes, beside Parrot's."""

    name: str
    source: str
    scale: str
    requests: tuple[Request, ...]


async def chain(client: Client, parts: list[str], length: int) -> str:
    """Each summary waits for the one before it."""
    summary = "nothing"
    for part in parts:
        summary = await client.call("Refine", length, summary=summary, part=part)
    return summary


async def map_reduce(client: Client, parts: list[str], lengths: list[int], length: int) -> str:
    """All parts at once, then the summaries together."""
    summaries = await asyncio.gather(*(
        client.call("SummarizePart", size, part=part) for part, size in zip(parts, lengths, strict=True)))
    return await client.call("Combine", length, summaries=summaries)


async def copilot(client: Client, queries: list[str], lengths: list[int]) -> list[str]:
    """All queries at once."""
    return await asyncio.gather(*(
        client.call("Answer", size, query=query) for query, size in zip(queries, lengths, strict=True)))


def asking(function: str) -> Application:
    """One call."""
    async def ask(client: Client, query: str, length: int) -> str:
        return await client.call(function, length, query=query)

    return ask


async def chat(client: Client, message: str, length: int) -> str:
    """One call."""
    return await client.call("Reply", length, message=message)


async def multi_agent(client: Client, task: str, plan_length: int, writing: list[int],
                      turns: list[list[dict[str, int]]]) -> list[str]:
    """Rounds: all programmers, then all reviewers, then all programmers again (as Parrot's script has it)."""
    plan = await client.call("Plan", plan_length, task=task)
    files = await asyncio.gather(*(
        client.call("Write", length, task=task, plan=plan, file=i) for i, length in enumerate(writing)))
    for turn in turns:
        comments = await asyncio.gather(*(
            client.call("Review", lengths["review"], task=task, plan=plan, files=files, file=i)
            for i, lengths in enumerate(turn)))
        files = await asyncio.gather(*(
            client.call("Revise", lengths["revise"], task=task, plan=plan, files=files, file=i, comments=comments[i])
            for i, lengths in enumerate(turn)))
    return files


def _map_reduce_request(random: random.Random, program: str, parts: int, arrival: float = 0.0) -> Request:
    return Request(program, {
        "parts": [text_of(128, random.randrange(1 << 30)) for _ in range(parts)],
        "lengths": [random.randint(12, 50) for _ in range(parts)],
        "length": 25,
    }, map_reduce, arrival)


def workloads() -> list[Workload]:
    """All of them; the same in every process."""
    pick = random.Random(1)

    def texts(count: int, tokens: int) -> list[str]:
        return [text_of(tokens, pick.randrange(1 << 30)) for _ in range(count)]

    found = [
        Workload("chain", "chain.sem", "10 of 54 steps, prompts / 8, outputs of 12 (25 to 100)", (
            Request("Chain", {"parts": texts(10, 42), "length": 12}, chain),)),
        Workload("map-reduce", "map_reduce.sem", "16 of 20 parts, prompts / 8, outputs of 12 to 50 (25 to 100)", (
            _map_reduce_request(pick, "MapReduce", 16),)),
        Workload("copilot", "copilot.sem", "16 of 64 requests, prompts / 8, outputs / 8", (
            Request("Copilot", {"queries": texts(16, 132), "lengths": [pick.randint(23, 60) for _ in range(16)]},
                    copilot),)),
    ]
    apps = [("Productivity", 88), ("Programming", 11), ("Image", 79), ("DataAnalysis", 52)]
    arrival, asked = 0.0, []
    for _ in range(12):
        name, length = pick.choice(apps)
        asked.append(Request(f"Ask{name}", {"query": text_of(6, pick.randrange(1 << 30)), "length": length // 2},
                             asking(name), arrival))
        arrival += pick.expovariate(2.0)
    found.append(Workload("gpts", "gpts.sem", "12 requests, 2 a second, prompts / 8, outputs / 16", tuple(asked)))
    files = 8
    found.append(Workload("multi-agent", "multi_agent.sem", "8 files, one turn, prompts / 8, outputs / 16", (
        Request("MultiAgent", {
            "task": text_of(16, 3), "plan_length": 44,
            "writing": [min(51, int(pick.lognormvariate(3.2, 0.4))) for _ in range(files)],
            "turns": [[{"review": pick.randint(14, 26), "revise": min(40, int(pick.lognormvariate(3.1, 0.3)))}
                       for _ in range(files)]],
        }, multi_agent),)))
    mixed = [Request("Chat", {"message": text_of(pick.randint(20, 100), pick.randrange(1 << 30)),
                              "length": pick.randint(10, 40)}, chat, second * 1.0) for second in range(10)]
    mixed += [_map_reduce_request(pick, "Background", 8, at) for at in (0.5, 1.0, 6.0)]
    found.append(Workload("mixed", "mixed.sem", "10 chat requests, 1 a second; 3 of 9 map-reduces of 8 parts",
                          tuple(sorted(mixed, key=lambda request: request.arrival))))
    return found
