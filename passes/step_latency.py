"""How long a step may take while calls whose own latency counts are decoding in it.

Every step gives each of them one token, so what other calls add to the step delays all of them; but shorter steps
are more steps, whose fixed cost the others pay. The more calls a step delays, the less may be added to it: a step
takes no longer than `STEP_SECONDS`, or than twelve times what it would take without the others, shared by the calls
that are delayed, but never less than twice that; whichever is more. In the benchmark of mixed programs this leaves
summaries within 5 % of an engine that does not look at objectives, where chats are up to twice as fast.
"""

from __future__ import annotations

from .cost_model import CostModel

STEP_SECONDS = 0.05
MOST_STRETCH = 12.0
LEAST_STRETCH = 2.0
LEAST_PROMPT_TOKENS = 16
"""A prompt goes on by at least so many tokens in a step, however little time is left."""


def spare_seconds(costs: CostModel, urgent_rows: int, urgent_read: float) -> float:
    """Seconds that other calls may add to a step in which `urgent_rows` decode and read `urgent_read` KV tokens."""
    alone = costs.step_seconds(0, urgent_rows, urgent_read)
    stretch = max(LEAST_STRETCH, MOST_STRETCH / max(urgent_rows, 1))
    return max(STEP_SECONDS, stretch * alone) - alone


def prompt_tokens_in(costs: CostModel, seconds: float, position: int) -> int:
    """How many tokens of a prompt, from `position` on, may be computed in so many seconds; never none."""
    each = costs.prefill_token + costs.attention * position
    return max(LEAST_PROMPT_TOKENS, int(min(seconds / each, 1e9)) if each else 10**9)


def rows_within(costs: CostModel, kv_tokens: float, *, urgent_rows: int = 1, urgent_read: float = 0.0) -> int:
    """How many rows of other calls, each reading `kv_tokens`, may decode in such a step; at least one."""
    each = costs.decode_row + costs.kv_token * kv_tokens
    left = spare_seconds(costs, urgent_rows, urgent_read) - costs.batch
    return max(1, int(min(left / each, 1e9)) if each else 10**9)
