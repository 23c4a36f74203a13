"""Retrieval: the formula, distinct categories, never the incident itself, never the future."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.similarity import Past, fit_alpha, kind_factors, nearest, similarities


def past(categories: str, days: list[float], places: list[float] | None = None) -> Past:
    """Incidents on a line, called by their row; categories are letters."""
    rows = np.array([[place] for place in places or [0.0] * len(days)], np.float32)
    return Past([str(row) for row in range(len(days))], list(categories), rows, np.array(days))


def at(place: float) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.array([place], np.float32)


def test_the_formula() -> None:
    found = similarities(np.array([[3.0, 4.0]], np.float32), np.zeros(2, np.float32), np.array([-2.0]), 0.3)
    assert found[0] == pytest.approx(math.exp(-0.6) / 6)


def test_one_for_each_category_the_best_first() -> None:
    known = past("aaabbc", [1, 2, 3, 4, 5, 6], [0.0, 0.1, 0.2, 1.0, 0.9, 5.0])
    assert [n.id for n in nearest(known, at(0.0), 10, k=3)] == ["0", "4", "5"]
    assert [n.id for n in nearest(known, at(0.0), 10, k=3, distinct=False)] == ["0", "1", "2"]


def test_distinct_categories_lift_the_ceiling() -> None:
    known = past("aaaaab", list(range(6)), [0.0] * 5 + [1.0])
    assert "b" not in {n.category for n in nearest(known, at(0.0), 10, k=5, distinct=False)}
    assert "b" in {n.category for n in nearest(known, at(0.0), 10, k=5)}


def test_decay_prefers_the_recent() -> None:
    known = past("ab", [0.0, 99.0], [0.0, 0.5])
    assert nearest(known, at(0.0), 100, alpha=0.0)[0].category == "a"
    assert nearest(known, at(0.0), 100, alpha=0.1)[0].category == "b"


def test_neither_itself_nor_the_future() -> None:
    known = past("abc", [1.0, 2.0, 3.0])
    assert [n.id for n in nearest(known, at(0.0), 2.0, id="1")] == ["0"]
    assert nearest(known, at(0.0), 0.5) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-5, 5), st.sampled_from("abcd")), max_size=25),
       st.floats(0, 100), st.integers(1, 6), st.floats(0, 1))
def test_what_is_found_was_there_and_differs(rows: list[tuple[float, float, str]], day: float, k: int,
                                             alpha: float) -> None:
    known = past("".join(r[2] for r in rows), [r[0] for r in rows], [r[1] for r in rows])
    found = nearest(known, at(0.0), day, k=k, alpha=alpha)
    assert all(rows[n.row][0] <= day for n in found)
    assert len({n.category for n in found}) == len(found) == min(k, len({r[2] for r in rows if r[0] <= day}))
    assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)


def test_alpha_is_fitted_on_what_recurs() -> None:
    """Where the same place means another thing every ten days, recent incidents tell more; else decay is 0."""
    days = [float(day) for day in range(60)]
    drifting = past("".join("abc"[int(day) // 10 % 3] for day in days), days, [math.sin(7 * day) for day in days])
    alpha, shares = fit_alpha(drifting, 20)
    assert alpha > 0 and shares[alpha] > shares[0.0]
    steady = past("".join("ab"[int(day) % 2] for day in days), days, [float(int(day) % 2) for day in days])
    assert fit_alpha(steady, 20)[0] == 0.0


def test_alike_alert_types_count_more() -> None:
    factors = kind_factors(["DiskFull", "diskfull", "Certificate", "DiskFull"], "DiskFull")
    assert factors[0] == factors[1] == factors[3] == 1.0 and factors[2] < 0.5
    known = Past(["1", "2"], ["a", "b"], np.zeros((2, 1), np.float32), np.array([2.0, 1.0]),
                 ["Certificate", "DiskFull"])
    assert nearest(known, at(0.0), 3.0)[0].id == "1"
    assert nearest(known, at(0.0), 3.0, kind="DiskFull")[0].id == "2"
