"""Evaluation of a project: figures of every control, and scores of every sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from earmark.errors import NotEnoughAnnotationsError
from earmark.evaluation.figures import ControlFigures, control_figures
from earmark.evaluation.predictions import Measured, measured_sounds
from earmark.evaluation.splits import SplitRules
from earmark.labels.control import Control
from earmark.learning.annotator_agreement import label_agreement
from earmark.learning.training_set import load_training_set
from earmark.services import Services
from earmark.store.models import Project

SCORE_COLUMNS = (
    "task_id", "file_name", "recording", "fold", "annotator", "control", "label", "annotated", "shown",
    "probability",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """Figures of a project. ``method``: how they were measured, as a sentence."""

    project: str
    encoder: str
    method: str
    sounds: int
    recordings: int
    splits: tuple[str, ...]
    controls: tuple[ControlFigures, ...]


def evaluate(
    services: Services,
    project: Project,
    rules: SplitRules,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> tuple[Evaluation, list[tuple[object, ...]]]:
    """Measure a project; return its figures, and the rows of `SCORE_COLUMNS`.

    Parameters
    ----------
    on_progress
        Called with a stage, how many of its sounds or controls are done, and how many there are; the latter
        is 0 while it is not known.

    Raises
    ------
    ConfigurationError, NotEnoughAnnotationsError, LabelConfigError
        The project cannot be measured in this way.
    """
    on_progress("reading sounds", 0, 0)
    training_set = load_training_set(services, project)
    measured = measured_sounds(services, training_set, rules, partial(on_progress, "measuring sounds"))
    agreement = label_agreement(training_set.controls, training_set.annotated)
    figures = []
    for number, control in enumerate(training_set.controls):
        on_progress("computing figures", number, len(training_set.controls))
        figures.append(control_figures(control, measured, agreement.get(control.name)))
    controls = tuple(each for each in figures if each is not None)
    if not controls:
        raise NotEnoughAnnotationsError("No annotation answers any control: annotate some tasks.")
    splits = tuple(dict.fromkeys(sound.fold for sound in measured))
    evaluation = Evaluation(
        project.title or project.key,
        services.encoder_identity(),
        _method(rules, splits),
        len(measured),
        len({sound.placed.recording for sound in measured}),
        splits,
        controls,
    )
    return evaluation, [row for sound in measured for row in _score_rows(training_set.controls, sound)]


def _method(rules: SplitRules, splits: Sequence[str]) -> str:
    if rules.test:
        return f"fixed test set ({rules.test}), learned from the other recordings"
    return f"{len(splits)}-fold cross-validation grouped by {rules.folds_by}"


def _score_rows(controls: Sequence[Control], sound: Measured) -> Iterator[tuple[object, ...]]:
    placed = sound.placed
    for control in controls:
        true = sound.true_labels(control)
        if true is None:
            continue
        shown = sound.shown_labels(control)
        probabilities = sound.prediction.probabilities.get(control.name, {})
        for label in control.labels:
            probability = probabilities.get(label)
            yield (
                placed.task_id, placed.file_name, placed.recording, sound.fold, sound.annotator, control.name,
                label, int(label in true), int(label in shown),
                "" if probability is None else round(probability, 6),
            )  # fmt: skip
