"""Embeddings export: a row with labels for each region and each whole clip, as Parquet or NumPy npz.

Rows have the columns of `Row`; in npz every column is an array of its own, and labels are stored twice: as
text joined by tabs, and as ``targets`` bool ``[n, C]`` in the order of ``label_names``. Both hold
``embedding`` float32 ``[n, E]`` of one encoder, whose identity is in the file's metadata (npz:
``encoder``). Frames come from the store; a new sound is encoded during the export.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from earmark.encoders.base import Encoder
from earmark.errors import ConfigurationError, TaskError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord, stretch_of
from earmark.export.rejoin_splits import in_recording
from earmark.export.writers import explained_writing, storable
from earmark.extras import require_extra
from earmark.features.extractor import EncodedSound
from earmark.head.windows import frames_between
from earmark.storage.atomic_files import atomic_write

Extract = Callable[[str], EncodedSound]
"""Maps the address of a task's sound to its frames; raises ``EarmarkError``."""

SUFFIXES = (".parquet", ".npz")
GROUP_ROWS = 512
"""Rows of a Parquet row group, buffered in memory: 4 MB of CNN14's embeddings."""
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Row:
    """Columns beside an embedding. ``start`` and ``end`` are seconds of ``file_name``."""

    task_id: int | None
    id: int | None
    file_name: str
    kind: str
    """``region`` or ``clip``."""
    control: str | None
    labels: tuple[str, ...]
    start: float
    end: float
    score: float | None
    source: str
    version: str | None
    annotator: str | None
    ground_truth: bool


