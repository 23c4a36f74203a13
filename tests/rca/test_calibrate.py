"""Scores become probabilities that hold on incidents they were not fitted to."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.programs.rca.calibrate import Calibration, CalibrationError, Scores, fit_calibration, read_calibration
from semlang.programs.rca.metrics import Prediction, expected_calibration_error

pytest.importorskip("sklearn")


def incidents(count: int, seed: int) -> tuple[list[Scores], list[bool]]:
    """Scores that are overconfident: right in 0.6 · evidence · rating of the cases."""
    source = random.Random(seed)
    scores = [(source.randint(0, 10) / 10, source.randint(0, 10) / 10) for _ in range(count)]
    return scores, [source.random() < 0.6 * a * b for a, b in scores]


def error_of(probabilities: list[float], right: list[bool]) -> float:
    return expected_calibration_error([Prediction("a", "a" if is_right else "b", probability, False)
                                       for probability, is_right in zip(probabilities, right, strict=True)])


def test_calibrated_on_held_out_incidents() -> None:
    fitted = fit_calibration(*incidents(600, 1))
    scores, right = incidents(600, 2)
    raw = error_of([(a + b) / 2 for a, b in scores], right)
    calibrated = error_of([fitted.probability(one) for one in scores], right)
    assert raw > 0.3 and calibrated < 0.06


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.booleans()), min_size=10, max_size=40))
def test_more_never_means_less_and_never_certainty(rows: list[tuple[int, int, bool]]) -> None:
    fitted = fit_calibration([(a / 10, b / 10) for a, b, _ in rows], [right for _, _, right in rows])
    for step in range(10):
        low, high = step / 10, (step + 1) / 10
        for other in (0.0, 0.5, 1.0):
            assert fitted.probability((low, other)) <= fitted.probability((high, other)) + 1e-12
            assert fitted.probability((other, low)) <= fitted.probability((other, high)) + 1e-12
    assert all(0 < probability < 1 for probability in fitted.probabilities)
    assert read_calibration(fitted.to_json()) == fitted


def test_what_cannot_be_fitted_or_read() -> None:
    with pytest.raises(CalibrationError, match="9 labelled incidents are too few"):
        fit_calibration([(0.5, 0.5)] * 9, [True] * 9)
    with pytest.raises(CalibrationError, match="10 scores for 9"):
        fit_calibration([(0.5, 0.5)] * 10, [True] * 9)
    with pytest.raises(CalibrationError, match="version 2"):
        read_calibration('{"version": 2}')
    with pytest.raises(CalibrationError, match="no calibration"):
        read_calibration("[]")
    with pytest.raises(CalibrationError, match="do not rise"):
        read_calibration(Calibration((1.0, 1.0), 0.0, (0.1, 0.2), (0.9, 0.1)).to_json())
