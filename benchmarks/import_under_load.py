"""Data integrity of imports into a busy Label Studio, and their throughput.

Label Studio runs the whole time under writes of others: three threads submit annotations to another
project, and one thread imports and patches predictions as a refresh of predictions does. Meanwhile the
import command brings clips with regions, tags and predictions into new projects, two processes at a time
into one project. Every task is compared with what was sent; each count of the last line but
``imports``, ``rows_per_s`` and ``busy_answers`` must be 0. ``busy_answers`` counts the answers of more than a
second that the writers got: Label Studio repeated those requests, or was slow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
import soundfile

from benchmarks.common import ACCOUNT, environment_with, progress, report
from benchmarks.import_tasks import ROOT, label_studio
from earmark.export import jsonl
from earmark.export.records import ClipRecord, RegionRecord
from earmark.labelstudio.credentials import AccessBook
from earmark.labelstudio.task_pages import Listing
from earmark.settings import Settings

IMPORTS, CLIPS = 20, 200
QUICK_IMPORTS, QUICK_CLIPS = 2, 60
AT_ONCE = 2
SUBMIT_RATES = (1.0, 5.0)
"""Annotations a second that the annotators submit together, in turns of one pair of imports."""
ANNOTATORS, REFRESHED = 3, 50
REFRESH_PAUSE_SECONDS = 0.5
RATE, SECONDS = 8000, 0.25
IMPORT_TIMEOUT_SECONDS = 1200.0
LONG_ANSWER_SECONDS = 1.0
REGION_LABELS, TAGS = ("Low", "Middle", "High"), ("Rain", "Bird", "Engine")
CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
    + "".join(f'<Label value="{label}"/>' for label in REGION_LABELS)
    + '</Labels><Choices name="tags" toName="audio" choice="multiple">'
    + "".join(f'<Choice value="{tag}"/>' for tag in TAGS)
    + "</Choices></View>"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two imports of 60 clips, within 60 s")
    parser.add_argument("--imports", type=int, help="number of imports, instead of 20")
    parser.add_argument("--seconds", type=float, default=3600.0, help="no further imports begin after them")
    parser.add_argument(
        "--postgresql", help="address of an empty database for Label Studio, instead of SQLite"
    )
    options = parser.parse_args()
    imports, clips = (QUICK_IMPORTS, QUICK_CLIPS) if options.quick else (IMPORTS, CLIPS)
    imports = options.imports or imports
    faults: Counter[str] = Counter()
    seconds, done = 0.0, 0
    with (
        tempfile.TemporaryDirectory() as name,
        label_studio(Path(name), options.postgresql) as (url, client, _),
    ):
        folder = Path(name)
        (folder / "label-config.xml").write_text(CONFIG)
        sources = [make_source(folder / f"source{n}", clips, seed=n) for n in range(imports)]
        progress(f"{imports} sources of {clips} clips made")
        with Load(url, client) as load:
            for number in range(0, imports, AT_ONCE):
                if seconds > options.seconds:
                    break
                some = sources[number : number + AT_ONCE]
                load.rate = SUBMIT_RATES[-1 - number // AT_ONCE % len(SUBMIT_RATES)]
                title = f"Under load {number}"
                began = time.perf_counter()
                run_imports(url, some, title, folder)
                took = time.perf_counter() - began
                seconds += took
                differences = compare(
                    url, client, title, [record for source in some for record in records_in(source)]
                )
                faults += differences
                done += len(some)
                progress(
                    f"{len(some)} imports at {load.rate:g} submits/s in {took:.0f} s: {dict(differences)}"
                )
            progress(f"others wrote {load.written} times, {load.long_answers} of them repeated")
    names = ("tasks_missing", "annotations_missing", "predictions_missing", "regions_missing", "twins")
    report(
        **{name: faults[name] for name in names},
        imports=done,
        rows_per_s=done * clips / seconds,
        busy_answers=load.long_answers,
    )


def make_source(folder: Path, count: int, seed: int) -> Path:
    """Short sounds, no two alike, and JSON Lines with an annotation and a prediction of each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    table = folder / "labels.jsonl"
    with jsonl.writing(table) as add:
        for number in range(count):
            name = f"{seed:02}-{number:03}.wav"
            soundfile.write(folder / name, 0.1 * random.standard_normal(int(RATE * SECONDS)), RATE)
            start = round(float(random.uniform(0, 0.1)), 3)
            regions = (
                RegionRecord(start, round(start + 0.05, 3), REGION_LABELS[number % 3]),
                RegionRecord(round(start + 0.1, 3), round(start + 0.14, 3), REGION_LABELS[(number + 1) % 3]),
            )
            labels = {"label": regions}
            tags = {"tags": (TAGS[number % 3],)}
            add([ClipRecord(name, duration=SECONDS, annotator=ACCOUNT[0], regions=labels, tags=tags)])
            guess = {"label": (RegionRecord(start, round(start + 0.04, 3), REGION_LABELS[number % 3], 0.5),)}
            add([ClipRecord(name, duration=SECONDS, regions=guess, source="prediction", version="other-v1")])
    return table


def records_in(table: Path) -> list[ClipRecord]:
    """The records of one source."""
    return list(jsonl.read(table))


