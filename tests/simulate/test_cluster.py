"""Clusters of simulated engines: schedules worked out by hand, equal numbers every time, nothing lost at scale."""

from pathlib import Path

import pytest
from semlang.backend.engine import Priority
from semlang.backend.simulate.applications import COMMON, ApplicationShape, CallShape
from semlang.backend.simulate.cluster import Cluster, ClusterResult
from semlang.backend.simulate.devices import DEVICES
from semlang.backend.simulate.traffic import TraceError, Traffic, as_programs, as_requests, trace
from semlang.passes.cost_model import CostModel

COSTS = CostModel(step=1.0, batch=0.0, prefill_token=0.1, decode_row=0.5, kv_token=0.01, attention=0.0, call=0.25,
                  max_batch=4, max_step_tokens=32)
KEY = COMMON


def call(number: int, prompt: int, tokens: int, needs: tuple[int, ...] = (), shared: int = 0,
         delay: float = 0.0) -> CallShape:
    """A call with `prompt` tokens of its own after `shared` common ones."""
    common = ((7, shared),) if shared else ()
    return CallShape((*common, (KEY + 2 * number, prompt)), KEY + 2 * number + 1, tokens, needs, Priority(), delay)


def run(*applications: ApplicationShape, engines: int = 1, leaps: bool = True, spread: bool = False) -> ClusterResult:
    """Simulate on small engines."""
    return Cluster(engines, COSTS, 1000, leaps=leaps, spread=spread).run(applications)


@pytest.mark.parametrize("leaps", [True, False])
def test_one_call(leaps: bool) -> None:
    result = run(ApplicationShape(2.0, (call(0, 10, 3),)), leaps=leaps)
    # BOS and 10 prompt tokens: 0.25 + 1 + 1.1. Then a row that reads 12 tokens, itself included, and one of 13.
    seconds = 2.35 + (1.5 + 0.12) + (1.5 + 0.13)
    assert result.applications[0].seconds == pytest.approx(seconds)
    assert result.makespan_s == pytest.approx(2 + seconds)
    assert (result.engine_steps, result.filled_tokens, result.generated_tokens) == (3, 10, 3)
    assert result.busy == pytest.approx(seconds / (2 + seconds))


def test_a_long_prompt_takes_several_steps() -> None:
    result = run(ApplicationShape(0.0, (call(0, 63, 1),)))
    assert result.makespan_s == pytest.approx(0.25 + (1 + 3.2) + (1 + 3.2))
    assert result.engine_steps == 2


def test_a_common_beginning_is_computed_once() -> None:
    calls = (call(0, 5, 1, shared=20), call(1, 5, 1, shared=20))
    result = run(ApplicationShape(0.0, calls))
    # The second call waits for the first one's step, which computes the common tokens.
    assert result.makespan_s == pytest.approx((0.5 + 1 + 2.6) + (1 + 0.5))
    assert (result.prompt_tokens, result.filled_tokens) == (50, 30)


def test_a_call_joins_after_the_step_under_way() -> None:
    first, second = ApplicationShape(0.0, (call(0, 10, 50),)), ApplicationShape(10.0, (call(1, 10, 1),))
    result = run(first, second)
    ends = [2.35]
    while ends[-1] < 10.0:
        ends.append(ends[-1] + 1.5 + 0.01 * (11 + len(ends)))
    joined = 0.25 + 1 + 0.5 + 0.1 * 10 + 0.01 * (11 + len(ends))
    assert result.applications[1].seconds == pytest.approx(ends[-1] + joined - 10.0)


def test_calls_wait_for_one_another_and_for_the_network() -> None:
    result = run(ApplicationShape(0.0, (call(0, 10, 1, delay=4.0), call(1, 10, 1, (0,), delay=3.0))))
    assert result.makespan_s == pytest.approx(4 + 2.35 + 3 + (0.25 + 1 + 1.0))


def test_calls_without_a_common_beginning_spread() -> None:
    calls = tuple(call(number, 20, 20) for number in range(4))
    one, four = run(ApplicationShape(0.0, calls)), run(ApplicationShape(0.0, calls), engines=4)
    assert four.makespan_s < one.makespan_s
    assert four.filled_tokens == one.filled_tokens == 80


def test_a_resident_prompt_is_followed_unless_prompts_are_ignored() -> None:
    applications = [ApplicationShape(100.0 * number, (call(number, 5, 2, shared=300),)) for number in range(6)]
    follows, ignores = run(*applications, engines=3), run(*applications, engines=3, spread=True)
    assert follows.filled_tokens == 300 + 6 * 5
    assert ignores.filled_tokens == 3 * 300 + 6 * 5


