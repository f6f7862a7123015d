"""The page of a project with 50,000 tasks and 500 versions, as a browser loads it for the first time.

``first_contentful_paint_ms`` and ``complete_ms`` (what is in view has arrived, with its spectrograms) are
medians over fresh profiles, from the request on; ``bytes`` is what came over the wire. ``server_ms_p50`` is
the time of the HTML alone. ``change_ms`` is the time from a change in the database until an
open page shows it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.common import environment_with, find_chromium, free_port, progress, report
from benchmarks.page_data import KEY, seed_project
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Training

TASKS, QUICK_TASKS, VERSIONS = 50_000, 10_000, 500
ROUNDS, REQUESTS, CHANGES = 5, 40, 5
READY_SECONDS = 120
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--mute-audio",
)
PAINTED = "performance.getEntriesByName('first-contentful-paint').length"
MEASURED = """() => {
    const [navigation] = performance.getEntriesByType('navigation');
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    const resources = performance.getEntriesByType('resource').filter(r => !r.name.endsWith('/events'));
    const all = [navigation, ...resources];
    return {
        first_contentful_paint_ms: paint.startTime,
        complete_ms: Math.max(...all.map(entry => entry.responseEnd), navigation.loadEventEnd),
        bytes: all.reduce((sum, entry) => sum + entry.transferSize, 0),
    };
}"""


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 tasks; ends within 60 s")
    tasks = QUICK_TASKS if parser.parse_args().quick else TASKS
    program = find_chromium()
    if program is None:
        sys.exit("Chromium is not installed (Debian: apt-get install chromium).")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(_env_file=None, data_dir=folder / "data", encoder="logmel")
        progress(f"storing {tasks:,} tasks and {VERSIONS} versions")
        with Services(settings) as services:
            services.database.upgrade()
            seed_project(services, folder / "made", tasks, VERSIONS)
            run(services, folder, program, tasks)


def run(services: Services, folder: Path, program: str, tasks: int) -> None:
    """Serve the project, measure, and stop the server."""
    port = free_port()
    variables = {
        "DATA_DIR": str(services.settings.data_dir),
        "ENCODER": "logmel",
        "LOG_LEVEL": "ERROR",
        "EARMARK_ENV_FILE": "",
        "AUDIO_ROOTS": str(folder),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "earmark", "serve", "--port", str(port)],
        env=environment_with({**variables, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}),
    )
    try:
        measure(f"http://127.0.0.1:{port}", services, program, tasks)
    finally:
        server.terminate()
        server.wait()


def measure(url: str, services: Services, program: str, tasks: int) -> None:
    """Wait for the server, load the page again and again, and report."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/health", timeout=2)
            break
        except httpx.TransportError:
            time.sleep(0.1)
    page_url = f"{url}/projects/{KEY}"
    times = []
    with httpx.Client(timeout=60) as client:
        first = _milliseconds(client, page_url)
        progress(f"the first page after the start: {first:.0f} ms")
        times = [_milliseconds(client, page_url) for _ in range(REQUESTS)]
    progress("loading it in a browser")
    loads = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=OPTIONS)
        for _ in range(ROUNDS):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page_url, wait_until="load")
            while not tab.evaluate(PAINTED):  # the page's security policy forbids wait_for_function
                tab.wait_for_timeout(20)
            loads.append(_settled(tab))
            context.close()
        progress("changing what it shows")
        tab = browser.new_page()
        tab.goto(page_url)
        tab.get_by_text("Live", exact=True).wait_for()
        changes = [_shown_after(services, tab, number) for number in range(CHANGES)]
        browser.close()
    figures = {name: statistics.median(load[name] for load in loads) for name in loads[0]}
    report(
        **figures,
        server_ms_p50=statistics.median(times),
        server_ms_first=first,
        change_ms=statistics.median(changes),
        tasks=tasks,
        versions=VERSIONS,
    )


def _milliseconds(client: httpx.Client, url: str) -> float:
    started = time.perf_counter()
    client.get(url).raise_for_status()
    return (time.perf_counter() - started) * 1000


def _shown_after(services: Services, tab: Page, number: int) -> float:
    """Milliseconds from a change in the database until the page shows it."""
    text = f"Change {number}"
    row = {"started_at": 1.0, "finished_at": 2.0, "outcome": "failed", "detail": text}
    with services.database.write() as session:
        session.add(Training(project_key=KEY, **row))
    started = time.perf_counter()
    tab.get_by_text(text).first.wait_for(state="attached")
    return (time.perf_counter() - started) * 1000


def _settled(tab: Page) -> dict[str, float]:
    """Figures of a page once no picture has arrived for a moment."""
    figures: dict[str, float] = tab.evaluate(MEASURED)
    while True:
        tab.wait_for_timeout(500)
        before, figures = figures, tab.evaluate(MEASURED)
        if figures["bytes"] == before["bytes"]:
            return figures


if __name__ == "__main__":
    main()
