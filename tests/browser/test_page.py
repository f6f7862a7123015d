"""The pages in a real browser: with up to 50,000 tasks, live, on a phone, for screen readers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.common import environment_with
from benchmarks.page_data import KEY, seed_project
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Training
from earmark.store.registry import active_version
from tests.browser.conftest import watch
from tests.running import free_port
from tests.waiting import until

pytestmark = pytest.mark.browser

SIZES = {"none": (0, 0), "one": (1, 1), "many": (50_000, 500)}
"""Tasks and versions."""
SMALL = (60, 30)
PROJECT = f"/projects/{KEY}"
PATHS = ("/", PROJECT)
FURTHER = (
    f"{PROJECT}/tasks/1",
    f"{PROJECT}/label?control=label&label=Owl",
    f"{PROJECT}/serve?version=logmel-v1",
)
PHONE_PIXELS = 390


@dataclass
class Served:
    """A running API with a project: its address, services on the same database, and its process."""

    url: str
    services: Services
    process: subprocess.Popen[bytes]


def serve(folder: Path, tasks: int, versions: int) -> Served:
    """Store a project, and start an API of its own on it, without Redis and workers."""
    settings = Settings(_env_file=None, data_dir=folder / "data", encoder="logmel", port=free_port())
    services = Services(settings)
    services.database.upgrade()
    seed_project(services, folder / "made", tasks, versions)
    variables = {
        "DATA_DIR": str(settings.data_dir),
        "ENCODER": "logmel",
        "EARMARK_ENV_FILE": "",
        "AUDIO_ROOTS": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "earmark", "serve", "--port", str(settings.port)],
            env=environment_with({**variables, "PYTHONPATH": os.pathsep.join(sys.path)}),
            stdout=log,
            stderr=log,
        )
    served = Served(f"http://127.0.0.1:{settings.port}", services, process)
    until(lambda: is_up(served), "an answer of the API")
    return served


def is_up(served: Served) -> bool:
    try:
        return httpx.get(f"{served.url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False


def stop(served: Served) -> None:
    served.process.terminate()
    served.process.wait(30)
    served.services.close()


@pytest.fixture(scope="module", params=SIZES)
def sized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp(f"page-{request.param}"), *SIZES[request.param])
    yield served
    stop(served)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A small project for tests that change nothing in it but its failed trainings."""
    served = serve(tmp_path_factory.mktemp("shared"), *SMALL)
    yield served
    stop(served)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Served]:
    """A small project of a test's own."""
    served = serve(tmp_path, *SMALL)
    yield served
    stop(served)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that report no error and ask no other machine for anything."""
    contexts = []

    def open_one(width: int = 1280, scheme: str = "light") -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append((context, watch(context)))
        return context.new_page()

    yield open_one
    for context, _ in contexts:
        context.close()
    assert not [url for _, observed in contexts for url in observed.outside], "requests left this machine"
    assert not [error for _, observed in contexts for error in observed.errors], "a page reported errors"


def paths(served: Served) -> tuple[str, ...]:
    with_tasks = httpx.get(f"{served.url}{FURTHER[0]}", timeout=30).is_success
    return (*PATHS, *FURTHER) if with_tasks else PATHS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_and_keyboards(sized: Served, open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page(scheme=scheme)
    for path in paths(sized):
        page.goto(f"{sized.url}{path}")
        page.evaluate("document.querySelectorAll('details').forEach(part => (part.open = true))")
        violations = Axe().run(page).response["violations"]
        serious = [
            (path, violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
            for violation in violations
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_a_phone_needs_no_sideways_scrolling(sized: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(width=PHONE_PIXELS)
    for path in paths(sized):
        page.goto(f"{sized.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_PIXELS, path


def test_plots_and_spectrograms_are_drawn(shared: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(f"{shared.url}{PROJECT}")
    expect(page.locator(".plot canvas")).to_have_count(3)
    page.locator(".plot .u-over").first.hover()
    expect(page.locator(".reading").first).to_contain_text("annotations")
    picture = page.locator("#corrections ~ ol img").first
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("naturalWidth", 256)
    page.goto(f"{shared.url}{PROJECT}/tasks/5?from=2&to=8")
    expect(page.locator(".now .result")).to_contain_text("logmel-v30")
    page.get_by_label("Zoom in").click()
    expect(page.locator("main")).to_contain_text("3.50 s to 6.50 s")


def test_probabilities_lie_below_the_sound_that_they_are_of(
    shared: Served, open_page: Callable[..., Page]
) -> None:
    curves = {
        "version": "logmel-v30",
        "x": [0.5, 5.0, 9.5],
        "series": [{"label": "Wren", "colour": "var(--c2)", "values": [0.1, 0.9, 0.1]}],
        "regions": [{"start": 4.0, "end": 4.9, "label": "Rain", "colour": "#a1b2c3"}],
        "tags": ["Wren"],
    }
    page = open_page()
    page.route("**/curves?*", lambda route: route.fulfill(json=curves))
    page.goto(f"{shared.url}{PROJECT}/tasks/5")
    plot, picture = (page.locator(part).bounding_box() for part in (".plot .u-over", ".tiles"))
    assert plot is not None
    assert picture is not None
    assert (plot["x"], plot["width"]) == pytest.approx((picture["x"], picture["width"]), abs=1)
    expect(page.locator(".key .swatch")).to_have_count(2)
    expect(page.locator(".colours")).to_contain_text("Rain")
    expect(page.locator(".now rect")).to_have_css("fill", "rgb(161, 178, 195)")
    expect(page.locator(".now .result")).to_contain_text("tags Wren")


def test_zoom_keeps_the_place_of_the_keyboard(shared: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(f"{shared.url}{PROJECT}/tasks/5?from=0&to=10")
    expect(page.locator(".now .result")).to_contain_text("logmel-v30")
    page.evaluate("window.loadedOnce = true")
    page.get_by_label("Zoom in").focus()
    for shown in ("2.50 s to 7.50 s", "3.75 s to 6.25 s"):
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text(shown)
        expect(page.get_by_label("Zoom in")).to_be_focused()
        expect(page.locator(".now .result")).to_contain_text("logmel-v30")
    page.go_back()
    expect(page.locator("main")).to_contain_text("2.50 s to 7.50 s")
    assert page.evaluate("window.loadedOnce"), "the page was not loaded anew"


def test_symbols_stay_beside_their_words(shared: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(width=PHONE_PIXELS)
    page.goto(f"{shared.url}{PROJECT}")
    for entry in page.locator(".key > span").all():
        symbol, whole = entry.locator(".mark").bounding_box(), entry.bounding_box()
        assert symbol is not None
        assert whole is not None
        assert whole["width"] > symbol["width"] + 20, "the words are beside it"
    row = page.locator("#version-30")
    lines = row.evaluate("row => row.offsetHeight / parseFloat(getComputedStyle(row).lineHeight)")
    assert lines < 3, "no cell is squeezed into many lines"


def test_a_sound_plays(shared: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(f"{shared.url}{PROJECT}")
    button = page.locator(".play").first
    with page.expect_response(lambda answer: answer.url.endswith("/sound")) as answered:
        button.click()
    assert answered.value.status in (200, 206)
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button.locator("span")).to_be_hidden()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")


def test_a_version_is_served_and_taken_back(small: Served, open_page: Callable[..., Page]) -> None:
    def active() -> str:
        with small.services.database.read() as session:
            version = active_version(session, KEY, small.services.encoder_identity())
            return version.name if version else ""

    page = open_page()
    page.goto(f"{small.url}{PROJECT}")
    page.locator("#version-28").get_by_role("link", name="Serve").click()
    page.get_by_role("link", name="Leave it as it is").click()
    assert active() == "logmel-v30"
    page.locator("#version-28").get_by_role("link", name="Serve").click()
    page.get_by_role("button", name="Serve logmel-v28").click()
    expect(page.locator("#version-28")).to_contain_text("answers")
    assert active() == "logmel-v28"
    page.get_by_role("link", name="Go back").click()
    page.get_by_role("button", name="Go back to logmel-v30").click()
    expect(page.locator("#version-30")).to_contain_text("answers")
    page.locator("#activations summary").click()
    expect(page.locator("#activations")).to_contain_text("logmel-v28, promoted")
    expect(page.locator("#activations")).to_contain_text("logmel-v30, rolled back")


def test_changes_appear_and_what_is_open_stays_open(shared: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(f"{shared.url}{PROJECT}")
    opened = page.locator("#list-conflicts")
    opened.locator("summary").click()
    page.locator("#list-uncertain summary").click()  # closes what was open
    page.get_by_role("link", name="task 4", exact=True).focus()
    focused = page.evaluate("document.activeElement.outerHTML")
    with shared.services.database.write() as session:
        row = {"started_at": 1.0, "finished_at": 2.0, "outcome": "failed", "detail": "ValueError: a new one"}
        session.add(Training(project_key=KEY, **row))
    expect(page.locator("#list-failed")).to_contain_text("a new one")
    expect(opened).to_have_attribute("open", "")
    expect(page.locator("#list-uncertain")).not_to_have_attribute("open", "")
    assert page.evaluate("document.activeElement.outerHTML") == focused
    expect(page.locator(".plot canvas")).to_have_count(3)


def test_a_lost_connection_is_shown(tmp_path: Path, chromium: Browser) -> None:
    served = serve(tmp_path, 1, 1)
    page = chromium.new_page()
    page.goto(f"{served.url}{PROJECT}")
    expect(page.locator("#live")).to_have_text("Live")
    stop(served)
    expect(page.locator("#live")).to_contain_text("Connection lost")
    page.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_change_between_the_page_and_its_first_event(
    shared: Served, open_page: Callable[..., Page], path: str
) -> None:
    page = open_page()

    def change(route: Route) -> None:
        row = {"started_at": 1.0, "finished_at": 2.0, "outcome": "failed", "detail": f"Overlooked on {path}"}
        with shared.services.database.write() as session:
            session.add(Training(project_key=KEY, **row))
        route.continue_()

    page.route("**/events", change, times=1)
    page.goto(f"{shared.url}{path}")
    expect(page.locator("main")).to_contain_text(f"Overlooked on {path}")


def test_a_change_of_another_kind_reaches_the_overview(
    shared: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    page.goto(shared.url)
    with shared.services.database.write() as session:
        session.add(
            Training(
                project_key=KEY, started_at=1.0, finished_at=2.0, outcome="failed", detail="Overview fault"
            )
        )
    expect(page.locator("main")).to_contain_text("Overview fault")
