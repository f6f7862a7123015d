"""Adapter around a plug-in's encoder: what it returns is checked, and its errors are our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import EarmarkError, EncoderPluginError

if TYPE_CHECKING:
    from earmark.encoders.base import Encoder
    from earmark.encoders.spec import EncoderSpec
    from earmark.settings import Settings


class PluginEncoder:
    """Adapter of a plug-in's encoder; raises `EncoderPluginError` where that fails or breaks its promise."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder, identity: str) -> None:
        self._encoder, self._spec = encoder, spec
        with plugin_code(spec.name, "attributes"):
            self.name, self.identity = encoder.name, encoder.identity
            self.sample_rate, self.frame_rate = encoder.sample_rate, float(encoder.frame_rate)
            self.frame_dim, self.embedding_dim = encoder.frame_dim, encoder.embedding_dim
        self._require(self.name == spec.name, f"is called {self.name!r}")
        self._require(
            self.identity == identity, f"has the identity {self.identity!r}, and its entry {identity!r}"
        )
        self._require(
            self.sample_rate == spec.sample_rate,
            f"takes {self.sample_rate} samples a second, and its entry says {spec.sample_rate}",
        )
        self._require(
            self.frame_rate > 0 and self.frame_dim > 0 and self.embedding_dim > 0,
            "has a frame_rate, frame_dim or embedding_dim that is not positive",
        )

    @classmethod
    def of(cls, spec: EncoderSpec, settings: Settings, at_once: bool) -> Encoder:
        """Build the encoder of a plug-in's entry."""
        encoder, identity = spec.build(settings, at_once), spec.identity(settings)
        return (TaggingPluginEncoder if spec.class_names else cls)(spec, encoder, identity)

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound; see `Encoder.frames`."""
        with plugin_code(self.name, "frames"):
            frames = self._encoder.frames(_source(blocks))
        self._require(
            isinstance(frames, np.ndarray)
            and frames.dtype == np.float16
            and frames.ndim == 2
            and frames.shape[0] >= 1
            and frames.shape[1] == self.frame_dim,
            f"returned frames of {_shape(frames)}, not float16 (T, {self.frame_dim}) with T >= 1",
        )
        self._require(bool(np.isfinite(frames).all()), "returned frames that are not finite")
        return frames

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Summarise runs of frames; see `Encoder.pool`."""
        with plugin_code(self.name, "pool"):
            embeddings = self._encoder.pool(frames)
        wanted = (*frames.shape[:-2], self.embedding_dim)
        self._require(
            isinstance(embeddings, np.ndarray)
            and embeddings.dtype == np.float32
            and embeddings.shape == wanted,
            f"pooled {frames.shape} to {_shape(embeddings)}, not float32 {wanted}",
        )
        return embeddings

    def _require(self, holds: bool, fault: str) -> None:
        if not holds:
            raise EncoderPluginError(
                f"The encoder of the plug-in {self._spec.name!r} {fault}: tell its author, or choose another "
                "ENCODER."
            )


class TaggingPluginEncoder(PluginEncoder):
    """Adapter of a plug-in's encoder with a classifier of its own; see `Tagger`."""

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Its own classifier; see `Tagger.class_layer`."""
        encoder: Any = self._encoder
        with plugin_code(self.name, "class_layer"):
            weights, bias = (np.asarray(part, dtype=np.float32) for part in encoder.class_layer())
        classes = len(self._spec.class_names()) if self._spec.class_names else 0
        self._require(
            weights.shape == (self.embedding_dim, classes) and bias.shape == (classes,),
            f"has a class_layer of {weights.shape} and {bias.shape}, not {(self.embedding_dim, classes)} and "
            f"{(classes,)}",
        )
        return weights, bias


class _SourceError(Exception):
    """Carries an error of the stream of sound through a plug-in's code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _source(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """A stream whose errors are told apart from those of the plug-in that reads it."""
    try:
        yield from blocks
    except EarmarkError:
        raise
    except Exception as error:
        raise _SourceError(error) from error


@contextmanager
def plugin_code(name: str, what: str) -> Iterator[None]:
    """Run code of a plug-in: an unexpected error of it becomes an `EncoderPluginError`."""
    try:
        yield
    except EarmarkError:
        raise
    except _SourceError as error:
        raise error.error from None
    except Exception as error:  # other people's code may raise anything
        raise EncoderPluginError(
            f"The encoder plug-in {name!r} failed in its {what} ({detail_of(error)}): tell its author, or "
            "choose another ENCODER."
        ) from error


def detail_of(error: BaseException) -> str:
    """An error's type and text, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())


def _shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
