"""The calls of a compiled run, made again as a client makes them: each a request of its own, one after the other."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "programs"))

from recorder import Recorder, Tokens
from semlang.backend.engine import ROOT, Callbacks, Engine, EngineError, Generation, SamplingOptions


@dataclass(frozen=True)
class Request:
    """A call: the tokens of its whole prompt, how its output is decoded, and the output's tokens."""

    prompt: Tokens
    sampling: SamplingOptions
    output: Tokens


class RequestLog(Recorder):
    """An engine that remembers its calls as requests, in the order in which they ended."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.use(engine)
        self.requests: list[Request] = []

    def generate(self, sampling: SamplingOptions, context_id: int, parent_context_id: int, callbacks: Callbacks,
                 **options: Any) -> None:
        """See `engine.Engine`."""
        def finish(generation: Generation) -> None:
            prompt, output = self.calls[-1]  # the recorder has just written it down, in the engine's one thread
            self.requests.append(Request(prompt, sampling, output))
            callbacks.on_finish(generation)

        super().generate(sampling, context_id, parent_context_id,
                         Callbacks(finish, callbacks.on_error, callbacks.on_text), **options)


@dataclass(frozen=True)
class Replayed:
    """What it took to make all requests, and how many outputs were the same as before."""

    seconds: float
    filled_tokens: int
    equal: int


def replay(requests: Sequence[Request], engine: Engine) -> Replayed:
    """Make all requests on a fresh engine, each when the one before has ended; each fills its whole prompt, but for
    what the engine's prefix cache holds."""
    before, began, equal = engine.stats().filled_tokens, time.perf_counter(), 0
    for number, request in enumerate(requests):
        prompt, output = 2 * number + 1, 2 * number + 2
        ended, found = threading.Event(), list[Generation | EngineError]()

        def finish(result: Generation | EngineError, ended: threading.Event = ended,
                   found: list[Generation | EngineError] = found) -> None:
            found.append(result)
            ended.set()

        engine.fill(list(request.prompt), prompt, ROOT)
        engine.generate(request.sampling, output, prompt, Callbacks(finish, finish))
        ended.wait()
        (result,) = found
        if isinstance(result, EngineError):
            raise result
        equal += result.sampled_ids == request.output
        engine.free_context(output)
        engine.free_context(prompt)
    return Replayed(time.perf_counter() - began, engine.stats().filled_tokens - before, equal)
