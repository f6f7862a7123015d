"""PANNs' CNN14 as an Encoder: one pass over a recording, frames for every region in it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.encoders.weights import identity_of
from backend.errors import WeightsError
from backend.files import sha256_of

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 32_000
"""Samples per second."""
FRAME_SAMPLES = 32 * 320
"""Samples of one frame: 32 hops, 0.32 s."""
SHORTEST = 31 * 320
"""Samples below which no frame comes out; shorter sound is padded with zeros behind it."""
DIM = 2048

CONTEXT_FRAMES = 4
"""Frames of sound on either side that a frame can hear, and that chunks therefore overlap by.

The twelve 3×3 convolutions reach 2 · (1 + 2 + 4 + 8 + 16 + 32) = 126 hops to each side, and a chunk's
reflect padding spoils its two outermost spectrogram columns: 128 hops, exactly 4 frames.
"""
CHUNK_FRAMES = 180
"""New frames that one pass of the network yields: 57.6 s, some 60 s with the context."""

_FLOAT16_MAX = float(np.finfo(np.float16).max)


class Cnn14Encoder:
    """See ``Encoder``. Frames are the network's state before its time pooling: ReLU, never negative.

    Parameters
    ----------
    checkpoint
        A Cnn14 checkpoint: a dict with the state dict under ``model``.
    threads
        CPU threads for PyTorch in this whole process; 0 leaves PyTorch's choice, one for each core.
    digest
        sha256 of the checkpoint when it is known already; computed when None.
    device
        PyTorch device; None takes the GPU when PyTorch sees one, else the CPU.

    Raises
    ------
    WeightsError
        The file is missing, cannot be read, or does not hold exactly Cnn14's weights.
    """

    name = "cnn14"
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / FRAME_SAMPLES
    frame_dim = DIM
    embedding_dim = DIM

    def __init__(
        self, checkpoint: Path, *, threads: int = 0, digest: str | None = None, device: str | None = None
    ) -> None:
        import torch  # late, because it takes a second and /setup never needs it

        from backend.encoders.cnn14_network import build

        if threads:
            torch.set_num_threads(threads)
        try:
            network = build(_weights_in(checkpoint))
            self.identity = identity_of(digest or sha256_of(checkpoint))
        except OSError as error:
            raise WeightsError(
                f"The checkpoint {checkpoint} cannot be read ({error.strerror or error}): check the path."
            ) from error
        except RuntimeError as error:
            raise _not_cnn14(checkpoint) from error
        self._pool_weight, self._pool_bias = network.fc1.weight.numpy(), network.fc1.bias.numpy()
        classify = network.fc_audioset
        self._tag_weight, self._tag_bias = classify.weight.numpy(), classify.bias.numpy()
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network = network.to(self._device)
        self._one_at_a_time = threading.Lock()  # several passes at once only fight for the cores

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
        value in float32).
        """
        whole = (CHUNK_FRAMES + 2 * CONTEXT_FRAMES) * FRAME_SAMPLES
        advance = CHUNK_FRAMES * FRAME_SAMPLES
        skip = 0  # frames at the start of the buffer that are context only
        heard = 0
        for chunk, last in _chunks(blocks, whole, advance):
            heard += chunk.size
            if not heard:
                raise ValueError("there is no sample to encode")
            found = self._run(chunk)
            yield found[skip:] if last else found[skip : CHUNK_FRAMES + CONTEXT_FRAMES]
            skip = CONTEXT_FRAMES

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """ReLU(fc1(max + mean)) over runs of frames: ``[..., n, 2048]`` to float32 ``[..., 2048]``."""
        wide = np.asarray(frames, dtype=np.float32)
        summary = wide.max(axis=-2) + wide.mean(axis=-2)
        embedding: NDArray[np.float32] = np.maximum(summary @ self._pool_weight.T + self._pool_bias, 0)
        return embedding

    def tags(self, embedding: NDArray[np.floating]) -> NDArray[np.float32]:
        """AudioSet probabilities of embeddings: ``[..., 2048]`` to float32 ``[..., 527]`` in [0, 1].

        Their names, in order, are ``audioset_labels()``.
        """
        logits = np.asarray(embedding, dtype=np.float32) @ self._tag_weight.T + self._tag_bias
        tags: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid that cannot overflow
        return tags

    def _run(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """One pass of the network: float32 ``[n]`` to float32 ``[t, 2048]``, t >= 1."""
        import torch

        if waveform.size < SHORTEST:
            waveform = np.pad(waveform, (0, SHORTEST - waveform.size))
        with self._one_at_a_time, torch.inference_mode():
            found = self._network(torch.from_numpy(waveform).to(self._device)[None])
            frames: NDArray[np.float32] = found[0].cpu().numpy()
        return frames


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


def _weights_in(checkpoint: Path) -> Mapping[str, torch.Tensor]:
    """The state dict of a checkpoint, read without running anything that a pickle may hold."""
    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        raise _not_cnn14(checkpoint) from error
    weights = content.get("model") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise _not_cnn14(checkpoint)
    return weights


def _not_cnn14(checkpoint: Path) -> WeightsError:
    return WeightsError(
        f"{checkpoint} does not hold the weights of Cnn14: delete it to have them fetched again, or bring "
        "Cnn14_mAP=0.431.pth and point CNN14_CHECKPOINT to it."
    )
