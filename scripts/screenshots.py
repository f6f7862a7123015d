"""Screenshots of the pages for the documentation, by one command: ``python -m scripts.screenshots [FOLDER]``.

The demo's clips are annotated without hands in a simulated Label Studio, with a whole backend beside it, so
the pages show what was really learned. It takes a few minutes and needs Chromium.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import func, select

from benchmarks.common import environment_with, find_chromium, free_port, progress
from benchmarks.simulated_label_studio import SimulatedLabelStudio
from earmark.labels.label_config import parse_label_config
from earmark.processes.stack import api_url, start_backend
from earmark.processes.supervisor import supervised
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import pending_events
from earmark.store.models import Project, Training
from scripts.demo_source import DemoSource, choose_source
from scripts.demo_truth import true_result

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CLIPS, FIRST, AT_ONCE = 60, 10, 4
"""Clips in all, annotated before the first training, and between further ones."""
LEFT_OPEN = 12
OPEN_SECONDS = 8.0
WAIT_SECONDS = 180.0
ENCODER = "yamnet+logmel"
COLOURS = 96
"""Of a screenshot, which keeps it small."""
SHOTS = (
    ("page", "", "light", 1180, 1180),
    ("page-dark", "", "dark", 1180, 1180),
    ("page-phone", "", "light", 390, 1180),
    ("page-corrections", "#corrections", "light", 1180, 900),
    ("page-task", "task", "light", 1180, 960),
)
"""Name, part of the page, colour scheme, width and height."""


def main(target: Path) -> None:
    """Make all screenshots in a folder."""
    program = find_chromium()
    if program is None:
        sys.exit("Chromium is not installed (Debian: apt-get install chromium).")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = choose_source(folder, ROOT)
        settings = Settings(_env_file=None, data_dir=folder / "data", port=free_port(), encoder=ENCODER)
        with SimulatedLabelStudio(source.folder, TOKEN) as studio, supervised(folder / "run") as supervisor:
            variables = {
                "DATA_DIR": str(settings.data_dir),
                "PORT": str(settings.port),
                "ENCODER": ENCODER,
                "LABEL_STUDIO_URL": studio.url,
                "LABEL_STUDIO_API_KEY": TOKEN,
                "EARMARK_ENV_FILE": "",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            }
            start_backend(supervisor, settings, environment_with(variables), folder / "logs")
            with Services(settings) as services, sync_playwright() as playwright:
                key, task = _annotate(source, studio, services, api_url(settings))
                browser = playwright.chromium.launch(
                    executable_path=program, headless=True, args=("--no-sandbox", "--disable-gpu")
                )
                _shoot(browser, f"{api_url(settings)}/projects/{key}", task, target)
                browser.close()


def _annotate(
    source: DemoSource, studio: SimulatedLabelStudio, services: Services, url: str
) -> tuple[str, int]:
    """Annotate the clips with their truth; return the project's key, and the task with most calls."""
    clips = source.make(CLIPS, lambda *_: None)
    label_config = source.label_config.read_text(encoding="utf-8")
    controls = parse_label_config(label_config)
    project = studio.create_project(source.title, label_config)
    studio.connect({"url": url, "project": project, "title": f"{ENCODER}-v0"})
    tasks = studio.import_tasks(project, [(clip.name, None) for clip in clips])
    key = studio.project_uid(project)
    last = len(clips) - LEFT_OPEN
    for first in (0, *range(FIRST, last, AT_ONCE)):
        count = min(AT_ONCE, last - first) if first else FIRST
        for place in range(first, first + count):
            result = true_result(clips[place], controls)
            studio.create_annotation(
                tasks[place], result=result, lead_time=OPEN_SECONDS + place % 5, completed_by=1 + place % 2
            )
        _wait_for_training(services, key)
        progress(f"{first + count} clips annotated")
    _wait_for_refresh(services, key)
    busiest = max(range(FIRST, last), key=lambda place: len(clips[place].events))
    return key, tasks[busiest]


def _wait_for_training(services: Services, key: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with services.database.read() as session:
            waiting = pending_events(session, key)
            trained = session.scalar(select(func.count()).select_from(Training))
        if trained and not waiting:
            return
        time.sleep(0.1)
    sys.exit("No training has ended in time: see the logs.")


def _wait_for_refresh(services: Services, key: str) -> None:
    """Wait until the open tasks have the active version's predictions."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        active = services.serving_version(key)
        with services.database.read() as session:
            project = session.get_one(Project, key)
        if active is not None and project.refreshed_version == active.name:
            return
        time.sleep(0.2)


def _shoot(browser: Browser, url: str, task: int, target: Path) -> None:
    for name, part, scheme, width, height in SHOTS:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page = context.new_page()
        page.goto(f"{url}/tasks/{task}" if part == "task" else f"{url}{part}")
        page.locator("#live" if part != "task" else ".plot:visible").first.wait_for()
        page.wait_for_timeout(2_000)  # pictures in view
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(COLOURS).save(target / f"{name}.png", optimize=True)
        progress(f"{name}.png, {(target / f'{name}.png').stat().st_size // 1000} kB")
        context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
