"""Prefetch queue: fetches the sounds of many tasks side by side, and yields tasks as their sounds arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from types import TracebackType
from typing import Self

from earmark.audio.source import LabelStudioAccess, LocatedSound
from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.concurrency.fair_pool import Ticket
from earmark.errors import EarmarkError
from earmark.features.extractor import FrameExtractor

AT_ONCE = 8
"""Tasks whose sounds are fetched ahead."""


class Prefetch:
    """Yields the positions of tasks: stored frames first, then files that are here, then as sounds arrive.

    What is not yielded did not arrive in time. A context manager; ``locate`` belongs to the task that was
    yielded last.

    Parameters
    ----------
    addresses
        Of each task's sounds; a task without any is yielded with the first ones.
    deadline
        Of the whole.
    wait_seconds
        Longest time, all together, that is spent on nothing but waiting for sounds; None for no limit.
    """

    def __init__(
        self,
        extractor: FrameExtractor,
        access: LabelStudioAccess | None,
        addresses: Sequence[Sequence[str]],
        deadline: Deadline = NO_DEADLINE,
        wait_seconds: float | None = None,
    ) -> None:
        self._extractor, self._access, self._addresses = extractor, access, addresses
        self._deadline, self._wait_seconds = deadline, wait_seconds
        self._located: dict[str, LocatedSound] = {}
        self._tickets: dict[str, Ticket[LocatedSound]] = {}
        self._fetching: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fetching = []
        self._release()

    def __iter__(self) -> Iterator[int]:
        here, absent = self._look()
        self._request(absent)
        yield from here
        while self._fetching:
            position = self._next_arrived()
            if position is None:
                return
            yield position
            self._fetching.remove(position)
            self._release()
            self._request(absent)

    def locate(self, address: str) -> LocatedSound:
        """Return a sound's local file; errors as in ``FrameExtractor.extract_address``.

        Raises
        ------
        OutOfTimeError
            It did not arrive in time.
        """
        if address in self._located:
            return self._located[address]
        ticket = self._tickets.get(address)
        if ticket is not None and ticket.future.done():
            return ticket.future.result()
        return self._extractor.locate(address, self._access, self._deadline)

    def finish(self) -> None:
        """Wait for running fetches, however long they take; queued ones are dropped."""
        wait([ticket.future for ticket in self._tickets.values() if ticket.future.running()])

    def all_here(self, addresses: Sequence[str]) -> bool:
        """Whether no sound of these has to be fetched."""
        try:
            return all(self._extractor.find_local(address, self._access) is not None for address in addresses)
        except EarmarkError:
            return True

    def _look(self) -> tuple[list[int], deque[int]]:
        """Return positions of tasks whose sounds are local, and of the others; no network, no hashing."""
        stored: list[int] = []
        here: list[int] = []
        absent: deque[int] = deque()
        for position, addresses in enumerate(self._addresses):
            if self._deadline.passed():
                break
            try:
                located = [self._locate_here(address) for address in addresses]
                if any(sound is None for sound in located):
                    absent.append(position)
                elif all(self._extractor.holds(sound) for sound in located if sound is not None):
                    stored.append(position)
                else:
                    here.append(position)
                    for address in addresses:
                        self._located.pop(address, None)  # the cache may drop a file before its turn comes
            except EarmarkError:
                stored.append(position)  # its error is found at once as well
        return stored + here, absent

    def _locate_here(self, address: str) -> LocatedSound | None:
        """Return a sound's local file, looked up once; None if it must be fetched."""
        if address not in self._located:
            located = self._extractor.find_local(address, self._access)
            if located is None:
                return None
            self._located[address] = located
        return self._located[address]

    def _request(self, absent: deque[int]) -> None:
        while absent and len(self._fetching) < AT_ONCE:
            position = absent.popleft()
            self._fetching.append(position)
            for address in self._addresses[position]:
                if address not in self._tickets:
                    self._tickets[address] = self._extractor.request(address, self._access)

    def _next_arrived(self) -> int | None:
        """Wait for the first task whose sounds have all arrived or failed; None at the deadline."""
        while True:
            for position in self._fetching:
                if all(self._tickets[address].future.done() for address in self._addresses[position]):
                    return position
            started, remaining = time.monotonic(), self._deadline.remaining()
            limits = [limit for limit in (remaining, self._wait_seconds) if limit is not None]
            pending = [ticket.future for ticket in self._tickets.values() if not ticket.future.done()]
            done, _ = wait(pending, min(limits, default=None), FIRST_COMPLETED)
            if self._wait_seconds is not None:
                self._wait_seconds = max(0.0, self._wait_seconds - (time.monotonic() - started))
            if not done:
                return None

    def _release(self) -> None:
        """Release the tickets of all tasks but those being fetched."""
        needed = {address for position in self._fetching for address in self._addresses[position]}
        for address in [address for address in self._tickets if address not in needed]:
            self._extractor.release(self._tickets.pop(address))
