"""The order of calls: urgency, applications, groups; and that nobody starves, whatever comes later."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from semlang.backend.call_order import PATIENCE, REMEMBERED, SENIORITY, CallOrder, CallOrders, call_order, due_time
from semlang.backend.engine import Priority

OBJECTIVES = st.sampled_from(["latency", "throughput", "ttft", "deadline(3)"])


@st.composite
def priorities(draw: st.DrawFn) -> Priority:
    objective = draw(OBJECTIVES)
    deadline = draw(st.floats(0, 1000)) if objective.startswith("deadline") else None
    return Priority(draw(st.sampled_from([None, "a", "b"])), draw(st.integers(0, 5)), objective,
                    draw(st.integers(0, 3)), draw(st.floats(0, 9)), deadline)


def served(calls: list[Priority], now: float = 0.0) -> list[int]:
    """Numbers of calls that come together, in the order in which they are served."""
    orders = CallOrders()
    places = [orders.enter(priority, now) for priority in calls]
    return sorted(range(len(calls)), key=lambda number: places[number])


def test_urgent_calls_come_first_whatever_their_application() -> None:
    assert served([Priority(application=1), Priority(objective="latency", application=2)]) == [1, 0]
    assert served([Priority(objective="deadline(9)", deadline=9.0), Priority(objective="latency")]) == [1, 0]
    assert served([Priority(objective="deadline(9)", deadline=9.0), Priority(objective="deadline(4)", deadline=4.0),
                   Priority()]) == [1, 0, 2]


def test_programs_finish_instead_of_interleaving() -> None:
    assert served([Priority(application=a, depth=d) for a, d in [(2, 0), (1, 3), (1, 1), (2, 5)]]) == [2, 1, 0, 3]


def test_the_critical_path_comes_first_then_what_is_nearly_done() -> None:
    calls = [Priority(slack=2.0, depth=0), Priority(slack=0.0, depth=4), Priority(slack=0.0, depth=1)]
    assert served(calls) == [2, 1, 0]


def test_groups_stay_together() -> None:
    calls = [Priority("a", 2), Priority("b", 2), Priority("a", 2), Priority("b", 1), Priority("a", 1)]
    assert served(calls) == [4, 0, 2, 3, 1]


def test_a_deadline_is_due_in_time() -> None:
    late = Priority(objective="deadline(5)", deadline=5.0)
    orders = CallOrders()
    place = orders.enter(late, 0.0)
    assert place < orders.enter(Priority(objective="latency", application=7), 6.0)
    assert orders.enter(Priority(objective="latency", application=8), 4.0) < place


@given(st.lists(priorities(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_is_strict_and_does_not_depend_on_what_else_waits(calls: list[Priority],
                                                                     chance: random.Random) -> None:
    places = [call_order(p, now=50.0, since=40.0, leader=p, group=i, arrival=i) for i, p in enumerate(calls)]
    assert len(set(places)) == len(places)
    shuffled = places[:]
    chance.shuffle(shuffled)
    assert sorted(shuffled) == sorted(places)


@given(priorities(), priorities(), st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_no_call_waits_for_one_that_comes_much_later(first: Priority, later: Priority, since: float, now: float,
                                                     other_since: float) -> None:
    """Whatever its priority, and however old the application of the other call is."""
    late = now + PATIENCE + SENIORITY + 1e-3
    later = replace(later, deadline=None) if later.deadline is not None else later
    assert due_time(first, now, min(since, now)) < due_time(later, late, min(other_since, late))


def waiting_times(make: Callable[[int], Priority], victim: Priority) -> int:
    """Steps until `victim` is served by an engine that serves one call a second, while one comes every second."""
    orders = CallOrders()
    waiting: list[tuple[CallOrder, Priority]] = []
    for second in range(20):
        waiting.append((orders.enter(make(second), second), make(second)))
    waiting.append((orders.enter(victim, 20), victim))
    for second in range(20, 1000):
        waiting.append((orders.enter(make(second), second), make(second)))
        best = min(waiting)
        waiting.remove(best)
        orders.leave(best[1])
        if best[1] is victim:
            return second - 20
    raise AssertionError("it starves")


def test_nobody_starves() -> None:
    victim = Priority(application=10**9, depth=9, slack=5.0)
    urgent_for_ever = waiting_times(lambda second: Priority(objective="latency", application=second), victim)
    one_application_for_ever = waiting_times(lambda second: Priority(application=1), victim)
    urgent_application = waiting_times(lambda second: Priority(objective="ttft", application=1), victim)
    assert urgent_for_ever <= PATIENCE + 21
    assert one_application_for_ever <= SENIORITY + 21
    assert urgent_application <= PATIENCE + SENIORITY + 21


def test_little_is_remembered() -> None:
    orders = CallOrders()
    for application in range(3 * REMEMBERED):
        priority = Priority(f"g{application}", application=application)
        orders.enter(priority, 0.0)
        orders.leave(priority)
    assert not orders._groups and len(orders._applications) == REMEMBERED


def test_places_survive_a_pause_of_the_application() -> None:
    orders = CallOrders()
    old, new = Priority(application=2), Priority(application=1)
    orders.enter(old, 0.0)
    orders.leave(old)
    assert orders.enter(old, 5.0) < orders.enter(new, 5.0)


def test_slack_may_be_infinite() -> None:
    assert served([Priority(slack=math.inf), Priority(slack=1e9)]) == [1, 0]
