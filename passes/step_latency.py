"""How long a step may take while calls whose own latency counts are decoding in it.

Every step gives each of them one token, so what other calls add to the step delays all of them. The target: a step
takes no longer than `STEP_SECONDS`, or twice what it would take without the others, whichever is more. That is twenty
tokens a second or half the speed of an engine that is slower by itself: faster than people read, and the others
keep most of the machine.
"""

from __future__ import annotations

from .cost_model import CostModel

STEP_SECONDS = 0.05
LEAST_PROMPT_TOKENS = 16
"""A prompt goes on by at least so many tokens in a step, however little time is left."""


def spare_seconds(costs: CostModel, urgent_rows: int, urgent_read: float) -> float:
    """Seconds that other calls may add to a step in which `urgent_rows` decode and read `urgent_read` KV tokens."""
    alone = costs.step_seconds(0, urgent_rows, urgent_read)
    return max(STEP_SECONDS, 2 * alone) - alone


def prompt_tokens_in(costs: CostModel, seconds: float, position: int) -> int:
    """How many tokens of a prompt, from `position` on, may be computed in so many seconds; never none."""
    each = costs.prefill_token + costs.attention * position
    return max(LEAST_PROMPT_TOKENS, int(min(seconds / each, 1e9)) if each else 10**9)


def rows_within(costs: CostModel, kv_tokens: float, *, urgent_rows: int = 1, urgent_read: float = 0.0) -> int:
    """How many rows of other calls, each reading `kv_tokens`, may decode in such a step; at least one."""
    each = costs.decode_row + costs.kv_token * kv_tokens
    left = spare_seconds(costs, urgent_rows, urgent_read) - costs.batch
    return max(1, int(min(left / each, 1e9)) if each else 10**9)
