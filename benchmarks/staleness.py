"""Staleness of suggestions: how many submitted annotations the next clip's suggestion has not learned from.

``python -m benchmarks.staleness [--quick]``: a real Label Studio with the demo's clips and a whole backend.
The benchmark makes the requests that the editor makes: the next task of the label stream, some seconds of
work, and a Submit that names the prediction which was on screen, with one correction. A suggestion learned
from as many annotations as the version that made it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import ACCOUNT, environment_with, free_port, progress, report
from earmark.processes.stack import api_url, start_backend
from earmark.processes.supervisor import supervised
from earmark.settings import Settings
from scripts.demo_check import Loop, first_of_each_sound
from scripts.demo_clips import make_clips
from scripts.demo_project import connect, import_clips
from scripts.label_studio_server import LabelStudioServer

ROOT = Path(__file__).parents[1]
EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"
READY_SECONDS = 300.0
SETTLED_SECONDS = 20.0
"""Longest wait for what is under way after the last Submit."""
POLL_SECONDS = 0.5
"""Between two looks, which cost Label Studio time as well."""


@dataclass
class Measured:
    """What one pace gave: staleness by clip, seconds by Submit, and statuses of all Submits."""

    statuses: list[int] = field(default_factory=list)
    staleness: list[int] = field(default_factory=list)
    to_predictions: list[float] = field(default_factory=list)
    submitted_at: dict[int, float] = field(default_factory=dict)
    """Epoch seconds at which so many annotations had been submitted."""


class Annotator:
    """Works through the label stream of one project as the editor does.

    ``annotations``: how many the project has.
    """

    def __init__(self, loop: Loop, url: str, token: str, annotations: int) -> None:
        self._loop, self.annotations = loop, annotations
        self._watchers: list[threading.Thread] = []
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Token {token}"},
            timeout=120,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # Label Studio closes idle ones
        )

    def work(self, clips: int, seconds: float) -> Measured:
        """Annotate so many clips, each ``seconds`` after it came on screen."""
        measured = Measured()
        for clip in range(clips):
            task = self._next()
            shown = task["predictions"][0] if task["predictions"] else None
            version = shown["model_version"] if shown else "none"
            measured.staleness.append(self.annotations - self.learned_from(version))
            progress(f"{seconds:.0f} s a clip, {clip + 1}/{clips}: {version}, stale {measured.staleness[-1]}")
            time.sleep(seconds)  # the annotator listens and corrects; this pace is what is measured
            submitted_at = time.time()
            measured.statuses.append(self._submit(task, shown))
            if measured.statuses[-1] == httpx.codes.CREATED:
                self.annotations += 1
                measured.submitted_at[self.annotations] = submitted_at
                self._watch(task["id"], submitted_at, measured)
        return measured

    def learned_from(self, version: str) -> int:
        """How many annotations a version was trained on; 0 for what answers before any training."""
        return next((d["annotations"] for d in self.versions() if d["name"] == version), 0)

    def versions(self) -> list[dict[str, Any]]:
        """The project's versions as the backend lists them."""
        answer = httpx.get(f"{self._loop.api_url}/versions", timeout=30, trust_env=False).json()
        return [d for d in answer["details"] if d["project"] == self._loop.project_key]

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions that Label Studio holds of a task."""
        return list(self._http.get("/api/predictions/", params={"task": task}).json())

    def _next(self) -> dict[str, Any]:
        project = self._loop.project_id
        query: dict[str, str | int] = {"id": "next_task", "project": project}
        answer = self._http.post("/api/dm/actions", params=query, json={"project": str(project)})
        answer.raise_for_status()
        return dict(answer.json())

    def _submit(self, task: dict[str, Any], shown: dict[str, Any] | None) -> int:
        result = [dict(item) for item in shown["result"]] if shown else []
        tags = [item for item in result if item["type"] == "choices"]
        if tags:  # one tag is ticked or taken away
            wrong = tags[0]["value"]["choices"]
            tags[0]["value"] = {"choices": wrong[1:] or ["Bell" if wrong[0] != "Bell" else "Rain"]}
        body = {
            "result": result,
            "lead_time": 5.0,
            "parent_prediction": shown["id"] if shown else None,
        }
        query = {"project": self._loop.project_id}
        return self._http.post(f"/api/tasks/{task['id']}/annotations/", params=query, json=body).status_code

    def _watch(self, done: int, submitted_at: float, measured: Measured) -> None:
        """Note when an open task's prediction comes from a version that learned from this Submit."""
        wanted, numbers = self.annotations, sorted(n for n in self._loop.clips if n > done)
        if len(numbers) < 2:
            return

        def watch() -> None:
            learned: dict[str, int] = {}
            while time.time() - submitted_at < SETTLED_SECONDS and self.annotations == wanted:
                for prediction in self.predictions(numbers[1]):  # numbers[0] is on screen by now
                    version = prediction["model_version"]
                    if version not in learned:
                        learned[version] = self.learned_from(version)
                    if learned[version] >= wanted:
                        measured.to_predictions.append(time.time() - submitted_at)
                        return
                time.sleep(POLL_SECONDS)

        self._watchers.append(threading.Thread(target=watch, daemon=True))
        self._watchers[-1].start()

    def join(self) -> None:
        """Wait for the threads that look for predictions."""
        for watcher in self._watchers:
            watcher.join()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four clips at 5 s alone")
    parser.add_argument("--clips", type=int, default=24, help="at 5 s a clip; half as many at 10 s")
    arguments = parser.parse_args()
    paces = {5: 4} if arguments.quick else {5: arguments.clips, 10: arguments.clips // 2}
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as (loop, url, token):
        first = first_of_each_sound(loop, sorted(loop.clips))
        progress(f"{len(first)} clips annotated, so that something is suggested")
        loop.annotate(first)
        loop.wait_for_predictions(loop.wait_for_training(len(first)), loop.open_tasks())
        annotator = Annotator(loop, url, token, len(first))
        measured = {seconds: annotator.work(clips, seconds) for seconds, clips in paces.items()}
        progress("waiting until all is learned and written")
        settle(annotator)
        report(**figures(annotator, measured, sorted(loop.clips)))


def settle(annotator: Annotator) -> None:
    """Wait until a version knows of every annotation, and duplicates had time to be found."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < deadline:
        if max(d["annotations"] for d in annotator.versions()) >= annotator.annotations:
            break
        time.sleep(POLL_SECONDS)
    annotator.join()


def figures(annotator: Annotator, measured: dict[int, Measured], tasks: list[int]) -> dict[str, object]:
    """The benchmark's keys; those without a pace in their name are of 5 s a clip, or of all."""
    created = {d["annotations"]: created_at(d) for d in reversed(annotator.versions())}
    delays = []
    for pace in measured.values():
        for count, submitted_at in pace.submitted_at.items():
            later = [at for annotations, at in created.items() if annotations >= count]
            if later:
                delays.append(min(later) - submitted_at)
    duplicates = several = 0
    for number in tasks:
        held = Counter(p["model_version"] for p in annotator.predictions(number))
        ours = [count for name, count in held.items() if not name.startswith("superseded")]
        duplicates += sum(count - 1 for count in ours)
        several += sum(ours) > 1
    statuses = [status for pace in measured.values() for status in pace.statuses]
    predictions = [seconds for pace in measured.values() for seconds in pace.to_predictions]
    summary: dict[str, object] = {
        "submits": len(statuses),
        "refused": sum(status != httpx.codes.CREATED for status in statuses),
        "staleness_median": statistics.median(measured[5].staleness),
        "staleness_max": max(measured[5].staleness),
    }
    for seconds, pace in measured.items():
        summary[f"staleness_median_{seconds}s"] = statistics.median(pace.staleness)
        summary[f"staleness_max_{seconds}s"] = max(pace.staleness)
    return {
        **summary,
        "seconds_submit_to_version_p50": statistics.median(delays) if delays else None,
        "seconds_submit_to_predictions_p50": statistics.median(predictions) if predictions else None,
        "duplicate_predictions": duplicates,
        "tasks_with_several_predictions": several,
    }


def created_at(version: dict[str, Any]) -> float:
    """When a version was registered, in seconds since the epoch."""
    moment = version["created_at"]
    return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else float(moment)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Loop, str, str]]:
    """A Label Studio with the demo's clips, and a backend that is connected to it."""
    settings = Settings(_env_file=None, data_dir=folder / "data", port=free_port(), encoder="logmel")
    with supervised(folder / "run") as supervisor:
        label_studio = LabelStudioServer(
            EXECUTABLE, folder / "label-studio", free_port(), *ACCOUNT, folder / "served", supervisor
        )
        label_studio.start()
        progress("Label Studio starts, and clips are made")
        clips = make_clips(folder / "clips", count=60)
        token, url = ACCOUNT[2], label_studio.url
        environment = environment_with(
            {
                "DATA_DIR": str(settings.data_dir),
                "PORT": str(settings.port),
                "ENCODER": "logmel",
                "LABEL_STUDIO_URL": url,
                "LABEL_STUDIO_API_KEY": token,
                "LOG_LEVEL": "INFO",
            }
        )
        start_backend(supervisor, settings, environment, folder / "logs")
        label_studio.wait_until_ready(READY_SECONDS)
        from label_studio_sdk import LabelStudio

        client: Any = LabelStudio(base_url=url, api_key=token)
        config = (ROOT / "label_config.xml").read_text()
        project = client.projects.create(title="Staleness", label_config=config)
        tasks = import_clips(client, url, token, project.id, folder / "clips", clips)
        yield connect(client, url, project, api_url(settings), tasks), url, token


if __name__ == "__main__":
    main()
