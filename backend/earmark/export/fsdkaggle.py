"""FSDKaggle's weak labels: a CSV with the columns ``fname`` and ``labels``, in quotes and joined by commas.

As in FSDKaggle2018 and 2019. A sound's labels are its tags, and those of its regions, each once. Times,
scores, controls and annotators are lost, so the labels of several annotators are joined.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import FormatError
from earmark.export import annotated
from earmark.export.closed_quotes import ClosedRows
from earmark.export.formats import Add
from earmark.export.records import ClipRecord
from earmark.export.writers import UniqueNames, one_line, writing_text

HEADER = ("fname", "labels")


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write the table; see ``FormatModule``. Two sounds of one name cannot both be in it."""
    with writing_text(path) as file, annotated.writing(path) as spans:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        names = UniqueNames()

        def add(records: Sequence[ClipRecord]) -> int:
            labels: dict[str, None] = {}
            for record in records:
                for tags in record.tags.values():
                    labels.update((_checked_label(tag), None) for tag in tags)
                for regions in record.regions.values():
                    labels.update((_checked_label(region.label), None) for region in regions)
            name = one_line(records[0].file_name, "The file name")
            if name != name.strip() or not name:
                raise FormatError(f"The file name {name!r} begins or ends with a space: use csv or jsonl.")
            names.add(name)
            table.writerow((name, ",".join(labels)))
            spans.add(records)
            return 1

        yield add


def read(path: Path, control: str = "tags") -> Iterator[ClipRecord]:
    """Read a table of this format, of any origin; one record for each line.

    Parameters
    ----------
    control
        Name of the control for the records' tags.

    Raises
    ------
    FormatError
        The file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = ClosedRows(file)
            if not set(HEADER) <= set(rows.fieldnames or ()):
                raise FormatError(f"{path} is no table of labels: its first line must be fname,labels.")
            for row in rows:
                labels = (part.strip() for part in (row["labels"] or "").split(","))
                yield ClipRecord(
                    (row["fname"] or "").strip(), tags={control: tuple(dict.fromkeys(filter(None, labels)))}
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read as a table of labels: {error}.") from error


def check_label(label: str) -> None:
    """Accept any label: a sound without one of its labels would say that it is not in it.

    Such a sound is left out as a whole when it is written.
    """


def _checked_label(label: str) -> str:
    if "," in label or label != label.strip() or not label:
        raise FormatError(
            f"The label {label!r} has a comma or begins or ends with a space, and commas separate labels "
            "in this format: rename it, or use csv or jsonl."
        )
    return one_line(label, "The label")
