"""Sounds of tasks for the page: spectrograms as pictures, playback, probability curves."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

import numpy as np

from earmark.audio.addresses import file_name
from earmark.audio.decode import probe
from earmark.audio.source import LocatedSound
from earmark.concurrency.deadline import Deadline
from earmark.errors import TaskError
from earmark.monitoring.project_status import project_states
from earmark.pages.spectrogram_cache import SpectrogramCache
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import Predictor, sound_address
from earmark.services import Services
from earmark.store.models import Project, Task
from earmark.web.project_page import colours_of
from earmark.web.rows import data_keys

FETCH_SECONDS = 30.0
WIDTHS = (256, 512)
"""Widths of pictures, in pixels: small ones of lists, and tiles."""
TILE_SECONDS = 5.12
"""Length of the shortest tile; each level doubles it."""
CURVES_AT_MOST = 6
"""Labels whose curves are drawn, the likeliest ones."""
CURVE_POINTS = 800
MARGIN_SECONDS = 3.0
"""Frames beside a stretch that its probabilities depend on."""


class Media:
    """Finds the sounds of stored tasks; no address comes from a request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spectrograms = SpectrogramCache(services.settings.data_dir / "spectrograms")

    def locate(self, key: str, task: int, sound: str = "") -> tuple[LocatedSound, str]:
        """Return the local file of a task's sound, and the name of it in messages.

        ``sound``: the key of the task's data that holds its address; the first one when empty.

        Raises
        ------
        TaskError
            There is no such project, task or sound.
        SoundNotFoundError, SoundUnreachableError, OutOfTimeError
            See `SoundSource.locate`.
        """
        services = self._services
        with services.database.read() as session:
            states = project_states(session, None, key=key)
            row = session.get(Task, (key, task))
        if not states or row is None or row.deleted:
            raise TaskError(f"Task {task} of this project is not known here: annotate or predict it first.")
        (state,) = states
        keys = data_keys(state)
        if sound and sound not in keys:
            raise TaskError(f"No Audio tag of the label config takes its sound from “{sound}”.")
        address = sound_address({"data": row.data}, sound or next(iter(keys), "audio"))
        access = services.access.for_project(state.project)
        with services.faults_of(address, key, task):
            return services.locate(address, access, Deadline(FETCH_SECONDS)), file_name(address)

    def picture(self, located: LocatedSound, name: str, start: float, end: float, width: int) -> bytes:
        """Return the spectrogram of a stretch as PNG."""
        return self._spectrograms.picture(located, name, start, end, width)

    def seconds(self, located: LocatedSound, name: str) -> float:
        """Return the length of a sound in seconds."""
        return probe(located.path, name=name).duration_seconds

    def playable(self, located: LocatedSound, name: str) -> tuple[Path, str]:
        """Return the file and its media type, after making sure that it is sound.

        A task may point to any file that this process may read; what is not sound is never sent.
        """
        probe(located.path, name=name)
        kind = mimetypes.guess_type(located.path.name)[0] or ""
        return located.path, kind if kind.startswith(("audio/", "video/")) else "application/octet-stream"

    def curves(self, key: str, task: int, sound: str, start: float, end: float) -> dict[str, Any]:
        """Return probabilities over time of a stretch, and the regions predicted in it now, as JSON values.

        Raises
        ------
        EarmarkError
            The sound or the model cannot be had.
        """
        services, deadline = self._services, Deadline(FETCH_SECONDS)
        model = Predictor(services).load_model(key, "", deadline)
        with services.database.read() as session:
            row = session.get(Task, (key, task))
            (state,) = project_states(session, None, key=key)
            project = session.get(Project, key)
        if row is None or row.deleted:
            raise TaskError(f"Task {task} of this project is not known here: annotate or predict it first.")
        keys = data_keys(state)
        data_key = sound or keys[0]
        address = sound_address({"data": row.data}, data_key)
        answer: dict[str, Any] = {"version": model.version, "x": [], "series": [], "regions": []}
        if model.head is None:
            return answer
        encoded = services.extract(address, services.access.for_project(project), deadline)
        encoder = services.encoder()
        rate = encoder.frame_rate
        first = max(0, int((start - MARGIN_SECONDS) * rate))
        last = min(len(encoded.frames), int((end + MARGIN_SECONDS) * rate) + 1)
        frames = encoded.frames[first:last]
        if not len(frames):
            return answer
        controls = tuple(control for control in model.controls if control.data_key == data_key)
        offset = first / rate
        drawn = [c for c in controls if c.type.draws_regions and c.name in model.head.controls]
        heads = [model.head.controls[control.name] for control in drawn]
        labels = [label for head in heads for label in head.labels]
        if labels:
            stacked = np.concatenate(frame_probabilities(heads, encoder.pool, rate, frames), axis=1)
            step = max(1, -(-len(stacked) // CURVE_POINTS))
            likeliest = np.argsort(-stacked.max(axis=0))[:CURVES_AT_MOST]
            thresholds = [float(value) for head in heads for value in head.thresholds]
            colours = colours_of(state)
            answer["x"] = [round(offset + (n + 0.5) / rate, 3) for n in range(0, len(stacked), step)]
            answer["series"] = [
                {
                    "label": labels[column],
                    "colour": colours.numbers.get(labels[column], 0),
                    "threshold": round(thresholds[column], 3),
                    "values": [round(float(value), 3) for value in stacked[::step, column]],
                }
                for column in likeliest
            ]
        rows = encoded.levels
        if rows is not None:
            rows = rows[round(offset * 100) : round(last / rate * 100)]
        predicted = predict_clip(
            model.head,
            controls,
            encoder.pool,
            rate,
            frames,
            min(encoded.duration, last / rate) - offset,
            rows,
        )
        answer["regions"] = [
            {
                "start": round(region.start + offset, 3),
                "end": round(region.end + offset, 3),
                "label": region.label,
            }
            for region in predicted.regions
            if region.start + offset < end and region.end + offset > start
        ]
        return answer


def tiles(start: float, end: float) -> list[tuple[float, float]]:
    """Return start and end in seconds of the two or three tiles, of equal length, that cover a stretch."""
    length = TILE_SECONDS
    while length * 2 < end - start:
        length *= 2
    first, last = int(start / length), int(np.ceil(end / length))
    return [(round(n * length, 2), round((n + 1) * length, 2)) for n in range(first, max(last, first + 1))]
