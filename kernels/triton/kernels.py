"""The device code: one persistent kernel walks the items of a plan, one merges what they leave, one writes new keys.

An item is "these query rows × this run of keys"; decoding, chunks of prompts, levels of sharing, split keys and
sliding windows are only different lists of items (`plan.py`). Everything that changes from step to step is data, so
that a CUDA graph of these launches can be replayed for other trees.
Sources: FlashAttention-2 (arXiv 2307.08691) for the loop, FlashDecoding for split keys and merge, FastTree (MLSys'25)
for two tile sizes; here they share one launch.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Where the header of a plan has the offsets of its parts; `plan.py` writes it.
ITEM_COUNT = tl.constexpr(0)
ROWS = tl.constexpr(1)
POSITIONS = tl.constexpr(2)
KEYS = tl.constexpr(3)
MERGE_STARTS = tl.constexpr(4)
MERGE_PARTIALS = tl.constexpr(5)
NOTHING = tl.constexpr(15)
ITEMS = tl.constexpr(16)


@triton.jit
def attend(
    query, key_pool, value_pool, plan, partials, sums,
    score_scale, soft_cap, window,
    query_row, query_head, key_head, key_slot, value_head, value_slot,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, KEY_SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    KEY_BLOCK: tl.constexpr, VALUE_BLOCK: tl.constexpr, CAPPED: tl.constexpr, WINDOWED: tl.constexpr,
    SMALL_ROWS: tl.constexpr, LARGE_ROWS: tl.constexpr, SMALL_KEYS: tl.constexpr, LARGE_KEYS: tl.constexpr,
    SMALL_STAGES: tl.constexpr, LARGE_STAGES: tl.constexpr, ONE_TILE: tl.constexpr,
):  # fmt: skip
    """Every program takes every n-th (item, KV head) of the plan, which the host has sorted, longest first.

    Row m of a tile is token m // GROUP and query head m % GROUP of the KV head, so that keys are loaded once for
    the heads that share them. An item of few rows takes the small tile, unless there is ONE_TILE.
    """
    work = tl.load(plan + ITEM_COUNT) * KV_HEADS
    rows = plan + tl.load(plan + ROWS)
    positions = plan + tl.load(plan + POSITIONS)
    keys = plan + tl.load(plan + KEYS)
    for number in tl.range(tl.program_id(0), work, tl.num_programs(0)):
        item = plan + ITEMS + (number // KV_HEADS) * 8
        head = number % KV_HEADS
        tokens = tl.load(item + 1)
        if ONE_TILE or tokens * GROUP > SMALL_ROWS:
            _attend_item(
                query, key_pool, value_pool, item, plan + NOTHING, tokens, rows, positions, keys, partials, sums, head,
                score_scale, soft_cap, window,
                query_row, query_head, key_head, key_slot, value_head, value_slot,
                KV_HEADS * GROUP, GROUP, KEY_SIZE, VALUE_SIZE, KEY_BLOCK, VALUE_BLOCK, CAPPED, WINDOWED,
                LARGE_ROWS, LARGE_KEYS, LARGE_STAGES, not ONE_TILE,
            )  # fmt: skip
        else:
            _attend_item(
                query, key_pool, value_pool, item, plan + NOTHING, tokens, rows, positions, keys, partials, sums, head,
                score_scale, soft_cap, window,
                query_row, query_head, key_head, key_slot, value_head, value_slot,
                KV_HEADS * GROUP, GROUP, KEY_SIZE, VALUE_SIZE, KEY_BLOCK, VALUE_BLOCK, CAPPED, WINDOWED,
                SMALL_ROWS, SMALL_KEYS, SMALL_STAGES, True,
            )  # fmt: skip


@triton.jit
def _attend_item(
    query, key_pool, value_pool, item, nothing, tokens, rows, positions, keys,
    partials, sums, head, score_scale, soft_cap, window,
    query_row, query_head, key_head, key_slot, value_head, value_slot,
    HEADS: tl.constexpr, GROUP: tl.constexpr, KEY_SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    KEY_BLOCK: tl.constexpr, VALUE_BLOCK: tl.constexpr, CAPPED: tl.constexpr, WINDOWED: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, STAGES: tl.constexpr, UNMASKED: tl.constexpr,
):  # fmt: skip
    """One item for one KV head: its output, normalised, and the base-2 logarithm of its sum of weights."""
    rows += tl.load(item)
    keys += tl.load(item + 2)
    key_count = tl.load(item + 3)
    first_position = tl.load(item + 4)
    first_partial = tl.load(item + 5)
    head_keys = tl.load(item + 6)
    full_keys = tl.load(item + 7)
    # A zero that the compiler cannot see, or it would keep quotients of `row` in registers from item to item.
    row = tl.arange(0, M) + tl.load(nothing, volatile=True)
    live = row // GROUP < tokens
    token = tl.load(rows + row // GROUP, mask=live, other=0)
    position = tl.load(positions + token, mask=live, other=-1)
    query_heads = head * GROUP + row % GROUP
    inner = tl.arange(0, KEY_BLOCK)
    outer = tl.arange(0, VALUE_BLOCK)
    q = tl.load(
        query + token.to(tl.int64)[:, None] * query_row + query_heads[:, None] * query_head + inner[None, :],
        mask=live[:, None] & (inner < KEY_SIZE)[None, :],
        other=0.0,
    )
    # Inside the slots of one head, 32 bits suffice (`Pool.allocate` sees to it).
    key_pool += head.to(tl.int64) * key_head
    value_pool += head.to(tl.int64) * value_head
    block = tl.arange(0, N)
    largest = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    output = tl.zeros([M, VALUE_BLOCK], tl.float32)
    # Blocks that every row sees whole: no mask. Where no bit may depend on what other rows see, one loop does all,
    # since the compiler may round the same sums differently in two.
    if UNMASKED:
        for start in tl.range(head_keys, head_keys + full_keys, N, num_stages=STAGES):
            slot = tl.load(keys + start + block)
            k = _load_keys(key_pool, slot, key_slot, inner, KEY_SIZE, KEY_BLOCK)
            score = _scores(q, k, score_scale, soft_cap, CAPPED)
            new_largest = tl.maximum(largest, tl.max(score, 1))
            decay = tl.exp2(largest - new_largest)
            weight = tl.exp2(score - new_largest[:, None])
            total = total * decay + tl.sum(weight, 1)
            v = _load_values(value_pool, slot, value_slot, outer, VALUE_SIZE, VALUE_BLOCK)
            output = tl.dot(weight.to(v.dtype), v, output * decay[:, None], input_precision="ieee")
            largest = new_largest
    # The others: before (where a window begins) and after (the diagonal, and the end of the run).
    for done in tl.range(0, key_count - full_keys, N, num_stages=STAGES):
        key = tl.where(done < head_keys, done, done + full_keys) + block
        real = key < key_count
        slot = tl.load(keys + key, mask=real, other=0)
        k = tl.load(
            key_pool + slot[None, :] * key_slot + inner[:, None],
            mask=real[None, :] & (inner < KEY_SIZE)[:, None],
            other=0.0,
        )
        score = _scores(q, k, score_scale, soft_cap, CAPPED)
        key_position = first_position + key
        seen = real[None, :] & (key_position[None, :] <= position[:, None])
        if WINDOWED:
            seen = seen & (key_position[None, :] > position[:, None] - window)
        score = tl.where(seen, score, float("-inf"))
        new_largest = tl.maximum(largest, tl.max(score, 1))
        finite = tl.where(new_largest == float("-inf"), 0.0, new_largest)
        decay = tl.exp2(largest - finite)
        weight = tl.exp2(score - finite[:, None])
        total = total * decay + tl.sum(weight, 1)
        v = tl.load(
            value_pool + slot[:, None] * value_slot + outer[None, :],
            mask=real[:, None] & (outer < VALUE_SIZE)[None, :],
            other=0.0,
        )
        output = tl.dot(weight.to(v.dtype), v, output * decay[:, None], input_precision="ieee")
        largest = new_largest
    row = tl.arange(0, M) + tl.load(nothing, volatile=True)
    live = row // GROUP < tokens
    place = (first_partial + row // GROUP).to(tl.int64) * HEADS + head * GROUP + row % GROUP
    total_or_1 = tl.where(total > 0, total, 1.0)
    tl.store(
        partials + place[:, None] * VALUE_SIZE + outer[None, :],
        output / total_or_1[:, None],
        mask=live[:, None] & (outer < VALUE_SIZE)[None, :],
    )
    tl.store(sums + place, tl.where(total > 0, largest + tl.log2(total_or_1), float("-inf")), mask=live)


@triton.jit
def _load_keys(pool, slot, key_slot, inner, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Keys of whole blocks, [size, keys]."""
    place = pool + slot[None, :] * key_slot + inner[:, None]
    if SIZE == BLOCK:
        return tl.load(place)
    else:
        return tl.load(place, mask=(inner < SIZE)[:, None], other=0.0)


