"""Suggestion check: what two versions would suggest for recordings new to both, and what correcting it costs.

Metrics of windows do not measure that work: edges, split events and false alarms cost some, and change no
window's rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.model import Head
from earmark.head.regression_check import BLOCKS, LARGE_DROP, MIN_RECORDINGS, Comparison, is_clear_drop
from earmark.head.windows import Pool
from earmark.labels.control import Control, learned_controls
from earmark.labels.region import Region
from earmark.learning.correction_figures import (
    Correction,
    figures_by_control,
    region_correction,
    summed,
    tag_correction,
)
from earmark.learning.even_sample import MOST_SECONDS, sample_of_clips
from earmark.prediction.postprocessing import predict_clip

Corrections = Mapping[str, Mapping[int, Correction]]
"""By control, then by the clip's position."""


class _Measure(NamedTuple):
    """A measure of corrections. ``value``: the lower, the better. ``tolerance``: an increase that does not
    count. ``large``: one that counts however few the recordings. ``shown``: as sentences say it.
    """

    name: str
    value: Callable[[Correction], float]
    tolerance: float
    large: float
    shown: Callable[[float], str]
    of_edges: bool = False


_MEASURES = (
    _Measure(
        "effort of correcting, relative to annotating by hand,",
        lambda c: c.effort / c.by_hand if c.by_hand else 0.0,
        0.05,
        LARGE_DROP,
        lambda value: f"{value:.2f}",
    ),
    _Measure(
        "event F1",
        lambda c: -2 * c.found / (c.shown + c.true) if c.shown + c.true else 0.0,
        0.05,
        LARGE_DROP,
        lambda value: f"{-value:.2f}",
    ),
    _Measure(
        "edges off by",
        Correction.mean_edge_error,
        0.05,
        0.5,
        lambda value: f"{1000 * value:.0f} ms",
        of_edges=True,
    ),
    _Measure(
        "false alarms a minute",
        lambda c: 60 * c.false_alarms / c.background_seconds if c.background_seconds else 0.0,
        1.0,
        20.0,
        lambda value: f"{value:.1f}",
    ),
)


def out_of_fold_corrections(
    pool: Pool,
    frame_rate: float,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
) -> Corrections:
    """Return the correction of what a version would suggest for each clip, by heads not fitted on it.

    Of an evenly spread `sample_of_clips`; clips without such a head are left out.
    """
    corrections: dict[str, dict[int, Correction]] = {}
    controls = learned_controls(controls)
    for position in evenly_spread(clips):
        clip, head = clips[position], fitted.out_of_fold_head(clips[position].group)
        if head is None:
            continue
        answered = clip.regions.keys() | clip.tags.keys()
        sounds = {control.data_key for control in controls if control.name in answered}
        same_sound = [control for control in controls if control.data_key in sounds]
        predicted = predict_clip(head, same_sound, pool, frame_rate, clip.frames, clip.duration, clip.levels)
        for control in same_sound:
            name = control.name
            if name not in head.controls or control.type.per_region:
                continue
            if name in clip.regions:
                regions = [
                    Region(r.start, r.end, frozenset([r.label]))
                    for r in predicted.regions
                    if r.control == name
                ]
                correction = region_correction(clip.regions[name], regions, clip.duration)
            elif name in clip.tags:
                tags = frozenset(label for label, _ in predicted.tags.get(name, ()))
                correction = tag_correction(control, clip.tags[name], tags)
            else:
                continue
            corrections.setdefault(name, {})[position] = correction
    return corrections


