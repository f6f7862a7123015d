"""Projects to learn from in tests: tones in quiet noise, and the webhooks that annotate them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from sqlalchemy import select, update

from earmark.head.model import Head
from earmark.labels.config_changes import receive_webhook
from earmark.services import Services
from earmark.store.models import Version, VersionHead
from earmark.store.projects import remember_project
from earmark.store.registry import list_versions, load_head

KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z", "title": "Tones"}
RATE = 16_000
SECONDS = 3.0
HERTZ = {"Low": 300.0, "High": 4000.0, "Middle": 1100.0}


def config(*labels: str, choice: str = "single") -> str:
    """A label config with regions and tags of the same labels."""
    regions = "".join(f'<Label value="{label}"/>' for label in labels)
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    return (
        f'<View><Labels name="label" toName="audio">{regions}</Labels><Audio name="audio" value="$audio"/>'
        f'<Choices name="tags" toName="audio" choice="{choice}">{choices}</Choices></View>'
    )


def make_tones(folder: Path, labels: list[str]) -> list[dict[str, Any]]:
    """One task for each label: its tone in the middle second of quiet noise."""
    random = np.random.default_rng(7)
    tasks = []
    for number, label in enumerate(labels, start=1):
        time = np.arange(int(SECONDS * RATE)) / RATE
        sounding = (time >= 1) & (time < 2)
        wave = 0.3 * np.sin(2 * np.pi * HERTZ[label] * time) * sounding
        path = folder / f"{number}.wav"
        soundfile.write(path, wave + 0.002 * random.standard_normal(time.size), RATE)
        tasks.append({"id": number, "data": {"audio": str(path)}, "label": label})
    return tasks


def result_of(label: str, origin: str | None = "manual", **more: Any) -> list[dict[str, Any]]:
    """A region over the tone and a tag."""
    common = {"to_name": "audio", **({"origin": origin} if origin else {}), **more}
    region = {"start": 1.0, "end": 2.0, "labels": [label], "channel": 0}
    return [
        {**common, "from_name": "label", "type": "labels", "value": region},
        {**common, "from_name": "tags", "type": "choices", "value": {"choices": [label]}},
    ]


def webhook(
    task: dict[str, Any], label_config: str, action: str = "ANNOTATION_CREATED", **fields: Any
) -> dict[str, Any]:
    """What Label Studio sends when a task is annotated; ``fields`` are the annotation's."""
    annotation = {
        "id": 100 + task["id"],
        "task": task["id"],
        "result": result_of(task["label"]),
        "was_cancelled": False,
        "completed_by": 1,
        "lead_time": 0.0,
        "prediction": {},
        "parent_prediction": None,
        "updated_at": "2026-11-20T18:19:01.044103Z",
        **fields,
    }
    return {
        "action": action,
        "annotation": annotation,
        "task": {"id": task["id"], "data": task["data"]},
        "project": {**PROJECT, "label_config": label_config},
    }


def project_updated(label_config: str) -> dict[str, Any]:
    """What Label Studio sends when a project's settings were saved."""
    return {"action": "PROJECT_UPDATED", "project": {**PROJECT, "label_config": label_config}}


def know_project(services: Services) -> None:
    """Have the project known, with the legacy token that its Label Studio sent; nobody answers there."""
    with services.database.write() as session:
        remember_project(session, KEY, hostname="http://127.0.0.1:9", access_token="token")


def receive(services: Services, *payloads: dict[str, Any]) -> None:
    """Store webhooks as the API does."""
    for payload in payloads:
        with services.database.write() as session:
            receive_webhook(session, payload)


def store_head(services: Services, name: str, data: bytes) -> None:
    """Overwrite what is stored of a version's head, as a damaged disk or an earlier release would have it."""
    with services.database.write() as session:
        numbers = select(Version.id).where(Version.name == name)
        session.execute(update(VersionHead).where(VersionHead.version_id.in_(numbers)).values(head=data))


def with_nan(services: Services, name: str) -> bytes:
    """A version's head, whose first label of each control has lost its weights."""
    with services.database.read() as session:
        (version,) = [version for version in list_versions(session, KEY) if version.name == name]
        head = Head.from_bytes(load_head(session, version.id))
    for control in head.controls.values():
        control.weights.setflags(write=True)
        control.weights[:, 0] = np.nan
    return head.to_bytes()
