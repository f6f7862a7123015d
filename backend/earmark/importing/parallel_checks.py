"""Checking many sounds at once, in processes that outlive neither a damaged file nor their parent."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait as wait_for_end

from earmark.importing.audio_checks import Checked, Checker
from earmark.importing.models import Listed
from earmark.settings import Settings

CHUNK_FILES = 16
"""Files handed to a process at a time."""
ALONE_FILES = 24
"""So few local files are checked here: starting a process takes longer."""
REMOTE_PROCESSES = 8
"""Fetching waits for the network more than for a core."""

_checker: Checker | None = None
"""Of one checking process."""


def check_all(
    listed: Sequence[Listed],
    settings: Settings,
    on_files: Callable[[int], None] = lambda count: None,
    should_stop: Callable[[], bool] = lambda: False,
    keep_objects: bool = False,
) -> list[Checked] | None:
    """Check every sound; None when ``should_stop`` said so, which is asked several times a second.

    A file whose decoding kills the process is left out as unreadable, the others are checked.

    Parameters
    ----------
    on_files
        Gets the number of files checked so far.
    keep_objects
        See ``Checker``.
    """
    remote = any(item.path is None or item.address for item in listed)
    if len(listed) <= ALONE_FILES and not remote:
        return _check_here(listed, Checker(settings, keep_objects), on_files, should_stop)
    processes = REMOTE_PROCESSES if remote else len(os.sched_getaffinity(0))
    chunk = 1 if remote else CHUNK_FILES
    chunks = [range(first, min(first + chunk, len(listed))) for first in range(0, len(listed), chunk)]
    found: dict[int, Checked] = {}
    begin = partial(_begin, settings, keep_objects)

    def finished(part: range, checked: list[Checked]) -> None:
        for number, one in zip(part, checked, strict=True):
            found[number] = dataclasses.replace(one, item=listed[number])
        on_files(len(found))

    broken: list[range] = []
    while chunks and not should_stop():
        lost, chunks = _run(listed, begin, processes, chunks, finished, should_stop)
        broken += lost
    # Which file it was is found out one by one, each with a process of its own to break.
    for number in (number for part in broken for number in part):
        if should_stop():
            break
        alone = range(number, number + 1)
        lost, _ = _run(listed, begin, 1, [alone], finished, should_stop)
        if lost:
            why = "Decoding it made the decoder crash: convert it to WAV or FLAC with another program."
            finished(alone, [Checked(listed[number], why=why)])
    return [found[number] for number in range(len(listed))] if len(found) == len(listed) else None


def _check_here(
    listed: Sequence[Listed],
    checker: Checker,
    on_files: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> list[Checked] | None:
    found: list[Checked] = []
    for item in listed:
        if should_stop():
            return None
        found.append(checker.check(item))
        on_files(len(found))
    return found


def _run(
    listed: Sequence[Listed],
    begin: Callable[[], None],
    processes: int,
    parts: Sequence[range],
    finished: Callable[[range, list[Checked]], None],
    should_stop: Callable[[], bool],
) -> tuple[list[range], list[range]]:
    """Check parts in a pool; return those under way when a process of it died, and those still to do."""
    waiting, under_way = deque(parts), dict[Future[list[Checked]], range]()
    lost: list[range] = []
    with _pool(begin, processes) as pool:
        while (waiting or under_way) and not should_stop():
            # Few at a time, so that stopping is quick and a crash costs little.
            while waiting and len(under_way) < 2 * processes and not lost:
                part = waiting.popleft()
                try:
                    under_way[pool.submit(_check, [_bare(listed[number]) for number in part])] = part
                except BrokenProcessPool:
                    lost.append(part)
            if not under_way:
                break
            done, _ = wait(under_way, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                part = under_way.pop(future)
                try:
                    finished(part, future.result())
                except BrokenProcessPool:
                    lost.append(part)
    return lost, list(waiting)


def _bare(item: Listed) -> Listed:
    """What checking needs, without labels and fields, which need not travel."""
    return Listed(item.path, item.fname, fields={}, origin=item.origin, address=item.address)


@contextmanager
def _pool(begin: Callable[[], None], processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, because threads (of the progress bar) must not be forked.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(settings: Settings, keep_objects: bool) -> None:
    global _checker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _checker = Checker(settings, keep_objects)


def _end_with_parent() -> None:
    """A pool's processes hold each other's queue open and would wait for ever for a killed parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_end([parent.sentinel])
    os._exit(1)


def _check(items: list[Listed]) -> list[Checked]:
    assert _checker is not None
    return [_checker.check(item) for item in items]
