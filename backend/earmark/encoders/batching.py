"""Dynamic batching: one inference pass at a time; waiting sounds of one length share the next pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(eq=False)
class _Ticket:
    waveform: NDArray[np.float32]
    frames: NDArray[np.float32] | None = None


class BatchRunner:
    """Batching queue around a function that uses every core (or the GPU) by itself.

    Concurrent passes would only compete for the cores. No sound waits for a batch to fill: a pass takes what
    waits when it begins.

    Parameters
    ----------
    run
        float32 ``[B, n]`` to float32 ``[B, T, D]``.
    shared_samples
        Samples, in all, up to which several waveforms are run together; 0 for one by one.
    """

    def __init__(self, run: _Run, shared_samples: int) -> None:
        self._run, self.shared_samples = run, shared_samples
        self._waiting: list[_Ticket] = []
        self._running = False
        self._changed = threading.Condition()

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run float32 ``[n]``, alone or in a batch, to float32 ``[T, D]``; raises what ``run`` raises."""
        own = _Ticket(waveform)
        with self._changed:
            self._waiting.append(own)
            self._changed.wait_for(lambda: own.frames is not None or not self._running)
            if own.frames is not None:
                return own.frames
            together = self._dequeue_batch(own)
            self._running = True
        others = together[1:]
        try:
            results = self._run(np.stack([ticket.waveform for ticket in together]))
            rows: list[NDArray[np.float32]] = [
                row.copy() if others else row for row in results
            ]  # so that none keeps all alive
            for ticket, row in zip(together, rows, strict=True):
                ticket.frames = row
        finally:
            with self._changed:
                # After a failure the others try again without this one, which raises it.
                self._waiting += [ticket for ticket in others if ticket.frames is None]
                self._running = False
                self._changed.notify_all()
        return rows[0]

    def _dequeue_batch(self, own: _Ticket) -> list[_Ticket]:
        """Dequeue a ticket, and those behind it that may share its pass."""
        most = max(1, self.shared_samples // max(1, own.waveform.size))
        same = [t for t in self._waiting if t is not own and t.waveform.size == own.waveform.size]
        together = [own, *same[: most - 1]]
        self._waiting = [t for t in self._waiting if t not in together]
        return together
