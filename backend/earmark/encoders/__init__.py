"""Encoder selection: which registered encoder this process uses. Imports no torch and reads nothing."""

from __future__ import annotations

import functools
import json
import threading
from pathlib import Path

import structlog

from earmark.encoders import registry
from earmark.encoders.base import Encoder
from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.custom_checkpoint import checkpoint_fault
from earmark.errors import MissingExtraError, WeightsError
from earmark.settings import Settings
from earmark.storage.atomic_files import atomic_write

__all__ = [
    "Encoder",
    "choose_encoder",
    "encoder_identity",
    "get_encoder",
    "is_built",
    "with_resolved_encoder",
]

_Key = tuple[str, Path, Path | None, int, str, str]

_log = structlog.get_logger(__name__)
_encoders: dict[_Key, Encoder] = {}
_lock = threading.Lock()


def get_encoder(settings: Settings, at_once: bool = True) -> Encoder:
    """Return this process's encoder, built on the first call; that may read or fetch the weights.

    ``ENCODER=auto`` takes cnn14+logmel when CNN14's weights are here, else yamnet+logmel, else cnn14+logmel
    if its weights can be fetched, else logmel, with a warning; any other name never falls back. What was
    decided holds until the process ends, and is written to ``encoder.json`` in the data folder for
    ``encoder_identity``. Without ``at_once`` CNN14's engine starts with the first sound.

    Raises
    ------
    WeightsError
        ``ENCODER`` names an encoder whose weights are missing, damaged or cannot be fetched.
    ConfigurationError
        ``CNN14_ENGINE`` and ``CNN14_PRECISION`` ask for what this machine does not do.
    """
    key = _key(settings)
    with _lock:  # held while building: a second thread wants the same encoder, not another one
        encoder = _encoders.get(key)
        if encoder is None:
            encoder = _encoders[key] = _build(settings, at_once)
            _write_decision(settings, encoder)
        return encoder


def choose_encoder(settings: Settings) -> str:
    """Decide for ``ENCODER=auto``, fetching weights if need be, and load nothing; returns the name.

    What CNN14_CHECKPOINT holds is read once, which imports torch. Where it is no good, ``auto`` takes the
    weights in the cache, if they are there, else the next encoder; with a warning.

    Raises
    ------
    WeightsError
        ``ENCODER`` names an encoder whose weights are missing, damaged or cannot be fetched.
    """
    reasons: list[str] = []
    for spec in registry.candidates(settings):
        try:
            _fetch(spec, settings)
        except (WeightsError, MissingExtraError) as error:
            if settings.encoder != registry.AUTO:
                raise
            reasons.append(str(error))
            continue
        if reasons and registry.is_fallback(settings.encoder, spec.name):
            _log.warning(
                "encoder_fallback",
                encoder=spec.name,
                reason=" ".join(reasons),
                help=f"predictions are weaker than with {registry.auto_order()[0].name}; "
                f"ENCODER={spec.name} silences this",
            )
        return spec.name
    raise WeightsError(" ".join(reasons))


def with_resolved_encoder(settings: Settings) -> Settings:
    """Return the settings with ``auto`` replaced by the chosen encoder, for child processes.

    Raises
    ------
    WeightsError
        See ``choose_encoder``.
    """
    choice: dict[str, object] = {"encoder": choose_encoder(settings)}
    if registry.takes_checkpoint(str(choice["encoder"])) and checkpoint_fault(settings) is not None:
        choice["cnn14_checkpoint"] = cnn14_weights.find_checkpoint(settings)  # what was taken in its place
    return settings.model_copy(update=choice)


def is_built(settings: Settings) -> bool:
    """Whether this process has built its encoder."""
    return _key(settings) in _encoders


def encoder_identity(settings: Settings) -> str:
    """Return the identity that ``get_encoder`` has or would have, in milliseconds, loading nothing.

    ``ENCODER=auto`` without the best encoder's weights here reports what ``get_encoder`` last decided in
    this data folder; before it ever did, or where only logmel was left, the first encoder that is here. A
    checkpoint that was put here by hand is hashed on the first call (about a second for 327 MB), and again
    only when it changes.

    Raises
    ------
    WeightsError
        ``ENCODER`` names an encoder that takes CNN14_CHECKPOINT, which is no good.
    """
    built = _encoders.get(_key(settings))
    if built is not None:
        return built.identity
    if settings.encoder != registry.AUTO:
        return registry.spec_of(settings.encoder).identity(settings)
    best = registry.auto_order()[0]
    if not best.absent(settings):
        return best.identity(settings)
    # A checkpoint that is no good stands for weights that auto never fetches.
    decided = _read_decision(settings) if checkpoint_fault(settings) is None else None
    if decided is not None and _has_weights(decided):
        return decided
    return _first_here(settings).identity(settings)


def _has_weights(identity: str) -> bool:
    spec = registry.find_spec(identity)
    return spec is not None and bool(spec.weights)


def _first_here(settings: Settings) -> registry.EncoderSpec:
    """Return the first encoder that needs no download."""
    return next(spec for spec in registry.auto_order() if not spec.absent(settings))


def _fetch(spec: registry.EncoderSpec, settings: Settings) -> None:
    """Fetch an encoder's weights, if it has any; raises WeightsError."""
    if spec.takes_checkpoint:
        _validate_checkpoint(settings)
    for needed in spec.weights:
        needed.fetch(settings)


def _validate_checkpoint(settings: Settings) -> None:
    """Validate CNN14_CHECKPOINT; a fault of it is ignored if the cache holds the published weights."""
    try:
        cnn14_weights.validate_checkpoint(settings)
    except WeightsError as error:
        if settings.encoder != registry.AUTO:
            raise
        stands_in = cnn14_weights.find_checkpoint(settings)
        if stands_in is not None:
            _log.warning("checkpoint_passed_over", reason=str(error), taken=str(stands_in))


def _key(settings: Settings) -> _Key:
    checkpoint = _resolved(settings.cnn14_checkpoint) if settings.cnn14_checkpoint else None
    how = settings.torch_threads, settings.cnn14_engine, settings.cnn14_precision
    return settings.encoder, _resolved(settings.data_dir), checkpoint, *how


@functools.cache
def _resolved(path: Path) -> Path:
    """Resolve a path's symbolic links, cached: it is needed several times in every prediction."""
    return path.resolve()


def _build(settings: Settings, at_once: bool) -> Encoder:
    return registry.spec_of(choose_encoder(settings)).build(settings, at_once)


def _decision_path(settings: Settings) -> Path:
    return settings.data_dir / "encoder.json"


def _write_decision(settings: Settings, encoder: Encoder) -> None:
    with atomic_write(_decision_path(settings)) as part:
        part.write_text(json.dumps({"encoder": encoder.name, "identity": encoder.identity}), encoding="utf-8")


def _read_decision(settings: Settings) -> str | None:
    try:
        decision = json.loads(_decision_path(settings).read_bytes())
    except (OSError, ValueError):
        return None
    identity = decision.get("identity") if isinstance(decision, dict) else None
    return identity if isinstance(identity, str) else None
