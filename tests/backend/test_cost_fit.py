"""Cost models fitted to steps that are known to follow one, and to steps that do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.backend.cost_fit import PARAMETERS, Fit, Sample, fit_cost_model
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import REFERENCE, CostModel, cost_model_of

SIZES = [(8, 0, 0, 36), (128, 0, 0, 8256), (512, 0, 0, 131_328), (512, 0, 0, 400_000), (0, 1, 10, 0), (0, 1, 2000, 0),
         (0, 8, 80, 0), (0, 8, 8000, 0), (0, 64, 640, 0), (500, 12, 900, 125_000)]


def measured(model: CostModel, noise: float = 0.0) -> list[Sample]:
    """What an engine with the costs of `model` would show; every other step is slower by `noise`, the rest faster."""
    return [Sample(f"load {i}", *size, model.step_seconds(*size) * (1 + noise * (-1) ** i))
            for i, size in enumerate(SIZES)]


@given(st.builds(CostModel, *[st.floats(1e-9, 1e-1)] * len(PARAMETERS)))
def test_the_fit_recovers_the_costs(model: CostModel) -> None:
    fit = fit_cost_model(measured(model))
    assert fit.worst_error < 1e-6


def test_no_cost_is_negative() -> None:
    samples = [Sample("a", p, 0, 0, 0, s) for p, s in [(10, 3.0), (100, 2.0), (1000, 1.0)]]
    model = fit_cost_model(samples).model
    assert all(getattr(model, name) >= 0 for name in PARAMETERS) and model.prefill_token == 0


def test_residuals_are_relative_errors() -> None:
    samples = measured(CostModel(), noise=0.1)
    fit = Fit(CostModel(), tuple(samples))
    assert fit.residuals()[::2] == pytest.approx([1 / 1.1 - 1] * 5)
    assert fit.residuals()[1::2] == pytest.approx([1 / 0.9 - 1] * 5)
    assert fit.worst_error == pytest.approx(1 / 0.9 - 1) and fit.median_error == pytest.approx(0.101, abs=1e-3)
    assert fit_cost_model(samples).median_error < 0.12
    assert list(fit.by_load()) == [s.load for s in samples]


def test_loads_weigh_the_same() -> None:
    one, other = Sample("once", 0, 1, 0, 0, 1.0), Sample("often", 0, 1, 0, 0, 2.0)
    few, many = (fit_cost_model([one] + [other] * n).model.step_seconds(0, 1, 0) for n in (1, 100))
    assert few == pytest.approx(many)


def test_a_fit_needs_samples() -> None:
    with pytest.raises(ValueError, match="needs samples"):
        fit_cost_model([])
    with pytest.raises(ValueError, match="took some time"):
        fit_cost_model([Sample("a", 1, 0, 0, 0, 0.0)])


def test_steps_of_one_token_are_cheaper() -> None:
    model = CostModel()
    assert model.step_seconds(0, 1, 0) == pytest.approx(model.step + model.decode_row)
    assert model.step_seconds(1, 1, 0) - model.step_seconds(0, 1, 0) == pytest.approx(model.batch + model.prefill_token)
    assert model.seconds(10, 0, 10, 0) == pytest.approx(10 * model.step_seconds(0, 1, 0))
    assert model.seconds(10, 0, 20, 0, calls=3) == pytest.approx(10 * model.step_seconds(0, 2, 0) + 3 * model.call)


def test_a_target_gives_the_costs_of_its_engine() -> None:
    assert cost_model_of(Target({}, "reference")) == REFERENCE
    measured_costs = CostModel(step=1.0)
    target = Target({"": ModelTarget(max_batch=7, max_step_tokens=9, costs=measured_costs)}, "torch")
    assert cost_model_of(target) == CostModel(step=1.0, max_batch=7, max_step_tokens=9)
    assert cost_model_of(Target({"": ModelTarget(max_batch=7)}, "torch")) == CostModel(max_batch=7)
