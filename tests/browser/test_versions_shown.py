"""Where people see which version made a suggestion, and the backend's own page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator
from tests.running import RunningLabelStudio

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Loop]) -> Loop:
    """A project in which nothing is trained while it is looked at."""
    return make_project("Versions shown")


def test_suggestions_name_their_version(annotator: Annotator, project: Loop) -> None:
    """On the card above an opened task, and in a column of the Data Manager."""
    task, version = project.open_tasks()[0], project.version()
    annotator.open_task(project.project_id, task)
    expect(annotator.card(version)).to_be_visible()
    annotator.screenshot("version-on-card")
    annotator.open_data_manager(project.project_id)
    annotator.show_column("Prediction model versions")
    row = annotator.row(project.clips[task].name)
    expect(row).to_contain_text(version)
    annotator.screenshot("version-in-data-manager")


def test_the_page_of_the_backend(
    open_window: Callable[[RunningLabelStudio], Annotator], label_studio: RunningLabelStudio, project: Loop
) -> None:
    """It shows the project and its version, with no error and no request to another machine."""
    window = open_window(label_studio)
    answer = window.page.goto(project.api_url)
    assert answer is not None
    assert answer.ok
    text = window.page.inner_text("body")
    assert "Versions shown" in text
    assert project.version() in text
    window.screenshot("backend-page")
    assert window.observed.outside == []
    assert window.observed.errors == []
