"""The page of a label: the tasks that carry it, and what it was confused with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from earmark.labelstudio.result_reader import ReadResult, read_result
from earmark.monitoring.project_status import project_states
from earmark.storage.finite_json import dumps
from earmark.store.models import Annotation
from earmark.store.outcomes import latest_outcomes
from earmark.store.page_queries import annotations_with_items
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
        rows = []
        for annotation, read, data in _labelled(context, control, label):
            marks = context.colours.marks(read)
            rows.append(
                Row(
                    id=f"annotation-{annotation.annotation_id}",
                    title=marks.text,
                    when=annotation.updated_at,
                    stretch=Stretch.around(marks, length=sound_length(annotation.result)),
                    after=marks,
                    **context.task_fields(annotation.task_id or 0, data),
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


def _labelled(
    context: ListContext, control: str, label: str
) -> Iterator[tuple[Annotation, ReadResult, dict[str, Any]]]:
    """Yield the newest annotations that carry a label, as a control reads them, with their tasks' data."""
    state = context.state
    described = next(each for each in state.controls if each.name == control)
    former = [old for old, new in state.names.get(control, {}).items() if new == label]
    spelled = {described.paths.get(name, (name,))[-1] for name in (label, *former)}
    texts = {dumps(name) for name in spelled}
    # A rating is a number in JSON, of which SQLite returns parts without spaces
    texts |= {f"{colon}{name}" for colon in ('":', '": ') for name in spelled if name.isdecimal()}
    row_count = 0
    mentioning = annotations_with_items(context.session, context.key, described.from_name, texts)
    while annotations := list(islice(mentioning, ROWS)):
        data = context.data_of([annotation.task_id for annotation in annotations if annotation.task_id])
        for annotation in annotations:
            if annotation.task_id not in data:
                continue
            of_task = data[annotation.task_id]
            read = read_result(annotation.result, state.controls, state.names, of_task)
            regions, tags = read.regions.get(control, ()), read.tags.get(control, frozenset())
            if label in tags or any(label in region.labels for region in regions):
                yield annotation, read, of_task
                row_count += 1
                if row_count == ROWS:
                    return
