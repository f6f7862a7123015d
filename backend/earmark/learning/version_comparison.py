"""Comparison of two versions of a project on its present annotations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from earmark.errors import VersionError
from earmark.learning.learning_curve import learning_curve
from earmark.learning.training_set import compare_fitted, load_fitted, load_training_set
from earmark.services import Services
from earmark.store.models import Project, Version
from earmark.store.registry import find_version
from earmark.store.retention import FOLDS_KEPT
from earmark.store.scores import list_scores

Pair = tuple[float | None, float | None]


@dataclass(frozen=True)
class VersionComparison:
    """Metrics of two versions, named ``first`` and ``second``.

    ``figures``: by control, then by metric, of both of them, None where one has none. ``labels``: by control,
    then by label, the average precision of each as measured when it was trained. ``shown``: by version, how
    far its suggestions lay from the annotations that followed. ``reasons``: in what the second is clearly
    worse than the first.
    """

    first: str
    second: str
    figures: dict[str, dict[str, Pair]]
    labels: dict[str, dict[str, Pair]]
    shown: dict[str, dict[str, dict[str, float]]]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Dictionary of plain values for JSON."""
        return asdict(self)


def compare_versions(services: Services, project: Project, first: str, second: str) -> VersionComparison:
    """Compare two versions of the present encoder.

    Raises
    ------
    VersionError
        One of them does not exist, is of another encoder, or has no fold heads.
    HeadDroppedError
        The head of one of them was deleted, and only its figures are stored.
    LabelConfigError
        The project's label config cannot be used.
    """
    with services.database.read() as session:
        versions = [find_version(session, project.key, name) for name in (first, second)]
        curve = learning_curve(list_scores(session, project.key))
    for version in versions:
        _check_encoder(services, version)
    training_set = load_training_set(services, project)
    first_fitted, second_fitted = (load_fitted(services, training_set, version) for version in versions)
    comparison = compare_fitted(services, training_set, candidate=second_fitted, active=first_fitted)
    if not comparison.active:
        for version, fitted in zip(versions, (first_fitted, second_fitted), strict=True):
            if not fitted.folds:
                raise VersionError(
                    f"{version.name} cannot be compared: measuring it on recordings that it was trained on "
                    "needs its cross-validation, which is stored for the active version and the newest "
                    f"{FOLDS_KEPT} alone, if there were enough recordings. Compare two of those; 'earmark "
                    f"versions {project.project_id}' shows how good each was when it was trained."
                )
    names = [version.name for version in versions]
    return VersionComparison(
        first=names[0],
        second=names[1],
        figures=_side_by_side(comparison.active, comparison.candidate),
        labels=_average_precisions(*versions),
        shown={point.name: point.figures() for point in curve.versions if point.name in names},
        reasons=comparison.reasons,
    )


def _check_encoder(services: Services, version: Version) -> None:
    identity = services.encoder_identity()
    if version.encoder != identity:
        raise VersionError(
            f"{version.name} was trained with {version.encoder} and the encoder is now {identity}: "
            "only versions of one encoder can be compared."
        )


def _average_precisions(first: Version, second: Version) -> dict[str, dict[str, Pair]]:
    first_labels, second_labels = (
        {
            control: {label: values["ap"] for label, values in per_class.items() if "ap" in values}
            for control, figures in version.metrics.items()
            if (per_class := figures.get("per_class"))
        }
        for version in (first, second)
    )
    return _side_by_side(first_labels, second_labels)


def _side_by_side(
    first: dict[str, dict[str, float]], second: dict[str, dict[str, float]]
) -> dict[str, dict[str, Pair]]:
    figures = {}
    for control in dict.fromkeys([*first, *second]):
        first_values, second_values = first.get(control, {}), second.get(control, {})
        figures[control] = {
            name: (first_values.get(name), second_values.get(name))
            for name in dict.fromkeys([*first_values, *second_values])
        }
    return figures
