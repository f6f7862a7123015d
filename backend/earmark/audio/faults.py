"""Errors of unreadable sound files (``SoundUnreadableError``), with their messages."""

from __future__ import annotations

from earmark.errors import SoundUnreadableError

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
"""Plausible sample rates in Hz; a header outside this range is damaged."""


def checked_rate(rate: int, shown: str) -> int:
    """Return the sample rate if it is plausible, or raise SoundUnreadableError."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise SoundUnreadableError(
            f"{shown} claims {rate} samples a second: its header is damaged, export the sound again."
        )
    return rate


def not_sound(shown: str) -> SoundUnreadableError:
    """Return the error for content that no decoder recognizes."""
    return SoundUnreadableError(
        f"{shown} is not a sound file that can be decoded: convert it to WAV or FLAC, or upload it again."
    )


def no_samples(shown: str) -> SoundUnreadableError:
    """Return the error for a valid sound file without samples."""
    return SoundUnreadableError(f"{shown} holds no samples: record or export the sound again.")


def damaged(shown: str, seconds: float) -> SoundUnreadableError:
    """Return the error for a file whose decoder failed after ``seconds``."""
    return SoundUnreadableError(
        f"{shown} is damaged somewhere after {seconds:.1f} s: replace it by an undamaged copy."
    )
