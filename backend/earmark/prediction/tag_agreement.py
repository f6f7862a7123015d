"""Consistency of tags and regions with shared label names: a predicted region makes its tag likelier, its
absence less likely, by learned likelihood ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from earmark.head.model import ControlHead
from earmark.head.region_evidence import RegionEvidence
from earmark.labels.control import Control

AGREED_SHARE = 0.75
"""Minimum share of annotations with a region that also have its tag, for a predicted region to tick it."""


WORTH_SHOWING = 1 / 3
"""Minimum probability of a tag for its regions to be shown. By annotators' cost: a missing region costs 3 to
draw and its tag 1 to tick, a wrong one 1 to delete and its tag 1 to untick."""

EVEN_ODDS = 0.5
"""Minimum probability of a tag without a region: unticking a wrong one costs as much as ticking a missing one
does."""
EVIDENCE_EXPONENT = 0.5
"""Exponent of a region's likelihood ratio for its tag's probability."""
SMALLEST_SHARE = 0.01
"""Shares are clipped to this distance from 0 and 1, however many counts they rest on."""


@dataclass(frozen=True)
class TagProbabilities:
    """Probabilities of each tag of the clip from a tags control's head alone."""

    control: Control
    fitted: ControlHead
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class RegionStrengths:
    """Predicted regions of one control. ``strengths``: the best score of each label that has any.

    ``learned``: the labels that the head can predict.
    """

    control: Control
    learned: frozenset[str]
    strengths: Mapping[str, float]


def shared_labels(regions: Control, tags: Control) -> dict[str, str]:
    """Map labels of a regions control to tags of the same name; empty if the controls' sounds differ.

    Compares names in results and names that the interface shows, case-insensitively.
    """
    if not regions.type.draws_regions or not tags.type.of_clip or regions.to_name != tags.to_name:
        return {}
    by_name: dict[str, str] = {}
    for tag in tags.labels:
        by_name.setdefault(tag.strip().casefold(), tag)
    for alias, value in tags.shown.items():
        by_name.setdefault(value.strip().casefold(), alias)
    shared: dict[str, str] = {}
    for label in regions.labels:
        for name in (label, regions.shown.get(label, label)):
            if name.strip().casefold() in by_name:
                shared.setdefault(label, by_name[name.strip().casefold()])
    return shared


def linked_controls(controls: Sequence[Control], tags: Iterable[Control]) -> tuple[Control, ...]:
    """Return these tags controls and the regions controls that they depend on, in document order."""
    wanted = set(tags)
    return tuple(
        control
        for control in controls
        if control in wanted or any(shared_labels(control, other) for other in wanted)
    )


def doubted_labels(regions: Control, tags: Sequence[TagProbabilities]) -> frozenset[str]:
    """Return the labels whose regions are shown only if certain, because the tag of that name is unlikely.

    Only controls count in which annotators tick the tag of each region. A tag is unlikely if its probability,
    given that there is a region of its name, is below `WORTH_SHOWING`.
    """
    doubted = set()
    for prediction in tags:
        evidence, places = _evidence(prediction.fitted, regions.head_name), _indices(prediction.fitted)
        for label, tag in shared_labels(regions, prediction.control).items():
            if tag in prediction.probabilities:
                figures = _figures(evidence, places[tag])
                ticked = figures.chosen if prediction.control.type.exclusive else figures.agreed
                present = shifted(prediction.probabilities[tag], figures.log_presence)
                if ticked >= AGREED_SHARE and present < WORTH_SHOWING:
                    doubted.add(label)
    return frozenset(doubted)


