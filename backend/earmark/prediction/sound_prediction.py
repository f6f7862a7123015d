"""Prediction of one sound in Label Studio's format: of its mix, or of each of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from earmark.encoders.base import Encoder
from earmark.features.store import EncodedSound
from earmark.head.model import Head
from earmark.labels.control import Control
from earmark.labelstudio.results import choices_item, region_choices_item, region_item
from earmark.prediction.postprocessing import ClipPrediction, predict_clip


@dataclass(frozen=True)
class SoundPrediction:
    """Prediction of a sound: result items, probabilities by control and label, and the task's score.

    ``shown``, ``left_out``: numbers of regions that are among the items, and that are not.
    """

    items: list[dict[str, Any]]
    probabilities: dict[str, dict[str, float]]
    score: float
    shown: int
    left_out: int


def tells_channels_apart(head: Head, controls: Sequence[Control]) -> bool:
    """Whether regions of a sound are predicted for each channel: where annotations are made so."""
    return head.per_channel and any(control.type.draws_regions for control in controls)


def predict_sound(
    head: Head,
    controls: Sequence[Control],
    encoder: Encoder,
    sound: EncodedSound,
    channels: Sequence[EncodedSound],
    seed: str,
) -> SoundPrediction:
    """Predict a sound: tags from its mix, and regions from each of its channels, or from the mix.

    Parameters
    ----------
    controls
        Those of this sound.
    channels
        Its channels, if regions are predicted for each; else empty.
    seed
        Makes item ids differ between tasks.
    """

    def predicted(part: EncodedSound) -> ClipPrediction:
        return predict_clip(
            head, controls, encoder.pool, encoder.frame_rate, part.frames, part.duration, part.levels
        )

    whole = predicted(sound)
    if not channels:
        items = result_items(whole, controls, sound.duration, seed)
        return SoundPrediction(items, whole.probabilities, whole.score, len(whole.regions), whole.left_out)
    items, scores, shown, left_out = [], [whole.score], 0, 0
    for number, channel in enumerate(channels):
        of_channel = predicted(channel)
        items += result_items(replace(of_channel, tags={}), controls, sound.duration, seed, number)
        scores.append(of_channel.score)
        shown, left_out = shown + len(of_channel.regions), left_out + of_channel.left_out
    items += result_items(replace(whole, regions=(), region_tags=()), controls, sound.duration, seed)
    return SoundPrediction(items, whole.probabilities, min(scores), shown, left_out)


def result_items(
    prediction: ClipPrediction, controls: Sequence[Control], duration: float, seed: str, channel: int = 0
) -> list[dict[str, Any]]:
    """Return a prediction in Label Studio's format.

    Parameters
    ----------
    seed
        Makes item ids differ between tasks.
    channel
        The one that regions are on.
    """
    by_name = {control.name: control for control in controls}
    items = []
    for r in prediction.regions:
        item = region_item(by_name[r.control], r.start, r.end, r.label, r.score, duration, seed, channel)
        items.append(item)
        items += [
            region_choices_item(by_name[each.control], by_name[r.control], item, each.tags)
            for each in prediction.region_tags
            if each.region is r and by_name[each.control].value([label for label, _ in each.tags])
        ]
    for name, tags in prediction.tags.items():
        if tags:
            labels = [label for label, _ in tags]
            if by_name[name].value(labels):
                items.append(choices_item(by_name[name], labels, min(score for _, score in tags), seed))
    return items