def hold_back_costly_tags(
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
    corrections: Corrections,
) -> tuple[CrossValidatedHead, Corrections]:
    """Mark the controls whose tags take as long to correct as to tick by hand, so that none is suggested.

    On recordings that the heads were not fitted on; fewer than `MIN_RECORDINGS` hold nothing back. A head
    that ranks well may do so, as a rank says little about which tags to tick.

    ``corrections``: of what the fitted heads would suggest. Returns the heads, and the corrections that they
    then need.
    """
    costly = {
        control.name
        for control in controls
        if control.type.of_clip and not control.type.exclusive
        if _saves_nothing(corrections.get(control.name, {}), clips)
    }
    heads = [
        Head(
            head.identity,
            {
                name: replace(control, held_back=True) if name in costly else control
                for name, control in head.controls.items()
            },
            head.per_channel,
        )
        for head in (fitted.head, *fitted.folds)
    ]
    by_hand = {
        name: {place: replace(correction, effort=correction.by_hand) for place, correction in by_clip.items()}
        for name, by_clip in corrections.items()
        if name in costly
    }
    return replace(fitted, head=heads[0], folds=tuple(heads[1:])), {**corrections, **by_hand}


def _saves_nothing(corrections: Mapping[int, Correction], clips: Sequence[AnnotatedClip]) -> bool:
    """Return whether correcting takes at least the effort of annotating by hand, on enough recordings."""
    if len({clips[position].group for position in corrections}) < MIN_RECORDINGS:
        return False
    total = summed(corrections.values())
    return total.effort >= total.by_hand


def evenly_spread(clips: Sequence[AnnotatedClip]) -> list[int]:
    """Return positions of annotated clips, evenly spread; see `sample_of_clips`."""
    usable = [
        position
        for position, clip in enumerate(clips)
        if clip.weight > 0 and (clip.regions or clip.tags) and clip.duration <= MOST_SECONDS
    ]
    return sample_of_clips(usable, clips)


def with_suggestions(
    comparison: Comparison, clips: Sequence[AnnotatedClip], candidate: Corrections, active: Corrections
) -> Comparison:
    """Return the comparison with figures of corrections, and a reason for each that is clearly worse.

    On clips of which both sides have a correction; recordings of fewer than `MIN_RECORDINGS` reject nothing.
    """
    common = {
        name: sorted(candidate[name].keys() & active[name].keys()) for name in candidate if name in active
    }
    figures = [
        figures_by_control({name: {p: side[name][p] for p in common[name]} for name in common})
        for side in (candidate, active)
    ]
    reasons = [
        reason
        for name, positions in common.items()
        for reason in _losses(
            name,
            [clips[position].group for position in positions],
            [[side[name][position] for position in positions] for side in (candidate, active)],
        )
    ]
    return replace(
        comparison,
        candidate=_merged(comparison.candidate, figures[0]),
        active=_merged(comparison.active, figures[1]),
        reasons=(*comparison.reasons, *reasons),
    )


def _losses(control: str, groups: Sequence[str], sides: Sequence[Sequence[Correction]]) -> list[str]:
    """Return a sentence for each measure in which the first side is worse.

    ``groups``: recording of each clip.
    """
    names, recordings = np.unique(groups, return_inverse=True)
    if len(names) < MIN_RECORDINGS:
        return []
    blocks = (recordings % min(BLOCKS, len(names))).tolist()
    # Edges are those of found events, and only events that both sides found can be compared
    both_found = [all(side[place].onsets for side in sides) for place in range(len(groups))]
    reasons = []
    for measure in _MEASURES:
        counted = both_found if measure.of_edges else [True] * len(groups)
        worse, better = (
            np.array([measure.value(total) for total in _jackknife_sums(side, counted, blocks)])
            for side in sides
        )
        if is_clear_drop(-worse, -better, measure.tolerance, measure.large):
            reasons.append(
                f"“{control}” would get worse: {measure.name} {measure.shown(worse[0])} instead of "
                f"{measure.shown(better[0])} on {len(names)} recordings that neither version was trained on."
            )
    return reasons


def _jackknife_sums(
    side: Sequence[Correction], counted: Sequence[bool], blocks: Sequence[int]
) -> list[Correction]:
    """Return the sum of all corrections that count, then of all but those of each block."""
    return [
        summed(
            correction
            for correction, counts, own in zip(side, counted, blocks, strict=True)
            if counts and own != block
        )
        for block in (-1, *range(max(blocks) + 1))
    ]


def _merged(
    first: Mapping[str, dict[str, float]], second: Mapping[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}}
