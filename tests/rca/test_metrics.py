"""Scores: as scikit-learn computes them, and by hand."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.programs.rca.metrics import (
    UNSEEN,
    Prediction,
    area_under_risk,
    expected_calibration_error,
    f1_scores,
    reliability,
    risk_at,
    risk_coverage,
    under,
)


def predictions(rows: list[tuple[str, str, float]]) -> list[Prediction]:
    return [Prediction(truth, answer, confidence, False) for truth, answer, confidence in rows]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abce")), min_size=1, max_size=30))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores = f1_scores(predictions([(truth, answer, 0.5) for truth, answer in pairs]), samples=5)
    truths, answers = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average, score in scores.items():
            assert score.value == pytest.approx(metrics.f1_score(truths, answers, average=average))


def test_intervals_hold_the_value_and_can_be_repeated() -> None:
    rows = predictions([("a", "a" if n % 3 else "b", 0.5) for n in range(90)])
    score = f1_scores(rows)["micro"]
    assert score.value == pytest.approx(2 / 3)
    assert score.low < score.value < score.high
    assert 0.08 < (score.high - score.low) / 2 < 0.12  # 1.96 · sqrt(2/9/90) = 0.097
    assert f1_scores(rows) == f1_scores(rows)
    assert f1_scores(rows, samples=3) != f1_scores(rows, seed=1, samples=3)


def test_three_conventions_for_the_unseen() -> None:
    rows = [Prediction("a", "a", 1.0, False), Prediction("new", "a", 1.0, True), Prediction("new", UNSEEN, 1.0, True)]
    assert [f1_scores(under(rows, name), samples=2)["micro"].value for name in ("scored", "dropped", "class")] == [
        pytest.approx(1 / 3), 1.0, pytest.approx(2 / 3)]
    with pytest.raises(ValueError, match="no convention `other`"):
        under(rows, "other")


def test_calibration_by_hand() -> None:
    rows = predictions([("a", "a", 0.95), ("a", "b", 0.95), ("a", "a", 0.35), ("a", "b", 0.0)])
    assert reliability(rows) == [(1, 0.0, 0.0), (1, 0.35, 1.0), (2, pytest.approx(0.95), 0.5)]
    assert expected_calibration_error(rows) == pytest.approx((0.0 + 0.65 + 2 * 0.45) / 4)
    assert expected_calibration_error([]) == 0.0


def test_risk_and_coverage_by_hand() -> None:
    rows = predictions([("a", "a", 0.9), ("a", "a", 0.8), ("a", "b", 0.8), ("a", "b", 0.1)])
    assert risk_coverage(rows) == [(0.25, 0.0), (0.75, 1 / 3), (1.0, 0.5)]
    assert area_under_risk(rows) == pytest.approx(0.5 / 3 + 0.25 * 0.5)
    assert risk_at(rows, 0.2) == 0.0
    assert risk_at(rows, 0.5) == pytest.approx(1 / 3)


def test_a_useful_confidence_lowers_the_area() -> None:
    useful = predictions([("a", "a" if n < 50 else "b", 1 - n / 100) for n in range(100)])
    useless = predictions([("a", "a" if n < 50 else "b", 0.5) for n in range(100)])
    assert area_under_risk(useless) == pytest.approx(0.5)
    assert area_under_risk(useful) < 0.2
