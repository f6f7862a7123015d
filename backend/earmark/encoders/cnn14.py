"""CNN14 (PANNs) as an encoder: one pass over a recording, frames for every region in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from earmark.encoders.batching import BatchRunner
from earmark.encoders.engines import Engine, EngineFaultError, Plan, first_that_starts, plans
from earmark.encoders.weights.cnn14_checkpoint import digest_of, network_in
from earmark.encoders.weights.cnn14_weights import identity_of
from earmark.errors import ConfigurationError

if TYPE_CHECKING:
    from earmark.encoders.cnn14_network import Cnn14
    from earmark.encoders.pooling import Pooling

SAMPLE_RATE = 32_000
"""Samples per second."""
FRAME_SAMPLES = 32 * 320
"""Samples of one frame: 32 hops, 0.32 s."""
SHORTEST = 31 * 320
"""Samples below which no frame comes out; shorter sound is padded with zeros behind it."""
DIM = 2048

CONTEXT_FRAMES = 4
"""Receptive field: frames of sound on either side that influence a frame; chunks overlap by as many.

The twelve 3×3 convolutions reach 2 · (1 + 2 + 4 + 8 + 16 + 32) = 126 hops to each side, and a chunk's
reflect padding spoils its two outermost spectrogram columns: 128 hops, exactly 4 frames.
"""
CHUNK_FRAMES = 180
"""New frames that one pass of the network yields: 57.6 s, some 60 s with the context."""

_log = structlog.get_logger(__name__)
_FLOAT16_MAX = float(np.finfo(np.float16).max)


class Cnn14Encoder:
    """See ``Encoder``. Frames are the network's state before its time pooling: ReLU, never negative.

    Parameters
    ----------
    checkpoint
        A Cnn14 checkpoint: a dict with the state dict under ``model``.
    threads
        CPU threads for the engine; 0 takes one for each core. PyTorch has as many in this whole process
        where it is the engine, else one.
    digest
        sha256 of the checkpoint when it is known already; computed when None.
    device
        ``cpu`` leaves a GPU alone; None takes the GPU when PyTorch sees one.
    at_once
        Whether the engine starts now; else it starts with the first sound, and a process that only pools, as
        most trainings do, never waits for it.
    engine, precision
        As the settings ``CNN14_ENGINE`` and ``CNN14_PRECISION`` spell them. Frames of all of them are
        interchangeable: equal to 1e-4 in fp32, with a cosine of 0.9999 and more in half precision.

    Raises
    ------
    WeightsError
        The file is missing, cannot be read, or does not hold exactly Cnn14's weights.
    ConfigurationError
        Nothing here runs the network as ``engine`` and ``precision`` ask.
    """

    name = "cnn14"
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / FRAME_SAMPLES
    frame_dim = DIM
    embedding_dim = DIM

    def __init__(
        self,
        checkpoint: Path,
        *,
        threads: int = 0,
        digest: str | None = None,
        device: str | None = None,
        engine: str = "auto",
        precision: str = "auto",
        at_once: bool = True,
    ) -> None:
        self._plans = plans(engine, precision, threads=threads, device=device)
        self._checkpoint = checkpoint
        network = network_in(checkpoint)
        self.identity = identity_of(digest or digest_of(checkpoint))
        classify = network.fc_audioset
        self._tag_weight, self._tag_bias = classify.weight.numpy(), classify.bias.numpy()
        self._engine: Engine | None = None
        self.plan, self._run = self._plans[0], BatchRunner(self._pass, 0)
        if at_once:
            self._start(network)
        else:
            self._pool = _pooling(self.plan, network)

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream; see ``Encoder.frames``.

        Returns
        -------
        float16 ``[T, 2048]`` with T = max(1, (n // 320 + 1) // 32) for n samples: the last, incomplete
        0.32 s give no frame of their own, as in the original. Values above 65,504 are held there.

        Raises
        ------
        ValueError
            There is not a single sample.
        """
        parts = [np.minimum(part, _FLOAT16_MAX).astype(np.float16) for part in self.frames_in_chunks(blocks)]
        return np.concatenate(parts)

    def frames_in_chunks(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Encode a stream in passes of about 60 s, in memory that its length does not change.

        Joined, the yielded float32 ``[t, 2048]`` equal one pass over the whole recording, but for
        rounding: convolutions of other lengths add in another order (within 1e-5 of the largest
        value in float32, 1e-2 in half precision).
        """
        whole = (CHUNK_FRAMES + 2 * CONTEXT_FRAMES) * FRAME_SAMPLES
        advance = CHUNK_FRAMES * FRAME_SAMPLES
        skip = 0  # frames at the start of the buffer that are context only
        encoded = 0
        for chunk, last in _chunks(blocks, whole, advance):
            encoded += chunk.size
            if not encoded:
                raise ValueError("there is no sample to encode")
            frames = self._run(np.pad(chunk, (0, max(0, SHORTEST - chunk.size))))
            yield frames[skip:] if last else frames[skip : CHUNK_FRAMES + CONTEXT_FRAMES]
            skip = CONTEXT_FRAMES

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """ReLU(fc1(max + mean)) over runs of frames: ``[..., n, 2048]`` to float32 ``[..., 2048]``."""
        return self._pool(frames)

    def tags(self, embedding: NDArray[np.floating]) -> NDArray[np.float32]:
        """AudioSet probabilities of embeddings: ``[..., 2048]`` to float32 ``[..., 527]`` in [0, 1].

        Their names, in order, are ``audioset_labels()``.
        """
        logits = np.asarray(embedding, dtype=np.float32) @ self._tag_weight.T + self._tag_bias
        tags: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid that cannot overflow
        return tags

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The layer behind ``tags``; see ``Tagger.class_layer``."""
        return self._tag_weight.T, self._tag_bias

    def _start(self, network: Cnn14) -> Engine:
        """Start the first of the remaining engines, and drop those before it."""
        try:
            plan, engine = first_that_starts(self._plans, network)
        except EngineFaultError as error:
            raise ConfigurationError(
                f"CNN14 cannot run on this machine ({error}): unset CNN14_ENGINE and "
                "CNN14_PRECISION, or set ENCODER=logmel to work without."
            ) from error
        self._plans = self._plans[self._plans.index(plan) + 1 :]
        self.plan, self._engine, self._pool = plan, engine, _pooling(plan, network)
        self._run.shared_samples = int(engine.shared_seconds * SAMPLE_RATE)
        return engine

    def _pass(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one pass, float32 ``[B, n]`` to float32 ``[B, t, 2048]``; falls back to the next engine."""
        engine = self._engine or self._start(network_in(self._checkpoint))
        try:
            return engine.run(waveforms)
        except EngineFaultError as error:
            _log.warning("encoder_engine_failed", engine=str(self.plan), reason=str(error))
        self._start(network_in(self._checkpoint))
        # One by one: what shared a pass on a GPU may be too much at once for what comes after it.
        return np.concatenate([self._pass(waveform[None]) for waveform in waveforms])


def _chunks(
    blocks: Iterable[NDArray[np.float32]], whole: int, advance: int
) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Recut a stream into chunks of ``whole`` samples, ``advance`` apart; then what is left, marked last."""
    parts: list[NDArray[np.float32]] = []
    held = 0
    for block in blocks:
        parts.append(np.asarray(block, dtype=np.float32))
        held += block.size
        if held < whole:
            continue
        buffer = np.concatenate(parts)
        while buffer.size >= whole:
            yield buffer[:whole].copy(), False
            buffer = buffer[advance:]
        parts, held = [buffer], buffer.size
    yield np.concatenate(parts) if parts else np.empty(0, np.float32), True


def _pooling(plan: Plan, network: Cnn14) -> Pooling:
    """PyTorch's part beside the engine: pooling here, and the spectrograms that every engine starts from."""
    import torch  # late, because it takes a second and /setup never needs it

    from earmark.encoders.pooling import Pooling

    # Beside another engine, a second thread gains a millisecond for 10 s of sound, but waits spinning, and
    # loses 70 where another process wants the cores too.
    torch.set_num_threads(plan.threads if plan.engine == "torch" else 1)
    return Pooling(plan, network)
