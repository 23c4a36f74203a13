"""Memory in large pages: weights and KV that are read at random places cost fewer page walks.

Linux gives pages of 2 MiB to whom asks for them. Small tensors are carved from common blocks, as a large page holds
many of them. Where the system knows no such pages, tensors are ordinary ones.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import threading

import torch
from torch import Tensor

LARGE_PAGE = 2 << 20
BLOCK = 32 << 20
"""Bytes of a common block; a tensor of more than a quarter of it has a block of its own."""
ALIGNMENT = 64


class LargePages:
    """Hands out tensors; a block lives as long as one of its tensors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._block: mmap.mmap | None = None
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Like `torch.empty` on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        if not size or not hasattr(mmap, "MADV_HUGEPAGE"):
            return torch.empty(shape, dtype=dtype)
        if size > BLOCK // 4:
            return torch.frombuffer(_block(size), dtype=dtype, count=math.prod(shape)).view(shape)
        with self._lock:
            if self._block is None or self._used + size > BLOCK:
                self._block, self._used = _block(BLOCK), 0
            start = self._used
            self._used += -(-size // ALIGNMENT) * ALIGNMENT
            return torch.frombuffer(self._block, dtype=dtype, count=math.prod(shape), offset=start).view(shape)


LARGE_PAGES = LargePages()
"""That of the process."""


def _block(size: int) -> mmap.mmap:
    """At least `size` bytes that the system fills with large pages as they are written to."""
    block = mmap.mmap(-1, -(-size // LARGE_PAGE) * LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # of a system that was built without them
        block.madvise(mmap.MADV_HUGEPAGE)
    return block