def run_imports(url: str, sources: Sequence[Path], title: str, folder: Path) -> None:
    """Import all sources into one project, at the same time; the first one to come makes it."""
    environment = environment_with({"LABEL_STUDIO_API_KEY": ACCOUNT[2], "DATA_DIR": str(folder / "data")})
    running = []
    for source in sources:
        command = [sys.executable, "-m", "earmark", "import", str(source), "--project", title, "--create"]
        command += ["--label-config", str(folder / "label-config.xml"), "--url", url]
        log = (folder / "import.log").open("a")
        running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
    codes = [process.wait(timeout=IMPORT_TIMEOUT_SECONDS) for process in running]
    if any(codes):
        progress(f"exit codes {codes}: {(folder / 'import.log').read_text()[-1500:]}")


def compare(url: str, client: Any, title: str, records: Sequence[ClipRecord]) -> Counter[str]:
    """Count what a project lacks of the records, and what it has twice."""
    named = [project.id for project in client.projects.list(title=title) if project.title == title]
    counts: Counter[str] = Counter(twins=max(0, len(named) - 1))
    settings = Settings(_env_file=None, label_studio_url=url, label_studio_api_key=ACCOUNT[2])
    access = AccessBook(settings).for_project(None)
    assert access is not None
    listing = Listing(access)
    tasks: dict[str, list[Any]] = {}
    for page in (page for number in named for page in listing.tasks(number)):
        for task in page:
            tasks.setdefault(task["data"]["fname"], []).append(task)
    counts["twins"] += sum(len(same) - 1 for same in tasks.values())
    counts["tasks_missing"] = len({record.file_name for record in records} - tasks.keys())
    for record in records:
        kind = f"{record.source}s"
        held = [made for task in tasks.get(record.file_name, ()) for made in task[kind]]
        if record.source == "prediction":
            versions = Counter(made["model_version"] for made in held)
            counts["twins"] += sum(count - 1 for count in versions.values())
            held = [made for made in held if made["model_version"] == record.version]
        else:
            counts["twins"] += max(0, len(held) - 1)
        counts[f"{kind}_missing"] += not held
        there = {_key(item["value"]) for made in held for item in made["result"]}
        wanted: set[tuple[float | None, float | None, str]] = {
            (r.start, r.end, r.label) for regions in record.regions.values() for r in regions
        }
        wanted |= {(None, None, tag) for tags in record.tags.values() for tag in tags}
        counts["regions_missing"] += len(wanted - there)
    return counts


def _key(value: dict[str, Any]) -> tuple[Any, Any, str]:
    return value.get("start"), value.get("end"), (value.get("labels") or value["choices"])[0]


class Load:
    """Background load: annotators who submit, and a writer of predictions, both to projects of their own.

    ``rate``: annotations a second that the annotators submit together; may be changed at any time.
    """

    def __init__(self, url: str, client: Any, rate: float = SUBMIT_RATES[0]) -> None:
        self._url, self.rate, self._stop = url, rate, Event()
        self.written = self.long_answers = 0
        tasks = [{"data": {"audio": f"{url}/{number}.wav"}} for number in range(REFRESHED)]
        self._projects = []
        for title in ("Annotated meanwhile", "Predicted meanwhile"):
            project = client.projects.create(title=title, label_config=CONFIG)
            made = client.projects.import_tasks(id=project.id, request=tasks, return_task_ids=True)
            self._projects.append((project.id, list(made.task_ids)))
        self._threads = [Thread(target=self._annotate, args=(number,)) for number in range(ANNOTATORS)]
        self._threads.append(Thread(target=self._predict))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _annotate(self, number: int) -> None:
        _, tasks = self._projects[0]
        chosen = {"value": {"choices": [TAGS[number]]}, "type": "choices"}
        result = [{**chosen, "from_name": "tags", "to_name": "audio"}]
        with self._session() as session:
            while not self._stop.wait(ANNOTATORS / self.rate):
                task = tasks[self.written % len(tasks)]
                self._write(session, "POST", f"/api/tasks/{task}/annotations/", {"result": result})

    def _predict(self) -> None:
        project, tasks = self._projects[1]
        with self._session() as session:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                written = [
                    {"task": t, "result": [], "score": 0.5, "model_version": f"v{turn}"} for t in tasks
                ]
                self._write(session, "POST", f"/api/projects/{project}/import/predictions", written)
                held = session.get("/api/predictions/", params={"task": tasks[turn % len(tasks)]}).json()
                for prediction in [*held] * 3:
                    body = {"result": [], "score": 0.1, "model_version": f"v{turn}"}
                    self._write(session, "PATCH", f"/api/predictions/{prediction['id']}/", body)
                    if self._stop.wait(REFRESH_PAUSE_SECONDS):
                        return

    def _session(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._url, headers={"Authorization": f"Token {ACCOUNT[2]}"}, timeout=600, trust_env=False
        )

    def _write(self, session: httpx.Client, method: str, path: str, body: Any) -> None:
        began = time.monotonic()
        session.request(method, path, json=body)
        self.written += 1
        self.long_answers += time.monotonic() - began >= LONG_ANSWER_SECONDS


if __name__ == "__main__":
    main()
