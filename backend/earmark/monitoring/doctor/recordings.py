"""Check of recordings: how much of their energy the encoders do not take in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile
from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.audio.band_energy import OutsideBand, outside_band, outside_sentence
from earmark.audio.source import SoundSource
from earmark.errors import EarmarkError, LabelConfigError
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.credentials import AccessBook
from earmark.monitoring.doctor.finding import Finding
from earmark.monitoring.doctor.stored_rows import read_rows
from earmark.settings import Settings
from earmark.store.models import Project, Task

RECORDINGS = 5
"""Newest recordings of a project that are measured, of those that are on this machine."""
LOOKED_AT = 50
WINDOWS = 8
_WINDOW_FRAMES = 1 << 15


def recordings(settings: Settings) -> Iterator[Finding]:
    """Report projects whose recordings lie mostly above or below the band of the encoders."""
    source, access = SoundSource(settings), AccessBook(settings)
    for project, tasks in read_rows(settings, _newest_tasks) or ():
        measured = list(_measured(project, tasks, source, access))
        sentences = [sentence for outside in measured if (sentence := outside_sentence(outside))]
        if sentences:
            yield Finding(
                "note",
                f"project {project.project_id} recordings",
                f"{len(sentences)} of the {len(measured)} newest recordings here lie outside the band that "
                f"encoders take in; the newest: {sentences[0]}",
                "Import ultrasound with --time-expansion auto; labels below 50 Hz cannot be learned.",
            )


def _newest_tasks(session: Session) -> list[tuple[Project, Sequence[Task]]]:
    query = select(Task).where(Task.deleted.is_(False)).order_by(Task.task_id.desc()).limit(LOOKED_AT)
    return [
        (project, session.scalars(query.where(Task.project_key == project.key)).all())
        for project in session.scalars(select(Project))
    ]


def _measured(
    project: Project, tasks: Sequence[Task], source: SoundSource, access: AccessBook
) -> Iterator[OutsideBand]:
    """Yield the shares of the newest recordings that need no download."""
    try:
        keys = {control.data_key for control in parse_label_config(project.label_config)}
    except LabelConfigError:
        return  # reported by the check of labels
    count = 0
    for task in tasks:
        for address in (task.data.get(key) for key in sorted(keys)):
            if not isinstance(address, str) or count == RECORDINGS:
                continue
            try:
                path = source.locate(address, access.for_project(project), fetch=False).path
                outside = _outside(path)
            except (EarmarkError, OSError, soundfile.LibsndfileError):
                continue  # not on this machine, or reported as a bad sound
            count += 1
            yield outside


def _outside(path: Path) -> OutsideBand:
    """Measure windows that are spread over a file, so that its length does not matter."""
    with soundfile.SoundFile(path) as file:
        starts = range(0, max(1, file.frames - _WINDOW_FRAMES), max(1, file.frames // WINDOWS))
        blocks = []
        for start in starts:
            file.seek(start)
            blocks.append(file.read(_WINDOW_FRAMES, dtype="float32", always_2d=True).mean(axis=1))
        return outside_band(blocks, file.samplerate)
