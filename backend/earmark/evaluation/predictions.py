"""Predictions of annotated sounds by heads that were not fitted on their recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.errors import NotEnoughAnnotationsError
from earmark.evaluation.splits import Placed, SplitRules, splits_of
from earmark.export.label_studio import file_name_of
from earmark.head.examples import AnnotatedClip
from earmark.labels.control import Control
from earmark.labels.region import Region
from earmark.learning.annotated_clips import AnnotatedSound, annotated_clips
from earmark.learning.correction_figures import is_undecided
from earmark.learning.head_training import train_head
from earmark.learning.training_set import TrainingSet
from earmark.prediction.postprocessing import ClipPrediction, predict_clip
from earmark.services import Services


@dataclass(frozen=True)
class Measured:
    """One annotated sound with its prediction. ``fold``: name of the split whose head predicted it."""

    placed: Placed
    annotator: int | None
    clip: AnnotatedClip
    fold: str
    prediction: ClipPrediction

    def shown_tags(self, control: Control) -> frozenset[str]:
        """Return the tags that are shown."""
        return frozenset(label for label, _ in self.prediction.tags.get(control.name, ()))

    def shown_regions(self, control: Control) -> list[Region]:
        """Return the regions that are shown, without those where the annotator left open what sounds."""
        annotated = self.clip.regions.get(control.name, ())
        regions = (
            Region(region.start, region.end, frozenset([region.label]))
            for region in self.prediction.regions
            if region.control == control.name
        )
        return [region for region in regions if not is_undecided(region, annotated)]

    def true_labels(self, control: Control) -> frozenset[str] | None:
        """Return the annotated labels of the whole sound; None where the control was not answered."""
        offered = frozenset(control.labels)
        if control.type.draws_regions:
            regions = self.clip.regions.get(control.name)
            if regions is None:
                return None
            return frozenset().union(*(region.labels for region in regions)) & offered
        tags = self.clip.tags.get(control.name)
        if tags is None or not control.type.is_answer(tags & offered):
            return None
        return tags & offered

    def shown_labels(self, control: Control) -> frozenset[str]:
        """Return the labels that are shown, as regions or as tags."""
        if control.type.draws_regions:
            return frozenset().union(*(region.labels for region in self.shown_regions(control)))
        return self.shown_tags(control)


def measured_sounds(
    services: Services,
    training_set: TrainingSet,
    rules: SplitRules,
    on_sound: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Fit a head for each split, and predict the sounds that it was not fitted on.

    Each sound is measured once, by its ground truth, else its newest annotation; all annotations are
    learned from. Model selection, calibration and thresholds are of the training side alone.

    Parameters
    ----------
    on_sound
        Called with the number of sounds measured, and that of all: first with 0, before any fit.

    Raises
    ------
    ConfigurationError
        A field or list of the rules does not fit the project's tasks, or a side of every split is empty.
    NotEnoughAnnotationsError
        Too little is left to fit on.
    """
    controls = training_set.controls
    pairs = [
        (annotated, clip)
        for annotated in training_set.annotated
        for clip in annotated_clips([annotated], controls)
        if clip.regions or clip.tags
    ]
    if not pairs:
        raise NotEnoughAnnotationsError("No annotation of this project can be measured: annotate some tasks.")
    placed = [_placed(annotated, clip, controls) for annotated, clip in pairs]
    chosen = _chosen([annotated for annotated, _ in pairs], [clip for _, clip in pairs])
    splits = splits_of(placed, rules)
    total = len(chosen & {int(place) for split in splits for place in split.test})
    measured: dict[int, Measured] = {}
    on_sound(0, total)
    for split in splits:
        predict = _fitted_predictor(services, controls, [pairs[place][1] for place in split.train])
        for place in split.test:
            if int(place) in chosen:
                annotated, clip = pairs[place]
                measured[int(place)] = Measured(
                    placed[place],
                    annotated.annotation.completed_by,
                    clip,
                    split.name,
                    predict(clip),
                )
                on_sound(len(measured), total)
    return [measured[place] for place in sorted(measured)]


def _placed(annotated: AnnotatedSound, clip: AnnotatedClip, controls: Sequence[Control]) -> Placed:
    task = annotated.task
    labels = {label for tags in clip.tags.values() for label in tags}
    labels |= {label for regions in clip.regions.values() for region in regions for label in region.labels}
    address = str(task.data.get(controls[0].data_key, ""))
    return Placed(task.task_id, file_name_of(task.data, address), clip.group, task.data, frozenset(labels))


def _chosen(annotated: Sequence[AnnotatedSound], clips: Sequence[AnnotatedClip]) -> set[int]:
    """Return the positions of the annotations that sounds are measured by: one for each task and sound."""
    best: dict[tuple[int, frozenset[str]], int] = {}
    for place, (sound, clip) in enumerate(zip(annotated, clips, strict=True)):
        key = sound.task.task_id, frozenset(clip.regions) | frozenset(clip.tags)
        before = best.get(key)
        if before is None or _rank(sound) > _rank(annotated[before]):
            best[key] = place
    return set(best.values())


def _rank(sound: AnnotatedSound) -> tuple[bool, int]:
    return sound.annotation.ground_truth, sound.annotation.annotation_id


def _fitted_predictor(
    services: Services, controls: Sequence[Control], clips: Sequence[AnnotatedClip]
) -> Callable[[AnnotatedClip], ClipPrediction]:
    """Train a head, and return a function that predicts a clip by it; costly tags are not held back."""
    encoder = services.encoder()
    pool, rate = encoder.pool, encoder.frame_rate
    fitted, _ = train_head(encoder, controls, clips, services.zero_shot_head(tuple(controls)))
    head = fitted.head

    def predict(clip: AnnotatedClip) -> ClipPrediction:
        answered = clip.regions.keys() | clip.tags.keys()
        keys = {control.data_key for control in controls if control.name in answered}
        same_sound = [control for control in controls if control.data_key in keys]
        return predict_clip(head, same_sound, pool, rate, np.asarray(clip.frames), clip.duration, clip.levels)

    return predict
