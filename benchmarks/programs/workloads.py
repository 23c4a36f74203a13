"""The workloads: what is asked for and when, and each application as a client would program it.

Sizes are those of Parrot's evaluation with prompts divided by 8 and outputs by 2 to 16, and fewer steps or requests,
so that a run takes seconds on two CPU cores. The lengths of outputs differ from call to call, as they do there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from model import text_of
from semlang.backend.workloads.workload import Application, Client, Request, Workload
from sources import FOLDER, prompts_of


def call(source: str, function: str, length: int, **values: object) -> Request:
    """A request for one output of `length` tokens."""
    return Request(tuple(prompts_of(source)[function].pieces(values)), length)


def chain(parts: list[str], length: int) -> Client:
    """Each summary waits for the one before it."""
    summary = "nothing"
    for part in parts:
        (summary,) = yield [call("chain.sem", "Refine", length, summary=summary, part=part)]
    return {"summary": summary}


def map_reduce(parts: list[str], lengths: list[int], length: int) -> Client:
    """All parts at once, then the summaries together."""
    summaries = yield [call("map_reduce.sem", "SummarizePart", size, part=part)
                       for part, size in zip(parts, lengths, strict=True)]
    (summary,) = yield [call("map_reduce.sem", "Combine", length, summaries=summaries)]
    return {"summary": summary}


def copilot(queries: list[str], lengths: list[int]) -> Client:
    """All queries at once."""
    answers = yield [call("copilot.sem", "Answer", size, query=query)
                     for query, size in zip(queries, lengths, strict=True)]
    return {"answers": list(answers)}


def single(source: str, function: str, length: int, **values: object) -> Client:
    """One call."""
    (answer,) = yield [call(source, function, length, **values)]
    return {"answer": answer}


def multi_agent(task: str, plan_length: int, writing: list[int], turns: list[list[dict[str, int]]]) -> Client:
    """Rounds: all programmers, then all reviewers, then all programmers again (as Parrot's script has it)."""
    source = "multi_agent.sem"
    (plan,) = yield [call(source, "Plan", plan_length, task=task)]
    files = yield [call(source, "Write", length, task=task, plan=plan, file=i) for i, length in enumerate(writing)]
    for turn in turns:
        shared: dict[str, Any] = {"task": task, "plan": plan, "files": files}
        comments = yield [call(source, "Review", lengths["review"], file=i, **shared) for i, lengths in enumerate(turn)]
        files = yield [call(source, "Revise", lengths["revise"], file=i, comments=comments[i], **shared)
                       for i, lengths in enumerate(turn)]
    return {"files": list(files)}


def _application(program: str, client: Callable[..., Client], arguments: dict[str, Any], arrival: float = 0.0,
                 kind: str = "") -> Application:
    return Application(program, arguments, partial(client, **arguments), arrival, kind)


def _map_reduce(program: str, pick: random.Random, parts: int, arrival: float = 0.0) -> Application:
    return _application(program, map_reduce, {
        "parts": [text_of(128, pick.randrange(1 << 30)) for _ in range(parts)],
        "lengths": [pick.randint(12, 50) for _ in range(parts)],
        "length": 25,
    }, arrival, "map-reduce")


def _multi_agent(pick: random.Random, files: int, arrival: float = 0.0) -> Application:
    return _application("MultiAgent", multi_agent, {
        "task": text_of(16, pick.randrange(1 << 30)), "plan_length": 44,
        "writing": [min(51, int(pick.lognormvariate(3.2, 0.4))) for _ in range(files)],
        "turns": [[{"review": pick.randint(14, 26), "revise": min(40, int(pick.lognormvariate(3.1, 0.3)))}
                   for _ in range(files)]],
    }, arrival)


def _several(name: str, source: str, applications: list[Application], scale: str) -> Workload:
    return Workload(name, str(FOLDER / source), tuple(applications), scale, metric="jct")


def _workload(source: str, applications: list[Application], scale: str, **options: Any) -> Workload:
    return Workload(source.removesuffix(".sem").replace("_", "-"), str(FOLDER / source), tuple(applications), scale,
                    **options)


def workloads() -> list[Workload]:
    """All of them; the same in every process."""
    pick = random.Random(1)

    def texts(count: int, tokens: int) -> list[str]:
        return [text_of(tokens, pick.randrange(1 << 30)) for _ in range(count)]

    found = [
        _workload("chain.sem", [_application("Chain", chain, {"parts": texts(10, 42), "length": 12})],
                  "10 of 54 steps, prompts / 8, outputs of 12 (25 to 100)"),
        _workload("map_reduce.sem", [_map_reduce("MapReduce", pick, 16)],
                  "16 of 20 parts, prompts / 8, outputs of 12 to 50 (25 to 100)"),
        _workload("copilot.sem", [_application("Copilot", copilot, {
            "queries": texts(16, 132), "lengths": [pick.randint(23, 60) for _ in range(16)]})],
            "16 of 64 requests, prompts / 8, outputs / 8"),
    ]
    assistants = [("Productivity", 44), ("Programming", 6), ("Image", 40), ("DataAnalysis", 26)]
    arrival, asked = 0.0, []
    for _ in range(12):
        name, length = pick.choice(assistants)
        query = text_of(6, pick.randrange(1 << 30))
        asked.append(Application(f"Ask{name}", {"query": query, "length": length},
                                 partial(single, "gpts.sem", name, length, query=query), arrival))
        arrival += pick.expovariate(1.25)
    found.append(_workload("gpts.sem", asked, "12 requests, 1.25 a second, prompts / 8, outputs / 16", metric="jct"))
    found.append(_workload("multi_agent.sem", [_multi_agent(pick, files=8)],
                           "8 files, one turn of 3, prompts / 8, outputs / 16"))
    found += [
        _several("chains", "chain.sem", [
            _application("Chain", chain, {"parts": texts(pick.randint(4, 8), 84), "length": 12}) for _ in range(5)],
                 "5 of 10 documents at once, each 4 to 8 of 27 parts, prompts / 8, outputs of 12"),
        _several("map-reduces", "map_reduce.sem", [_map_reduce("MapReduce", pick, 8, 0.2 * i) for i in range(4)],
                 "4 documents of 8 parts within 0.6 s, prompts / 8, outputs of 12 to 50"),
        _several("multi-agents", "multi_agent.sem", [_multi_agent(pick, 4, 0.2 * i) for i in range(3)],
                 "3 teams of 4 files within 0.4 s, prompts / 8, outputs / 16"),
    ]
    mixed = []
    for second in range(10):
        message, length = text_of(pick.randint(20, 100), pick.randrange(1 << 30)), pick.randint(10, 40)
        mixed.append(Application("Chat", {"message": message, "length": length},
                                 partial(single, "mixed.sem", "Reply", length, message=message), 1.0 * second, "chat"))
    mixed += [_map_reduce("Background", pick, 8, at) for at in (0.5, 1.0, 6.0)]
    mixed.sort(key=lambda application: application.arrival)
    found.append(_workload("mixed.sem", mixed, "10 chats, 1 a second; 3 of 9 map-reduces of 8 parts", metric="jct",
                           kinds={"chat": "jct", "map-reduce": "jct"}))
    return found
