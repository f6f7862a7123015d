"""Interface of a decoder, which ``earmark.audio.decode`` chooses and mixes the channels of."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Blocks = Generator[NDArray[np.float32], None, None]


class Decoder(Protocol):
    """An open sound, to be decoded once.

    Attributes
    ----------
    rate
        Samples per second of its blocks.
    channels
        Of the first block; later ones may have others.
    header_seconds
        Duration by the header; None where it has none.
    """

    rate: int
    channels: int
    header_seconds: float | None

    @property
    def inserted_seconds(self) -> float:
        """Silence inserted so far, where time stamps leave gaps."""

    def blocks(self, block_seconds: float) -> Blocks:
        """Yield float32 ``[n, channels]``, n >= 1, full scale 1.0, and close the file in the end.

        Raises
        ------
        SoundUnreadableError
            The file is damaged, and what follows would be out of step.
        """

    def measured_seconds(self) -> float:
        """Return the duration by what is in the file, without decoding it."""

    def close(self) -> None:
        """Close the file, of which nothing more is decoded."""