def agreed_tags(
    control: Control,
    fitted: ControlHead,
    probabilities: Mapping[str, float],
    thresholds: Mapping[str, float],
    region_predictions: Sequence[RegionStrengths],
) -> tuple[dict[str, float], dict[str, float], set[str]]:
    """Update the tags of a multi-label control by the predicted regions.

    A tag with a region is ticked where annotations have both, and gets its posterior probability: at least
    that of its best region. The probability of a tag without a region is reduced by the likelihood ratio of
    finding none, and it is ticked only where it is then likelier than not.

    Parameters
    ----------
    probabilities, thresholds
        Of each tag that the head has learned, from the head alone.

    Returns
    -------
    Probabilities, including tags that only regions have; the thresholds that these must reach; and the tags
    that regions tick.
    """
    updated = dict(probabilities)
    ticked: set[str] = set()
    ratios: dict[str, float] = {}
    for predicted in region_predictions:
        evidence, places = _evidence(fitted, predicted.control.head_name), _indices(fitted)
        for label, tag in shared_labels(predicted.control, control).items():
            if label not in predicted.learned:
                continue
            figures = _figures(evidence, places.get(tag))
            if label not in predicted.strengths:
                if tag in updated:
                    ratios[tag] = min(ratios.get(tag, 0.0), figures.log_alone)
            elif figures.agreed >= AGREED_SHARE:
                ticked.add(tag)
                # Tempered: both heads see the same embeddings, so they are not independent
                ratio = EVIDENCE_EXPONENT * figures.log_presence
                own = shifted(updated[tag], ratio) if tag in updated else 0.0
                updated[tag] = max(own, predicted.strengths[label], thresholds.get(tag, 0.0))
    for tag, ratio in ratios.items():
        if tag not in ticked:
            updated[tag] = shifted(updated[tag], ratio)
    # A threshold that the label config sets is left as it is
    alone = ratios.keys() - ticked if control.threshold is None else frozenset[str]()
    least = {tag: max(limit, EVEN_ODDS) if tag in alone else limit for tag, limit in thresholds.items()}
    return updated, least, ticked


def agreed_choice(
    control: Control,
    fitted: ControlHead,
    probabilities: Mapping[str, float],
    chosen: str | None,
    region_predictions: Sequence[RegionStrengths],
) -> tuple[dict[str, float], str | None]:
    """Update the choice of a single-choice control by the predicted regions.

    Where regions with shared names were predicted and the choice is none of them, the label of the strongest
    region is chosen. It gets just enough of the probability to be the likeliest: for such a clip, the
    prediction counts as uncertain.
    """
    strengths: dict[str, float] = {}
    for predicted in region_predictions:
        evidence, places = _evidence(fitted, predicted.control.head_name), _indices(fitted)
        for label, tag in shared_labels(predicted.control, control).items():
            agreed = _figures(evidence, places.get(tag)).agreed >= AGREED_SHARE
            if agreed and label in predicted.strengths:
                strengths[tag] = max(strengths.get(tag, 0.0), predicted.strengths[label])
    if not strengths or chosen in strengths:
        return dict(probabilities), chosen
    strongest = max(strengths, key=lambda tag: (strengths[tag], probabilities.get(tag, 0.0)))
    lead = max(probabilities.values(), default=0.0) - probabilities.get(strongest, 0.0)
    share = lead / (1 + lead) + 1e-6
    updated = {tag: value * (1 - share) for tag, value in probabilities.items()}
    updated[strongest] = updated.get(strongest, 0.0) + share
    return updated, strongest


def shifted(probability: float, log_ratio: float) -> float:
    """Return the posterior probability: odds multiplied by a likelihood ratio."""
    return float(expit(logit(np.clip(probability, 1e-7, 1 - 1e-7)) + log_ratio))


def _evidence(fitted: ControlHead, regions: str) -> RegionEvidence:
    for evidence in fitted.evidence:
        if evidence.regions == regions:
            return evidence
    return RegionEvidence.default(regions, len(fitted.labels))


def _indices(fitted: ControlHead) -> dict[str, int]:
    return {label: index for index, label in enumerate(fitted.labels)}


@dataclass(frozen=True)
class _Figures:
    """Evidence about one tag: shares, and log likelihood ratios of a region (>= 0) and, for a tag that its
    head would tick, of none (<= 0).
    """

    agreed: float
    chosen: float
    log_presence: float
    log_alone: float


def _figures(evidence: RegionEvidence, place: int | None) -> _Figures:
    """Return the evidence about the tag at an index; None for a tag that the head has not learned."""
    arrays = (evidence.agreed, evidence.chosen, evidence.missed, evidence.quiet, evidence.alone)
    agreed, chosen, missed, quiet, alone = (float(a[-1 if place is None else place]) for a in arrays)
    missed, quiet = max(missed, SMALLEST_SHARE), min(max(quiet, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
    presence = max(1.0, (1 - missed) / (1 - quiet))
    return _Figures(agreed, chosen, float(np.log(presence)), float(np.log(max(alone, SMALLEST_SHARE))))
