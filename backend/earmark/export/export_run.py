"""An export from the first task to the last: what is chosen, what is written, what could not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from earmark.errors import EarmarkError
from earmark.export.formats import Add
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord
from earmark.export.rejoin_splits import unsplit

What = Literal["annotations", "predictions"]


@dataclass(frozen=True)
class Choice:
    """What of a project is exported.

    ``version``: of predictions, None for the newest of each task. ``annotator``: as records name them.
    ``controls``: names, empty for all. ``joined``: stretches of long recordings are put together.
    """

    what: What = "annotations"
    version: str | None = None
    annotator: str | None = None
    ground_truth_only: bool = False
    controls: frozenset[str] = frozenset()
    joined: bool = True

    def records(self, reader: TaskReader, task: Mapping[str, Any]) -> list[ClipRecord]:
        """The task's records that are wanted."""
        if self.what == "predictions":
            found = reader.predictions(task, self.version)
        else:
            found = [record for record in reader.annotations(task) if self._wanted(record)]
        return [self._trimmed(record) for record in found]

    def _wanted(self, record: ClipRecord) -> bool:
        by = self.annotator is None or (record.annotator or "").casefold() == self.annotator.casefold()
        return by and (record.ground_truth or not self.ground_truth_only)

    def _trimmed(self, record: ClipRecord) -> ClipRecord:
        if not self.controls:
            return record

        def kept(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name in self.controls}

        return replace(
            record, regions=kept(record.regions), tags=kept(record.tags), tag_scores=kept(record.tag_scores)
        )


@dataclass
class Outcome:
    """What an export did."""

    tasks: int = 0
    """Tasks that have something of what was asked for."""
    sounds: int = 0
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    tags: int = 0
    """Tags of whole sounds, which some formats have no place for."""
    several: int = 0
    """Sounds with more than one annotation."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """What could not be written, and why."""


def run(
    tasks: Iterable[Mapping[str, Any]],
    reader: TaskReader,
    choice: Choice,
    add: Add,
    seen: Callable[[int], None],
) -> Outcome:
    """Write the chosen records of all tasks; ``seen`` gets the number of tasks read so far."""
    outcome = Outcome()

    def chosen() -> Iterator[Sequence[ClipRecord]]:
        for number, task in enumerate(tasks, 1):
            records = choice.records(reader, task)
            if records:
                outcome.tasks += 1
                yield records
            seen(number)

    for records in unsplit(chosen()) if choice.joined else chosen():
        try:
            outcome.rows += add(records)
        except EarmarkError as error:
            outcome.failed.append((_named(records[0]), str(error)))
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


def _named(record: ClipRecord) -> str:
    number = "" if record.task_id is None else f"task {record.task_id}, "
    return f"{number}{record.file_name}"
