"""Fan-out of one stream to several consumers, each in a thread, in bounded memory."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

BLOCKS_AHEAD = 4
LOOK_SECONDS = 0.1
"""While a consumer is behind, whether it has failed is looked at this often."""

_Block = TypeVar("_Block")
_Result = TypeVar("_Result")


class _AbandonedError(Exception):
    """The stream broke off; its own error is what the caller sees."""


def fan_out(
    blocks: Iterable[_Block], consumers: Sequence[Callable[[Iterable[_Block]], _Result]]
) -> list[_Result]:
    """Give every block to every consumer, and return what they return, in order.

    The blocks are made in this thread. Raises what they or a consumer raise.
    """
    lines: list[queue.Queue[_Block | BaseException | None]] = [queue.Queue(BLOCKS_AHEAD) for _ in consumers]
    with ThreadPoolExecutor(len(consumers), thread_name_prefix="fan-out") as pool:
        futures = [
            pool.submit(consumer, _items(line)) for consumer, line in zip(consumers, lines, strict=True)
        ]
        last: BaseException | None = _AbandonedError()
        try:
            for block in blocks:
                for line, future in zip(lines, futures, strict=True):
                    _put(line, block, future)
            last = None
        finally:
            for line, future in zip(lines, futures, strict=True):
                _put(line, last, future)
        return [future.result() for future in futures]


def _items(line: queue.Queue[_Block | BaseException | None]) -> Iterator[_Block]:
    while (item := line.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _put(
    line: queue.Queue[_Block | BaseException | None],
    item: _Block | BaseException | None,
    future: Future[_Result],
) -> None:
    """Wait for room in a consumer's line, unless the consumer has ended."""
    while not future.done():
        try:
            line.put(item, timeout=LOOK_SECONDS)
        except queue.Full:
            continue
        return
