"""Embeddings export: a row with labels for each region and each whole clip, as Parquet or NumPy npz.

Rows have the columns of `Row`; in npz every column is an array of its own, and labels are stored twice: as
text joined by tabs, and as ``targets`` bool ``[n, C]`` in the order of ``label_names``. Both hold
``embedding`` float32 ``[n, E]`` of one encoder, whose identity is in the file's metadata (npz:
``encoder``), and the fields of each row's task as ``data.<field>``: numbers stay numbers, what is neither
text nor number is JSON. Frames come from the store; a new sound is encoded during the export.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from earmark.encoders.base import Encoder
from earmark.errors import ConfigurationError, TaskError
from earmark.export.csv_table import DATA_PREFIX
from earmark.export.field_types import field_kinds, field_value
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord, expansion_of, stretch_of
from earmark.export.rejoin_splits import in_recording
from earmark.export.writers import explained_writing, storable
from earmark.extras import require_extra
from earmark.features.extractor import EncodedSound
from earmark.head.windows import frames_between
from earmark.storage.atomic_files import atomic_write

Extract = Callable[[str], EncodedSound]
"""Maps the address of a task's sound to its frames; raises ``EarmarkError``."""

_Triple = tuple["Row", NDArray[np.float32], Mapping[str, Any]]
"""A row, its embedding, and the fields of its task."""

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
                for row, _, _ in pairs:
                    storable("".join((row.file_name, row.annotator or "", *row.labels)), "A text")
                for record in records:
                    storable(json.dumps(record.data, ensure_ascii=False), "A field of the task")
                table.add(pairs)
                return len(pairs)

            yield add
            table.finish()
        finally:
            table.close()


def _rows(record: ClipRecord, encoder: Encoder, extract: Extract, whole_times: bool) -> list[_Triple]:
    if not record.sound.strip():
        raise TaskError(
            "The task has no address of a sound, so there is nothing to encode: set its Audio field."
        )
    sound = extract(record.sound.strip())
    stretch = stretch_of(record.data) if whole_times else None
    expansion = expansion_of(record.data)

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
            first, last = frames_between(
                span.start * expansion, span.end * expansion, encoder.frame_rate, len(sound.frames)
            )
            annotator = span.annotator or record.annotator
            vector = encoder.pool(sound.frames[first:last])
            pairs.append((row("region", control, labels, span, annotator), vector, record.data))
    clip = encoder.pool(sound.frames)
    for name, tags in record.tags.items() or [(None, ())]:
        score = record.tag_scores.get(name) if name else None
        whole = RegionRecord(0.0, sound.duration / expansion, "", score)
        pairs.append((row("clip", name, tags, whole, record.annotator), clip, record.data))
    return pairs


def _group_labels(regions: Sequence[RegionRecord]) -> dict[RegionRecord, tuple[str, ...]]:
    """Group labels by region: records with the same id are one region of Label Studio."""
    groups: dict[object, tuple[RegionRecord, list[str]]] = {}
    for index, region in enumerate(regions):
        key = (region.id or index, region.start, region.end)
        if region.label:
            groups.setdefault(key, (region, []))[1].append(region.label)
    return {region: tuple(labels) for region, labels in groups.values()}


class _Parquet:
    """Parquet writer: appends row groups of ``GROUP_ROWS``.

    The fields of the tasks are known only after the last one, so the rows are spooled to a temporary file.
    """

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
        self._path, self._folder = path, TemporaryDirectory(prefix="earmark-export-")
        self._spool = Path(self._folder.name) / "rows.parquet"
        self._writer = pq.ParquetWriter(self._spool, self._schema, compression="zstd")
        self._buffer: list[_Triple] = []
        self._data: list[Mapping[str, Any]] = []

    def add(self, triples: Sequence[_Triple]) -> None:
        self._buffer += triples
        self._data += [data for _, _, data in triples]
        if len(self._buffer) >= GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._flush()
        self._writer.close()
        types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
        kinds = field_kinds(self._data)
        added = [pa.field(DATA_PREFIX + name, types[kind]) for name, kind in kinds.items()]
        schema = pa.schema([*self._schema, *added], metadata=self._schema.metadata)
        first = 0
        with (
            pq.ParquetFile(self._spool) as spool,
            pq.ParquetWriter(self._path, schema, compression="zstd") as writer,
        ):
            for group in range(spool.num_row_groups):
                table = spool.read_row_group(group)
                data = self._data[first : first + table.num_rows]
                first += table.num_rows
                for field, (name, kind) in zip(added, kinds.items(), strict=True):
                    values = [field_value(row.get(name), kind) for row in data]
                    table = table.append_column(field, pa.array(values, field.type))
                writer.write_table(table.cast(schema))

    def close(self) -> None:
        self._writer.close()
        self._folder.cleanup()

    def _flush(self) -> None:
        from pyarrow import Table

        rows = [{**asdict(row), "embedding": vector} for row, vector, _ in self._buffer]
        if rows:
            self._writer.write_table(Table.from_pylist(rows, schema=self._schema))
        self._buffer = []


class _Npz:
    """Npz writer: spools embeddings to a temporary file, because an array's header contains its length."""

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self._path, self._encoder = path, encoder
        self._vectors: IO[bytes] = TemporaryFile()  # noqa: SIM115  (closed by close)
        self._rows: list[Row] = []
        self._data: list[Mapping[str, Any]] = []

    def add(self, triples: Sequence[_Triple]) -> None:
        for row, vector, data in triples:
            self._vectors.write(np.ascontiguousarray(vector, dtype="<f4").tobytes())
            self._rows.append(row)
            self._data.append(data)

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
        for name, kind in field_kinds(self._data).items():
            values = [field_value(data.get(name), kind) for data in self._data]
            if kind == "text":
                arrays[DATA_PREFIX + name] = np.array(["" if v is None else v for v in values], dtype=str)
            else:  # NaN stands for a field that a task lacks
                numbers = [np.nan if v is None else v for v in values]
                arrays[DATA_PREFIX + name] = np.array(numbers, dtype=np.float64)
        return arrays
