"""Weights in 8 bits: what they are rounded to, and the kernel against float64 for several instruction sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.kernels.cpu.decoder_structures import WeightKind
from semlang.kernels.cpu.int8 import MOST, pack_int8, quantize
from semlang.kernels.cpu.library import Kernels, build_kernels, find_compiler
from semlang.kernels.cpu.linear import PackedLinear, PackedWeights
from torch import Tensor

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(scope="module", params=["native", "plain"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    built = build_kernels(("-march=native",) if request.param == "native" else ())
    assert isinstance(built, Kernels)
    return built


def unpacked(packed: Tensor, outputs: int, inputs: int) -> Tensor:
    """The numbers n of `pack_int8`, byte by byte as `linear.h` orders them."""
    panels, steps = packed.shape[:2]
    numbers = torch.zeros(panels * 32, steps * 2, dtype=torch.int64)
    flat = packed.reshape(panels, steps, 64).long()
    for byte in range(64):
        lane, half, output, odd = byte // 16, byte // 8 % 2, byte // 2 % 4, byte % 2
        values = flat[:, :, byte]
        numbers[half * 16 + lane * 4 + output :: 32, odd::2] = torch.where(values >= 128, 128 - values, values)
    assert not numbers[outputs:].any() and not numbers[:, inputs:].any()
    return numbers[:outputs, :inputs]


@settings(max_examples=40, deadline=None)
@given(outputs=st.integers(1, 70), inputs=st.integers(1, 40), seed=st.integers(0, 999), gain=st.floats(1e-20, 1e20))
def test_numbers_are_rounded_to_the_nearest(outputs: int, inputs: int, seed: int, gain: float) -> None:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) * gain
    weight[seed % outputs] = 0
    numbers, scale = quantize(weight)
    assert numbers.abs().max() <= MOST and not numbers[seed % outputs].any()
    largest = weight.double().abs().amax(dim=1)
    assert ((numbers.double() * scale.double()[:, None] - weight.double()).abs().amax(dim=1)
            <= largest * (0.5 / MOST + 1e-6)).all()
    packed, scales = pack_int8(weight)
    assert torch.equal(unpacked(packed, outputs, inputs), numbers.long())
    assert torch.equal(scales[:outputs], scale) and len(scales) % 32 == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("inputs, outputs", [(64, 96), (33, 1), (1, 31), (130, 33), (896, 70)])
def test_equals_float64(kernels: Kernels, inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> None:
    linear = torch.nn.Linear(inputs, outputs, bias).to(dtype)
    packed = PackedLinear(linear.weight, linear.bias if bias else None, kernels, WeightKind.int8)
    numbers, scale = quantize(linear.weight.detach())
    weight = numbers.double() * scale.double()[:, None]
    with torch.inference_mode():
        for rows in (1, 2, 11, 12, 13, 97, 200):
            x = torch.randn(rows, inputs).to(dtype)
            terms = x.double()[:, None] * weight
            expected = terms.sum(-1) + (linear.bias.double() if bias else 0)
            result = packed(x)
            assert result.dtype == dtype
            bound = (2e-6 if dtype == torch.float32 else 4e-3) * (terms.abs().sum(-1) + 1)
            assert ((result.double() - expected).abs() < bound).all()
            for row in (0, rows - 1):
                assert torch.equal(packed(x[row : row + 1])[0], result[row])  # a row does not depend on its neighbours


def test_half_the_bytes_of_bfloat16() -> None:
    weight = torch.randn(96, 64).bfloat16()
    small, large = (PackedWeights.of(weight, None, kind) for kind in (WeightKind.int8, None))
    assert large.kind is WeightKind.bfloat16
    assert small.packed.nbytes * 2 == large.packed.nbytes == weight.nbytes
