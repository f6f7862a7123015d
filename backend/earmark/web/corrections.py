"""Corrections: what was shown and what was submitted instead, and the time that suggestions save."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from earmark.labelstudio.result_reader import read_result
from earmark.learning.shown_results import stored_result
from earmark.store.page_queries import count_unchanged, latest_corrections, seconds_open
from earmark.web.results import Marks
from earmark.web.rows import ListContext, Row, Stretch, sound_length

LEAST_TIMES = 5
"""Tasks of each kind that a comparison of times needs."""


@dataclass(frozen=True)
class TimeSaved:
    """Median seconds of tasks whose suggestions were right, and of those to correct; seconds saved in all."""

    accepted_seconds: float
    corrected_seconds: float
    tasks: int

    @property
    def minutes(self) -> float:
        """Minutes saved by all tasks whose suggestions were right."""
        return max(0.0, self.corrected_seconds - self.accepted_seconds) * self.tasks / 60


def correction_rows(context: ListContext, limit: int) -> list[Row]:
    """Return the newest corrections."""
    rows = []
    for correction in latest_corrections(context.session, context.key, limit):
        score, annotation = correction.score, correction.annotation
        controls, names = context.state.controls, context.state.names
        after = context.colours.marks(read_result(annotation.result, controls, names, correction.data))
        stored = score.predicted
        if stored is None and annotation.shown:
            stored = stored_result(read_result(annotation.shown["result"], controls, names, correction.data))
        before = context.colours.stored_marks(stored) if stored else None
        accepted, suggested = (
            sum(distance.get(name, 0) for distance in score.distances.values())
            for name in ("accepted", "suggested")
        )
        rows.append(
            Row(
                id=f"correction-{annotation.annotation_id}",
                title=f"{accepted} of {suggested} suggestions kept" if suggested else "Nothing was suggested",
                detail=f"shown by {score.version}" if score.version else "",
                when=annotation.updated_at,
                stretch=Stretch.around(before or Marks(), after, length=sound_length(annotation.result)),
                before=before,
                after=after,
                **context.task_fields(score.task_id, correction.data),
            )
        )
    return rows


def time_saved(context: ListContext) -> TimeSaved | None:
    """Return the time that right suggestions save; None where it is not known, or there is none."""
    accepted, corrected = (seconds_open(context.session, context.key, changed) for changed in (False, True))
    if min(len(accepted), len(corrected)) < LEAST_TIMES or median(corrected) <= median(accepted):
        return None
    return TimeSaved(median(accepted), median(corrected), count_unchanged(context.session, context.key))
