"""A project of any size, as annotators and trainings would leave it, with real sound in a few files."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from sqlalchemy import insert
from sqlalchemy.orm import Session

from earmark.errors import SoundUnreadableError
from earmark.head.model import Head
from earmark.learning.shown_results import is_changed
from earmark.services import Services
from earmark.store.models import (
    Activation,
    Annotation,
    PredictionScore,
    PredictionWrite,
    Task,
    Training,
    Version,
    VersionHead,
)
from earmark.store.preannotations import ChunkDone, claim_chunk, create_run, finish_chunk
from earmark.store.projects import remember_project
from earmark.store.scores import add_scores
from earmark.store.sound_errors import remember_fault

KEY = "7.1795198673"
LABELS = ("Owl", "Jay", "Wren", "Rain", "Car")
FILES, SECONDS, RATE = 6, 10.0, 16_000
LABEL_CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + '</Labels><Choices name="tags" toName="audio" choice="multiple">'
    + "".join(f'<Choice value="{label}"/>' for label in LABELS)
    + "</Choices></View>"
)
_ROWS_AT_ONCE = 1000
_OPEN_SHARE = 0.4
"""Of the tasks, those that are not annotated."""


def seed_project(
    services: Services,
    folder: Path,
    tasks: int,
    versions: int,
    title: str = "Forest at night",
    faults: bool = True,
) -> str:
    """Store a project and return its key.

    Parameters
    ----------
    folder
        Where its few sounds are written; all tasks share them.
    faults
        Whether sounds that cannot be read, failed jobs, conflicts and a run under way are among it.
    """
    random = np.random.default_rng(14)
    paths = make_sounds(folder) if tasks else []
    annotated = int(tasks * (1 - _OPEN_SHARE)) if tasks > 1 else tasks
    started = time.time() - 3 * 86400
    with services.database.write() as session:
        project = remember_project(
            session, KEY, title=title, label_config=LABEL_CONFIG, hostname="http://127.0.0.1:8080"
        )
        project.synced_at = time.time()
        share = [0.42, 0.3, 0.2, 0.07, 0.01]
        counts = {label: int(annotated * part) for label, part in zip(LABELS, share, strict=True)}
        project.annotated = {
            "labels": {"label": counts, "tags": counts},
            "removed": {},
            "disagreements": _disagreements(annotated) if faults else [],
            "annotators": {"1": "Ada", "2": "Ben"},
        }
        _insert_tasks(session, paths, tasks, annotated, started, random)
        _insert_versions(session, services.encoder_identity(), versions, annotated, started, random)
        if faults and annotated > 20:
            _insert_faults(session, started)
    with services.database.write() as session:
        add_scores(session, KEY, _scores(annotated, versions, started, random))
    return KEY


def make_sounds(folder: Path) -> list[Path]:
    """Write calls of rising pitch in wind, 10 s each."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    paths = []
    for number in range(FILES):
        seconds = np.arange(int(SECONDS * RATE)) / RATE
        wave = np.cumsum(random.standard_normal(seconds.size)) * 0.0004
        wave -= np.convolve(wave, np.ones(400) / 400, mode="same")
        for onset in (1.2, 4.0, 6.9):
            inside = np.clip(seconds - onset, 0, 0.9 + 0.1 * number)
            phase = 2 * np.pi * (500 + 250 * number) * (inside + 0.3 * inside**2)
            bell = np.sin(np.pi * np.clip(inside / (0.9 + 0.1 * number), 0, 1)) ** 2
            wave += 0.2 * bell * (np.sin(phase) + 0.4 * np.sin(2 * phase))
        path = folder / f"night-{number + 1}.flac"
        soundfile.write(path, np.clip(wave, -1, 1), RATE)
        paths.append(path)
    return paths


def _region(label: str, start: float, end: float) -> dict[str, Any]:
    return {
        "from_name": "label",
        "to_name": "audio",
        "type": "labels",
        "value": {"start": start, "end": end, "labels": [label]},
    }


