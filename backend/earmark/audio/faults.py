"""What can be wrong with a sound file, in one sentence each."""

from __future__ import annotations

from earmark.errors import SoundUnreadableError

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
"""Samples per second; outside these a header is not to be believed."""


def checked_rate(rate: int, shown: str) -> int:
    """Return a sample rate that a sound can have, or raise SoundUnreadableError."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise SoundUnreadableError(
            f"{shown} claims {rate} samples a second: its header is damaged, export the sound again."
        )
    return rate


def not_sound(shown: str) -> SoundUnreadableError:
    """No decoder knows the content."""
    return SoundUnreadableError(
        f"{shown} is not a sound file that can be decoded: convert it to WAV or FLAC, or upload it again."
    )


def no_samples(shown: str) -> SoundUnreadableError:
    """The file is sound, of no length."""
    return SoundUnreadableError(f"{shown} holds no samples: record or export the sound again.")


def damaged(shown: str, seconds: float) -> SoundUnreadableError:
    """The decoder stumbled after so many seconds."""
    return SoundUnreadableError(
        f"{shown} is damaged somewhere after {seconds:.1f} s: replace it by an undamaged copy."
    )
