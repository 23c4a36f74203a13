"""A bounded memory of results, safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class RecentResults(Generic[Key, Result]):
    """Keeps the `size` results that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: OrderedDict[Key, Result] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, compute: Callable[[], Result]) -> Result:
        """The result for `key`; computed outside the lock if it is missing, so maybe by two threads at once."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        result = compute()
        with self._lock:
            self._results[key] = result
            if len(self._results) > self._size:
                self._results.popitem(last=False)
        return result
