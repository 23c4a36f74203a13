"""The share of prompt tokens that runs find, beside that of a perfect token-level radix tree over the same prompts.

Parrot's workloads in their full sizes (`semc bench` lists them), compiled at -O2 on the reference engine.

    python benchmarks/programs/sharing.py [--scale 1] [--width 1] [--only copilot,gpts]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from recorder import Recorder
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.reference import reference_runner
from semlang.backend.step_engine import StepEngine
from semlang.backend.workloads.catalogue import WORKLOADS
from semlang.backend.workloads.measure import run_programs
from semlang.backend.workloads.radix_optimum import radix_optimum
from semlang.backend.workloads.timeline import RealTime
from sides import compile_programs

NAMES = ("chain", "map-reduce", "copilot", "gpts", "multi-agent")
CONTEXT, KV_SLOTS = 16_384, 1 << 20


def main() -> None:
    """Print one line for each workload."""
    parser = argparse.ArgumentParser(description="Shared prompt tokens beside a perfect radix tree's.")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies numbers of tokens")
    parser.add_argument("--width", type=float, default=1.0, help="multiplies numbers of calls")
    parser.add_argument("--only", default="", help="names of workloads, separated by commas")
    options = parser.parse_args()
    tokenizer = embedded_tokenizer()
    print(f"{'workload':<14}{'calls':>6}{'prompt tokens':>15}{'filled':>9}{'optimum':>9}{'share':>9}{'optimum':>9}")
    for name in options.only.split(",") if options.only else NAMES:
        workload = WORKLOADS[name](tokenizer, scale=options.scale, width=options.width)
        # Users need not wait for one another here: the share is what counts, not the time.
        workload = replace(workload, applications=tuple(replace(a, arrival=0.0) for a in workload.applications))
        engine = StepEngine(reference_runner(tokenizer, CONTEXT), tokenizer, name="reference", kv_slots=KV_SLOTS)
        recorder = Recorder()
        recorder.use(engine)
        began = time.perf_counter()
        modules = compile_programs(workload, tokenizer, engine.costs, str(workload.path))
        measured = run_programs(workload, modules, recorder, [engine], RealTime())
        engine.check_integrity()
        engine.close()
        optimum = radix_optimum(recorder.calls)
        share = 1 - measured.filled_tokens / optimum.prompt_tokens
        print(f"{name:<14}{len(recorder.calls):>6}{optimum.prompt_tokens:>15}{measured.filled_tokens:>9}"
              f"{optimum.filled_tokens:>9}{share:>9.2%}{optimum.share:>9.2%}   {time.perf_counter() - began:.0f} s",
              flush=True)


if __name__ == "__main__":
    main()
