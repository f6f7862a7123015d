"""Timeline of a sound: where its decoded frames belong by their time stamps.

A sound may start late or have gaps in its time stamps (RFC 9559, ISO/IEC 14496-12), and lost packets of a
damaged file leave gaps as well. Players seek by these time stamps, and annotators hear by them what they
mark. So silence is inserted where time stamps leap. Time stamps that run slightly faster or slower than
the samples are ignored, as players do.
"""

from __future__ import annotations

from earmark.audio.faults import time_stamps_leap

GAP_SECONDS = 0.015
"""Smallest leap between two frames that counts: more than time stamps in whole milliseconds deviate."""
JITTER_SECONDS = 0.25
"""Time stamps may go back by this between two frames; by more, another part begins."""
LONGEST_SILENCE_SECONDS = 3600.0
"""Longest silence that is inserted at once; larger time stamps are times of the day, or damaged."""


class Timeline:
    """Position of one sound in samples, frame by frame.

    Parameters
    ----------
    rate
        Samples per second.
    origin
        Time stamp of the time 0 in samples; None if the first frame is at 0.
    shown
        The file's name in messages.
    frame_jitter
        Whether time stamps of this codec may deviate by up to a frame, as Vorbis's, whose frames differ
        in length.
    """

    def __init__(self, rate: int, origin: int | None, shown: str, *, frame_jitter: bool = False) -> None:
        self._rate, self._origin, self._shown = rate, origin, shown
        self._frame_jitter = frame_jitter
        self._before: int | None = None  # time stamp of the frame before
        self._end: int | None = None  # expected time stamp of the next frame
        self.position = 0
        """Samples so far, with inserted silence."""
        self.inserted = 0
        """Samples of silence that were inserted."""

    def restart(self) -> None:
        """Let the next frame follow the last one whatever its time stamp: a new part begins."""
        self._origin = self._before = self._end = None

    def place(self, stamp: int | None, samples: int) -> int:
        """Return the samples of silence to insert before a frame, and go on to its end.

        Parameters
        ----------
        stamp
            Its time stamp in samples, or None.
        samples
            Its length.

        Raises
        ------
        SoundUnreadableError
            The time stamps leap by more than ``LONGEST_SILENCE_SECONDS`` within the sound.
        """
        if stamp is not None and stamp == self._end:  # nearly all frames
            self._before, self._end = stamp, stamp + samples
            self.position += samples
            return 0
        silence = 0 if stamp is None else self._silence(stamp, samples)
        if stamp is not None:
            self._before = stamp
        if stamp is not None or self._end is not None:
            self._end = (self._end if stamp is None else stamp) + samples  # type: ignore[operator]
        self.position += silence + samples
        self.inserted += silence
        return silence

    def _silence(self, stamp: int, samples: int) -> int:
        longest = LONGEST_SILENCE_SECONDS * self._rate
        if self._before is None:
            late = 0 if self._origin is None else stamp - self._origin - self.position
            if self._origin is None or not 0 < late <= longest:
                self._origin = stamp - self.position
                return 0
            return late if late >= GAP_SECONDS * self._rate else 0
        assert self._origin is not None
        if stamp < self._before - JITTER_SECONDS * self._rate:  # a file that others were appended to
            self._origin = stamp - self.position
            return 0
        leap = stamp - (self._end or 0)
        slack = max(GAP_SECONDS * self._rate, samples if self._frame_jitter else 0)
        if leap < slack:
            return 0
        if leap > longest:
            raise time_stamps_leap(self._shown, leap / self._rate, self.position / self._rate)
        # What jittering time stamps, as of browsers' recorders, leaped before is not inserted again
        silence = stamp - self._origin - self.position
        return silence if silence >= slack else 0
