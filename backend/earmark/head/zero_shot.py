"""Zero-shot head: an encoder's own classifier as a project's head before the first annotation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from earmark.encoders import registry
from earmark.encoders.base import Encoder, Tagger
from earmark.head.model import ControlHead, Head
from earmark.labels.class_matching import Match, match_labels
from earmark.labels.control import Control, learned_controls

log = structlog.get_logger(__name__)

ZERO_SHOT_THRESHOLD = 0.2
"""Probability from which a class counts as present, in place of one half.

CNN14 learned from labels of which many are missing and most are rare, so it is sure of little: in
the example that PANNs publish, a telephone rings while a person speaks in a small room, and after
0.89 and 0.75 for the two sounds comes 0.24 for the room, then 0.09 and less for absent classes
(and 0.18 for "Telephone"). Deleting a wrong region is a key press; a missed one has to be drawn.
"""
NONE_OF_THESE = ""
"""In a single choice the event that no matched label sounds. No label config has a label of this name,
so it takes its share of the probability and is never shown."""


def zero_shot_head(encoder: Encoder, controls: Sequence[Control]) -> Head | None:
    """Build a zero-shot head from the encoder's classes that match the labels.

    Labels without a match are left out and logged; a control or a project without any match gets no
    predictions.

    Returns
    -------
    A head for the encoder's embeddings, or None: nothing matches, or the encoder is no `Tagger`.
    """
    if not isinstance(encoder, Tagger):
        return None
    weights, bias = encoder.class_layer()
    heads = {}
    for control in learned_controls(controls):
        match = match_labels(control, registry.class_names(encoder.identity))
        if match.unmatched:
            log.info("labels without a class of the encoder", control=control.name, labels=match.unmatched)
        if match.classes:
            heads[control.name] = _control_head(control, match, weights, bias)
    return Head(encoder.identity, heads) if heads else None


def _control_head(
    control: Control, match: Match, weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> ControlHead:
    """One control's share of the encoder's classifier.

    Regions and several tags keep the encoder's independent probabilities. For a single choice they are
    taken as given that exactly one of the choices is true: then each is as likely as its odds
    relative to the sum of all odds, which is the softmax of the encoder's logits. Where some labels have
    no match, "none of the matched ones" is a possibility too, with odds of 1 (a logit of 0).
    """
    classes = [index for indices in match.classes.values() for index in indices]
    labels, columns = list(match.classes), [len(indices) for indices in match.classes.values()]
    selected, biases = weights[:, classes], bias[classes]
    if control.type.exclusive and match.unmatched:
        labels.append(NONE_OF_THESE)
        columns.append(1)
        selected = np.pad(selected, ((0, 0), (0, 1)))
        biases = np.pad(biases, (0, 1))
    width = len(weights)
    return ControlHead(
        control.name,
        control.type,
        tuple(labels),
        np.zeros(width, np.float32),
        np.ones(width, np.float32),
        np.ascontiguousarray(selected),
        biases,
        np.full(len(labels), ZERO_SHOT_THRESHOLD, np.float32),
        tuple(columns) if max(columns) > 1 else (),
    )
