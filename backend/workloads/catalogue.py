"""The workloads by name, after those that Parrot (OSDI'24, section 8) was measured with.

Sizes come from its figures and scripts; all texts are generated here. `scale` multiplies token numbers, `width` how
many calls or applications there are (at least one), so that small models can run the same shapes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from ...ir.target import Tokenizer
from . import clients
from .texts import TextMaker
from .workload import Application, Workload

PART_TOKENS, PARTS = 340, 54
"""A "chunk of 1024" of Parrot's chain: its splitter counts a word as about three tokens, so that an article of 12,200
words makes about 54 parts of about 340 tokens."""


class Sizes:
    """Scales numbers of tokens and of calls."""

    def __init__(self, scale: float, width: float) -> None:
        self._scale = scale
        self._width = width

    def tokens(self, number: float) -> int:
        """So many tokens, scaled."""
        return max(1, round(number * self._scale))

    def count(self, number: float) -> int:
        """So many calls, scaled."""
        return max(1, round(number * self._width))


def _chain_application(maker: TextMaker, parts: int, part_tokens: int, tokens: int,
                       arrival: float = 0.0) -> Application:
    texts = [maker.text(part_tokens) for _ in range(parts)]
    return Application("Chain", {"parts": list(texts), "tokens": tokens}, partial(clients.chain, texts, tokens),
                       arrival, "chain")


def chain(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0, output: int = 50,
          nominal: bool = False) -> Workload:
    """Figure 11: one document, part by part. `nominal`: 20 parts of 1,024 tokens instead of 54 of 340."""
    sizes, maker = Sizes(scale, width), TextMaker(tokenizer, seed)
    parts, part_tokens = (20, 1024) if nominal else (PARTS, PART_TOKENS)
    application = _chain_application(maker, sizes.count(parts), sizes.tokens(part_tokens), sizes.tokens(output))
    kind = "nominal sizes" if nominal else "real token numbers of Parrot's runs"
    return Workload("chain", "chain.sem", (application,),
                    f"{sizes.count(parts)} parts of {sizes.tokens(part_tokens)} tokens, {sizes.tokens(output)} out; "
                    + kind)


def chain_background(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0,
                     rate: float = 2.0, seconds: float = 60.0) -> Workload:
    """Figure 12a: one chain, and other requests that arrive at random for `seconds`, `rate` each second."""
    sizes, maker, chance = Sizes(scale, width), TextMaker(tokenizer, seed), random.Random(seed)
    applications = [_chain_application(maker, sizes.count(PARTS), sizes.tokens(PART_TOKENS), sizes.tokens(50))]
    prompt, tokens = sizes.tokens(512), sizes.tokens(50)
    for arrival in poisson(chance, rate, seconds * width):
        message = maker.text(prompt)
        applications.append(Application(
            "Background", {"message": message, "tokens": tokens},
            partial(clients.single, "reply", "chain.sem", "Reply", tokens, message=message), arrival, "background"))
    return Workload("chain-background", "chain.sem", tuple(applications),
                    f"one chain; {len(applications) - 1} other requests of {prompt} tokens, {rate:g} each second",
                    metric="jct")


def chains(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0,
           number: int = 10) -> Workload:
    """Figure 12b: several documents at once, each a chain of its own (27 parts: "chunks of 2048")."""
    sizes, maker, chance = Sizes(scale, width), TextMaker(tokenizer, seed), random.Random(seed)
    count = max(2, sizes.count(number))
    applications = tuple(
        _chain_application(maker, max(2, sizes.count(chance.randint(16, 40))), sizes.tokens(2 * PART_TOKENS),
                           sizes.tokens(50)) for _ in range(count))
    return Workload("chains", "chain.sem", applications,
                    f"{count} chains of 16 to 40 parts of {sizes.tokens(2 * PART_TOKENS)} tokens", metric="jct")


def _map_reduce_application(maker: TextMaker, sizes: Sizes, output: int, arrival: float) -> Application:
    parts = [maker.text(sizes.tokens(PART_TOKENS)) for _ in range(sizes.count(PARTS))]
    tokens = sizes.tokens(output)
    return Application("MapReduce", {"parts": list(parts), "tokens": tokens},
                       partial(clients.map_reduce, parts, tokens), arrival, "map-reduce")


def map_reduce(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0,
               output: int = 50) -> Workload:
    """Figure 13: the parts of one document side by side, then one call over all summaries."""
    sizes = Sizes(scale, width)
    application = _map_reduce_application(TextMaker(tokenizer, seed), sizes, output, 0.0)
    return Workload("map-reduce", "map_reduce.sem", (application,),
                    f"{sizes.count(PARTS)} parts of {sizes.tokens(PART_TOKENS)} tokens, {sizes.tokens(output)} out")


def copilot(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0,
            number: int = 64) -> Workload:
    """Figures 14, 15: 64 requests of 5,224 to 7,492 tokens, the first 5,107 of them the same, 183 to 800 out."""
    sizes, maker, chance = Sizes(scale, width), TextMaker(tokenizer, seed), random.Random(seed)
    instructions = maker.text(sizes.tokens(5107))
    questions = []
    for _ in range(sizes.count(number)):
        own = sizes.tokens(min(7492, max(5224, chance.gauss(6167, 430))) - 5107)
        output = sizes.tokens(min(800, 183 + chance.expovariate(1 / 150)))
        questions.append({"body": maker.text(own), "tokens": output})
    arguments = {"instructions": instructions, "questions": [dict(question) for question in questions]}
    application = Application("Copilot", arguments, partial(clients.copilot, instructions, questions))
    return Workload("copilot", "copilot.sem", (application,),
                    f"{len(questions)} requests, {sizes.tokens(5107)} tokens shared")


GPTS = ((7437, 7, 704), (1116, 8, 89), (1694, 4, 631), (2031, 4, 416))
"""Prompt, query and output tokens of the four applications of figure 16."""


def gpts(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0, rate: float = 4.0,
         seconds: float = 30.0) -> Workload:
    """Figure 16: users of four applications arrive at random; each application has a long prompt of its own."""
    sizes, maker, chance = Sizes(scale, width), TextMaker(tokenizer, seed), random.Random(seed)
    prompts = [maker.text(sizes.tokens(prompt)) for prompt, _, _ in GPTS]
    applications = []
    for arrival in poisson(chance, rate, seconds * width):
        number = chance.randrange(len(GPTS))
        tokens = sizes.tokens(GPTS[number][2])
        inputs = {"instructions": prompts[number], "question": maker.text(GPTS[number][1])}
        client = partial(clients.single, "answer", "copilot.sem", "Answer", tokens, **inputs)
        applications.append(Application("Ask", {**inputs, "tokens": tokens}, client, arrival))
    return Workload("gpts", "copilot.sem", tuple(applications),
                    f"{len(applications)} requests to 4 applications, {rate:g} each second", engines=4,
                    metric="normalized")


def multi_agent(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0,
                agents: int = 16) -> Workload:
    """Figure 17: ten rounds of `agents` calls; 97 to 98 % of a prompt is the same for all calls of a round."""
    sizes, maker = Sizes(scale, width), TextMaker(tokenizer, seed)
    count = max(2, sizes.count(agents))

    def texts(tokens: int) -> list[str]:
        return [maker.text(sizes.tokens(tokens)) for _ in range(count)]

    arguments = {
        "architect": maker.text(sizes.tokens(150)), "programmer": maker.text(sizes.tokens(2190)),
        "reviewer": maker.text(sizes.tokens(2520)), "reviser": maker.text(sizes.tokens(2550)),
        "tasks": texts(14), "files": texts(70), "focuses": texts(50), "revisions": texts(85), "rounds": 4,
        "sizes": {"design": sizes.tokens(706), "code": sizes.tokens(418), "comments": sizes.tokens(318),
                  "again": sizes.tokens(380)},
    }
    application = Application("MultiAgent", dict(arguments), partial(clients.multi_agent, arguments))
    return Workload("multi-agent", "multi_agent.sem", (application,), f"10 rounds of {count} calls")


def mixed(tokenizer: Tokenizer, *, scale: float = 1.0, width: float = 1.0, seed: int = 0) -> Workload:
    """Figure 18: 40 chat requests, one each second, and nine map-reduce summaries that arrive meanwhile."""
    sizes, maker, chance = Sizes(scale, width), TextMaker(tokenizer, seed), random.Random(seed)
    applications = []
    for number in range(sizes.count(40)):
        prompt = min(1024, max(8, chance.lognormvariate(5.0, 1.1)))
        tokens = sizes.tokens(min(2048 - prompt, max(8, chance.lognormvariate(5.3, 0.8))))
        message = maker.text(sizes.tokens(prompt))
        client = partial(clients.single, "answer", "map_reduce.sem", "Answer", tokens, message=message)
        applications.append(Application("Chat", {"message": message, "tokens": tokens}, client, float(number), "chat"))
    arrival = 0.0
    for number in range(sizes.count(9)):
        arrival += (0.5, 0.5, 10.0)[number % 3]
        applications.append(_map_reduce_application(maker, sizes, 50, arrival))
    return Workload("mixed", "map_reduce.sem", tuple(sorted(applications, key=lambda a: a.arrival)),
                    f"{sizes.count(40)} chats, {sizes.count(9)} map-reduce summaries", engines=4, metric="jct",
                    kinds={"chat": "normalized", "map-reduce": "jct"})


def poisson(chance: random.Random, rate: float, seconds: float) -> list[float]:
    """Times of arrivals at `rate` each second, at least one."""
    times: list[float] = []
    time = chance.expovariate(rate)
    while time < seconds or not times:
        times.append(time)
        time += chance.expovariate(rate)
    return times


WORKLOADS: dict[str, Callable[..., Workload]] = {
    "chain": chain, "chain-background": chain_background, "chains": chains, "map-reduce": map_reduce,
    "copilot": copilot, "gpts": gpts, "multi-agent": multi_agent, "mixed": mixed,
}
