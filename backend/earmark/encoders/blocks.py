"""Rechunking of a sample stream, however it was cut into blocks: pieces of equal length, sliding windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LOUDEST_SAMPLE = 1e4


def rechunk(blocks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Cut a stream into finite pieces of exactly ``samples`` samples, the last one shorter.

    Values that are not finite are taken as silence, others are held within `LOUDEST_SAMPLE`.
    """
    held: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        for start in range(0, len(block), samples):
            piece = np.nan_to_num(block[start : start + samples], nan=0.0, posinf=0.0, neginf=0.0)
            held.append(np.clip(piece, -LOUDEST_SAMPLE, LOUDEST_SAMPLE).astype(np.float32, copy=False))
            count += len(piece)
            if count >= samples:
                joined = np.concatenate(held)
                yield joined[:samples]
                held, count = [joined[samples:]], count - samples
    if count:
        yield np.concatenate(held)


def sliding_windows(
    blocks: Iterable[NDArray[np.float32]], *, window: int, hop: int, at_once: int = 1
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Cut a stream into windows, each centred on one of the consecutive hops, with silence around the stream.

    Parameters
    ----------
    blocks
        Samples float32 ``[n]``; see `rechunk` for what is not finite.
    window, hop
        In samples; ``window`` >= ``hop``. The last hop may be shorter.
    at_once
        Windows in each chunk, but the last one. Chunks are cut by position alone, so that rounding does not
        depend on how the stream was cut.

    Yields
    ------
    A chunk float32 ``[(count - 1) * hop + window]`` and ``count``, the number of windows that begin in it,
    one every ``hop`` samples. One window at least, also for an empty stream.
    """
    advance = at_once * hop
    whole = advance - hop + window
    held: NDArray[np.float32] = np.zeros((window - hop) // 2, dtype=np.float32)  # begins with the next chunk
    left = 0  # samples whose windows are still to come
    any_window = False
    for piece in rechunk(blocks, advance):
        held = np.concatenate([held, piece])
        left += len(piece)
        if len(held) >= whole:
            yield held[:whole], at_once
            held, left, any_window = held[advance:], left - advance, True
    while left > 0 or not any_window:
        count = max(1, min(at_once, -(-left // hop)))
        chunk = np.zeros((count - 1) * hop + window, dtype=np.float32)
        usable = held[: len(chunk)]
        chunk[: len(usable)] = usable
        yield chunk, count
        held, left, any_window = held[advance:], left - advance, True