def check_suffix(path: Path) -> None:
    """Refuse a file name whose suffix is neither .parquet nor .npz.

    Raises
    ------
    ConfigurationError
        The name has another suffix.
    MissingExtraError
        The library for Parquet is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigurationError(f"Embeddings go to a file that ends with .parquet or .npz, not {path.name}.")
    if path.suffix == ".parquet":
        require_extra("pyarrow", "Parquet")


@contextmanager
def writing(path: Path, encoder: Encoder, extract: Extract, whole_times: bool = True) -> Iterator[Add]:
    """Write the file atomically: it appears when the context ends without an error.

    Parameters
    ----------
    extract
        Maps the address of a task's sound to its frames.
    whole_times
        Whether rows of a stretch have the name and the time of its whole recording.
    """
    check_suffix(path)
    kind = _Parquet if path.suffix == ".parquet" else _Npz
    with explained_writing(path), atomic_write(path) as part:
        table = kind(part, encoder)
        try:

            def add(records: Sequence[ClipRecord]) -> int:
                pairs = [pair for record in records for pair in _rows(record, encoder, extract, whole_times)]
                for row, _ in pairs:
                    storable("".join((row.file_name, row.annotator or "", *row.labels)), "A text")
                table.add(pairs)
                return len(pairs)

            yield add
            table.finish()
        finally:
            table.close()


def _rows(
    record: ClipRecord, encoder: Encoder, extract: Extract, whole_times: bool
) -> list[tuple[Row, NDArray[np.float32]]]:
    if not record.sound.strip():
        raise TaskError(
            "The task has no address of a sound, so there is nothing to encode: set its Audio field."
        )
    sound = extract(record.sound.strip())
    stretch = stretch_of(record.data) if whole_times else None

    def row(
        kind: str, control: str | None, labels: tuple[str, ...], region: RegionRecord, annotator: str | None
    ) -> Row:
        located = region if stretch is None else in_recording(region, stretch)
        name = record.file_name if stretch is None else stretch.source
        return Row(
            record.task_id, record.id, name, kind, control, labels, located.start, located.end, region.score,
            record.source, record.version, annotator, record.ground_truth,
        )  # fmt: skip

    pairs = []
    for control, regions in record.regions.items():
        for span, labels in _group_labels(regions).items():
            first, last = frames_between(span.start, span.end, encoder.frame_rate, len(sound.frames))
            annotator = span.annotator or record.annotator
            pairs.append(
                (row("region", control, labels, span, annotator), encoder.pool(sound.frames[first:last]))
            )
    clip = encoder.pool(sound.frames)
    for name, tags in record.tags.items() or [(None, ())]:
        score = record.tag_scores.get(name) if name else None
        whole = RegionRecord(0.0, sound.duration, "", score)
        pairs.append((row("clip", name, tags, whole, record.annotator), clip))
    return pairs


def _group_labels(regions: Sequence[RegionRecord]) -> dict[RegionRecord, tuple[str, ...]]:
    """Group labels by region: records with the same id are one region of Label Studio."""
    groups: dict[object, tuple[RegionRecord, list[str]]] = {}
    for index, region in enumerate(regions):
        key = (region.id or index, region.start, region.end)
        groups.setdefault(key, (region, []))[1].append(region.label)
    return {region: tuple(labels) for region, labels in groups.values()}


_Pairs = Sequence[tuple[Row, NDArray[np.float32]]]


class _Parquet:
    """Parquet writer: appends row groups of ``GROUP_ROWS``."""

    def __init__(self, path: Path, encoder: Encoder) -> None:
        import pyarrow as pa  # optional: an npz file needs no such library
        import pyarrow.parquet as pq

        text, real = pa.string(), pa.float64()
        types = {
            "task_id": pa.int64(), "id": pa.int64(), "labels": pa.list_(text), "start": real, "end": real,
            "score": real, "ground_truth": pa.bool_(),
        }  # fmt: skip
        columns = [pa.field(field.name, types.get(field.name, text)) for field in fields(Row)]
        columns.append(pa.field("embedding", pa.list_(pa.float32(), encoder.embedding_dim)))
        file_metadata = {"encoder": encoder.identity, "times": "seconds"}
        self._schema = pa.schema(columns, metadata=file_metadata)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._buffer: list[tuple[Row, NDArray[np.float32]]] = []

    def add(self, pairs: _Pairs) -> None:
        self._buffer += pairs
        if len(self._buffer) >= GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        self._flush()

    def close(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        from pyarrow import Table

        rows = [{**asdict(row), "embedding": vector} for row, vector in self._buffer]
        if rows:
            self._writer.write_table(Table.from_pylist(rows, schema=self._schema))
        self._buffer = []


class _Npz:
    """Npz writer: spools embeddings to a temporary file, because an array's header contains its length."""

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self._path, self._encoder = path, encoder
        self._vectors: IO[bytes] = TemporaryFile()  # noqa: SIM115  (closed by close)
        self._rows: list[Row] = []

    def add(self, pairs: _Pairs) -> None:
        for row, vector in pairs:
            self._vectors.write(np.ascontiguousarray(vector, dtype="<f4").tobytes())
            self._rows.append(row)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("embedding.npy", "w", force_zip64=True) as member:
                header = {
                    "descr": "<f4",
                    "fortran_order": False,
                    "shape": (len(self._rows), self._encoder.embedding_dim),
                }
                np.lib.format.write_array_header_2_0(member, header)  # type: ignore[no-untyped-call]
                self._vectors.seek(0)
                while piece := self._vectors.read(_COPY_BYTES):
                    member.write(piece)
            for name, array in self._arrays().items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(  # type: ignore[no-untyped-call]
                        member, array, allow_pickle=False
                    )

    def close(self) -> None:
        self._vectors.close()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        rows = self._rows
        names = sorted({label for row in rows for label in row.labels})
        column_of = {name: number for number, name in enumerate(names)}
        targets = np.zeros((len(rows), len(names)), dtype=bool)
        for number, row in enumerate(rows):
            targets[number, [column_of[label] for label in row.labels]] = True
        arrays: dict[str, NDArray[Any]] = {
            "encoder": np.array(self._encoder.identity),
            "label_names": np.array(names, dtype=str),
            "targets": targets,
            "labels": np.array(["\t".join(row.labels) for row in rows], dtype=str),
        }
        for name in ("start", "end", "score"):
            values = [getattr(row, name) for row in rows]
            arrays[name] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        for name in ("task_id", "id"):
            arrays[name] = np.array([getattr(row, name) or -1 for row in rows], dtype=np.int64)
        arrays["ground_truth"] = np.array([row.ground_truth for row in rows], dtype=bool)
        for name in ("file_name", "kind", "control", "source", "version", "annotator"):
            arrays[name] = np.array([getattr(row, name) or "" for row in rows], dtype=str)
        return arrays
