"""A client at work: it sends requests, each a whole prompt, and goes on when all of their answers are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import count

from ...ir.values import RuntimeValue
from ..engine import ROOT, Callbacks, Engine, EngineClosed, EngineError, Generation, SamplingOptions
from .timeline import RealTime, Timeline
from .workload import Client, Request

_identifiers = count(1 << 48)


class Server:
    """Engines that take requests: each goes to the engine that has the fewest, as a load balancer without knowledge
    of prompts does it. `post` hands reports to the thread that drives the timeline.
    """

    def __init__(self, engines: Sequence[Engine], timeline: Timeline) -> None:
        self._engines = engines
        self._open = [0] * len(engines)
        self._post = timeline.post if isinstance(timeline, RealTime) else _at_once

    def send(self, requests: list[Request], answer: Callable[[int, Generation | EngineError], None]) -> None:
        """Complete prompts; `answer` is called with each request's number and what came of it."""
        with ExitStack() as holds:
            for engine in self._engines:
                hold: Callable[[], AbstractContextManager[None]] | None = getattr(engine, "hold", None)
                if hold is not None:
                    holds.enter_context(hold())
            for number, request in enumerate(requests):
                self._send(number, request, answer)

    def _send(self, number: int, request: Request, answer: Callable[[int, Generation | EngineError], None]) -> None:
        chosen = self._open.index(min(self._open))
        engine = self._engines[chosen]
        self._open[chosen] += 1
        prompt, output = next(_identifiers), next(_identifiers)

        def ended(result: Generation | EngineError) -> None:
            self._open[chosen] -= 1
            if isinstance(result, EngineClosed):
                return  # nobody waits any more: the benchmark was interrupted
            answer(number, result)

        def report(result: Generation | EngineError) -> None:
            self._post(lambda: ended(result))

        engine.fill(prompt_tokens(request, engine), prompt, ROOT)
        options = SamplingOptions(max_tokens=request.max_tokens, ignore_eos=True, strip_leading_space=True)
        engine.generate(options, output, prompt, Callbacks(report, report))
        engine.free_context(prompt)
        engine.free_context(output)


def _at_once(action: Callable[[], None]) -> None:
    action()


def prompt_tokens(request: Request, engine: Engine) -> list[int]:
    """The tokens of a prompt, piece by piece as a program's prompt has them."""
    ids: list[int] = []
    for number, piece in enumerate(request.pieces):
        ids += engine.tokenizer.encode_piece(piece, first=number == 0)
    return ids


class ClientSession:
    """One application that is served request by request. Each wave of requests takes a round trip on the network."""

    def __init__(self, client: Client, server: Server, timeline: Timeline, round_trip: float,
                 done: Callable[[dict[str, RuntimeValue]], None]) -> None:
        self._client = client
        self._server = server
        self._timeline = timeline
        self._round_trip = round_trip
        self._done = done
        self._texts: list[str] = []
        self._open = 0
        self.generated_tokens = 0
        self.requests = 0

    def start(self) -> None:
        """Send the first requests."""
        self._go_on(None)

    def _go_on(self, texts: list[str] | None) -> None:
        try:
            requests = next(self._client) if texts is None else self._client.send(texts)
        except StopIteration as end:
            self._done(end.value)
            return
        self._texts = [""] * len(requests)
        self._open = len(requests)
        self.requests += len(requests)
        if self._round_trip:
            self._timeline.at(self._timeline.now + self._round_trip, lambda: self._server.send(requests, self._answer))
        else:
            self._server.send(requests, self._answer)

    def _answer(self, number: int, result: Generation | EngineError) -> None:
        if isinstance(result, EngineError):
            raise result
        self._texts[number] = result.text
        self.generated_tokens += len(result.sampled_ids)
        self._open -= 1
        if self._open == 0:
            self._go_on(self._texts)
