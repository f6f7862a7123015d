"""Work lists of the page: what to look at next. A further list is one more entry of `WORK_LISTS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from earmark.pages.environment import listed
from earmark.store.models import SoundFault
from earmark.store.page_queries import failed_bulk_tasks, failed_trainings, least_certain
from earmark.store.preannotations import run_progress, unfinished_runs
from earmark.store.sound_errors import latest_faults, latest_truncated
from earmark.web.rows import ListContext, Row
from earmark.wording import counted

ROWS = 8
"""Rows of a list on the project's page."""


@dataclass(frozen=True)
class WorkList:
    """A list: its name in addresses, title, an explanation, what an empty one says, and its rows."""

    name: str
    title: str
    explanation: str
    empty: str
    rows: Callable[[ListContext, int], list[Row]]


@dataclass(frozen=True)
class FilledList:
    """A list with its first rows."""

    entry: WorkList
    rows: list[Row]


def fill(context: ListContext) -> list[FilledList]:
    """Return every list with its first `ROWS` rows."""
    return [FilledList(entry, entry.rows(context, ROWS)) for entry in WORK_LISTS]


def _least_certain(context: ListContext, limit: int) -> list[Row]:
    tasks = least_certain(context.session, context.key, limit)
    data = context.data_of([task for task, _, _ in tasks])
    return [
        Row(
            id=f"uncertain-{task}",
            title=f"{100 * score:.0f} % certain",
            detail=f"by {version}",
            **context.task_fields(task, data.get(task)),
        )
        for task, score, version in tasks
    ]


def _conflicts(context: ListContext, limit: int) -> list[Row]:
    summary = context.state.project.annotated or {}
    labels: dict[int, dict[str, set[str]]] = {}
    for pair in summary.get("disagreements", []):
        # Summaries of earlier releases do not say which labels differ in which task
        of_tasks = pair.get("task_labels") or [[]] * len(pair["tasks"])
        for task, differing in zip(pair["tasks"], of_tasks, strict=True):
            labels.setdefault(task, {}).setdefault(pair["control"], set()).update(differing)
    tasks = list(labels)[:limit]
    data = context.data_of(tasks)
    return [
        Row(
            id=f"conflict-{task}",
            title="Annotators disagree",
            detail="; ".join(
                f"about {listed(sorted(differing))} in “{control}”"
                for control, differing in labels[task].items()
                if differing
            ),
            **context.task_fields(task, data.get(task)),
        )
        for task in tasks
    ]


def _unreadable(context: ListContext, limit: int) -> list[Row]:
    return _fault_rows(context, "sound", latest_faults(context.session, limit, context.key))


def _truncated(context: ListContext, limit: int) -> list[Row]:
    return _fault_rows(context, "crowded", latest_truncated(context.session, limit, context.key))


def _fault_rows(context: ListContext, name: str, faults: Sequence[SoundFault]) -> list[Row]:
    rows = []
    for number, fault in enumerate(faults):
        task = context.task_fields(fault.task_id, None) if fault.task_id is not None else {}
        rows.append(Row(id=f"{name}-{number}", title=fault.detail, when=fault.seen_at, **task))
    return rows


def _failed(context: ListContext, limit: int) -> list[Row]:
    rows = [
        Row(id=f"training-{training.id}", title=f"Training: {training.detail}", when=training.finished_at)
        for training in failed_trainings(context.session, context.key, limit)
    ]
    rows += [
        Row(
            id=f"bulk-{run}-{task}",
            title=sentence,
            detail=f"run {run} of bulk predictions",
            **context.task_fields(task, None),
        )
        for run, task, sentence in failed_bulk_tasks(context.session, context.key, limit)
    ]
    return rows[:limit]


def _under_way(context: ListContext, limit: int) -> list[Row]:
    rows = []
    for run in unfinished_runs(context.session, context.key)[:limit]:
        progress = run_progress(context.session, run.id)
        rows.append(
            Row(
                id=f"run-{run.id}",
                title=f"Bulk predictions, run {run.id}",
                detail=f"{progress.tasks_done:,} of {counted(progress.tasks, 'task')}",
                when=run.created_at,
                done=progress.tasks_done,
                total=progress.tasks,
            )
        )
    return rows


WORK_LISTS: tuple[WorkList, ...] = (
    WorkList(
        "uncertain",
        "Least certain",
        "Open tasks with the least certain predictions: annotating these teaches most.",
        "No open task has a prediction yet.",
        _least_certain,
    ),
    WorkList(
        "conflicts",
        "Conflicts between annotators",
        "Tasks that two annotators labelled differently: each of the two counts half until they agree.",
        "No two annotators disagree.",
        _conflicts,
    ),
    WorkList(
        "sounds",
        "Sounds that could not be read",
        "They are left out of predictions and trainings until their file or address is put right.",
        "Every sound could be read.",
        _unreadable,
    ),
    WorkList(
        "crowded",
        "Tasks with too many regions",
        "Of these, only the regions that save most work are shown: the editor is slow to draw more.",
        "Every region is shown.",
        _truncated,
    ),
    WorkList(
        "failed",
        "Failed jobs",
        "Trainings that failed, and tasks that the last bulk predictions failed on.",
        "No job has failed.",
        _failed,
    ),
    WorkList(
        "running",
        "Runs under way",
        "Bulk predictions that workers share.",
        "No run is under way.",
        _under_way,
    ),
)
