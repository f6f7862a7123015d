"""Sounds of tasks for the page: spectrograms as pictures, playback, probability curves."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.addresses import file_name
from earmark.audio.decode import probe
from earmark.audio.source import LocatedSound
from earmark.concurrency.deadline import Deadline
from earmark.errors import TaskError
from earmark.features.band_levels import HOP_SECONDS
from earmark.head.model import ControlHead
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.pages.spectrogram_cache import SpectrogramCache
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import Predictor, sound_address
from earmark.services import Services
from earmark.store.models import Task
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
        state, address, _ = self._address(key, task, sound)
        access = services.access.for_project(state.project)
        with services.faults_of(address, key, task):
            return services.locate(address, access, Deadline(FETCH_SECONDS)), file_name(address)

    def _address(self, key: str, task: int, sound: str) -> tuple[ProjectState, str, str]:
        """Return the project of a task, the address of its sound, and the key of its data that holds it."""
        with self._services.database.read() as session:
            states = project_states(session, None, key=key)
            row = session.get(Task, (key, task))
        if not states or row is None or row.deleted:
            raise TaskError(f"Task {task} of this project is not known here: annotate or predict it first.")
        (state,) = states
        keys = data_keys(state)
        if sound and sound not in keys:
            raise TaskError(f"No Audio tag of the label config takes its sound from “{sound}”.")
        data_key = sound or next(iter(keys), "audio")
        return state, sound_address({"data": row.data}, data_key), data_key

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
        """Return what the model in use predicts in a stretch (seconds) of a task's sound, as JSON values.

        ``version``: its name. ``x``: times in seconds. ``series``: probabilities at these times, of the
        likeliest labels. ``regions``: those that lie in the stretch, at least in part.

        Raises
        ------
        EarmarkError
            The sound or the model cannot be had.
        """
        services, deadline = self._services, Deadline(FETCH_SECONDS)
        model = Predictor(services).load_model(key, "", deadline)
        state, address, data_key = self._address(key, task, sound)
        answer: dict[str, Any] = {"version": model.version, "x": [], "series": [], "regions": []}
        if model.head is None:
            return answer
        encoded = services.extract(address, services.access.for_project(state.project), deadline)
        encoder = services.encoder()
        rate = encoder.frame_rate
        first = max(0, int((start - MARGIN_SECONDS) * rate))
        last = min(len(encoded.frames), int((end + MARGIN_SECONDS) * rate) + 1)
        frames, offset = encoded.frames[first:last], first / rate
        if not len(frames):
            return answer
        controls = tuple(control for control in model.controls if control.data_key == data_key)
        colours = colours_of(state).numbers
        drawn = [c.name for c in controls if c.type.draws_regions and c.name in model.head.controls]
        heads = [model.head.controls[name] for name in drawn]
        if heads:
            probabilities = np.concatenate(frame_probabilities(heads, encoder.pool, rate, frames), axis=1)
            step = max(1, -(-len(probabilities) // CURVE_POINTS))
            answer["x"] = [round(offset + (n + 0.5) / rate, 3) for n in range(0, len(probabilities), step)]
            answer["series"] = _series(heads, probabilities, step, colours)
        levels = encoded.levels
        if levels is not None:
            levels = levels[round(offset / HOP_SECONDS) : round(last / rate / HOP_SECONDS)]
        length = min(encoded.duration, last / rate) - offset
        predicted = predict_clip(model.head, controls, encoder.pool, rate, frames, length, levels)
        answer["regions"] = [
            {
                "start": round(region.start + offset, 3),
                "end": round(region.end + offset, 3),
                "label": region.label,
                "colour": colours.get(region.label, 0),
            }
            for region in sorted(predicted.regions, key=lambda region: region.start)
            if region.start + offset < end and region.end + offset > start
        ]
        return answer


def _series(
    heads: Sequence[ControlHead], probabilities: NDArray[np.float32], step: int, colours: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return the curves of the likeliest labels, from ``probabilities`` ``[T, C]`` of the heads' labels."""
    labels = [label for head in heads for label in head.labels]
    thresholds = [float(value) for head in heads for value in head.thresholds]
    return [
        {
            "label": labels[column],
            "colour": colours.get(labels[column], 0),
            "threshold": round(thresholds[column], 3),
            "values": [round(float(value), 3) for value in probabilities[::step, column]],
        }
        for column in np.argsort(-probabilities.max(axis=0))[:CURVES_AT_MOST]
    ]


def tiles(start: float, end: float) -> list[tuple[float, float]]:
    """Return start and end in seconds of the two or three tiles, of equal length, that cover a stretch."""
    length = TILE_SECONDS
    while length * 2 < end - start:
        length *= 2
    first, last = int(start / length), int(np.ceil(end / length))
    return [(round(n * length, 2), round((n + 1) * length, 2)) for n in range(first, max(last, first + 1))]
