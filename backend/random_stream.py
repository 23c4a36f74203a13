"""Random numbers that depend on nothing but their stream's key and their position in it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def stream_key(seed: int, path: str, indices: Sequence[int], output: str, sample: int) -> bytes:
    """The 16-byte key of one sampled output.

    `seed`: of the run, or the output's own; `path`: program, callee and ordinal of the call in it; `indices`: of the
    enclosing iterations, outermost first; `output`: its name; `sample`: which of `n`.
    """
    parts = [str(seed), path, ",".join(map(str, indices)), output, str(sample)]
    digest = blake2b(digest_size=16, person=b"semlang-stream")
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def uniform(key: bytes, position: int) -> float:
    """A number of [0, 1) for one position of a stream: 53 bits of a keyed hash (counter based, so no state)."""
    bits = blake2b(position.to_bytes(8, "little"), key=key, digest_size=8).digest()
    return (int.from_bytes(bits, "little") >> 11) * 2.0**-53
