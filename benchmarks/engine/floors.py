"""The least time that a machine needs for a workload: what must be read and multiplied, at the measured rates.

Nothing but the shape of the model counts: every distinct prompt token is computed once, every decode step reads the
weights once and each distinct KV token once, and in a step reading and arithmetic overlap completely. Activations,
norms, sampling, the writing of KV and everything that a processor does besides cost nothing here, so no engine gets
to 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads import Shape


@dataclass(frozen=True)
class ModelShape:
    """A Llama, as its config.json says. Sizes in numbers of elements."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int

    @staticmethod
    def of(config: dict[str, object]) -> ModelShape:
        """From config.json; KeyError names what is missing."""
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                 "num_key_value_heads", "head_dim", "vocab_size")
        return ModelShape(*(int(str(config[name])) for name in names))

    @property
    def layer_weights(self) -> int:
        """Elements of the matrices of all layers."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> int:
        """Elements of the output matrix."""
        return self.hidden * self.vocabulary

    @property
    def kv_elements(self) -> int:
        """Keys and values of one token, all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size

    def attention_operations(self, pairs: int) -> int:
        """Of so many pairs of a query and a key, all layers and heads: two products, a multiply and an add each."""
        return 4 * self.layers * self.heads * self.head_size * pairs


@dataclass(frozen=True)
class Machine:
    """Measured: bytes read per second; operations per second of a large product in the table's data type, and
    that of attention's, which stays in 16 or 32 bits where weights have 8.
    """

    bandwidth: float
    products: float
    attention: float


@dataclass(frozen=True)
class Work:
    """What one or several steps must do."""

    bytes_read: float = 0.0
    linear_operations: float = 0.0
    attention_operations: float = 0.0

    def seconds(self, machine: Machine) -> float:
        """Reading and arithmetic overlap."""
        arithmetic = self.linear_operations / machine.products + self.attention_operations / machine.attention
        return max(self.bytes_read / machine.bandwidth, arithmetic)


@dataclass(frozen=True)
class Storage:
    """Bytes of an element of the weights and of the KV."""

    weight: float
    kv: float


def phases(shape: Shape, model: ModelShape, storage: Storage) -> list[Work]:
    """The steps of a workload, one after another; prompts of a round are one step, however long."""
    steps = []
    lengths = [count * length for count, length in shape.levels]
    pairs = 0
    above = 0
    for count, length in shape.levels:
        pairs += count * (above * length + causal_pairs(length))
        above += length
    length, distinct = shape.first_length, sum(lengths)
    steps.append(_step(model, storage, distinct, shape.requests, pairs, 0))
    for number in range(shape.rounds):
        if number:  # the output's last token has not been computed yet
            new = shape.turn + 1
            pairs = shape.requests * ((length - 1) * new + causal_pairs(new))
            steps.append(_step(model, storage, shape.requests * new, shape.requests, pairs,
                               distinct - shape.requests))
            length += shape.turn
            distinct += shape.requests * shape.turn
        for _ in range(shape.outputs - 1):
            length += 1
            distinct += shape.requests
            steps.append(_step(model, storage, shape.requests, shape.requests, shape.requests * length, distinct))
        length += 1
        distinct += shape.requests
    return steps


def causal_pairs(length: int) -> int:
    """Of a query and a key at or before it."""
    return length * (length + 1) // 2


def _step(model: ModelShape, storage: Storage, tokens: int, outputs: int, pairs: int, kv_tokens: int) -> Work:
    weights = model.layer_weights + model.head_weights
    return Work(
        bytes_read=weights * storage.weight + kv_tokens * model.kv_elements * storage.kv,
        linear_operations=2.0 * (model.layer_weights * tokens + model.head_weights * outputs),
        attention_operations=float(model.attention_operations(pairs)),
    )


def floor_seconds(shape: Shape, model: ModelShape, storage: Storage, machine: Machine) -> float:
    """No engine that computes every token's KV once and each step by itself takes less."""
    return sum(step.seconds(machine) for step in phases(shape, model, storage))
