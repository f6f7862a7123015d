"""The page of a label: the tasks that carry it, and what it was confused with."""

from __future__ import annotations

import time
from typing import Any

from earmark.labelstudio.result_reader import read_result
from earmark.monitoring.project_status import project_states
from earmark.store.outcomes import latest_outcomes
from earmark.store.page_queries import annotations_with_label
from earmark.web.classes import class_rows
from earmark.web.project_page import RECENT_OUTCOMES, Pages, colours_of, title_of
from earmark.web.rows import ListContext, Row, Stretch, sound_length

ROWS = 40


def label_page(pages: Pages, key: str, control: str, label: str) -> dict[str, Any] | None:
    """Return what the page of a label shows; None where the project or the label is not known."""
    services, identity = pages.services, pages.identity()
    with services.database.read() as session:
        states = project_states(session, identity, services.head, key)
        if not states:
            return None
        (state,) = states
        points = pages.points.read(session, key, identity)
        classes = class_rows(state, points, latest_outcomes(session, key, RECENT_OUTCOMES))
        chosen = next((row for row in classes if (row.control, row.label) == (control, label)), None)
        if chosen is None:
            return None
        context = ListContext(session, state, services.settings, colours_of(state))
        annotations = annotations_with_label(session, key, control, label, ROWS)
        tasks = [annotation.task_id for annotation in annotations if annotation.task_id is not None]
        data = context.data_of(tasks)
        rows = []
        for annotation in annotations:
            if annotation.task_id is None:
                continue
            stored = data.get(annotation.task_id)
            read = read_result(annotation.result, state.controls, state.names, stored)
            marks = context.colours.marks(read)
            rows.append(
                Row(
                    id=f"annotation-{annotation.annotation_id}",
                    title=marks.text,
                    when=annotation.updated_at,
                    stretch=Stretch.around(marks, length=sound_length(annotation.result)),
                    after=marks,
                    **context.task_fields(annotation.task_id, stored),
                )
            )
    return {
        "key": key,
        "title": title_of(state),
        "row": chosen,
        "rows": rows,
        "limit": ROWS,
        "now": time.time(),
    }
