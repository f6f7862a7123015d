"""Quality rules: which checked sounds are imported, and the faults of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from earmark.audio.band_energy import OutsideBand, outside_sentence
from earmark.errors import ConfigurationError
from earmark.export.records import ClipRecord
from earmark.importing.audio_checks import Checked, Fault
from earmark.importing.models import Listed, Sound
from earmark.importing.splitting import annotated_whole, stretches
from earmark.importing.time_expansion import Expansion, expanded, factor_of

Excusable = Literal["silent", "short", "duplicate"]

CLIPPED_SHARE = 0.001
"""A sound with a larger share of samples at full scale is reported as clipped, and imported."""
END_TOLERANCE_SECONDS = 0.1
"""A region may exceed its sound by this without a report: decoders and players differ by some frames."""
_HARMLESS: frozenset[Fault] = frozenset({"clipped", "beyond", "header", "band"})
"""Faults that are reported, but do not exclude a sound."""
_MOST_TRUSTED_FIRST = {"curated": 0, None: 1, "noisy": 2}


@dataclass(frozen=True)
class Rules:
    """Thresholds for silent (peak in dBFS) and short (seconds) sounds, and the faults to import anyway.

    ``expansion``: how sounds are expanded in time; ultrasound is no fault of those.
    """

    silent_below: float = -60.0
    min_seconds: float = 0.1
    keep: frozenset[Excusable] = frozenset()
    expansion: Expansion | None = None


@dataclass(frozen=True)
class Verdict:
    """Decision about one checked sound: its faults, and whether it is imported.

    ``marks`` are its label records for the import, with regions cut at the sound's end; ``cut`` is the
    number of these, ``lost`` that of regions beyond it.
    """

    checked: Checked
    faults: tuple[tuple[Fault, str], ...]
    accepted: bool
    marks: tuple[ClipRecord, ...] = ()
    lost: int = 0
    cut: int = 0

    @property
    def item(self) -> Listed:
        """The sound as the source lists it."""
        return self.checked.item

    @property
    def why(self) -> str:
        """All faults, as sentences."""
        return " ".join(sentence for _, sentence in self.faults)


def keep_of(text: str) -> frozenset[Excusable]:
    """Parse the ``--keep`` option: some of ``silent,short,duplicate``.

    Raises
    ------
    ConfigurationError
        It contains another word.
    """
    words = {part.strip() for part in text.split(",") if part.strip()}
    excusable: tuple[Excusable, ...] = get_args(Excusable)
    if not words <= set(excusable):
        raise ConfigurationError(
            f"--keep takes {', '.join(excusable)}, not {', '.join(sorted(words - set(excusable)))}; "
            "what cannot be read cannot be kept."
        )
    return frozenset(word for word in excusable if word in words)


def apply_rules(checked: Sequence[Checked], rules: Rules) -> list[Verdict]:
    """Check each sound, in order. Of duplicates, the first with the most trusted labels is accepted."""
    originals: dict[str, Listed] = {}
    for sound in sorted(checked, key=lambda sound: _MOST_TRUSTED_FIRST[sound.item.trust]):
        if sound.facts and not set(_excluding_faults(sound, rules)) - rules.keep:
            originals.setdefault(sound.facts.sha256, sound.item)
    verdicts = []
    for sound in checked:
        faults = _faults(sound, rules)
        original = originals.get(sound.facts.sha256) if sound.facts else None
        if original is not None and original is not sound.item:
            faults.append(("duplicate", f"It is the same sound as {original.fname}."))
        accepted = sound.facts is not None and not {kind for kind, _ in faults} - rules.keep - _HARMLESS
        marks, cut, lost = sound.item.marks, 0, 0
        if sound.facts:
            marks, cut, lost = _cut_at_end(marks, sound.facts.duration)
            if cut or lost:
                dropped = len(sound.item.marks) - len(marks)
                faults.append(("beyond", _beyond_sentence(cut, lost, dropped, sound.facts.duration)))
        verdicts.append(Verdict(sound, tuple(faults), accepted, marks, lost, cut))
    return verdicts


def sounds_of(verdicts: Iterable[Verdict], rules: Rules, split_seconds: float | None = None) -> list[Sound]:
    """Return the sounds to import, expanded in time; with ``split_seconds``, longer ones as stretches."""
    sounds: list[Sound] = []
    for verdict in verdicts:
        facts, path, item = verdict.checked.facts, verdict.checked.path, verdict.item
        if not verdict.accepted or facts is None:
            continue
        whole = Sound(path or Path(), item.fname, facts, verdict.marks, item.fields, item.trust, item.address)
        parts = (
            stretches(whole, split_seconds, rules.min_seconds) if split_seconds else [annotated_whole(whole)]
        )
        sounds += [expanded(part, rules.expansion) for part in parts]
    return sounds


def _excluding_faults(sound: Checked, rules: Rules) -> list[Fault]:
    return [kind for kind, _ in _faults(sound, rules) if kind not in _HARMLESS]


def _faults(sound: Checked, rules: Rules) -> list[tuple[Fault, str]]:
    facts = sound.facts
    if facts is None:
        return [("unreadable", sound.why)]
    faults: list[tuple[Fault, str]] = []
    if facts.duration < rules.min_seconds:
        faults.append(("short", f"It lasts {facts.duration:.3f} s, less than {rules.min_seconds:g} s."))
    if facts.peak_dbfs < rules.silent_below:
        level = "digital silence" if facts.peak_dbfs <= -200 else f"{facts.peak_dbfs:.1f} dBFS"
        faults.append(("silent", f"Its peak is {level}, below {rules.silent_below:g} dBFS."))
    if facts.clipped > CLIPPED_SHARE:
        faults.append(("clipped", f"{facts.clipped:.1%} of it is at full scale."))
    if facts.remark:
        faults.append(("header", facts.remark))
    above = facts.above_band if factor_of(facts.sample_rate, rules.expansion) == 1 else 0.0
    if sentence := outside_sentence(OutsideBand(above, facts.below_band)):
        faults.append(("band", sentence))
    return faults


def _cut_at_end(marks: tuple[ClipRecord, ...], seconds: float) -> tuple[tuple[ClipRecord, ...], int, int]:
    """Cut regions at the sound's end; return the records, the number of cut regions, and of those beyond."""
    regions = [region for record in marks for group in record.regions.values() for region in group]
    if all(region.end <= seconds for region in regions):
        return marks, 0, 0
    latest = seconds + END_TOLERANCE_SECONDS
    trimmed = [
        {
            control: tuple(
                replace(region, start=min(region.start, seconds), end=min(region.end, seconds))
                for region in group
                if region.start < seconds or region.end <= latest
            )
            for control, group in record.regions.items()
        }
        for record in marks
    ]
    records = []
    for record, within in zip(marks, trimmed, strict=True):
        # A control that lost all its regions would mean that nothing sounds, which no source states.
        remaining = {
            control: group for control, group in within.items() if group or not record.regions[control]
        }
        if remaining or any(record.tags.values()) or not record.regions:
            records.append(replace(record, regions=remaining))
    lost = sum(region.start >= seconds and region.end > latest for region in regions)
    return tuple(records), sum(region.end > latest for region in regions) - lost, lost


def _beyond_sentence(cut: int, lost: int, dropped: int, seconds: float) -> str:
    parts = [f"{cut} of its regions cut at its end"] if cut else []
    parts += [f"{lost} left out that lie beyond it"] if lost else []
    note = " No region is left of its annotation, so it comes in without one." if dropped else ""
    return f"It lasts {seconds:.3f} s: {', '.join(parts)}.{note}"
