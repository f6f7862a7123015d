"""Errors of unreadable sound files (``SoundUnreadableError``), with their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from earmark.errors import EarmarkError, NoSoundTrackError, SoundUnreadableError

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
"""Plausible sample rates in Hz; a header outside this range is damaged."""


@contextmanager
def library_errors(ours: Callable[[], SoundUnreadableError]) -> Iterator[None]:
    """Raise one of our errors for whatever a decoder's library raises about a file.

    Damaged files make libraries raise nearly anything, AttributeError and AssertionError among it.
    """
    try:
        yield
    except EarmarkError:
        raise
    except Exception as error:
        raise ours() from error


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


def unknown_codec(shown: str, tag: str) -> SoundUnreadableError:
    """Return the error for a sound in a codec that no decoder supports; ``tag`` is empty or names it."""
    named = f" ({tag})" if tag else ""
    return SoundUnreadableError(f"{shown} is in an unknown codec{named}: convert it to WAV or FLAC.")


def no_sound_track(shown: str) -> NoSoundTrackError:
    """Return the error for a video without sound."""
    return NoSoundTrackError(f"{shown} has no audio track: point the task to another file.")


def changed_rate(shown: str, seconds: float) -> SoundUnreadableError:
    """Return the error for a sound whose sample rate changes after ``seconds``."""
    return SoundUnreadableError(
        f"{shown} changes its sample rate after {seconds:.1f} s: convert it to WAV or FLAC first."
    )


def takes_too_long(shown: str, seconds: float) -> SoundUnreadableError:
    """Return the error for a file whose decoding exceeds its time limit."""
    return SoundUnreadableError(
        f"{shown} takes more than {seconds:.0f} s to decode, which no undamaged file of its size does: "
        "convert it to WAV or FLAC."
    )


def time_stamps_leap(shown: str, leap: float, seconds: float) -> SoundUnreadableError:
    """Return the error for time stamps that leap by ``leap`` seconds after ``seconds``."""
    return SoundUnreadableError(
        f"The time stamps of {shown} leap by {leap / 3600:.1f} hours after {seconds:.1f} s: "
        "convert it to WAV or FLAC."
    )
