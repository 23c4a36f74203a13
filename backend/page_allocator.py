"""Pages of KV slots: reference counts, contiguous runs, and the right to go on in a partly filled page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]


class PageAllocator:
    """`pages` pages of `page_size` slots each; slot s lies in page s // page_size.

    A page is held by every tree node that owns a slot in it. `_filled[p]` is one past the highest slot in use:
    whoever owns the slot just below it, and nobody else, may continue there, so no slot has two owners.
    """

    def __init__(self, slots: int, page_size: int) -> None:
        if page_size < 1 or slots < page_size:
            raise ValueError(f"{slots} KV slots hold no page of {page_size} slots")
        self.page_size = page_size
        self.pages = slots // page_size
        self._holders = [0] * self.pages
        self._filled = [0] * self.pages
        self._is_free = np.ones(self.pages, dtype=bool)
        self.free_pages = self.pages

    @property
    def capacity(self) -> int:
        """Slots in all pages."""
        return self.pages * self.page_size

    @property
    def used_slots(self) -> int:
        """Slots in pages that are not free."""
        return (self.pages - self.free_pages) * self.page_size

    def room_after(self, last_slot: int | None) -> int:
        """Slots that a run ending in `last_slot` may still take in its page."""
        if last_slot is None:
            return 0
        page, offset = divmod(last_slot, self.page_size)
        return self.page_size - offset - 1 if self._filled[page] == offset + 1 else 0

    def new_pages_for(self, last_slot: int | None, count: int) -> int:
        """Free pages that `extend` would take."""
        return -(-max(0, count - self.room_after(last_slot)) // self.page_size)

    def extend(self, last_slot: int | None, count: int, *, holds_page: bool) -> Slots:
        """`count` new slots after `last_slot`, int64 [count]; contiguous where possible.

        `holds_page`: whether the node that gets the slots already owns `last_slot`. The caller has checked
        `new_pages_for` against `free_pages`.
        """
        slots = np.empty(count, dtype=np.int64)
        done = min(count, self.room_after(last_slot))
        previous_page = -1
        if last_slot is not None:
            previous_page = last_slot // self.page_size
            if done:
                slots[:done] = np.arange(last_slot + 1, last_slot + 1 + done)
                self._filled[previous_page] += done
                if not holds_page:
                    self._holders[previous_page] += 1
        if done < count:
            needed = -(-(count - done) // self.page_size)
            for page in self._take_pages(needed, previous_page + 1):
                size = min(self.page_size, count - done)
                start = page * self.page_size
                slots[done : done + size] = np.arange(start, start + size)
                self._holders[page], self._filled[page] = 1, size
                done += size
        return slots

    def next_slot(self, last_slot: int) -> int | None:
        """The slot after `last_slot` in its page, for the node that owns that one; None if it is not to be had."""
        page, offset = divmod(last_slot + 1, self.page_size)
        if offset == 0 or self._filled[page] != offset:
            return None
        self._filled[page] = offset + 1
        return last_slot + 1

    def _take_pages(self, count: int, preferred: int) -> list[int]:
        if count > self.free_pages:
            raise MemoryError(f"{count} pages wanted, {self.free_pages} free")
        start = preferred if self._run_is_free(preferred, count) else self._find_run(count)
        if start is not None:
            pages = list(range(start, start + count))
        else:
            pages = np.flatnonzero(self._is_free)[:count].tolist()
        self._is_free[pages] = False
        self.free_pages -= count
        return pages

    def _run_is_free(self, start: int, count: int) -> bool:
        return start + count <= self.pages and bool(self._is_free[start : start + count].all())

    def _find_run(self, count: int) -> int | None:
        """First run of `count` free pages."""
        if count == 1:
            return int(self._is_free.argmax())
        total = np.concatenate(([0], np.cumsum(self._is_free)))
        starts = np.flatnonzero(total[count:] - total[:-count] == count)
        return int(starts[0]) if len(starts) else None

    def release(self, slots: Slots, slot_before: int | None) -> None:
        """Give back `slots`, the end of a node's run; `slot_before` is the node's slot before them, if any."""
        if len(slots) == 0:
            return
        pages, first, counts = np.unique(slots // self.page_size, return_index=True, return_counts=True)
        for page, index, count in zip(pages.tolist(), first.tolist(), counts.tolist(), strict=True):
            offset = int(slots[index]) % self.page_size
            if self._filled[page] == offset + count:
                self._filled[page] = offset
            if slot_before is None or slot_before // self.page_size != page:
                self._drop_holder(page)

    def _drop_holder(self, page: int) -> None:
        self._holders[page] -= 1
        if self._holders[page] == 0:
            self._filled[page] = 0
            self._is_free[page] = True
            self.free_pages += 1

    def in_one_page(self, slot: int, other: int) -> bool:
        """Whether two slots lie in the same page."""
        return slot // self.page_size == other // self.page_size

    def share(self, slot: int) -> None:
        """One more node holds the page of `slot` (a node was split inside the page)."""
        self._holders[slot // self.page_size] += 1

    def unshare(self, slot: int) -> None:
        """One holder less of the page of `slot`, which another holds as well."""
        self._holders[slot // self.page_size] -= 1

    def free_slots(self) -> Slots:
        """All slots of free pages, int64; tests poison them."""
        pages = np.flatnonzero(self._is_free)
        return (pages[:, None] * self.page_size + np.arange(self.page_size)).reshape(-1)

    def check(self, runs: list[Slots]) -> None:
        """Raise AssertionError unless the slots of all nodes, `runs`, are exactly what is held."""
        holders = [0] * self.pages
        filled = [0] * self.pages
        seen = np.zeros(self.capacity, dtype=bool)
        for run in runs:
            assert not seen[run].any(), "a KV slot has two owners"
            seen[run] = True
            for page in np.unique(run // self.page_size).tolist():
                holders[page] += 1
                filled[page] = max(filled[page], int(run[run // self.page_size == page].max()) % self.page_size + 1)
        assert holders == self._holders, "page reference counts disagree with the tree"
        assert all(a <= b for a, b in zip(filled, self._filled, strict=True)), "a slot above the fill mark is in use"
        assert self.free_pages == holders.count(0) == int(self._is_free.sum()), "free pages disagree"
