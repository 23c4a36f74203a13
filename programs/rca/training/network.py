"""The model in training: a Llama whose large products run in bfloat16 while weights stay in float32.

The same function as `transformers` computes (see the test); written out because it has no masks to make, computes
logits only where they are wanted, and shows what layers below the last one know.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .shape import CONFIG

LAYERS, HEADS, KV_HEADS = (CONFIG[name] for name in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads"))
WIDTH, INNER, HEAD = (CONFIG[name] for name in ("hidden_size", "intermediate_size", "head_dim"))


ECHOES, FITS = 3, 5
"""The layers after which the training heads look."""


class Block(nn.Module):
    """One layer. Weights are [out, in]; those of queries, keys and values are one, as are gate and up."""

    def __init__(self, random: torch.Generator) -> None:
        super().__init__()
        keys = HEAD * KV_HEADS
        self.qkv = nn.Parameter(matrix(WIDTH + 2 * keys, WIDTH, random))
        self.out = nn.Parameter(torch.zeros(WIDTH, WIDTH))
        self.gate_up = nn.Parameter(matrix(2 * INNER, WIDTH, random))
        self.down = nn.Parameter(torch.zeros(WIDTH, INNER))
        self.norm_attention = nn.Parameter(torch.ones(WIDTH))
        self.norm_mlp = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """`x` [lessons, tokens, width] float32; `cos`, `sin` [tokens, 1, head]; `mask` [tokens, tokens] is added."""
        lessons, tokens, _ = x.shape
        kind = mask.dtype
        qkv = F.linear(rms(x, self.norm_attention).to(kind), self.qkv.to(kind))
        heads = qkv.view(lessons, tokens, HEADS + 2 * KV_HEADS, HEAD)
        turned = turn(heads[:, :, :HEADS + KV_HEADS], cos, sin).transpose(1, 2)
        queries, keys = turned[:, :HEADS], turned[:, HEADS:]
        values = heads[:, :, HEADS + KV_HEADS:].transpose(1, 2)
        group = HEADS // KV_HEADS
        queries = queries.reshape(lessons, KV_HEADS, group * tokens, HEAD)  # heads that share keys, one below another
        scores = torch.matmul(queries, keys.transpose(-1, -2)).view(lessons, HEADS, tokens, tokens) * HEAD ** -0.5
        shares = torch.softmax(scores + mask, -1).view(lessons, KV_HEADS, group * tokens, tokens)
        seen = torch.matmul(shares, values).view(lessons, HEADS, tokens, HEAD).transpose(1, 2)
        x = x + F.linear(seen.reshape(lessons, tokens, WIDTH), self.out.to(kind))
        gate, up = F.linear(rms(x, self.norm_mlp).to(kind), self.gate_up.to(kind)).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down.to(kind))


class Network(nn.Module):
    """The model, and beside it heads that are for training only: they say what the layers below them should know.

    `echoes`: see `batches.Batch`; `fits`: whether an option that ends here has the same root cause as the input.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(CONFIG["vocab_size"], WIDTH, generator=random) * 0.05)
        self.blocks = nn.ModuleList(Block(random) for _ in range(LAYERS))
        self.norm = nn.Parameter(torch.ones(WIDTH))
        self.echoes = nn.Parameter(torch.zeros(3, WIDTH + 1))
        self.fits = nn.Parameter(torch.zeros(1, WIDTH + 1))
        with torch.no_grad():
            begin_with_induction(self.embedding, self.layers[0], self.layers[1], random)

    def forward(self, ids: Tensor, kind: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states [lessons, tokens, width] in float32 of `ids` [lessons, tokens], short lessons end in padding.

        Those after layer `ECHOES`, after layer `FITS`, and the last, of which the model makes logits.
        """
        tokens = ids.shape[1]
        cos, sin = rotations(tokens, kind)
        mask = torch.full((tokens, tokens), float("-inf"), dtype=kind).triu(1)
        x = self.embedding[ids]
        states = [x := block(x, cos, sin, mask) for block in self.layers]
        return states[ECHOES - 1], states[FITS - 1], rms(x, self.norm)

    @property
    def layers(self) -> list[Block]:
        """In their order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def logits(self, hidden: Tensor, kind: torch.dtype = torch.bfloat16) -> Tensor:
        """Logits [n, vocabulary] in float32 of `hidden` [n, width]."""
        return F.linear(hidden.to(kind), self.embedding.to(kind)).float()



def judged(hidden: Tensor, head: Tensor) -> Tensor:
    """Logits [..., n] of a training head [n, width + 1] for hidden states [..., width]."""
    return F.linear(F.rms_norm(hidden, (WIDTH,)), head[:, :-1], head[:, -1])


def begin_with_induction(embedding: Tensor, first: Block, second: Block, random: torch.Generator) -> None:
    """Set weights so that comparing texts need not be discovered, which takes most of a short training.

    Two heads of the first layer look one and two tokens back and write down what is there; two heads of the second look
    for places before which this token stood, or the token before this one. Such heads emerge in any training that is
    long enough: Olsson et al., In-context learning and induction heads (2022).
    """
    constant, fast, sharp, loud, alike = 4.0, 6, 7.3, 0.1, math.sqrt(2.0)
    embedding[:, 0] = constant * embedding.std()
    keys, values = WIDTH, WIDTH + KV_HEADS * HEAD  # rows where those of the first pair of heads begin
    pairs = torch.arange(fast)
    angles = CONFIG["rope_theta"] ** (-pairs.float() * 2 / HEAD)
    first.qkv[:2 * HEAD] = 0
    first.qkv[keys:keys + HEAD] = 0
    first.qkv[values:values + HEAD, 0] = 0
    first.qkv[keys + pairs, 0] = sharp / constant
    for head in range(2):
        turned = -(head + 1) * angles
        first.qkv[head * HEAD + pairs, 0] = sharp / constant * turned.cos()
        first.qkv[head * HEAD + HEAD // 2 + pairs, 0] = sharp / constant * turned.sin()
    written, _ = torch.linalg.qr(torch.randn(WIDTH, 2 * HEAD, generator=random))
    first.out[:, :2 * HEAD] = loud * written
    slow = [i for i in range(HEAD) if i % (HEAD // 2) > 12]  # where positions hardly turn anything
    second.qkv[:2 * HEAD] = 0
    second.qkv[keys:keys + HEAD] = 0
    for row in slow:
        second.qkv[keys + row] = alike * written[:, row]
        second.qkv[row] = alike * first.qkv[values + row]
        second.qkv[HEAD + row] = alike / 2 * written[:, row]


def matrix(rows: int, columns: int, random: torch.Generator, gain: float = 1.0) -> Tensor:
    """Normal weights whose products keep their length, times `gain`."""
    return torch.randn(rows, columns, generator=random) * (gain / math.sqrt(columns))


def rms(x: Tensor, weight: Tensor) -> Tensor:
    """`x` at length one, scaled."""
    return F.rms_norm(x, (WIDTH,), weight, CONFIG["rms_norm_eps"])


def rotations(tokens: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [tokens, 1, head] of rotary positions."""
    frequencies = CONFIG["rope_theta"] ** (-torch.arange(0, HEAD, 2, dtype=torch.float32) / HEAD)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float32), frequencies).repeat(1, 2)[:, None]
    return angles.cos().to(kind), angles.sin().to(kind)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [lessons, tokens, heads, head] turned by their positions."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin
