"""A decoder in the shape of Llama 3 with random weights, decoding below a shared prefix; a CUDA graph for each step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from cases import Step, Tokens, uniform
from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Plan, Planner
from semlang.kernels.triton.tuned import tiles_on
from timing import captured, seconds
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    size: int
    inner: int
    vocabulary: int
    dtype: torch.dtype


LLAMA_3_8B = Shape(32, 4096, 32, 8, 128, 14336, 128256, torch.bfloat16)
SMALL = Shape(2, 32, 4, 2, 16, 48, 97, torch.float32)


class Decoder:
    """Weights, KV pools of `slots` slots with random content, and the buffers of a step of `rows` rows."""

    def __init__(self, shape: Shape, slots: int, rows: int, longest: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(0)

        def weight(*sizes: int) -> Tensor:
            return torch.randn(*sizes, generator=generator, device=device, dtype=shape.dtype).mul_(sizes[-1] ** -0.5)

        one = shape
        self.shape, self.device = shape, device
        self.embedding, self.head = weight(one.vocabulary, one.hidden), weight(one.vocabulary, one.hidden)
        self.layers = [
            (weight((one.heads + 2 * one.kv_heads) * one.size, one.hidden), weight(one.hidden, one.heads * one.size),
             weight(2 * one.inner, one.hidden), weight(one.hidden, one.inner)) for _ in range(one.layers)]
        self.norm = torch.ones(one.hidden, dtype=one.dtype, device=device)
        angles = torch.arange(longest)[:, None] * 500000.0 ** (-torch.arange(0, one.size, 2) / one.size)
        self.cosines, self.sines = (part.to(device, one.dtype) for part in (angles.cos(), angles.sin()))
        self.pools = [Pool.allocate(slots, one.kv_heads, one.size, one.size, one.dtype, device)
                      for _ in range(one.layers)]
        for pool in self.pools:
            pool.keys.normal_(generator=generator)
            pool.values.normal_(generator=generator)
        tiles = tiles_on(device, one.size, one.size, str(one.dtype).removeprefix("torch."))
        self.attention = TritonAttention(tiles, device)
        self.planner = Planner(tiles, self.attention.programs)
        self.plan = DevicePlan(device)
        self.ids, self.positions, self.slots = (torch.zeros(rows, dtype=torch.int64, device=device) for _ in range(3))

    def load(self, step: Step) -> Plan:
        """Plan a step of one token for each row and bring it to the device; its ids are those of the last step."""
        plan = self.planner.plan(step.runs, step.segments,
                                 LayerGroup(self.shape.kv_heads, self.shape.heads // self.shape.kv_heads))
        self.plan.load(plan)
        self.plan.reserve(self.shape.heads, self.shape.size)
        for buffer, values in ((self.positions, [segment.first_position for segment in step.segments]),
                               (self.slots, [segment.slots[0] for segment in step.segments])):
            source = torch.tensor(np.array(values), pin_memory=self.device.type == "cuda")
            buffer.copy_(source, non_blocking=True)
        return plan

    def step(self) -> None:
        """Compute the loaded step; the likeliest tokens become the ids of the next."""
        one = self.shape
        rows = len(self.ids)
        cosine, sine = self.cosines[self.positions][:, None], self.sines[self.positions][:, None]
        state = functional.embedding(self.ids, self.embedding)
        for number, (into, out, gate, down) in enumerate(self.layers):
            normal = functional.rms_norm(state, (one.hidden,), self.norm, 1e-5)
            parts = functional.linear(normal, into).view(rows, -1, one.size)
            query, key, value = parts.split([one.heads, one.kv_heads, one.kv_heads], dim=1)
            self.attention.store(_rotated(key, cosine, sine), value, self.slots, self.pools[number])
            mixed = self.attention.attend(_rotated(query, cosine, sine), self.pools[number], self.plan)
            state = state + functional.linear(mixed.reshape(rows, -1), out)
            normal = functional.rms_norm(state, (one.hidden,), self.norm, 1e-5)
            first, second = functional.linear(normal, gate).chunk(2, dim=-1)
            state = state + functional.linear(functional.silu(first) * second, down)
        logits = functional.linear(functional.rms_norm(state, (one.hidden,), self.norm, 1e-5), self.head)
        self.ids.copy_(logits.argmax(dim=-1))

    def attend(self) -> None:
        """Only the attention of the loaded step."""
        query = torch.zeros(len(self.ids), self.shape.heads, self.shape.size, dtype=self.shape.dtype,
                            device=self.device)
        for pool in self.pools:
            self.attention.attend(query, pool, self.plan)


def _rotated(part: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = part.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


@dataclass(frozen=True)
class Speed:
    """Tokens per second of all rows; seconds of a step, of planning it on the host, and of its attention."""

    tokens: float
    step: float
    planning: float
    attention: float


def decode(shape: Shape, rows: int, prefix: int, own: int, count: int, device: torch.device, *,
           shared: bool) -> Speed:
    """Decode `count` tokens for `rows` sequences, after a prefix and `own` tokens of theirs."""
    levels = ((1, prefix), (rows, own + count)) if shared else ((rows, prefix + own + count),)
    tree = uniform(levels)
    decoder = Decoder(shape, tree.slots, rows, prefix + own + count, device)
    steps = [_earlier(tree, count - 1 - number) for number in range(count)]
    cuda = device.type == "cuda"
    decoder.load(steps[-1])
    graph = captured(decoder.step) if cuda else None
    moves = decoder.plan.moves
    planning = 0.0
    start = time.perf_counter()
    for step in steps:
        begin = time.perf_counter()
        decoder.load(step)
        planning += time.perf_counter() - begin
        if decoder.plan.moves != moves:  # the graph would read buffers that are gone
            graph, moves = captured(decoder.step) if cuda else None, decoder.plan.moves
        if graph is None:
            decoder.step()
        else:
            graph.replay()
    if cuda:
        torch.cuda.synchronize()
    total = time.perf_counter() - start
    attention = seconds(decoder.attend, device, 10 if cuda else 1)
    return Speed(rows * count / total, total / count, planning / count, attention)


def _earlier(step: Step, tokens: int) -> Step:
    """The same step when its leaves were `tokens` tokens shorter; the run of a leaf ends where its segment begins."""
    leaves = len(step.segments)
    runs, segments = list(step.runs), []
    for number, segment in enumerate(step.segments):
        run = runs[len(runs) - leaves + number]
        slots = np.concatenate([run.slots, segment.slots])
        kept = len(run.slots) - tokens
        runs[len(runs) - leaves + number] = Tokens(slots[:kept], run.first_position)
        segments.append(Tokens(slots[kept : kept + 1], segment.first_position - tokens, segment.ancestors))
    return Step(runs, segments, step.slots)
