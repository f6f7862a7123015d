"""Sounds of tasks for the page: spectrograms as pictures, playback, probability curves."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.addresses import file_name
from earmark.audio.decode import probe
from earmark.audio.source import LocatedSound
from earmark.concurrency.deadline import Deadline
from earmark.errors import TaskError
from earmark.head.model import ControlHead
from earmark.labels.control import Control
from earmark.labelstudio.result_reader import read_result
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.pages.spectrogram_cache import SpectrogramCache
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.postprocessing import head_of
from earmark.prediction.predictor import Predictor, sound_address, task_controls
from earmark.services import Services
from earmark.storage.finite_json import dumps
from earmark.store.models import Task
from earmark.web.project_page import colours_of
from earmark.web.results import Colours
from earmark.web.rows import data_keys

FETCH_SECONDS = 30.0
WIDTHS = (256, 512)
"""Widths of pictures, in pixels: small ones of lists, and tiles."""
TILE_SECONDS = 5.12
"""Length of the shortest tile; each level doubles it."""
CURVES_AT_MOST = 6
"""Labels whose curves are drawn, the likeliest ones."""
CURVE_POINTS = 800
CACHED_RESULTS = 16
"""Predictions of whole recordings; one of an hour takes seconds."""
MARGIN_SECONDS = 3.0
"""Frames beside a stretch that its probabilities depend on."""


class Media:
    """Finds the sounds of stored tasks; no address comes from a request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spectrograms = SpectrogramCache(services.settings.data_dir / "spectrograms")
        self._results: dict[tuple[object, ...], list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

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
        state, data, data_key = self._task(key, task, sound)
        address = sound_address({"data": data}, data_key)
        access = services.access.for_project(state.project)
        with services.faults_of(address, key, task):
            return services.locate(address, access, Deadline(FETCH_SECONDS)), file_name(address)

    def _task(self, key: str, task: int, sound: str) -> tuple[ProjectState, dict[str, Any], str]:
        """Return the project of a task, the task's data, and the key in it of the sound's address."""
        with self._services.database.read() as session:
            states = project_states(session, None, key=key)
            row = session.get(Task, (key, task))
        if not states or row is None or row.deleted:
            raise TaskError(f"Task {task} of this project is not known here: annotate or predict it first.")
        (state,) = states
        keys = data_keys(state)
        if sound and sound not in keys:
            raise TaskError(f"No Audio tag of the label config takes its sound from “{sound}”.")
        return state, row.data, sound or next(iter(keys), "audio")

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
        likeliest labels. ``regions``: those of the answer to ``/predict`` that lie in the stretch, at least
        in part. ``tags``: those of the whole sound.

        Raises
        ------
        EarmarkError
            The sound or the model cannot be had.
        """
        services, deadline = self._services, Deadline(FETCH_SECONDS)
        model = Predictor(services).load_model(key, "", deadline)
        state, data, data_key = self._task(key, task, sound)
        answer: dict[str, Any] = {"version": model.version, "x": [], "series": [], "regions": [], "tags": []}
        if model.head is None:
            return answer
        address = sound_address({"data": data}, data_key)
        encoded = services.extract(address, services.access.for_project(state.project), deadline)
        result = self._result(key, task, data, (model.version, model.label_config, encoded.digest), deadline)
        controls, colours = task_controls(model.controls, data_key, data), colours_of(state)
        read = read_result(result, model.controls, data=data)
        marks = colours.marks(read, {control.name for control in controls})
        answer["tags"] = list(marks.tags)
        answer["regions"] = [
            {
                "start": round(mark.start, 3),
                "end": round(mark.end, 3),
                "label": ", ".join(mark.labels),
                "colour": mark.colour,
            }
            for mark in marks.regions
            if mark.start < end and mark.end > start
        ]
        encoder = services.encoder()
        rate = encoder.frame_rate
        first = max(0, int((start - MARGIN_SECONDS) * rate))
        frames = encoded.frames[first : int((end + MARGIN_SECONDS) * rate) + 1]
        heads = [
            (control, fitted)
            for control in controls
            if control.type.draws_regions and (fitted := head_of(model.head, control)) is not None
        ]
        if heads and len(frames):
            fitted_heads = [fitted for _, fitted in heads]
            outputs = frame_probabilities(fitted_heads, encoder.pool, rate, frames)
            step = max(1, -(-len(frames) // CURVE_POINTS))
            answer["x"] = [round((first + n + 0.5) / rate, 3) for n in range(0, len(frames), step)]
            answer["series"] = _series(heads, outputs, step, colours)
        return answer

    def _result(
        self, key: str, task: int, data: dict[str, Any], model: tuple[str, ...], deadline: Deadline
    ) -> list[dict[str, Any]]:
        """Return what ``/predict`` answers for a task, from a cache while one moves about in a recording.

        ``model``: what the answer depends on beside the task.

        Raises
        ------
        TaskError
            The prediction failed, or was not ready before the deadline.
        """
        place = (key, task, dumps(data), *model)
        with self._lock:
            if place in self._results:
                return self._results[place]
        predicted = Predictor(self._services).predict([{"id": task, "data": data}], key, "", deadline)
        if predicted.failed or predicted.unreached:
            late = f"The prediction was not ready within {FETCH_SECONDS:g} s: load the page again."
            raise TaskError(predicted.failed.get(0, late))
        result: list[dict[str, Any]] = predicted.items[0]["result"]
        with self._lock:
            self._results[place] = result
            while len(self._results) > CACHED_RESULTS:
                self._results.pop(next(iter(self._results)))
        return result


def _series(
    heads: Sequence[tuple[Control, ControlHead]],
    outputs: Sequence[NDArray[np.float32]],
    step: int,
    colours: Colours,
) -> list[dict[str, Any]]:
    """Return every ``step``-th value of the likeliest labels' curves, from each head's ``[T, C]``."""
    curves = [
        (label, curve)
        for (control, fitted), output in zip(heads, outputs, strict=True)
        for label, curve in zip(fitted.labels, output.T, strict=True)
        if label in control.labels
    ]
    curves.sort(key=lambda labelled: -float(labelled[1].max()))
    return [
        {
            "label": label,
            "colour": colours[label],
            "values": [round(float(value), 3) for value in curve[::step]],
        }
        for label, curve in curves[:CURVES_AT_MOST]
    ]


def tiles(start: float, end: float) -> list[tuple[float, float]]:
    """Return start and end in seconds of the two or three tiles, of equal length, that cover a stretch."""
    length = TILE_SECONDS
    while length * 2 < end - start:
        length *= 2
    first, last = int(start / length), int(np.ceil(end / length))
    return [(round(n * length, 2), round((n + 1) * length, 2)) for n in range(first, max(last, first + 1))]
