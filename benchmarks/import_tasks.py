"""Rows with predictions into a real Label Studio: the import command against a loop of single requests.

The rows are those of a CSV of regions, one sound each, served as local files, so that both ways make
the same tasks: the import decodes every file, writes its report and makes tasks in batches; the loop does
what a script would do with the SDK, `tasks.create` and `predictions.create`, and nothing else. Its time
is measured over 200 rows. The import is a process of its own, so its whole start-up counts.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from label_studio_sdk import LabelStudio
from sqlalchemy import make_url

from benchmarks.common import ACCOUNT, free_port, progress, report
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.results import region_item
from earmark.processes.supervisor import supervised
from scripts.label_studio_server import LabelStudioServer

ROOT = Path(__file__).resolve().parents[1]
ROWS, QUICK_ROWS = 5000, 500
LOOP_ROWS, QUICK_LOOP_ROWS = 200, 20
LABELS = ("Low", "Middle", "High")
RATE, SECONDS = 8000, 0.25
READY_SECONDS = 240.0
CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</Labels></View>"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 rows and 20 in the loop, within 60 s")
    quick = parser.parse_args().quick
    rows, loop_rows = (QUICK_ROWS, QUICK_LOOP_ROWS) if quick else (ROWS, LOOP_ROWS)
    with tempfile.TemporaryDirectory() as name, label_studio(Path(name)) as (url, client, root):
        table = make_rows(root / "sounds", rows)
        by_loop = client.projects.create(title="By a loop", label_config=CONFIG)
        looped = loop(client, by_loop.id, table, loop_rows)
        progress(f"a loop makes {looped:.1f} rows/s")
        by_import = client.projects.create(title="By the import", label_config=CONFIG)
        imported = import_all(url, by_import.id, table, root, Path(name) / "data", rows)
        progress(f"the import makes {imported:.0f} rows/s")
        # While Label Studio runs it does not count; the largest process of the import does.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        check(client, by_import.id, rows)
    report(rows_per_s=imported, ratio_vs_loop=imported / looped, peak_rss_mb=peak / 1024)


@contextmanager
def label_studio(folder: Path, postgresql: str | None = None) -> Iterator[tuple[str, Any, Path]]:
    """A Label Studio of its own: its address, a client, and the folder that it serves.

    ``postgresql``: address of an empty database for it, such as ``postgresql://user@127.0.0.1:5432/name``;
    without one it has SQLite.
    """
    executable = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    if not executable.is_file():
        raise SystemExit("Label Studio is not here: run 'make .venv-label-studio'.")
    port = free_port()
    root = folder / "served"
    with supervised(folder / "run") as supervisor:
        server = LabelStudioServer(
            executable, folder / "label-studio", port, *ACCOUNT, root, supervisor, _variables(postgresql)
        )
        server.wait_until_ready(READY_SECONDS)
        progress("Label Studio is ready")
        yield server.url, LabelStudio(base_url=server.url, api_key=ACCOUNT[2]), root


def _variables(postgresql: str | None) -> dict[str, str]:
    """Environment variables that name a database to Label Studio."""
    if postgresql is None:
        return {}
    address = make_url(postgresql)
    return {
        "DJANGO_DB": "default",
        "POSTGRE_USER": address.username or "",
        "POSTGRE_PASSWORD": address.password or "",
        "POSTGRE_NAME": address.database or "",
        "POSTGRE_HOST": address.host or "",
        "POSTGRE_PORT": str(address.port or 5432),
    }


def make_rows(folder: Path, count: int) -> Path:
    """Seeded short sounds, no two alike, and a CSV with one region in each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    with (folder / "regions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("fname", "label", "start", "end"))
        for number in range(count):
            name = f"{number:05}.wav"
            soundfile.write(folder / name, 0.1 * random.standard_normal(int(RATE * SECONDS)), RATE)
            table.writerow((name, LABELS[number % len(LABELS)], 0.05, 0.2))
    progress(f"{count} sounds made")
    return folder / "regions.csv"


def loop(client: Any, project_id: int, table: Path, count: int) -> float:
    """Rows a second of single requests."""
    (control,) = parse_label_config(CONFIG)
    with table.open(newline="") as file:
        rows = [row for _, row in zip(range(count), csv.DictReader(file), strict=False)]
    began = time.perf_counter()
    for row in rows:
        data = {"audio": f"/data/local-files/?d=sounds/{row['fname']}", "fname": row["fname"]}
        task = client.tasks.create(project=project_id, data=data)
        start, end = float(row["start"]), float(row["end"])
        item = region_item(control, start, end, row["label"], 1.0, SECONDS, row["fname"])
        client.predictions.create(task=task.id, result=[item], score=1.0, model_version="imported")
    return count / (time.perf_counter() - began)


def import_all(url: str, project_id: int, table: Path, root: Path, data: Path, rows: int) -> float:
    """Rows a second of the command, from its start to its end."""
    command = [sys.executable, "-m", "earmark", "import", str(table), "--project", str(project_id)]
    command += ["--start-column", "start", "--end-column", "end", "--labels-as", "predictions"]
    command += ["--local-files", "--document-root", str(root), "--url", url]
    environment = {**os.environ, "LABEL_STUDIO_API_KEY": ACCOUNT[2], "DATA_DIR": str(data)}
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    return rows / (time.perf_counter() - began)


def check(client: Any, project_id: int, rows: int) -> None:
    """Make sure that everything is there once, each with its prediction."""
    project = client.projects.get(id=project_id)
    assert project.task_number == rows, project.task_number
    assert project.total_predictions_number == rows, project.total_predictions_number


if __name__ == "__main__":
    main()
