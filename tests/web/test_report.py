"""The page as a file: everything in it, nothing fetched, sounds that cannot be had left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.page_data import seed_project
from earmark.cli import app
from earmark.errors import ConfigurationError
from earmark.services import Services
from earmark.settings import Settings
from earmark.web.report import project_report


@pytest.fixture
def project(services: Services, tmp_path: Path) -> str:
    """Key of a project whose sounds are of this test alone."""
    return seed_project(services, tmp_path / "made", tasks=60, versions=30)


def test_everything_is_in_the_file(services: Services, project: str, tmp_path: Path) -> None:
    (tmp_path / "made" / "night-1.flac").unlink()
    html = project_report(services, project)
    assert not re.search(r'\ssrc="(?!data:)', html)
    assert not re.search(r'<link[^>]*href="(?!data:)', html)
    assert {link.partition("?")[0] for link in re.findall(r'<a[^>]*href="([^"#][^"]*)"', html)} == {
        "http://127.0.0.1:8080/projects/7/data"
    }
    pictures = re.findall(r'<img[^>]*src="data:image/png;base64,', html)
    assert 8 <= len(pictures) < 16, "of the sound that is gone there is none"
    assert len(html) < 600_000
    for text in ("Forest at night", "logmel-v30", "Least certain", "data-curve="):
        assert text in html
    assert not re.search(r"<button|data-events=", html)
    assert html.count("</script>") == 1


def test_the_command(
    services: Services, settings: Settings, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ENCODER", "logmel")
    done = CliRunner().invoke(
        app, ["report", "Forest at night", "-o", str(tmp_path / "deep" / "report.html")]
    )
    assert done.exit_code == 0, done.output
    assert "Forest at night" in (tmp_path / "deep" / "report.html").read_text()
    below_a_file = tmp_path / "deep" / "report.html" / "report.html"
    again = CliRunner().invoke(
        app, ["report", "Forest at night", "-o", str(tmp_path / "deep" / "report.html")]
    )
    assert "in place of" in again.output
    assert "in place of" not in done.output
    done = CliRunner().invoke(app, ["report", "Forest at night", "-o", str(below_a_file)])
    assert isinstance(done.exception, ConfigurationError)