def test_the_same_seed_gives_the_same_numbers() -> None:
    def simulate(seed: int, leaps: bool = True) -> ClusterResult:
        device = DEVICES["a100-13b"]
        traffic = as_programs(Traffic(seed, round_trip=0.25).poisson(300, 2.0))
        return Cluster(4, device.costs, 12_000, leaps=leaps).run(traffic)

    assert simulate(5) == simulate(5)
    assert simulate(5).makespan_s != simulate(6).makespan_s
    leapt, stepped = simulate(5), simulate(5, leaps=False)
    assert [a.seconds for a in leapt.applications] == pytest.approx([a.seconds for a in stepped.applications])
    for name in ("filled_tokens", "refilled_tokens", "engine_steps", "evicted_tokens", "preemptions", "peak_kv_tokens"):
        assert getattr(leapt, name) == getattr(stepped, name), name


def test_programs_are_no_slower_than_requests() -> None:
    device = DEVICES["a100-13b"]
    programs = Cluster(4, device.costs, device.kv_slots).run(as_programs(Traffic(1, round_trip=0.25).poisson(400, 1.0)))
    requests = Cluster(4, device.costs, device.kv_slots, spread=True).run(
        as_requests(Traffic(1, round_trip=0.25).poisson(400, 1.0)))
    assert programs.generated_tokens == requests.generated_tokens
    assert programs.filled_tokens < requests.filled_tokens
    assert programs.mean_s < requests.mean_s


def test_twenty_thousand_calls_end_each_once() -> None:
    shapes = list(as_programs(Traffic(3).poisson(20_000, 20.0)))
    device = DEVICES["h100-8b"]
    result = Cluster(100, device.costs, device.kv_slots, spread=True).run(shapes)
    calls = [c for shape in shapes for c in shape.calls]
    assert [a.number for a in result.applications] == list(range(len(shapes)))
    assert [a.calls for a in result.applications] == [len(shape.calls) for shape in shapes]
    assert result.calls == len(calls) >= 20_000
    assert result.generated_tokens == sum(c.tokens for c in calls)
    assert result.prompt_tokens == sum(tokens for c in calls for _, tokens in c.segments)
    assert result.filled_tokens < 0.8 * result.prompt_tokens
    assert result.peak_kv_tokens <= device.kv_slots
    assert 0 < result.busy <= 1


def test_memory_pressure_loses_no_call() -> None:
    shapes = list(Traffic(4).poisson(100, 50.0))
    result = Cluster(2, DEVICES["a100-13b"].costs, 9_000).run(shapes)
    assert len(result.applications) == len(shapes)
    assert result.preemptions > 0
    assert result.peak_kv_tokens <= 9_000


def test_wrong_applications() -> None:
    with pytest.raises(ValueError, match="waits for call 1"):
        run(ApplicationShape(0.0, (call(0, 1, 1, (1,)), call(1, 1, 1))))
    with pytest.raises(ValueError, match="order of their arrival"):
        run(ApplicationShape(1.0, ()), ApplicationShape(0.0, ()))
    with pytest.raises(ValueError, match="needs KV for 1006 tokens, the engine has 1000"):
        run(ApplicationShape(0.0, (call(0, 1000, 5),)))


def test_traces(tmp_path: Path) -> None:
    azure = tmp_path / "azure.csv"
    azure.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,480,10\n"
                     "2023-11-16 18:17:05.9799600,110,27\n")
    first, second = trace(azure)
    assert [first.arrival, second.arrival] == pytest.approx([0.0, 2.0])
    assert [c.tokens for shape in (first, second) for c in shape.calls] == [10, 27]
    mooncake = tmp_path / "mooncake.jsonl"
    mooncake.write_text('{"timestamp": 0, "input_length": 1100, "output_length": 6, "hash_ids": [4, 5, 6]}\n'
                        '{"timestamp": 3000, "input_length": 1030, "output_length": 2, "hash_ids": [4, 5, 9]}\n')
    result = Cluster(1, COSTS, 5000).run(trace(mooncake, speed=3.0))
    assert (result.prompt_tokens, result.filled_tokens) == (2130, 1106)
    assert result.applications[1].arrival == 1.0
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TraceError, match="no trace of Azure's or Mooncake's format"):
        list(trace(tmp_path / "bad.csv"))
