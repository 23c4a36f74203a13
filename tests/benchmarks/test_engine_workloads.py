"""The workloads of the engine benchmark: lengths, trees, rounds, and that nothing is found again by chance."""

from itertools import accumulate

import pytest
from workloads import SHAPES, SPECIAL_TOKENS, VOCABULARY, Shape, make, make_shapes

TREE = Shape("tree", "", ((1, 4), (2, 3), (6, 2)), 5)
CHAT = Shape("chat", "", ((1, 4), (3, 2)), 2, 3, 1)


@pytest.mark.parametrize(("name", "requests", "prompt", "distinct", "outputs", "longest"), [
    ("a", 32, 1056, 1024 + 32 * 32, 32 * 32, 1088),
    ("b", 16, 256, 16 * 256, 16 * 64, 320),
    ("c", 1, 512, 512, 64, 576),
    ("d", 64, 2688, 2048 + 8 * 512 + 64 * 128, 64 * 32, 2720),
    ("e", 16, 576, 512 + 16 * 64, 16 * 8 * 32, 512 + 8 * (64 + 32)),
])
def test_sizes(name: str, requests: int, prompt: int, distinct: int, outputs: int, longest: int) -> None:
    shape = SHAPES[name]
    workload = make(shape, 0)
    prompts = workload.prompts()
    assert [len(tokens) for tokens in prompts] == [prompt] * requests
    assert (shape.requests, shape.first_length) == (requests, prompt)
    ends = list(accumulate(length for _, length in shape.levels))
    assert [len({tuple(tokens[:end]) for tokens in prompts}) for end in ends] == [count for count, _ in shape.levels]
    assert (shape.distinct_tokens, shape.output_count, shape.longest) == (distinct, outputs, longest)
    assert shape.most_tokens == distinct + requests * (longest - prompt)
    assert all(SPECIAL_TOKENS <= token < VOCABULARY for tokens in prompts for token in tokens)


def test_leaves_hang_below_their_own_branch() -> None:
    workload = make(TREE, 1)
    prompts = workload.prompts()
    assert len({tuple(prompt[:4]) for prompt in prompts}) == 1
    assert [prompts.index(prompt) // 3 for prompt in prompts] == [0, 0, 0, 1, 1, 1]
    assert [tuple(prompt[:7]) for prompt in prompts] == [tuple(prompts[0][:7])] * 3 + [tuple(prompts[3][:7])] * 3
    assert prompts[0][4:7] != prompts[3][4:7]
    assert len({tuple(prompt) for prompt in prompts}) == 6
    assert workload.shared_paths() == [[prompts[0][:4]], [prompts[0][:7], prompts[3][:7]]]
    assert make(SHAPES["b"], 1).shared_paths() == [] and not SHAPES["b"].shares


def test_rounds_follow_on_everything_before() -> None:
    workload = make(CHAT, 1)
    prompts = workload.prompts()
    outputs = [[100 + branch, 200 + branch] for branch in range(3)]
    second = workload.next_prompts(prompts, outputs, 1)
    third = workload.next_prompts(second, outputs, 2)
    for branch in range(3):
        assert second[branch] == prompts[branch] + outputs[branch] + workload.turns[0][branch]
        assert third[branch] == second[branch] + outputs[branch] + workload.turns[1][branch]
    assert len(third[0]) + CHAT.outputs == CHAT.longest
    assert len(workload.turns) == 2 and all(len(turn) == 1 for turns in workload.turns for turn in turns)


@pytest.mark.parametrize("name", SHAPES)
def test_seeds_have_nothing_in_common(name: str) -> None:
    first, again, second = make(SHAPES[name], 1), make(SHAPES[name], 1), make(SHAPES[name], 2)
    assert first == again
    assert not {tuple(p[:8]) for p in first.prompts()} & {tuple(p[:8]) for p in second.prompts()}
    other = make(SHAPES["c" if name != "c" else "b"], 1)
    assert not {tuple(p[:8]) for p in first.prompts()} & {tuple(p[:8]) for p in other.prompts()}


def test_scaled() -> None:
    (small,) = make_shapes("d", 0.01, "warm-up ")
    assert small.name == "warm-up d"
    assert small.levels == ((1, 20), (8, 5), (64, 1)) and small.outputs == 1 and small.turn == 0
    assert make_shapes("ab") == [SHAPES["a"], SHAPES["b"]]
    with pytest.raises(KeyError):
        make_shapes("x")
