"""Fixtures: Debian's Chromium with an annotator in it, and projects of sample clips with a trained version.

Every request of the browser to another machine, and every error that a page reports, fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from benchmarks.common import find_chromium
from scripts.demo_check import Loop, first_of_each_sound
from scripts.demo_clips import DemoClip, make_clips
from scripts.demo_project import connect, import_clips
from tests.browser.annotator import NEXT_TASK, STEP_MILLISECONDS, Annotator, Observed
from tests.running import RunningBackend, RunningLabelStudio, running_backend

ROOT = Path(__file__).resolve().parents[2]
CLIPS = 24
"""More than a test annotates, so that some tasks stay open."""
OPTIONS = (
    "--no-sandbox",  # Chromium's sandbox does not run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    # Neither a page nor a service of the browser finds any other machine
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
OUTSIDE = re.compile(r"^(https?|wss?)://(?!127\.0\.0\.1[:/])")
KNOWN_ERRORS = ("/heidi-tips", f"/api/dm/actions?{NEXT_TASK}")
"""Addresses whose failure Label Studio 1.23.2 causes itself: it has no tips to show on the login page, and
answers 404 to a page that asks for the next task after the last one was submitted."""
WINDOW: ViewportSize = {"width": 1600, "height": 1000}
FOUR_FRAMES_A_SECOND = """
window.requestAnimationFrame = draw => window.setTimeout(() => draw(performance.now()), 250);
window.cancelAnimationFrame = number => window.clearTimeout(number);
"""
"""Script for Label Studio's pages, which draw the spectrogram anew in each frame of a clip that plays.

Without a GPU that takes a core at 60 frames a second, and half of one at ten.
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium without a window, in a fresh profile; without one installed, the tests are skipped.

    It ends with each module: playwright keeps an event loop in this thread, and other tests run their own.
    """
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium-headless-shell)")
    with sync_playwright() as playwright:
        expect.set_options(timeout=STEP_MILLISECONDS)
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def backend(
    label_studio: RunningLabelStudio, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBackend]:
    """A backend with the pauses before training that it has by default."""
    with running_backend(label_studio, tmp_path_factory.mktemp("browser-backend")) as running:
        yield running


def watch(context: BrowserContext) -> Observed:
    """Note what pages of this context must not do.

    Requests to other machines are not refused here, but by `OPTIONS`: a context that refuses any stores none
    of Label Studio's scripts, and each page loads and compiles all of them again.
    """
    observed = Observed()

    def note_request(request: Request) -> None:
        if OUTSIDE.match(request.url):
            observed.outside.append(request.url)

    def note_message(message: ConsoleMessage) -> None:
        place = message.location.get("url", "")
        if message.type == "error" and not any(address in place for address in KNOWN_ERRORS):
            observed.errors.append(f"{message.text} ({place})")

    context.on("request", note_request)
    context.on("console", note_message)
    context.on("weberror", lambda error: observed.errors.append(str(error.error)))
    return observed


@pytest.fixture
def open_window(chromium: Browser) -> Iterator[Callable[[RunningLabelStudio], Annotator]]:
    """Open a browser window on a Label Studio, not logged in; each call is another person."""
    opened: list[tuple[BrowserContext, Observed]] = []

    def open_one(studio: RunningLabelStudio) -> Annotator:
        context = chromium.new_context(viewport=WINDOW, service_workers="block")
        context.add_init_script(FOUR_FRAMES_A_SECOND)
        observed = watch(context)
        opened.append((context, observed))
        return Annotator(context.new_page(), studio.url, observed)

    yield open_one
    for context, _ in opened:
        context.close()
    assert not [url for _, observed in opened for url in observed.outside], "requests left this machine"
    assert not [error for _, observed in opened for error in observed.errors], "a page reported errors"


@pytest.fixture(scope="session")
def owner_cookies() -> dict[str, list[Any]]:
    """Cookies of owners who logged in, by Label Studio's address: each login loads the whole interface."""
    return {}


@pytest.fixture
def annotator(
    open_window: Callable[[RunningLabelStudio], Annotator],
    label_studio: RunningLabelStudio,
    owner_cookies: dict[str, list[Any]],
) -> Annotator:
    """The owner of the Label Studio, logged in."""
    person = open_window(label_studio)
    context = person.page.context
    if label_studio.url in owner_cookies:
        context.add_cookies(owner_cookies[label_studio.url])
    else:
        person.log_in(label_studio.username, label_studio.password)
        owner_cookies[label_studio.url] = context.cookies()
    return person


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DemoClip]]:
    """Sample clips: their folder, and what sounds in them."""
    folder = tmp_path_factory.mktemp("clips")
    return folder, make_clips(folder, count=CLIPS, seed=5)


def project_maker(
    label_studio: RunningLabelStudio, backend: RunningBackend, clips: tuple[Path, list[DemoClip]]
) -> Callable[..., Loop]:
    """A function that makes a project of sample clips, whose open tasks hold the first version's predictions.

    Its ``label_config`` is the example one by default; further settings go to the project.
    """

    def make(title: str, label_config: str | None = None, **project_settings: Any) -> Loop:
        client, url, (folder, made) = label_studio.client, label_studio.url, clips
        config = label_config or (ROOT / "label_config.xml").read_text()
        project = client.projects.create(title=title, label_config=config, **project_settings)
        tasks = import_clips(client, url, label_studio.token, project.id, folder, made)
        loop = connect(client, url, project, backend.url, tasks)
        annotated = first_of_each_sound(loop, sorted(tasks))
        loop.annotate(annotated)
        version = loop.wait_for_training(len(annotated))
        loop.wait_for_predictions(version, [number for number in tasks if number not in annotated])
        return loop

    return make


@pytest.fixture(scope="session")
def make_project(
    label_studio: RunningLabelStudio, backend: RunningBackend, clips: tuple[Path, list[DemoClip]]
) -> Callable[..., Loop]:
    """Makes projects in the Label Studio that stores in SQLite; see `project_maker`."""
    return project_maker(label_studio, backend, clips)


@pytest.fixture(scope="session")
def shared_project(make_project: Callable[..., Loop]) -> Loop:
    """A project for tests that annotate a clip or two, whatever others have annotated in it before."""
    return make_project("Shared by tests")
