"""Background fetch of the encoder's weights, in a thread of this process, for requests that cannot wait."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import structlog

from earmark.encoders import choose_encoder, get_encoder, is_built, registry
from earmark.encoders.custom_checkpoint import looked_into, own_fault
from earmark.errors import EarmarkError, WeightsAwaitedError, WeightsError
from earmark.settings import Settings

RETRY_SECONDS = 60.0
"""After what went wrong with the disk; the network has a note of its own."""

_log = structlog.get_logger(__name__)


@dataclass
class _Preparation:
    """One try: its thread and, once that has ended in vain, what it came to."""

    thread: threading.Thread | None = None
    in_vain: str = ""
    ended_at: float = field(default_factory=time.monotonic)

    def under_way(self) -> bool:
        return self.thread is not None and self.thread.is_alive()  # no thread lives on in a forked process


_preparations: dict[tuple[object, ...], _Preparation] = {}
_lock = threading.Lock()


def prepare(settings: Settings) -> None:
    """Begin to fetch the weights, or to look into CNN14_CHECKPOINT, unless nothing is left to do."""
    if not _ready(settings):
        _begin(settings)


def need_prepared(settings: Settings) -> None:
    """Begin as well, and refuse to wait for a download; what is here is read as fast as it is loaded.

    Raises
    ------
    WeightsAwaitedError
        The weights are on their way.
    WeightsError
        They could not be brought here a moment ago.
    """
    if is_built(settings) or _checkpoint_unread(settings) or awaited_weights(settings) is None:
        return
    in_vain = _begin(settings)
    raise WeightsError(in_vain) if in_vain else WeightsAwaitedError(_awaited(settings))


def _ready(settings: Settings) -> bool:
    """Whether ``get_encoder`` would know at once whether there are weights."""
    return not _checkpoint_unread(settings) and awaited_weights(settings) is None


def _checkpoint_unread(settings: Settings) -> bool:
    return registry.takes_checkpoint(settings.encoder) and not looked_into(settings)


def awaited_weights(settings: Settings) -> registry.WeightsSpec | None:
    """The weights that have to be fetched before anything is decided; None where none have to."""
    for spec in registry.candidates(settings.encoder):
        absent = spec.absent(settings)
        if not absent:
            return None
        if spec.takes_checkpoint and own_fault(settings) is not None:
            continue  # what was named by hand is not replaced by a download
        if all(weights.why_not(settings) is None for weights in absent):
            return absent[0]
    return None


def _begin(settings: Settings) -> str:
    """See that a thread is at it; returns what the last one failed of, if that was a moment ago."""
    key = settings.encoder, settings.data_dir, settings.cnn14_checkpoint
    with _lock:
        last = _preparations.get(key)
        if last is not None and last.under_way():
            return ""
        if last is not None and last.in_vain and time.monotonic() - last.ended_at < RETRY_SECONDS:
            return last.in_vain
        now = _preparations[key] = _Preparation()
        now.thread = threading.Thread(target=_run, args=(settings, now), name="weights", daemon=True)
        now.thread.start()
    return ""


def _run(settings: Settings, preparation: _Preparation) -> None:
    try:
        if not registry.spec_of(choose_encoder(settings)).slow_to_build:
            get_encoder(settings)  # settles it until this process ends
    except EarmarkError as error:
        preparation.in_vain = str(error)
        _log.warning("weights_not_ready", reason=str(error))
    preparation.ended_at = time.monotonic()


def _awaited(settings: Settings) -> str:
    weights = awaited_weights(settings)
    if weights is None:  # they arrived in this moment
        return "The encoder's weights have just arrived: ask again."
    came, size = weights.progress(settings)
    command = registry.weights_command(weights)
    return (
        f"{weights.title}'s weights are being fetched, {came / 1e6:.0f} of {size / 1e6:.0f} MB are here: "
        f"what is to be predicted waits for them; '{command} --from FILE' takes a copy brought by hand."
    )
