"""Co-occurrence learned from annotations: which regions overlap, and which tags go with regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.model import ControlHead, Head
from earmark.head.region_evidence import (
    DEFAULT_AGREED,
    DEFAULT_ALONE,
    DEFAULT_CHOSEN,
    DEFAULT_MISSED,
    DEFAULT_QUIET,
    RegionEvidence,
)
from earmark.head.windows import Pool
from earmark.labels.control import Control, learned_controls
from earmark.learning.even_sample import MOST_SECONDS, sample_of_clips
from earmark.prediction.overlap import learn_overlap_factors
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.tag_agreement import shared_labels

DEFAULT_STRENGTH = 4.0
"""Prior strength of a default, in annotations."""
POOLED_STRENGTH = 4.0
"""Prior strength of the pooled share of all labels, in annotations of one label."""

Counts = NDArray[np.float64]


def learn_cooccurrence(
    pool: Pool,
    frame_rate: float,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
) -> CrossValidatedHead:
    """Return ``fitted`` with overlap factors and with the evidence of regions about tags in its heads.

    How often regions are missed is counted on out-of-fold predictions; without fold heads, the defaults are
    used. The evidence of a fold head is counted without the fold's recordings.

    Parameters
    ----------
    pool, frame_rate
        Of the encoder that the clips' frames come from.
    """
    controls = learned_controls(controls)
    heads = [fitted.head, *fitted.folds]
    for control in controls:
        control_head = fitted.head.controls.get(control.name)
        if control_head is not None and control_head.type is control.type and control.type.draws_regions:
            factors = learn_overlap_factors(control.name, control_head.labels, clips)
            heads = [_with_factors(head, control_head, factors) for head in heads]
    served = heads[0]
    links = [
        Link(regions, tags, shared)
        for tags in controls
        for regions in controls
        if regions.name in served.controls
        and tags.name in served.controls
        and (shared := shared_labels(regions, tags))
    ]
    fitted_with_factors = replace(fitted, head=served, folds=tuple(heads[1:]))
    predicted = _predicted(pool, frame_rate, links, clips, fitted_with_factors) if links else {}
    assignment = fitted.assignment or {}
    folds = [assignment.get(clip.group, -1) for clip in clips]
    heads = [
        _with_evidence(
            head,
            links,
            # The first is the head that is served, which may have seen all of them
            {
                position: clip
                for position, clip in enumerate(clips)
                if place == 0 or folds[position] != place - 1
            },
            predicted,
        )
        for place, head in enumerate(heads)
    ]
    return replace(fitted, head=heads[0], folds=tuple(heads[1:]))


@dataclass(frozen=True)
class Link:
    """A regions control and a tags control; ``shared`` maps labels of the first to those of the second."""

    regions: Control
    tags: Control
    shared: Mapping[str, str]


@dataclass(frozen=True)
class Predicted:
    """Labels with predicted regions, and labels that the head has, by control, of one clip.

    ``likely``: by tags control, the tags that its head alone would tick.
    """

    shown: Mapping[str, frozenset[str]]
    predictable: Mapping[str, frozenset[str]]
    likely: Mapping[str, frozenset[str]]


def _with_factors(head: Head, served: ControlHead, factors: NDArray[np.float32]) -> Head:
    """Return the head with the overlap factors of its labels."""
    return head.changed(
        served,
        lambda control, places: replace(control, overlap_factors=factors[np.ix_(places, places)]),
    )


def _predicted(
    pool: Pool,
    frame_rate: float,
    links: Sequence[Link],
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
) -> dict[int, Predicted]:
    """Out-of-fold predictions of regions and tags on evenly spread clips, by the clip's position."""
    controls = list(dict.fromkeys(link.regions for link in links))
    names = {control.name for control in controls}
    tag_names = {link.tags.name for link in links}
    usable = [
        position
        for position, clip in enumerate(clips)
        if clip.weight > 0 and clip.tags and names & clip.regions.keys()
    ]
    by_position = {}
    for position in sample_of_clips(usable, clips):
        clip = clips[position]
        head = fitted.out_of_fold_head(clip.group)
        if head is None or clip.duration > MOST_SECONDS:
            continue
        prediction = predict_clip(head, controls, pool, frame_rate, clip.frames, clip.duration, clip.levels)
        embedding = pool(clip.frames)[None]
        likely = {
            name: frozenset(
                np.array(tags.labels)[tags.probabilities(embedding)[0] >= tags.thresholds].tolist()
            )
            for name in tag_names
            if (tags := head.controls.get(name)) is not None and not tags.type.exclusive
        }
        by_position[position] = Predicted(
            {name: frozenset(r.label for r in prediction.regions if r.control == name) for name in names},
            {name: frozenset(prediction.probabilities.get(name, ())) for name in names},
            likely,
        )
    return by_position