def _label(number: int) -> str:
    return LABELS[(number * number + number // 3) % 4 if number % 90 else 4]


def _insert_tasks(
    session: Session,
    paths: list[Path],
    tasks: int,
    annotated: int,
    started: float,
    random: np.random.Generator,
) -> None:
    rows = [
        {
            "project_key": KEY,
            "task_id": n,
            "data": {"audio": str(paths[n % len(paths)])},
            "deleted": False,
            "deleted_at": 0.0,
        }
        for n in range(1, tasks + 1)
    ]
    _insert(session, Task, rows)
    results = []
    for n in range(1, annotated + 1):
        tag = {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": [_label(n)]}}
        results.append([_region(_label(n), 1.2, 2.15), _region(_label(n + 1), 4.0, 4.95), tag])
    _insert(
        session,
        Annotation,
        [
            {
                "project_key": KEY,
                "annotation_id": 1000 + n,
                "task_id": n,
                "result": result,
                "completed_by": 1 + n % 2,
                "updated_at": started + 2 * n + 20.0,
                "shown_at": started + 2 * n,
                "was_cancelled": False,
                "ground_truth": False,
                "reviewed": False,
                "deleted": False,
                "deleted_at": 0.0,
                "shown": None,
                "worked_on": False,
                "cleared": None,
            }
            for n, result in enumerate(results, start=1)
        ],
    )
    certainties = random.beta(4, 2, tasks)
    _insert(
        session,
        PredictionWrite,
        [
            {
                "project_key": KEY,
                "task_id": n,
                "version": "logmel-v1",
                "written_at": started,
                "answered_at": 0.0,
                "duplicated": False,
                "score": float(certainties[n - 1]),
            }
            for n in range(1, tasks + 1)
        ],
    )


def _insert_versions(
    session: Session,
    identity: str,
    versions: int,
    annotated: int,
    started: float,
    random: np.random.Generator,
) -> None:
    head = Head(identity, {}).to_bytes()
    for number in range(1, versions + 1):
        progress = number / max(versions, 1)
        rejected = number % 7 == 3
        quality = 0.35 + 0.55 * (1 - math.exp(-3 * progress)) - 0.12 * rejected
        per_class = {
            label: {
                "ap": quality,
                "f1": float(np.clip(quality + 0.1 - 0.09 * place + random.normal(0, 0.02), 0, 1)),
                "threshold": 0.4 + 0.03 * place,
                "recordings": 9.0,
            }
            for place, label in enumerate(LABELS[:4])
        }
        metrics = {"lwlrap": quality, "map": quality, "f1": quality, "ece": 0.05, "per_class": per_class}
        version = Version(
            project_key=KEY,
            encoder=identity,
            number=number,
            name=f"logmel-v{number}",
            metrics={"label": metrics, "tags": metrics},
            annotations=max(1, int(annotated * progress)),
            created_at=started + 2 * annotated * progress,
            active=number == versions,
            status="rejected" if rejected and number != versions else "accepted",
            reason="“tags” would get worse: lwlrap 0.71 instead of 0.75." if rejected else "",
        )
        session.add(version)
        session.flush()
        session.add(VersionHead(version_id=version.id, project_key=KEY, head_bytes=len(head), head=head))
        if version.status == "accepted":
            session.add(
                Activation(
                    project_key=KEY,
                    encoder=identity,
                    version_id=version.id,
                    activated_at=version.created_at,
                    cause="trained",
                )
            )
    session.flush()


def _insert_faults(session: Session, started: float) -> None:
    session.add(
        Training(
            project_key=KEY,
            started_at=started,
            finished_at=started + 1,
            outcome="failed",
            detail="OSError: No space left on device",
            traceback="Traceback",
        )
    )
    session.add(
        Training(
            project_key=KEY,
            started_at=started,
            finished_at=started + 9,
            outcome="registered",
            version="logmel-v1",
        )
    )
    error = SoundUnreadableError("night-99.wav is damaged from 3.1 s on: replace it.")
    remember_fault(session, "/data/upload/7/night-99.wav", error, KEY, 3)
    run = create_run(session, KEY, "open", "logmel-v1", [[1, 2, 3], [4, 5]])
    chunk = claim_chunk(session, run.id, "worker", 60)
    assert chunk is not None
    finish_chunk(session, chunk, "worker", ChunkDone(3))


def _disagreements(annotated: int) -> list[dict[str, Any]]:
    if annotated < 20:
        return []
    return [
        {
            "control": "tags",
            "annotators": [1, 2],
            "shared": 12,
            "differing": 3,
            "tasks": [4, 8, 15],
            "task_labels": [["Owl"], ["Owl"], ["Jay"]],
            "labels": {"Owl": 2, "Jay": 1},
        }
    ]


def _scores(
    annotated: int, versions: int, started: float, random: np.random.Generator
) -> list[PredictionScore]:
    scores = []
    for n in range(1, annotated + 1):
        progress = n / annotated
        accepted = int(random.random() < 0.15 + 0.7 * progress) + int(random.random() < 0.1 + 0.75 * progress)
        moved = abs(float(random.normal(0.25 * (1.1 - progress), 0.05)))
        label, other = _label(n), LABELS[(n + 1) % 4]
        wrong = accepted == 0 and label != other
        shown = other if wrong else label
        edges = [0.0, 0.0] * accepted + [round(moved, 3), round(moved / 2, 3)] * (2 - accepted)
        distance = {
            "labels": {
                label: {"found": 0.0 if wrong else 0.9, "missed": 0.95 if wrong else 0.05, "extra": 0.05},
                **({other: {"found": 0.0, "missed": 0.0, "extra": 0.9}} if wrong else {}),
            },
            "substituted": 0.0,
            "suggested": 2,
            "accepted": accepted,
            "edges": edges,
            "confused": [[label, other, 0.9]] if wrong else [],
        }
        version = math.ceil(progress * versions) - 1
        scores.append(
            PredictionScore(
                project_key=KEY,
                annotation_id=1000 + n,
                task_id=n,
                annotator=1 + n % 2,
                version=f"logmel-v{max(version, 0)}",
                source="computed",
                shown_at=started + 2 * n,
                scored_at=started + 2 * n + 30,
                distances={"label": distance},
                changed=is_changed(distance),
                seconds_open=round(float(random.gamma(4, 2.5 if accepted == 2 else 8)), 1),
                predicted={
                    "regions": {
                        "label": [
                            [round(1.2 + moved, 2), 2.15, [shown]],
                            [4.0, round(4.95 - moved / 2, 2), [_label(n + 1)]],
                        ]
                    },
                    "tags": {"tags": [shown]},
                },
            )
        )
    return scores


def _insert(session: Session, table: type, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        session.execute(insert(table), rows[start : start + _ROWS_AT_ONCE])
