"""Linear layers whose rows do not depend on one another, in the interpreter: right, and equal to the last bit."""

import os

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.kernels.triton.linear import InvariantLinear

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

BOUND = {torch.float32: 1e-6, torch.float16: 1e-3}


def layer(inputs: int, outputs: int, dtype: torch.dtype, bias: bool) -> InvariantLinear:
    torch.manual_seed(0)
    return InvariantLinear(nn.Linear(inputs, outputs, bias).to(dtype).requires_grad_(False))


def numbers(rows: int, size: int, dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("rows, inputs, outputs, bias", [(1, 64, 64, False), (3, 48, 97, True), (70, 200, 130, True),
                                                         (130, 16, 5, False)])
def test_products(rows: int, inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> None:
    made = layer(inputs, outputs, dtype, bias)
    x = numbers(rows, inputs, dtype, 1)
    expected = x.double() @ made.weight.double().T + (made.bias.double() if bias else 0.0)
    assert float((made(x).double() - expected).norm() / expected.norm()) < BOUND[dtype]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("count", [1, 2, 31, 64, 65, 150])
def test_a_row_is_the_same_in_any_company(count: int, dtype: torch.dtype) -> None:
    """Alone, at any place among others, and beside what is not a number."""
    made = layer(200, 70, dtype, True)
    x = numbers(1, 200, dtype, 1)
    alone = made(x)
    for place in {0, count // 2, count - 1}:
        for company in (numbers(count, 200, dtype, place), torch.full((count, 200), torch.nan, dtype=dtype)):
            company[place] = x[0]
            assert torch.equal(made(company)[place], alone[0])


def test_rows_that_lie_apart_and_no_rows() -> None:
    made = layer(32, 40, torch.float32, True)
    wide = numbers(6, 96, torch.float32, 2)
    part = wide[None, ::2, 32:64]
    assert torch.equal(made(part), made(part.contiguous())) and made(part).shape == (1, 3, 40)
    assert made(part[:, :0]).shape == (1, 0, 40)
