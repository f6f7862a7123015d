"""Export run: filter the records of all tasks, write them, and count what was written and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from earmark.errors import EarmarkError
from earmark.export.formats import Add
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord
from earmark.export.rejoin_splits import rejoin

What = Literal["annotations", "predictions"]


@dataclass(frozen=True)
class RecordFilter:
    """Filter of the records to export.

    ``version``: of predictions, None for the newest of each task. ``annotator``: as in the records.
    ``controls``: names, empty for all. ``joined``: whether stretches of long recordings are rejoined.
    """

    what: What = "annotations"
    version: str | None = None
    annotator: str | None = None
    ground_truth_only: bool = False
    controls: frozenset[str] = frozenset()
    joined: bool = True

    def records(self, reader: TaskReader, task: Mapping[str, Any]) -> list[ClipRecord]:
        """Return the task's records that pass the filter, with the selected controls only."""
        if self.what == "predictions":
            records = reader.predictions(task, self.version)
        else:
            records = [record for record in reader.annotations(task) if self._matches(record)]
        return [self._select_controls(record) for record in records]

    def _matches(self, record: ClipRecord) -> bool:
        same = self.annotator is None or (record.annotator or "").casefold() == self.annotator.casefold()
        return same and (record.ground_truth or not self.ground_truth_only)

    def _select_controls(self, record: ClipRecord) -> ClipRecord:
        if not self.controls:
            return record

        def select(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name in self.controls}

        return replace(
            record,
            regions=select(record.regions),
            tags=select(record.tags),
            tag_scores=select(record.tag_scores),
        )


@dataclass
class Outcome:
    """Result of an export: counts, and the sounds that failed."""

    tasks: int = 0
    """Tasks with at least one record that passes the filter."""
    sounds: int = 0
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    tags: int = 0
    """Tags of whole sounds, which some formats cannot hold."""
    several: int = 0
    """Sounds with more than one annotation."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Sounds that could not be written, and why."""


def run(
    tasks: Iterable[Mapping[str, Any]],
    reader: TaskReader,
    record_filter: RecordFilter,
    add: Add,
    seen: Callable[[int], None],
) -> Outcome:
    """Write the filtered records of all tasks; ``seen`` is called with the number of tasks read so far."""
    outcome = Outcome()

    def filtered() -> Iterator[Sequence[ClipRecord]]:
        for number, task in enumerate(tasks, 1):
            records = record_filter.records(reader, task)
            if records:
                outcome.tasks += 1
                yield records
            seen(number)

    for records in rejoin(filtered()) if record_filter.joined else filtered():
        try:
            outcome.rows += add(records)
        except EarmarkError as error:
            outcome.failed.append((_display_name(records[0]), str(error)))
            continue
        outcome.sounds += 1
        outcome.several += len(records) > 1
        for record in records:
            for regions in record.regions.values():
                outcome.labels.update(region.label for region in regions)
            for tags in record.tags.values():
                outcome.labels.update(tags)
                outcome.tags += len(tags)
    return outcome


def _display_name(record: ClipRecord) -> str:
    prefix = "" if record.task_id is None else f"task {record.task_id}, "
    return f"{prefix}{record.file_name}"
