"""Export run: filter the records of all tasks, write them, and count what was written and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from earmark.errors import EarmarkError, FormatError
from earmark.export.formats import Add
from earmark.export.label_studio import TaskReader
from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord, spans_without
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
    labels_failed: list[tuple[str, str]] = field(default_factory=list)
    """Sounds that were written without a region or tag of theirs, and why."""


def run(
    tasks: Iterable[Mapping[str, Any]],
    reader: TaskReader,
    record_filter: RecordFilter,
    add: Add,
    seen: Callable[[int], None],
    check_label: Callable[[str], None] = lambda label: None,
    holds_open: bool = True,
) -> Outcome:
    """Write the filtered records of all tasks.

    Parameters
    ----------
    seen
        Called with the number of tasks read so far.
    check_label
        Raises ``FormatError`` for a label that the format has no place for; such regions and tags are left
        out, and the rest of their sounds is written.
    holds_open
        Whether the format has a place for labels that were denied, and for regions without a label.
    """
    outcome = Outcome()

    def filtered() -> Iterator[Sequence[ClipRecord]]:
        for number, task in enumerate(tasks, 1):
            records = record_filter.records(reader, task)
            if records:
                outcome.tasks += 1
                yield records
            seen(number)

    for records in rejoin(filtered()) if record_filter.joined else filtered():
        records = [_with_valid_labels(record, check_label, holds_open, outcome) for record in records]
        try:
            outcome.rows += add(records)
        except EarmarkError as error:
            outcome.failed.append((_display_name(records[0]), str(error)))
            continue
        outcome.sounds += 1
        outcome.several += len(records) > 1
        for record in records:
            for regions in record.regions.values():
                outcome.labels.update(region.label for region in regions if region.label)
            for tags in record.tags.values():
                outcome.labels.update(tags)
                outcome.tags += len(tags)
    return outcome


def _with_valid_labels(
    record: ClipRecord, check_label: Callable[[str], None], holds_open: bool, outcome: Outcome
) -> ClipRecord:
    """Return the record without the labels that the format cannot hold, which are noted in the outcome.

    A control that loses a tag or all its regions is left out, and the time of a lost region is not
    annotated: otherwise the export would say that the label is not there.
    """
    refused: dict[str, str] = {}
    labels = {region.label for group in record.regions.values() for region in group if region.label}
    for label in labels.union(*record.tags.values()):
        try:
            check_label(label)
        except FormatError as error:
            refused[label] = str(error)

    def is_lost(region: RegionRecord) -> bool:
        return region.label in refused or ((region.is_denied or not region.label) and not holds_open)

    lost = [region for group in record.regions.values() for region in group if is_lost(region)]
    lost_labels = [region.label for region in lost] + [tag for group in record.tags.values() for tag in group]
    reasons = [refused[label] for label in lost_labels if label in refused]
    if not lost and not reasons:
        return record
    outcome.labels_failed += [(_display_name(record), reason) for reason in reasons]
    ends = [region.end for group in record.regions.values() for region in group]
    whole = AnnotatedSpan(0.0, record.duration or max(ends, default=0.0))
    spans = record.annotated
    if lost and record.source == "annotation":
        spans = spans_without(spans or (whole,), [(region.start, region.end) for region in lost])
    regions = {
        name: tuple(region for region in group if not is_lost(region))
        for name, group in record.regions.items()
    }
    return replace(
        record,
        regions={name: group for name, group in regions.items() if group or not record.regions[name]},
        tags={name: group for name, group in record.tags.items() if refused.keys().isdisjoint(group)},
        annotated=spans,
    )


def _display_name(record: ClipRecord) -> str:
    prefix = "" if record.task_id is None else f"task {record.task_id}, "
    return f"{prefix}{record.file_name}"
