"""Where calls go: the policy beside packing and spreading, predicted and simulated, on four engines.

    .venv/bin/python benchmarks/placement.py [--costs a6000-7b]

All calls are there at once; outputs have a fixed length. Each figure is the time until the last call has ended: as
`passes.placement` predicts it, and in virtual time on simulated engines, whose steps are those of a real one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from semlang.backend.embedded import CONTEXT_LENGTH, embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, Engine, EngineError, Generation, SamplingOptions
from semlang.backend.engine_group import EngineGroup
from semlang.backend.reference import reference_runner
from semlang.backend.simulate.devices import DEVICES, SimulatedDevice
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.passes.placement import EngineLoad, WaitingCall, evaluate, place

ENGINES = 4
OUTPUT = 100


@dataclass(frozen=True)
class Prompt:
    """A prefix by number (None for none) with its tokens, and tokens of its own."""

    prefix: int | None
    prefix_tokens: int
    own_tokens: int


SCENARIOS = {
    "64 independent calls of 200 tokens": [Prompt(None, 0, 200)] * 64,
    "64 calls, 5,000 tokens shared": [Prompt(0, 5000, 200)] * 64,
    "4 calls, 5,000 tokens shared": [Prompt(0, 5000, 200)] * 4,
    "4 programs, 16 calls each, 5,000 tokens shared in each": [Prompt(n % 4, 5000, 200) for n in range(64)],
    "copilot: 64 calls, 5,107 of 6,167 tokens shared": [Prompt(0, 5107, 1060)] * 64,
}


def waiting(prompts: Sequence[Prompt]) -> list[WaitingCall]:
    """The calls as the policy sees them."""
    return [WaitingCall((*(((f"prefix {p.prefix}", p.prefix_tokens),) if p.prefix is not None else ()),
                         (f"own {number}", p.own_tokens)), OUTPUT) for number, p in enumerate(prompts)]


def simulated(device: SimulatedDevice, prompts: Sequence[Prompt], chosen: Sequence[int] | None) -> float:
    """Virtual seconds until the last call has ended; `chosen` engines, or those that a group of engines chooses."""
    tokenizer, clock = embedded_tokenizer(), VirtualClock()
    engines = [SimulatedEngine(reference_runner(tokenizer, CONTEXT_LENGTH), tokenizer, clock, device.costs,
                               kv_slots=device.kv_slots) for _ in range(ENGINES)]
    group = EngineGroup(engines, costs=device.costs) if chosen is None else None
    left = len(prompts)

    def finish(_: Generation) -> None:
        nonlocal left
        left -= 1

    def fail(error: EngineError) -> None:
        raise error

    prefixes: dict[tuple[int, int], int] = {}
    identifiers = iter(range(1, 10_000))
    holder = group if group is not None else engines[0]
    with holder.hold():
        for number, prompt in enumerate(prompts):
            target: Engine = group if group is not None or chosen is None else engines[chosen[number]]  # type: ignore[assignment]
            parent = ROOT
            if prompt.prefix is not None:
                key = prompt.prefix, 0 if chosen is None else chosen[number]
                if key not in prefixes:
                    prefixes[key] = next(identifiers)
                    target.fill([400 + prompt.prefix] * prompt.prefix_tokens, prefixes[key], ROOT)
                parent = prefixes[key]
            own, call = next(identifiers), next(identifiers)
            target.fill([500 + number] * prompt.own_tokens, own, parent)
            target.generate(SamplingOptions(OUTPUT, ignore_eos=True), call, own, Callbacks(finish, fail))
    while left and clock.advance():
        pass
    seconds = clock.now
    for engine in [group] if group is not None else engines:
        engine.close()
    return seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs", choices=list(DEVICES), default="a6000-7b")
    device = DEVICES[parser.parse_args().costs]
    print(f"{ENGINES} engines: {device.name}\n")
    print(f"{'':<58}{'policy':>20}{'packed':>20}{'in turn':>20}   engines")
    for name, prompts in SCENARIOS.items():
        calls = waiting(prompts)
        loads = [EngineLoad(device.costs, device.kv_slots) for _ in range(ENGINES)]
        policy = place(calls, loads)
        row = f"{name:<58}"
        for chosen in (None, [0] * len(calls), [n // 4 % ENGINES if len(calls) > 4 else n for n in range(len(calls))]):
            predicted = policy if chosen is None else evaluate(calls, loads, chosen)
            row += f"{predicted.makespan_s:>9.2f} {simulated(device, prompts, chosen):>8.2f} s"
        shares = [policy.engines.count(engine) for engine in range(ENGINES)]
        print(f"{row}   {'/'.join(map(str, shares))}")
    print("\nof each pair the first is predicted, the second simulated")


if __name__ == "__main__":
    main()
