"""The demo's screen and its tab in the Data Manager."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scripts import demo
from scripts.demo_project import LEAST_CERTAIN, serve_least_certain_first
from scripts.demo_source import DemoSource


def source(fallback: str = "") -> DemoSource:
    config = Path("label_config.xml")
    title = "Earmark demo, animals"
    return DemoSource(title, config, "clips", Path("clips"), lambda *_: [], not fallback, fallback)


def shown(width: int, source: DemoSource, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(demo, "console", console)
    loop: Any = SimpleNamespace(
        project_id=12345, project_key="12345.1795198673", api_url="http://127.0.0.1:59391"
    )
    login = demo.Login("a-password12", "token")
    console.print(demo.screen(loop, "http://127.0.0.1:58391", 12345, login, "yamnet+logmel-v12345", source))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits_80_columns(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(width, source(), monkeypatch)
    assert max(map(len, text.splitlines())) == 80
    for whole in (
        "http://127.0.0.1:58391/projects/12345/data?tab=12345",
        "http://127.0.0.1:59391/projects/12345.1795198673",
        "a-password12",
        ".venv/bin/earmark progress 'Earmark demo, animals'",
        "press q",
    ):
        assert whole in text


def test_the_screen_has_a_line_more_where_synthesised_sounds_stand_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = shown(80, source(), monkeypatch).splitlines()
    synthesised = shown(80, source("pip: no network"), monkeypatch).splitlines()
    (line,) = set(synthesised) - set(recorded)
    assert "synthesised" in line
    assert len(line) == 80
    assert len(synthesised) == len(recorded) + 1


class Views:
    """Label Studio's views, as far as the demo uses them."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def list(self, project: int) -> list[Any]:
        return [view for view in self.made if view.project == project]

    def create(self, project: int, data: dict[str, Any]) -> Any:
        self.made.append(SimpleNamespace(id=len(self.made) + 1, project=project, data=data))
        return self.made[-1]


def test_the_tab_and_the_sampling_are_set_once() -> None:
    sampling: list[dict[str, str]] = []
    projects = SimpleNamespace(update=lambda id, sampling_=sampling, **fields: sampling_.append(fields))
    client = SimpleNamespace(views=Views(), projects=projects)
    assert serve_least_certain_first(client, "", 7) == serve_least_certain_first(client, "", 7) == 2
    assert [view.data["title"] for view in client.views.made] == ["Default", LEAST_CERTAIN]
    assert sampling == [{"sampling": "Uncertainty sampling"}]
    hidden = client.views.made[1].data["hiddenColumns"]["explore"]
    assert not {"tasks:predictions_score", "tasks:predictions_model_versions"} & set(hidden)
