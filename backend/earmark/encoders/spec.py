"""Entries of the encoder registry, and the sources of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark.encoders.base import Encoder
    from earmark.settings import Settings


@dataclass(frozen=True)
class WeightsSpec:
    """Where an encoder's weights come from, and how to get them.

    Attributes
    ----------
    name, title
        As ``earmark weights`` takes it; as sentences spell it.
    origin, licence, megabytes
        For messages: who made them, under which licence, and the size of the download.
    here
        Whether they are on this machine, verified, as far as this is known without loading them.
    why_not
        Why they could not be fetched in the last minutes, so that nothing tries again now; else None.
    fetch
        Downloads them if they are not on this machine, and returns the file; raises WeightsError.
    progress
        Bytes that have arrived and bytes in all, while another thread or process fetches.
    by_hand
        How to bring them to a machine without network, in a sentence; None where ``bring`` alone does.
    bring
        What ``earmark weights`` does, in sentences: installs a file (None fetches), reads again
        what is here where the third argument says so, and gives lines of progress to the fourth.
    """

    name: str
    title: str
    origin: str
    licence: str
    megabytes: int
    here: Callable[[Settings], bool]
    why_not: Callable[[Settings], str | None]
    fetch: Callable[[Settings], Path]
    progress: Callable[[Settings], tuple[int, int]]
    bring: Callable[[Settings, Path | None, bool, Callable[[str], None]], Iterator[str]]
    by_hand: Callable[[Settings], str] | None = None


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder.

    Attributes
    ----------
    name
        As settings and version names spell it.
    build
        Makes the encoder, fetching weights if need be. The second argument is False where its engine may
        start with the first sound.
    identity
        The identity that ``build`` would give, without loading anything; raises WeightsError.
    sample_rate
        Samples per second.
    cost
        Milliseconds that one core needs for 10 s of sound, as measured once; None where nothing was measured.
    weights
        Files of weights that it needs; empty for an encoder without weights.
    class_names
        Names of the classes that the encoder itself tells apart, in the order of its outputs; None where
        there are none. An encoder with class names is a `Tagger`.
    class_list
        Path or address of the list of these names, for messages.
    takes_checkpoint
        Whether CNN14_CHECKPOINT may stand for its weights.
    slow_to_build
        Whether ``build`` takes seconds, so that nothing builds it before it is needed.
    preload
        Modules that a worker imports before it forks, so that each job starts warm.
    """

    name: str
    build: Callable[[Settings, bool], Encoder]
    identity: Callable[[Settings], str]
    sample_rate: int
    cost: float | None = None
    weights: tuple[WeightsSpec, ...] = ()
    class_names: Callable[[], tuple[str, ...]] | None = None
    class_list: str = ""
    takes_checkpoint: bool = False
    slow_to_build: bool = False
    preload: tuple[str, ...] = ()

    def absent(self, settings: Settings) -> tuple[WeightsSpec, ...]:
        """Return those of its weights that are not on this machine."""
        return tuple(weights for weights in self.weights if not weights.here(settings))