def _with_evidence(
    head: Head, links: Sequence[Link], clips: Mapping[int, AnnotatedClip], predicted: Mapping[int, Predicted]
) -> Head:
    """The head with the evidence about its tags, counted on ``clips``, which are by position."""
    evidence: dict[str, list[RegionEvidence]] = {}
    for link in links:
        tags = head.controls.get(link.tags.name)
        if tags is not None:
            evidence.setdefault(tags.control, []).append(_evidence(link, tags.labels, clips, predicted))
    controls = {
        name: replace(control, evidence=tuple(evidence.get(name, ())))
        for name, control in head.controls.items()
    }
    return Head(head.identity, controls, head.per_channel)


def _evidence(
    link: Link,
    labels: tuple[str, ...],
    clips: Mapping[int, AnnotatedClip],
    predicted: Mapping[int, Predicted],
) -> RegionEvidence:
    """Count, over annotations that answer both controls, how regions and tags of one name co-occur."""
    columns = {label: column for column, label in enumerate(labels)}
    unlearned, size = len(labels), len(labels) + 1
    # Cases, and those among them that agree, are missed, or are quiet; the same of tags that the tags' head
    # would tick; and tags, with those beside which no region of their name was drawn
    agreed, same, missed, quiet, missed_likely, quiet_likely, undrawn = np.zeros((7, 2, size))
    for position, clip in clips.items():
        regions, chosen = clip.regions.get(link.regions.name), clip.tags.get(link.tags.name)
        if regions is None or chosen is None or clip.weight <= 0:
            continue
        weight = clip.weight * clip.tag_weights.get(link.tags.name, 1.0)
        drawn = frozenset().union(*(region.labels for region in regions))
        named = {link.shared[label] for label in drawn & link.shared.keys()}
        for tag in named:
            column = columns.get(tag, unlearned)
            right = bool(chosen & named) if link.tags.type.exclusive else tag in chosen
            agreed[:, column] += weight, weight * right
            same[:, column] += weight, weight * (tag in chosen)
        for tag in chosen & set(link.shared.values()):
            undrawn[:, columns.get(tag, unlearned)] += weight, weight * (tag not in named)
        if position not in predicted:
            continue
        shown = predicted[position].shown[link.regions.name]
        for label in predicted[position].predictable[link.regions.name] & link.shared.keys():
            tag = link.shared[label]
            counted = missed if tag in chosen else quiet
            case = np.array([weight, weight * (label not in shown)])
            counted[:, columns.get(tag, unlearned)] += case
            if tag in predicted[position].likely.get(link.tags.name, ()):
                likely = missed_likely if tag in chosen else quiet_likely
                likely[:, columns.get(tag, unlearned)] += case
    return RegionEvidence(
        link.regions.name,
        _shares(agreed, DEFAULT_AGREED),
        _shares(same, DEFAULT_CHOSEN if link.tags.type.exclusive else DEFAULT_AGREED),
        _shares(missed, DEFAULT_MISSED),
        _shares(quiet, DEFAULT_QUIET),
        _alone(missed_likely, quiet_likely, undrawn),
    )


def _alone(missed: Counts, quiet: Counts, undrawn: Counts) -> NDArray[np.float32]:
    """Likelihood ratios ``[C + 1]``, at most 1, of no region for tags that the tags' head would tick.

    At least the share of tags beside which annotators drew no region: that many have none to be predicted.
    """
    ratios = _shares(missed, DEFAULT_ALONE * DEFAULT_QUIET) / _shares(quiet, DEFAULT_QUIET)
    most = np.maximum(ratios, _shares(undrawn, DEFAULT_ALONE))
    return np.asarray(np.minimum(1.0, most), dtype=np.float32)


def _shares(counts: Counts, default: float) -> NDArray[np.float32]:
    """Shares ``[C + 1]`` from cases and hits ``[2, C + 1]``, each shrunk towards that of all tags."""
    cases, hits = counts
    pooled = (hits.sum() + DEFAULT_STRENGTH * default) / (cases.sum() + DEFAULT_STRENGTH)
    return np.asarray((hits + POOLED_STRENGTH * pooled) / (cases + POOLED_STRENGTH), dtype=np.float32)
