"""Sizes of the kernel's tiles for each size of head, and what the kernel computes at all."""

from __future__ import annotations

from dataclasses import dataclass

MOST_SIZE = 256
TYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Tiles:
    """Rows (tokens × heads of a KV head) and keys of a small and of a large tile, a power of two of each.

    `one`: large tiles only, whatever an item holds. `stages`: blocks of keys on their way at once. `per_core`:
    programs that one multiprocessor holds.
    """

    small_rows: int = 16
    large_rows: int = 64
    small_keys: int = 64
    large_keys: int = 64
    small_stages: int = 3
    large_stages: int = 3
    warps: int = 4
    per_core: int = 2
    one: bool = False

    def keys_of(self, is_small: bool) -> int:
        """Keys of a tile's block."""
        return self.small_keys if is_small else self.large_keys


def tiles_for(key_size: int, value_size: int, dtype: str, capability: int = 90, *, one: bool = False) -> Tiles:
    """The tiles for a layer on a GPU of some compute capability (80 for 8.0), chosen so that nothing spills on sm_80
    and sm_90 (`resources.py` measures it)."""
    largest = max(block(key_size), block(value_size))
    if dtype == "float32":  # no tensor cores: the products are exact to float32
        return Tiles(16, 16 if largest > 128 else 32, 32, 32, 2, 2, 4, 1, one)
    if largest > 128:
        return Tiles(16, 64, 32, 32, 2, 2, 8, 1, one)
    if capability < 90:  # the query stays in registers there
        return Tiles(large_rows=32, one=True) if one else Tiles(large_keys=32, large_stages=4)
    return Tiles(one=one)


CANDIDATES = (
    Tiles(),
    Tiles(small_stages=4),
    Tiles(small_keys=32, small_stages=4),
    Tiles(large_rows=128, warps=8, per_core=1),
    Tiles(small_keys=128, large_keys=128, small_stages=2, large_stages=2, warps=8, per_core=1),
)
"""What is worth measuring on a GPU of compute capability 9.0, for 16-bit heads of up to 128 numbers: nothing spills."""


def block(size: int) -> int:
    """The size of a tile that holds a head: the next power of two, 16 at least."""
    return max(16, 1 << (size - 1).bit_length())


def supports(heads: int, kv_heads: int, key_size: int, value_size: int, dtype: str) -> bool:
    """Whether the kernel computes such a layer: rows of 16 bytes, and the heads of a KV head in one tile."""
    if dtype not in TYPES or heads % kv_heads or max(key_size, value_size) > MOST_SIZE:
        return False
    fits = heads // kv_heads <= tiles_for(key_size, value_size, dtype).large_rows
    return fits and key_size % 8 == 0 and value_size % 8 == 0
