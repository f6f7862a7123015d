"""Which of the checked sounds come in, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from earmark.errors import ConfigurationError
from earmark.export.records import ClipRecord
from earmark.importing.audio_checks import Checked, Fault
from earmark.importing.models import Listed, Sound
from earmark.importing.splitting import annotated_whole, stretches

Excusable = Literal["silent", "short", "duplicate"]

CLIPPED_SHARE = 0.001
"""A sound with more samples than this at full scale is reported as clipped; it comes in all the same."""
END_TOLERANCE_SECONDS = 0.1
"""So far a region may reach over its sound's end unsaid: decoders and players differ by some frames."""
_HARMLESS: frozenset[Fault] = frozenset({"clipped", "beyond"})
"""Reported, and no reason to stay out."""
_TRUST_ORDER = {"curated": 0, None: 1, "noisy": 2}


@dataclass(frozen=True)
class Rules:
    """What counts as silent (peak in dBFS) and too short (seconds), and what comes in all the same."""

    silent_below: float = -60.0
    min_seconds: float = 0.1
    keep: frozenset[Excusable] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """One checked sound, what is wrong with it, and whether it comes in.

    ``marks`` are its labels as they come in, regions cut at the sound's end; ``lost`` counts those
    that lie beyond it.
    """

    checked: Checked
    faults: tuple[tuple[Fault, str], ...]
    let_in: bool
    marks: tuple[ClipRecord, ...] = ()
    lost: int = 0

    @property
    def item(self) -> Listed:
        """What the source says of it."""
        return self.checked.item

    @property
    def why(self) -> str:
        """All that is wrong with it, as sentences."""
        return " ".join(sentence for _, sentence in self.faults)


def keep_of(text: str) -> frozenset[Excusable]:
    """Read ``silent,short,duplicate`` or some of them.

    Raises
    ------
    ConfigurationError
        Another word is among them.
    """
    words = {part.strip() for part in text.split(",") if part.strip()}
    known: tuple[Excusable, ...] = get_args(Excusable)
    if not words <= set(known):
        raise ConfigurationError(
            f"--keep takes {', '.join(known)}, not {', '.join(sorted(words - set(known)))}; "
            "what cannot be read cannot be kept."
        )
    return frozenset(word for word in known if word in words)


def judge(checked: Sequence[Checked], rules: Rules) -> list[Verdict]:
    """Judge each sound, in order. Of the same content, the most trusted labels win, then the first name."""
    firsts: dict[str, Listed] = {}
    for one in sorted(checked, key=lambda one: _TRUST_ORDER[one.item.trust]):
        if one.facts and not set(_kinds(one, rules)) - rules.keep:
            firsts.setdefault(one.facts.sha256, one.item)
    verdicts = []
    for one in checked:
        faults = _faults(one, rules)
        first = firsts.get(one.facts.sha256) if one.facts else None
        if first is not None and first is not one.item:
            faults.append(("duplicate", f"It is the same sound as {first.fname}."))
        let_in = one.facts is not None and not {kind for kind, _ in faults} - rules.keep - _HARMLESS
        marks, lost = one.item.marks, 0
        if one.facts:
            marks, cut, lost = _within(marks, one.facts.duration)
            if cut or lost:
                dropped = len(one.item.marks) - len(marks)
                faults.append(("beyond", _beyond(cut, lost, dropped, one.facts.duration)))
        verdicts.append(Verdict(one, tuple(faults), let_in, marks, lost))
    return verdicts


def sounds_of(verdicts: Iterable[Verdict], rules: Rules, split_seconds: float | None = None) -> list[Sound]:
    """Return the sounds that come in, long ones as stretches where ``split_seconds`` asks for it."""
    sounds: list[Sound] = []
    for verdict in verdicts:
        facts, path, item = verdict.checked.facts, verdict.checked.path, verdict.item
        if not verdict.let_in or facts is None:
            continue
        whole = Sound(path or Path(), item.fname, facts, verdict.marks, item.fields, item.trust, item.address)
        sounds += (
            stretches(whole, split_seconds, rules.min_seconds) if split_seconds else [annotated_whole(whole)]
        )
    return sounds


def _kinds(one: Checked, rules: Rules) -> list[Fault]:
    return [kind for kind, _ in _faults(one, rules) if kind not in _HARMLESS]


def _faults(one: Checked, rules: Rules) -> list[tuple[Fault, str]]:
    facts = one.facts
    if facts is None:
        return [("unreadable", one.why)]
    faults: list[tuple[Fault, str]] = []
    if facts.duration < rules.min_seconds:
        faults.append(("short", f"It lasts {facts.duration:.3f} s, less than {rules.min_seconds:g} s."))
    if facts.peak_dbfs < rules.silent_below:
        level = "digital silence" if facts.peak_dbfs <= -200 else f"{facts.peak_dbfs:.1f} dBFS"
        faults.append(("silent", f"Its peak is {level}, below {rules.silent_below:g} dBFS."))
    if facts.clipped > CLIPPED_SHARE:
        faults.append(("clipped", f"{facts.clipped:.1%} of it is at full scale."))
    return faults


def _within(marks: tuple[ClipRecord, ...], seconds: float) -> tuple[tuple[ClipRecord, ...], int, int]:
    """Labels of a sound of that length; how many regions were cut at its end, and how many lie beyond it."""
    regions = [region for record in marks for found in record.regions.values() for region in found]
    if all(region.end <= seconds for region in regions):
        return marks, 0, 0
    latest = seconds + END_TOLERANCE_SECONDS
    trimmed = [
        {
            control: tuple(
                replace(region, start=min(region.start, seconds), end=min(region.end, seconds))
                for region in found
                if region.start < seconds or region.end <= latest
            )
            for control, found in record.regions.items()
        }
        for record in marks
    ]
    kept = []
    for record, within in zip(marks, trimmed, strict=True):
        # A control that has lost all its regions would say that nothing sounds, which no source does.
        left = {control: found for control, found in within.items() if found or not record.regions[control]}
        if left or any(record.tags.values()) or not record.regions:
            kept.append(replace(record, regions=left))
    lost = sum(region.start >= seconds and region.end > latest for region in regions)
    return tuple(kept), sum(region.end > latest for region in regions) - lost, lost


def _beyond(cut: int, lost: int, dropped: int, seconds: float) -> str:
    said = [f"{cut} of its regions cut at its end"] if cut else []
    said += [f"{lost} left out that lie beyond it"] if lost else []
    without = " No region is left of its annotation, so it comes in without one." if dropped else ""
    return f"It lasts {seconds:.3f} s: {', '.join(said)}.{without}"
