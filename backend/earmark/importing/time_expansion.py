"""Time expansion: tasks that play ultrasound slowly, as bat detectors do, with all samples kept.

A recording of 384,000 samples a second that is expanded ten times has 38,400: it lasts ten times as long,
and 60 kHz sounds as 6 kHz. The field ``time_expansion`` says so, and exports divide times by it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from earmark.errors import ConfigurationError
from earmark.export.records import scaled
from earmark.importing.models import Sound

Expansion = float | Literal["auto"]

AUTO: Literal["auto"] = "auto"
AUTO_FACTOR = 10.0
AUTO_RATE = 192_000
"""From this many samples a second on, ``auto`` expands a recording."""
_MOST = 100.0


def parse_expansion(text: str | None) -> Expansion | None:
    """Parse the option ``--time-expansion``: a number, or ``auto``.

    Raises
    ------
    ConfigurationError
        It is neither, or the number is not from 1 to 100.
    """
    if text is None:
        return None
    if text.strip().lower() == AUTO:
        return AUTO
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= _MOST:
        raise ConfigurationError(f"--time-expansion takes a number from 1 to 100, or auto, not {text}.")
    return factor


def factor_of(sample_rate: int, expansion: Expansion | None) -> float:
    """Return by how much a recording of a sample rate is expanded; 1 leaves it as it is."""
    if expansion == AUTO:
        return AUTO_FACTOR if sample_rate >= AUTO_RATE else 1.0
    return expansion or 1.0


def expanded(sound: Sound, expansion: Expansion | None) -> Sound:
    """Return a sound expanded in time, with its labels; unchanged where it is not to be."""
    factor = factor_of(sound.facts.sample_rate, expansion)
    if factor == 1:
        return sound
    rate = max(1, round(sound.facts.sample_rate / factor))
    exact = sound.facts.sample_rate / rate  # files have whole rates
    facts = replace(sound.facts, sample_rate=rate, duration=sound.facts.duration * exact)
    marks = tuple(scaled(record, exact) for record in sound.marks)
    return replace(sound, facts=facts, marks=marks, expansion=exact, address="")
