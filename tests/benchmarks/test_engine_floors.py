"""The arithmetic of the machine's limit against numbers worked out by hand."""

import pytest
from floors import Machine, ModelShape, Storage, Work, causal_pairs, floor_seconds, phases
from made_model import SHAPE
from workloads import SHAPES, Shape

TINY = ModelShape(hidden=2, intermediate=3, layers=1, heads=1, kv_heads=1, head_size=2, vocabulary=5)
BYTES = Storage(weight=2, kv=2)


def test_model() -> None:
    # q, k, v, o: 4 of 2 × 2; gate, up, down: 3 of 2 × 3; output 2 × 5; a key and a value of 2.
    assert (TINY.layer_weights, TINY.head_weights, TINY.kv_elements) == (34, 10, 4)
    assert TINY.attention_operations(1) == 8
    model = ModelShape.of(SHAPE)
    assert (model.layer_weights, model.head_weights) == (25_165_824, 16_384_000)
    assert model.kv_elements * 2 == 8192


def test_steps_of_a_tree() -> None:
    # A root of 2 tokens, 2 leaves of 1, 2 outputs: one step for the prompts, one to decode.
    # Pairs: 1 + 2 in the root, 3 for each leaf. Decoding: contexts of 4 tokens, 6 distinct.
    first, second = phases(Shape("", "", ((1, 2), (2, 1)), 2), TINY, BYTES)
    assert first == Work(bytes_read=44 * 2, linear_operations=2 * (34 * 4 + 10 * 2), attention_operations=8 * 9)
    assert second == Work(bytes_read=44 * 2 + 6 * 4 * 2, linear_operations=2 * (34 * 2 + 10 * 2),
                          attention_operations=8 * 2 * 4)


def test_steps_of_a_chat() -> None:
    # The second round computes the last output and one new token for each branch, below 4 tokens each.
    steps = phases(Shape("", "", ((1, 2), (2, 1)), 2, 2, 1), TINY, BYTES)
    assert len(steps) == 4
    assert steps[2] == Work(bytes_read=44 * 2 + 6 * 4 * 2, linear_operations=2 * (34 * 4 + 10 * 2),
                            attention_operations=8 * 2 * (4 * 2 + 3))
    assert steps[3] == Work(bytes_read=44 * 2 + 12 * 4 * 2, linear_operations=2 * (34 * 2 + 10 * 2),
                            attention_operations=8 * 2 * 7)


def test_a_step_takes_what_takes_longest() -> None:
    machine = Machine(bandwidth=10, products=100, attention=50)
    assert Work(bytes_read=100, linear_operations=100, attention_operations=50).seconds(machine) == 10
    assert Work(bytes_read=1, linear_operations=100, attention_operations=50).seconds(machine) == 2


def test_every_token_is_computed_once() -> None:
    for shape in SHAPES.values():
        free = Machine(bandwidth=1e30, products=1, attention=1e30)
        model = ModelShape.of(SHAPE)
        computed = shape.distinct_tokens + shape.requests * (shape.longest - shape.first_length - 1)
        expected = 2 * (model.layer_weights * computed + model.head_weights * shape.output_count)
        assert floor_seconds(shape, model, BYTES, free) == pytest.approx(expected)


def test_one_request_is_bound_by_reading() -> None:
    # 512 tokens at 417 GFLOP/s, then 63 steps that read 83 MB of weights and some KV at 26.7 GB/s.
    machine = Machine(26.7e9, 417e9, 417e9)
    assert floor_seconds(SHAPES["c"], ModelShape.of(SHAPE), Storage(2, 2), machine) == pytest.approx(0.275, abs=0.01)
    assert causal_pairs(3) == 6