@triton.jit
def _load_values(pool, slot, value_slot, outer, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Values of whole blocks, [keys, size]."""
    place = pool + slot[:, None] * value_slot + outer[None, :]
    if SIZE == BLOCK:
        return tl.load(place)
    else:
        return tl.load(place, mask=(outer < SIZE)[None, :], other=0.0)


@triton.jit
def _scores(q, k, score_scale, soft_cap, CAPPED: tl.constexpr):
    """Scores times log2(e). Capped: c·tanh(s/c), with `score_scale` 2·log2(e)·scale/c and `soft_cap` log2(e)·c."""
    score = tl.dot(q, k, input_precision="ieee") * score_scale
    if CAPPED:
        score = soft_cap - 2.0 * soft_cap / (1.0 + tl.exp2(tl.minimum(score, 64.0)))
    return score


@triton.jit
def merge(
    output, plan, partials, sums, sinks, output_row, output_head,
    HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, HEAD_BLOCK: tl.constexpr, PARTS: tl.constexpr,
    WITH_SINKS: tl.constexpr,
):  # fmt: skip
    """The partial results of one row and HEAD_BLOCK heads, weighed by their sums, in the order of the plan.

    A row without partial results is 0. A sink is one more weight, without a value.
    """
    row = tl.program_id(0)
    head = tl.program_id(1) * HEAD_BLOCK + tl.arange(0, HEAD_BLOCK)
    real = head < HEADS
    begin = tl.load(plan + tl.load(plan + MERGE_STARTS) + row)
    end = tl.load(plan + tl.load(plan + MERGE_STARTS) + row + 1)
    numbers = plan + tl.load(plan + MERGE_PARTIALS)
    largest = tl.full([HEAD_BLOCK], float("-inf"), tl.float32)
    if WITH_SINKS:
        sink = tl.load(sinks + head, mask=real, other=float("-inf")).to(tl.float32) * 1.4426950408889634
        largest = sink
    part = tl.arange(0, PARTS)
    for start in tl.range(begin, end, PARTS):
        partial = tl.load(numbers + start + part, mask=start + part < end, other=0).to(tl.int64)
        place = partial[:, None] * HEADS + head[None, :]
        mask = (start + part < end)[:, None] & real[None, :]
        largest = tl.maximum(largest, tl.max(tl.load(sums + place, mask=mask, other=float("-inf")), 0))
    largest = tl.where(largest == float("-inf"), 0.0, largest)
    size = tl.arange(0, BLOCK)
    total = tl.zeros([HEAD_BLOCK], tl.float32)
    result = tl.zeros([HEAD_BLOCK, BLOCK], tl.float32)
    if WITH_SINKS:
        total = tl.exp2(sink - largest)
    mask = real[:, None] & (size < SIZE)[None, :]
    for number in tl.range(begin, end, loop_unroll_factor=4):
        place = tl.load(numbers + number).to(tl.int64) * HEADS + head
        weight = tl.exp2(tl.load(sums + place, mask=real, other=float("-inf")) - largest)
        result += weight[:, None] * tl.load(partials + place[:, None] * SIZE + size[None, :], mask=mask, other=0.0)
        total += weight
    result = result / tl.where(total > 0, total, 1.0)[:, None]
    place = output + row.to(tl.int64) * output_row + head[:, None] * output_head + size[None, :]
    tl.store(place, result.to(output.dtype.element_ty), mask=mask)


@triton.jit
def store(
    new_keys, new_values, slots, key_pool, value_pool,
    new_key_row, new_key_head, new_value_row, new_value_head,
    key_head, key_slot, value_head, value_slot,
    HEADS: tl.constexpr, KEY_SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    HEAD_BLOCK: tl.constexpr, KEY_BLOCK: tl.constexpr, VALUE_BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the new key and value of one row to its slot of the pools; a negative slot is none."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    if slot >= 0:
        head = tl.arange(0, HEAD_BLOCK).to(tl.int64)[:, None]
        inner = tl.arange(0, KEY_BLOCK)[None, :]
        mask = (head < HEADS) & (inner < KEY_SIZE)
        key = tl.load(new_keys + row * new_key_row + head * new_key_head + inner, mask=mask)
        tl.store(key_pool + slot * key_slot + head * key_head + inner, key, mask=mask)
        outer = tl.arange(0, VALUE_BLOCK)[None, :]
        mask = (head < HEADS) & (outer < VALUE_SIZE)
        value = tl.load(new_values + row * new_value_row + head * new_value_head + outer, mask=mask)
        # Rows that do not see a value multiply it by 0, which gives NaN where it is not finite.
        most = 65504.0 if new_values.dtype.element_ty == tl.float16 else 3.3895e38
        wide = value.to(tl.float32)
        wide = tl.where(tl.abs(wide) <= most, wide, tl.where(wide < 0, -most, most))
        tl.store(value_pool + slot * value_slot + head * value_head + outer, wide.to(value.dtype), mask=mask)
