"""Background fetch of the encoder's weights, in a thread of this process, for requests that cannot wait."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import structlog

from earmark.encoders import choose_encoder, get_encoder, is_built, registry
from earmark.encoders.weights.custom_checkpoint import checkpoint_fault, is_validated
from earmark.errors import EarmarkError, WeightsAwaitedError, WeightsError
from earmark.settings import Settings

RETRY_SECONDS = 60.0
"""Pause before a retry after a failure of the disk; those of the network are kept in a `FailureNote`."""

_log = structlog.get_logger(__name__)


@dataclass
class _Preparation:
    """One attempt: its thread and, if that has failed, its error."""

    thread: threading.Thread | None = None
    error: str = ""
    ended_at: float = field(default_factory=time.monotonic)

    def under_way(self) -> bool:
        return self.thread is not None and self.thread.is_alive()  # no thread lives on in a forked process


_preparations: dict[tuple[object, ...], _Preparation] = {}
_lock = threading.Lock()


def prepare(settings: Settings) -> None:
    """Start fetching the weights, or validating CNN14_CHECKPOINT, unless that is done."""
    if not _ready(settings):
        _begin(settings)


def require_prepared(settings: Settings) -> None:
    """Start the background fetch, and raise if the weights are not on this machine yet.

    Raises
    ------
    WeightsAwaitedError
        The weights are on their way.
    WeightsError
        They could not be brought here a moment ago.
    """
    if is_built(settings) or _checkpoint_unread(settings) or awaited_weights(settings) is None:
        return
    error = _begin(settings)
    if error:
        raise WeightsError(error)
    weights = awaited_weights(settings)
    if weights is not None:  # else they have just come, or failed, which building the encoder reports
        raise WeightsAwaitedError(_awaited(settings, weights))


def _ready(settings: Settings) -> bool:
    """Whether ``get_encoder`` can decide at once which weights to use."""
    return not _checkpoint_unread(settings) and awaited_weights(settings) is None


def _checkpoint_unread(settings: Settings) -> bool:
    return registry.takes_checkpoint(settings.encoder) and not is_validated(settings)


def awaited_weights(settings: Settings) -> registry.WeightsSpec | None:
    """Return the weights that must be fetched before an encoder can be chosen, or None."""
    for spec in registry.candidates(settings):
        absent = spec.absent(settings)
        if not absent:
            return None
        if spec.takes_checkpoint and checkpoint_fault(settings) is not None:
            continue  # what was named by hand is not replaced by a download
        if all(weights.why_not(settings) is None for weights in absent):
            return absent[0]
    return None


def _begin(settings: Settings) -> str:
    """Start the thread unless one runs; return the error of the last attempt if it is recent."""
    key = settings.encoder, settings.data_dir, settings.cnn14_checkpoint
    with _lock:
        last = _preparations.get(key)
        if last is not None and last.under_way():
            return ""
        if last is not None and last.error and time.monotonic() - last.ended_at < RETRY_SECONDS:
            return last.error
        now = _preparations[key] = _Preparation()
        now.thread = threading.Thread(target=_run, args=(settings, now), name="weights", daemon=True)
        now.thread.start()
    return ""


def _run(settings: Settings, preparation: _Preparation) -> None:
    try:
        chosen = choose_encoder(settings)
        if not registry.spec_of(chosen).slow_to_build:
            get_encoder(settings)  # settles it until this process ends
    except EarmarkError as error:
        preparation.error = str(error)
        _log.warning("weights_not_ready", reason=str(error))
        preparation.ended_at = time.monotonic()
        return
    preparation.ended_at = time.monotonic()
    fetch_better(settings, chosen)


def fetch_better(settings: Settings, chosen: str) -> str:
    """Fetch the weights of the encoder that ``auto`` prefers to the chosen one, which answers meanwhile.

    Returns
    -------
    A sentence that announces the switch, which the next start makes; empty where there is none to make.
    """
    if not registry.is_fallback(settings.encoder, chosen):
        return ""
    best = registry.auto_order()[0]
    try:
        for weights in best.absent(settings):
            weights.fetch(settings)
    except EarmarkError as error:
        _log.info("better_weights_not_fetched", encoder=best.name, reason=str(error))
        return ""
    titles = " and ".join(weights.title for weights in best.weights)
    text = (
        f"{titles}'s weights have arrived: restart Earmark to use {best.name}; until then {chosen} answers. "
        "Annotations and versions are kept, and what was annotated is learned anew."
    )
    _log.warning("better_weights_arrived", encoder=best.name, help=text)
    return text


def _awaited(settings: Settings, weights: registry.WeightsSpec) -> str:
    came, size = weights.progress(settings)
    command = registry.weights_command(weights)
    return (
        f"{weights.title}'s weights are being fetched, {came / 1e6:.0f} of {size / 1e6:.0f} MB are here: "
        f"what is to be predicted waits for them; '{command} --from FILE' takes a copy brought by hand."
    )
