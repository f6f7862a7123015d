"""Parallel audio checks in a process pool that survives crashes of the decoder and ends with its parent."""

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
"""Local files in one job of the pool."""
IN_PROCESS_FILES = 24
"""Up to this many local files are checked in this process: starting others takes longer."""
REMOTE_PROCESSES = 8
"""More than cores: downloads wait for the network."""

_checker: Checker | None = None
"""Checker of this process, in processes of the pool."""


def check_all(
    listed: Sequence[Listed],
    settings: Settings,
    on_files: Callable[[int], None] = lambda count: None,
    should_stop: Callable[[], bool] = lambda: False,
    keep_objects: bool = False,
) -> list[Checked] | None:
    """Check every sound; return None if stopped: ``should_stop`` is called several times a second.

    A file whose decoding kills the process is left out as unreadable, the others are checked.

    Parameters
    ----------
    on_files
        Called with the number of files checked so far.
    keep_objects
        See ``Checker``.
    """
    remote = any(item.path is None or item.address for item in listed)
    if len(listed) <= IN_PROCESS_FILES and not remote:
        return _check_in_process(listed, Checker(settings, keep_objects), on_files, should_stop)
    processes = REMOTE_PROCESSES if remote else len(os.sched_getaffinity(0))
    chunk = 1 if remote else CHUNK_FILES
    chunks = [range(first, min(first + chunk, len(listed))) for first in range(0, len(listed), chunk)]
    results: dict[int, Checked] = {}
    initializer = partial(_start_worker, settings, keep_objects)

    def finished(part: range, checked: list[Checked]) -> None:
        for number, result in zip(part, checked, strict=True):
            results[number] = dataclasses.replace(result, item=listed[number])
        on_files(len(results))

    broken: list[range] = []
    while chunks and not should_stop():
        crashed, chunks = _check_in_pool(listed, initializer, processes, chunks, finished, should_stop)
        broken += crashed
    # Recheck these files one by one, each in a new process, to find the one that crashes it.
    for number in (number for part in broken for number in part):
        if should_stop():
            break
        alone = range(number, number + 1)
        crashed, _ = _check_in_pool(listed, initializer, 1, [alone], finished, should_stop)
        if crashed:
            why = "Decoding it made the decoder crash: convert it to WAV or FLAC with another program."
            finished(alone, [Checked(listed[number], why=why)])
    return [results[number] for number in range(len(listed))] if len(results) == len(listed) else None


def _check_in_process(
    listed: Sequence[Listed],
    checker: Checker,
    on_files: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> list[Checked] | None:
    results: list[Checked] = []
    for item in listed:
        if should_stop():
            return None
        results.append(checker.check(item))
        on_files(len(results))
    return results


def _check_in_pool(
    listed: Sequence[Listed],
    initializer: Callable[[], None],
    processes: int,
    parts: Sequence[range],
    finished: Callable[[range, list[Checked]], None],
    should_stop: Callable[[], bool],
) -> tuple[list[range], list[range]]:
    """Check parts in a pool; return those running when one of its processes died, and those not started."""
    pending, under_way = deque(parts), dict[Future[list[Checked]], range]()
    crashed: list[range] = []
    with _pool(initializer, processes) as pool:
        while (pending or under_way) and not should_stop():
            # Few at a time, so that stopping is quick and a crash affects few files.
            while pending and len(under_way) < 2 * processes and not crashed:
                part = pending.popleft()
                try:
                    under_way[pool.submit(_check, [_without_labels(listed[n]) for n in part])] = part
                except BrokenProcessPool:
                    crashed.append(part)
            if not under_way:
                break
            done, _ = wait(under_way, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                part = under_way.pop(future)
                try:
                    finished(part, future.result())
                except BrokenProcessPool:
                    crashed.append(part)
    return crashed, list(pending)


def _without_labels(item: Listed) -> Listed:
    """Return what a check needs: labels and fields would only make the pickle larger."""
    return Listed(item.path, item.fname, fields={}, origin=item.origin, address=item.address)


@contextmanager
def _pool(initializer: Callable[[], None], processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: a process with threads (of the progress bar) must not be forked.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=initializer)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(settings: Settings, keep_objects: bool) -> None:
    global _checker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends the pool
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _checker = Checker(settings, keep_objects)


def _exit_with_parent() -> None:
    """Exit when the parent dies: the processes hold the queue open and would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_end([parent.sentinel])
    os._exit(1)


def _check(items: list[Listed]) -> list[Checked]:
    assert _checker is not None
    return [_checker.check(item) for item in items]
