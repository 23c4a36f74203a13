"""The client of a server that completes prompts: it knows the application, the server knows single requests.

A request is a whole prompt as token ids; the answer is the text. Nothing is slower here than it has to be: requests
that do not wait for one another are sent at once, and a round trip of 0 s costs no sleep.
"""

from __future__ import annotations

import asyncio
import itertools

from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, SamplingOptions
from semlang.backend.step_engine import StepEngine
from sources import Prompt, encode

_identifiers = itertools.count(1 << 40)


class Client:
    """Sends prompts to `engine`; `round_trip`: seconds that each request takes on the network."""

    def __init__(self, engine: StepEngine, prompts: dict[str, Prompt], round_trip: float) -> None:
        self._engine = engine
        self._prompts = prompts
        self._round_trip = round_trip
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        """Prompt and output of every request, as token ids."""

    async def call(self, function: str, length: int, **values: object) -> str:
        """The output of `length` tokens after the prompt of `function` with `values` in its holes."""
        if self._round_trip:
            await asyncio.sleep(self._round_trip)
        prompt = encode(self._prompts[function].pieces(values), self._engine.tokenizer)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Generation] = loop.create_future()

        def finish(generation: Generation) -> None:
            loop.call_soon_threadsafe(answer.set_result, generation)

        def fail(error: EngineError) -> None:
            loop.call_soon_threadsafe(answer.set_exception, error)

        start, end = next(_identifiers), next(_identifiers)
        self._engine.fill(prompt, start, ROOT)
        options = SamplingOptions(max_tokens=length, ignore_eos=True, strip_leading_space=True)
        self._engine.generate(options, end, start, Callbacks(finish, fail))
        self._engine.free_context(start)
        self._engine.free_context(end)
        generation = await answer
        self.calls.append((tuple(prompt), generation.sampled_ids))
        return generation.text
