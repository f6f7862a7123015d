"""Agreement of tags and regions that share names: a region ticks its tag, its absence counts against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from earmark.head.model import ControlHead
from earmark.head.region_evidence import RegionEvidence
from earmark.labels.controls import Control

AGREED_SHARE = 0.75
"""From this share of annotations with a region that have the tag of its name, a predicted region ticks it."""


WORTH_SHOWING = 1 / 3
"""Probability of a tag from which its regions are shown. A missing region costs an annotator 3 to draw and
its tag 1 to tick, a wrong one 1 to delete and its tag 1 to untick."""

EVIDENCE_EXPONENT = 0.5
"""Exponent of a region's likelihood ratio for its tag's probability."""
SMALLEST_SHARE = 0.01
"""No share is taken for nearer to 0 or 1, however often it was counted."""


@dataclass(frozen=True)
class TagsSaid:
    """What a tags control's head says by itself: probabilities of each tag of the clip."""

    control: Control
    fitted: ControlHead
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class RegionsFound:
    """Predicted regions of one control: ``strengths``: the best score of each label that has any.

    ``known``: the labels that the head could have found.
    """

    control: Control
    known: frozenset[str]
    strengths: Mapping[str, float]


def shared_labels(regions: Control, tags: Control) -> dict[str, str]:
    """From labels of a regions control to the tags of the same name; empty where they are on other sounds.

    A name is that of the results or the one that the interface shows, in either case.
    """
    if regions.kind != "regions" or tags.kind == "regions" or regions.to_name != tags.to_name:
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
    """These tags controls and the regions controls that their predictions depend on, in document order."""
    wanted = set(tags)
    return tuple(
        control
        for control in controls
        if control in wanted or any(shared_labels(control, other) for other in wanted)
    )


def doubted_labels(regions: Control, tags: Sequence[TagsSaid]) -> frozenset[str]:
    """Labels whose regions are not worth showing unless they are sure: the tag of that name is too unlikely.

    So it is where a tags control, in which each region's tag is ticked, gives this one less than
    `WORTH_SHOWING`, the evidence of a region included.
    """
    doubted = set()
    for said in tags:
        evidence, places = _evidence(said.fitted, regions.name), _places(said.fitted)
        for label, tag in shared_labels(regions, said.control).items():
            if tag in said.probabilities:
                figures = _figures(evidence, places[tag])
                ticked = figures.agreed if said.control.kind == "multiple" else figures.chosen
                present = shifted(said.probabilities[tag], figures.log_presence)
                if ticked >= AGREED_SHARE and present < WORTH_SHOWING:
                    doubted.add(label)
    return frozenset(doubted)


def agreed_tags(
    control: Control,
    fitted: ControlHead,
    probabilities: Mapping[str, float],
    thresholds: Mapping[str, float],
    found: Sequence[RegionsFound],
) -> tuple[dict[str, float], set[str]]:
    """Tags of a control for several tags in the light of the predicted regions.

    A tag with a region is ticked where annotations say that they go together, and is as likely as the
    evidence makes it: at least as likely as its best region. One without any is less likely by the likelihood
    ratio of finding none, so it is ticked only where the head was sure of it.

    Parameters
    ----------
    probabilities, thresholds
        Of each tag that the head has learned, by itself.

    Returns
    -------
    Probabilities, also of tags that only regions know, and the tags that regions tick.
    """
    said = dict(probabilities)
    ticked: set[str] = set()
    ratios: dict[str, float] = {}
    for each in found:
        evidence, places = _evidence(fitted, each.control.name), _places(fitted)
        for label, tag in shared_labels(each.control, control).items():
            if label not in each.known:
                continue
            figures = _figures(evidence, places.get(tag))
            if label not in each.strengths:
                if tag in said:
                    ratios[tag] = min(ratios.get(tag, 0.0), figures.log_absence)
            elif figures.agreed >= AGREED_SHARE:
                ticked.add(tag)
                # Tempered: both heads see the same embeddings, so they are not independent
                ratio = EVIDENCE_EXPONENT * figures.log_presence
                own = shifted(said[tag], ratio) if tag in said else 0.0
                said[tag] = max(own, each.strengths[label], thresholds.get(tag, 0.0))
    for tag, ratio in ratios.items():
        if tag not in ticked:
            said[tag] = shifted(said[tag], ratio)
    return said, ticked


def agreed_choice(
    control: Control,
    fitted: ControlHead,
    probabilities: Mapping[str, float],
    chosen: str | None,
    found: Sequence[RegionsFound],
) -> tuple[dict[str, float], str | None]:
    """The choice of a single-choice control in the light of the predicted regions.

    Where regions of shared names were found and the choice is none of them, the label of the strongest
    region is taken. It gets as much of the probability as makes it the likeliest, by a hair: such a
    clip is one that the head is not certain about.
    """
    strengths: dict[str, float] = {}
    for each in found:
        evidence, places = _evidence(fitted, each.control.name), _places(fitted)
        for label, tag in shared_labels(each.control, control).items():
            agreed = _figures(evidence, places.get(tag)).agreed >= AGREED_SHARE
            if agreed and label in each.strengths:
                strengths[tag] = max(strengths.get(tag, 0.0), each.strengths[label])
    if not strengths or chosen in strengths:
        return dict(probabilities), chosen
    strongest = max(strengths, key=lambda tag: (strengths[tag], probabilities.get(tag, 0.0)))
    lead = max(probabilities.values(), default=0.0) - probabilities.get(strongest, 0.0)
    share = lead / (1 + lead) + 1e-6
    said = {tag: value * (1 - share) for tag, value in probabilities.items()}
    said[strongest] = said.get(strongest, 0.0) + share
    return said, strongest


def shifted(probability: float, log_ratio: float) -> float:
    """Posterior probability: its odds multiplied by a likelihood ratio."""
    return float(expit(logit(np.clip(probability, 1e-7, 1 - 1e-7)) + log_ratio))


def _evidence(fitted: ControlHead, regions: str) -> RegionEvidence:
    for each in fitted.evidence:
        if each.regions == regions:
            return each
    return RegionEvidence.default(regions, len(fitted.labels))


def _places(fitted: ControlHead) -> dict[str, int]:
    return {label: place for place, label in enumerate(fitted.labels)}


@dataclass(frozen=True)
class _Figures:
    """Evidence about one tag: shares, and log likelihood ratios of a region (>= 0) and of none (<= 0)."""

    agreed: float
    chosen: float
    log_presence: float
    log_absence: float


def _figures(evidence: RegionEvidence, place: int | None) -> _Figures:
    """Evidence about the tag at a place; None is one that the head has not learned."""
    arrays = (evidence.agreed, evidence.chosen, evidence.missed, evidence.quiet)
    agreed, chosen, missed, quiet = (float(a[-1 if place is None else place]) for a in arrays)
    missed, quiet = max(missed, SMALLEST_SHARE), min(max(quiet, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
    presence, absence = max(1.0, (1 - missed) / (1 - quiet)), min(1.0, missed / quiet)
    return _Figures(agreed, chosen, float(np.log(presence)), float(np.log(absence)))
