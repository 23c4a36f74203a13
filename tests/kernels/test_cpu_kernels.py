"""The C++ kernels against float64, for several instruction sets, with NaN in every KV slot that is not in use."""

import platform
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightly import examples
from semlang.kernels.cpu import library
from semlang.kernels.cpu.attention import CpuAttention, PagedPool, supports
from semlang.kernels.cpu.elementwise import GatedLayer, RmsNorm
from semlang.kernels.cpu.library import Kernels, Unavailable, build_kernels, load_kernels
from semlang.kernels.cpu.linear import PackedLinear
from semlang.kernels.cpu.plan import ItemPlan
from semlang.kernels.reference_attention import reference_attention
from torch import Tensor
from trees import LAYOUTS, TREES, Pairs, Step, step, tensors, trees

OPTIONS = {"native": ("-march=native",), "plain": ()}


@pytest.fixture(scope="session", params=OPTIONS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if library.find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    built = load_kernels() if request.param == "native" else build_kernels(OPTIONS[request.param])
    assert isinstance(built, Kernels)
    return built


def filled_pool(keys: Tensor, values: Tensor) -> PagedPool:
    """`keys` [kv_heads, slots, D] and `values` in the layout of the kernel."""
    (kv_heads, slots, size), width = keys.shape, values.shape[-1]
    pool = PagedPool.allocate(slots, kv_heads, size, width, keys.dtype)
    pages = len(pool.keys)
    padded = [torch.nn.functional.pad(t, (0, 0, 0, pages * 16 - slots), value=torch.nan) for t in (keys, values)]
    pair = 2 if keys.dtype == torch.bfloat16 else 1
    by_key = padded[0].view(kv_heads, pages, 16, size // pair, pair).permute(1, 0, 3, 2, 4)
    by_value = padded[1].view(kv_heads, pages, 16 // pair, pair, width).permute(1, 0, 2, 4, 3)
    pool.keys.copy_(by_key.reshape(pages, kv_heads, -1))
    pool.values.copy_(by_value.reshape(pages, kv_heads, -1))
    return pool


def error(kernels: Kernels, tree: Step, heads: int = 6, kv_heads: int = 2, dim: int = 32,
          dtype: torch.dtype = torch.float32, *, value_dim: int | None = None, window: int | None = None,
          soft_cap: float | None = None, sinks: Tensor | None = None, scale: float = 0.25, gain: float = 1.0,
          parts: int = 1, aligned: bool = False) -> float:
    """Relative distance of the kernel from the float64 reference."""
    query, keys, values = tensors(tree, heads, kv_heads, dim, dtype, gain)
    values = values[..., : value_dim or dim]
    slots = torch.cat([torch.from_numpy(segment.slots) for segment in tree.segments])
    new_keys, new_values = (pool[:, slots].transpose(0, 1).contiguous() for pool in (keys, values))
    old_keys, old_values = keys.clone(), values.clone()
    old_keys[:, slots], old_values[:, slots] = torch.nan, torch.nan  # the kernel writes them
    plan = ItemPlan(tree.runs, tree.segments, group=heads // kv_heads, window=window, parts=parts,
                    aligned=aligned)
    result = CpuAttention(kernels).attend(
        query.transpose(0, 1).contiguous(), new_keys, new_values, slots, filled_pool(old_keys, old_values), plan,
        scale=scale, soft_cap=soft_cap, sinks=sinks)
    assert result.dtype == dtype
    expected = reference_attention(query, keys, values, tree.runs, tree.segments, scale=scale, window=window,
                                   soft_cap=soft_cap, sinks=sinks)
    return float((result.double() - expected).norm() / expected.norm())


BOUND = {torch.float32: 2e-6, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", TREES)
def test_equals_float64(kernels: Kernels, name: str, dtype: torch.dtype) -> None:
    for layout in LAYOUTS:
        assert error(kernels, step(*TREES[name], layout), dtype=dtype) < BOUND[dtype]


@pytest.mark.parametrize("name", TREES)
def test_sliding_window(kernels: Kernels, name: str) -> None:
    for window in (1, 2, 16, 50, 500):
        assert error(kernels, step(*TREES[name], "pages"), window=window) < 2e-6


@pytest.mark.parametrize("name", TREES)
def test_soft_cap_and_sinks(kernels: Kernels, name: str) -> None:
    tree = step(*TREES[name], "pages")
    sinks = torch.linspace(-2.0, 3.0, 6)
    assert error(kernels, tree, soft_cap=1.5, scale=1.0) < 2e-6
    assert error(kernels, tree, sinks=sinks) < 2e-6
    assert error(kernels, tree, soft_cap=1.5, scale=1.0, sinks=sinks, window=20) < 2e-6


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (4, 4), (3, 1), (14, 2), (64, 1)])
@pytest.mark.parametrize("dim", [16, 48, 64, 80, 128, 256])
def test_head_counts_and_sizes(kernels: Kernels, heads: int, kv_heads: int, dim: int, dtype: torch.dtype) -> None:
    tree = step(*TREES["mixed"], "pages")
    assert error(kernels, tree, heads, kv_heads, dim, dtype, scale=dim**-0.5) < BOUND[dtype]


@pytest.mark.parametrize("dtype", BOUND)
def test_values_of_another_size_than_keys(kernels: Kernels, dtype: torch.dtype) -> None:
    assert error(kernels, step(*TREES["mixed"], "pages"), dim=192, value_dim=128, dtype=dtype) < BOUND[dtype]


@pytest.mark.parametrize("name", ["mixed", "long runs", "three levels, ragged"])
def test_huge_scores(kernels: Kernels, name: str) -> None:
    assert error(kernels, step(*TREES[name]), gain=300.0) < 1e-4


def test_a_chunk_longer_than_the_window_and_than_a_row_block(kernels: Kernels) -> None:
    for window in (3, 100, 300):
        assert error(kernels, step([(-1, 40), (0, 700)], [(1, 690)]), window=window) < 2e-6


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_keys_split_for_idle_threads(kernels: Kernels, parts: int) -> None:
    tree = step([(-1, 3000), (0, 1100), (0, 7)], [(1, 1), (2, 1)], "pages")
    assert error(kernels, tree, parts=parts) < 2e-6


@settings(max_examples=examples(60, 10_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees(), layout=st.sampled_from(LAYOUTS), window=st.none() | st.integers(1, 60), seed=st.integers(0, 9),
       dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_random_trees(kernels: Kernels, tree: tuple[Pairs, Pairs], layout: str, window: int | None, seed: int,
                      dtype: torch.dtype) -> None:
    nodes, queries = tree
    if queries:
        bound = 3e-6 if dtype == torch.float32 else 2e-2
        assert error(kernels, step(nodes, queries, layout, seed), 4, 2, 16, dtype, window=window) < bound


@pytest.mark.parametrize("dtype", BOUND)
def test_norm_and_gate(kernels: Kernels, dtype: torch.dtype) -> None:
    x = torch.randn(5, 96) * torch.tensor([1e-4, 0.1, 1.0, 30.0, 0.0])[:, None]
    weight = torch.randn(96)
    x, weight = x.to(dtype), weight.to(dtype)
    scaled = (x.float() * (x.float().square().mean(-1, keepdim=True) + 1e-5).rsqrt()).to(dtype)
    torch.testing.assert_close(RmsNorm(weight, 1e-5, kernels)(x[None]), (scaled * weight)[None])
    gate, up, down = (torch.nn.Linear(a, b, bias=a == 96).to(dtype) for a, b in ((96, 64), (96, 64), (64, 33)))
    with torch.inference_mode():
        expected = down(torch.nn.functional.silu(gate(x)) * up(x))
        found = GatedLayer(gate, up, down, kernels)(x)
    torch.testing.assert_close(found, expected, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=2e-3)


def test_neighbours_change_nothing(kernels: Kernels) -> None:
    """A decoding row has bitwise the same result whoever else is in the step, as long as the sharing is the same."""
    tree = step([(-1, 100), (-1, 57), (-1, 33)], [(0, 1), (1, 1), (2, 9)], "pages")
    query, keys, values = tensors(tree, 4, 2, 64, torch.bfloat16)
    rows = query.transpose(0, 1).contiguous()
    slots = torch.cat([torch.from_numpy(segment.slots) for segment in tree.segments])
    new = [pool[:, slots].transpose(0, 1).contiguous() for pool in (keys, values)]

    def attend(numbers: list[int], first: int, last: int) -> Tensor:
        plan = ItemPlan(tree.runs, [tree.segments[i] for i in numbers], group=2)
        return CpuAttention(kernels).attend(rows[first:last], new[0][first:last], new[1][first:last],
                                            slots[first:last], filled_pool(keys, values), plan)

    together = attend([0, 1, 2], 0, 11)
    for number, (first, last) in enumerate([(0, 1), (1, 2), (2, 11)]):
        assert torch.equal(attend([number], first, last), together[first:last])


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("inputs, outputs", [(64, 96), (33, 1), (1, 31), (130, 33), (896, 70)])
def test_linear(kernels: Kernels, inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> None:
    linear = torch.nn.Linear(inputs, outputs, bias).to(dtype)
    packed = PackedLinear(linear.weight, linear.bias if bias else None, kernels)
    with torch.inference_mode():
        for rows in (1, 2, 11, 12, 13, 97, 200):
            x = torch.randn(rows, inputs).to(dtype)
            terms = x.double()[:, None] * linear.weight.double()
            expected = terms.sum(-1) + (0 if linear.bias is None else linear.bias.double())
            result = packed(x)
            assert result.dtype == dtype and result.shape == expected.shape
            assert ((result.double() - expected).abs() < BOUND[dtype] * (terms.abs().sum(-1) + 1)).all()
            assert torch.equal(packed(x[:1]), result[:1])  # a row does not depend on its neighbours
        assert packed(torch.zeros(2, 0, inputs, dtype=dtype)).shape == (2, 0, outputs)


@pytest.mark.skipif(library.find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("option", ["-march=haswell", "-march=skylake-avx512"])
def test_other_instructions_compile(option: str, tmp_path: Path) -> None:
    """They are loaded but not called: this machine may not have them."""
    if "x86" in platform.machine():
        built = build_kernels((option, "-O1"), tmp_path)
        assert isinstance(built, Kernels) and built.instructions in ("AVX2", "AVX-512")


def test_what_the_kernel_does_not_compute() -> None:
    assert supports(32, 8, 128, 128, torch.bfloat16)
    assert not supports(32, 8, 128, 128, torch.float16)
    assert not supports(4, 2, 24, 24, torch.float32)
    assert not supports(4, 2, 512, 512, torch.float32)
    assert not supports(65, 1, 64, 64, torch.float32)


def test_no_compiler_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    built = build_kernels((), tmp_path)
    assert isinstance(built, Unavailable) and "no C++ compiler" in built.reason


def test_a_compiler_that_fails_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    built = build_kernels((), tmp_path / "cache")
    assert isinstance(built, Unavailable) and "error: no such thing" in built.reason
    assert not list((tmp_path / "cache").iterdir())


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernels.cache_clear()
    monkeypatch.setenv("SEMC_CPU_KERNELS", "off")
    assert isinstance(load_kernels(), Unavailable)
    load_kernels.cache_clear()
