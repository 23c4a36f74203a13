"""An int64 array that grows at its end in amortised constant time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """Like a list of int64, but its contents can be read as one array. `size`: how many there are; read only."""

    __slots__ = ("_buffer", "size")

    def __init__(self, values: NDArray[np.int64] | None = None) -> None:
        self._buffer = np.empty(0, dtype=np.int64) if values is None else values.copy()
        self.size = len(self._buffer)

    def __len__(self) -> int:
        return self.size

    def view(self, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """The elements `start..end`, int64, not copied: valid until the array shrinks."""
        return self._buffer[start : self.size if end is None else min(end, self.size)]

    def append(self, value: int) -> None:
        """Append one element."""
        if self.size == len(self._buffer):
            self._grow(self.size + 1)
        self._buffer[self.size] = value
        self.size += 1

    def extend(self, values: NDArray[np.int64]) -> None:
        """Append all `values`."""
        needed = self.size + len(values)
        if needed > len(self._buffer):
            self._grow(needed)
        self._buffer[self.size : needed] = values
        self.size = needed

    def _grow(self, needed: int) -> None:
        grown = np.empty(max(needed, 2 * len(self._buffer), 8), dtype=np.int64)
        grown[: self.size] = self._buffer[: self.size]
        self._buffer = grown

    def truncate(self, size: int) -> None:
        """Keep the first `size` elements."""
        self.size = min(size, self.size)

    def last(self) -> int:
        """The last element, of at least one."""
        return int(self._buffer[self.size - 1])

    def __getitem__(self, index: int) -> int:
        if not -self.size <= index < self.size:
            raise IndexError(index)
        return int(self._buffer[index if index >= 0 else self.size + index])
