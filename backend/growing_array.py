"""An int64 array that grows at its end in amortised constant time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """Like a list of int64, but its contents can be read as one array."""

    def __init__(self, values: NDArray[np.int64] | None = None) -> None:
        self._buffer = np.empty(0, dtype=np.int64) if values is None else values.copy()
        self._size = len(self._buffer)

    def __len__(self) -> int:
        return self._size

    def view(self, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """The elements `start..end`, int64, not copied: valid until the array shrinks."""
        return self._buffer[start : self._size if end is None else min(end, self._size)]

    def extend(self, values: NDArray[np.int64]) -> None:
        """Append all `values`."""
        needed = self._size + len(values)
        if needed > len(self._buffer):
            grown = np.empty(max(needed, 2 * len(self._buffer), 8), dtype=np.int64)
            grown[: self._size] = self._buffer[: self._size]
            self._buffer = grown
        self._buffer[self._size : needed] = values
        self._size = needed

    def truncate(self, size: int) -> None:
        """Keep the first `size` elements."""
        self._size = min(size, self._size)

    def __getitem__(self, index: int) -> int:
        if not -self._size <= index < self._size:
            raise IndexError(index)
        return int(self._buffer[index if index >= 0 else self._size + index])
