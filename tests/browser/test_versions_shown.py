"""Where people see which version made a suggestion, and the backend's own page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def test_suggestions_name_their_version(annotator: Annotator, make_project: Callable[..., Loop]) -> None:
    """On the card above an opened task, and in a column of the Data Manager."""
    loop = make_project("Versions shown")
    task, version = loop.open_tasks()[0], loop.version()
    annotator.open_task(loop.project_id, task)
    assert version in annotator.results_of_task()
    annotator.screenshot("version-on-card")
    annotator.open_data_manager(loop.project_id)
    annotator.show_column("Prediction model versions")
    assert version in annotator.row(task)
    annotator.screenshot("version-in-data-manager")


def test_the_page_of_the_backend(
    open_window: Callable[[], Annotator], make_project: Callable[..., Loop]
) -> None:
    """It shows the project and its version, with no error and no request to another machine."""
    loop = make_project("On the page")
    window = open_window()
    answer = window.page.goto(loop.api_url)
    assert answer is not None
    assert answer.ok
    text = window.page.inner_text("body")
    assert "On the page" in text
    assert loop.version() in text
    window.screenshot("backend-page")
    assert window.observed.outside == []
    assert window.observed.errors == []
