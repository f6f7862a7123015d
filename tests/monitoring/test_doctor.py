"""The doctor runs all checks, and names a remedy for each fault."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

import earmark.cli
from earmark.errors import SoundUnreadableError
from earmark.monitoring.doctor import (
    Finding,
    examine,
    heads,
    machine,
    print_report,
    projects,
    recordings,
)
from earmark.services import Services
from earmark.settings import Settings, load_settings
from earmark.store.access import remember_access
from earmark.store.models import Project, Task
from earmark.store.projects import known_projects, remember_project
from earmark.store.sound_errors import remember_fault


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def with_changes(settings: Settings, **changes: object) -> Settings:
    return Settings(_env_file=None, **{**settings.model_dump(exclude_unset=True), **changes})


def test_a_fresh_folder_has_no_faults(settings: Settings) -> None:
    findings = examine(settings)
    assert not [finding for finding in findings if finding.level == "fault"]
    assert {"data folder", "database", "Redis", "encoder", "Label Studio", "API", "projects"} <= set(
        by_subject(findings)
    )


def test_what_cannot_be_reached_comes_with_a_remedy(settings: Settings) -> None:
    broken = with_changes(
        settings,
        redis_url="redis://127.0.0.1:9/0",
        label_studio_url="http://127.0.0.1:9",
        database_url="postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=1",
        encoder="cnn14",
    )
    findings = by_subject(examine(broken))
    for subject, hint in {
        "Redis": "REDIS_URL",
        "Label Studio": "LABEL_STUDIO_URL",
        "database": "DATABASE_URL",
        "encoder": "CNN14_CHECKPOINT",
    }.items():
        assert findings[subject].level == "fault"
        assert hint in findings[subject].remedy


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["auto", "cnn14"])
@pytest.mark.parametrize("content", [None, b"", bytes(range(250)) * 4])
def test_a_checkpoint_that_is_no_good_is_a_fault(
    settings: Settings, tmp_path: Path, encoder: str, content: bytes | None
) -> None:
    own = tmp_path / "own.pth"
    if content is not None:
        own.write_bytes(content)
    finding_of = by_subject(examine(with_changes(settings, encoder=encoder, cnn14_checkpoint=own)))
    assert finding_of["encoder"].level == "fault"
    assert "CNN14_CHECKPOINT" in finding_of["encoder"].remedy
    assert "unset it" in finding_of["encoder"].remedy
    assert "put it into" not in finding_of["encoder"].remedy, "nobody looks there while the variable is set"
    assert ("logmel" in finding_of["encoder"].text) == (encoder == "auto")
    assert "CNN14's engine" not in finding_of


def unusable_folders(tmp_path: Path) -> list[Path]:
    """A file, a folder below one, one that nobody can make, and one that even root cannot write to."""
    file = tmp_path / "file"
    file.touch()
    return [file, file / "data", Path("/proc/none/data"), Path("/sys")]


@pytest.mark.parametrize("number", range(4))
def test_a_data_folder_that_cannot_be_used_hides_nothing(
    settings: Settings, tmp_path: Path, number: int
) -> None:
    own = tmp_path / "own.pth"
    own.write_bytes(b"weights")
    folder = unusable_folders(tmp_path)[number]
    findings = examine(with_changes(settings, data_dir=folder, encoder="cnn14", cnn14_checkpoint=own))
    finding_of = by_subject(findings)
    assert {"data folder", "database", "encoder", "Label Studio", "API"} <= set(finding_of)
    for subject in ("data folder", "database"):
        assert finding_of[subject].level == "fault"
        assert "DATA_DIR" in finding_of[subject].remedy


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("command", ["up", "serve", "versions", "weights"])
def test_commands_say_one_sentence_of_such_a_folder(
    tmp_path: Path,
    number: int,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, folder = tmp_path / "own.pth", unusable_folders(tmp_path)[number]
    own.write_bytes(b"weights")
    monkeypatch.setattr("sys.argv", ["backend", command])
    for name, value in {"DATA_DIR": folder, "ENCODER": "logmel", "CNN14_CHECKPOINT": own}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("earmark.cli.get_settings", load_settings)
    with pytest.raises(SystemExit) as ended:
        earmark.cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert f"✗ {folder}" in lines[-1]
    assert "cannot be used as a folder for data" in lines[-1]
    assert str(own) not in lines[-1], "the checkpoint is as good as ever"


def test_projects_and_bad_sounds_are_listed(settings: Settings, services: Services) -> None:
    with services.database.write() as session:
        remember_project(session, "7.1", title="Owls").failures = 2
        remember_fault(session, "/a.wav", SoundUnreadableError("a.wav is not sound: replace it."))
    findings = by_subject(examine(settings))
    assert findings["project 7 webhook"].level == "fault"  # no Label Studio is known to ask
    assert findings["project 7"].level == "fault"
    assert "Owls" in findings["project 7"].text
    assert findings["bad sound"].text == "a.wav is not sound: replace it."


def test_the_report_shows_every_finding_and_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    secretive = with_changes(settings, label_studio_api_key="do-not-print-me")
    console = Console(file=io.StringIO(), width=200)
    findings = [Finding("fault", "Redis", "is away [today]", "Start it.")]
    print_report(console, secretive, findings)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "is away [today]" in text
    assert "→ Start it." in text
    assert "do-not-print-me" not in text


def test_an_address_that_waits_for_confirmation_is_said_and_can_be_accepted(
    settings: Settings,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with services.database.write() as session:
        remember_access(session, "1.1", "http://known:8080", "token", services.cipher)
        remember_access(session, "1.1", "http://moved:8080", "", services.cipher)
    (finding,) = projects._offer(projects_of(services)[0])
    assert "http://moved:8080" in finding.text
    assert "--accept-host 1" in finding.remedy
    folder = str(services.settings.data_dir)
    monkeypatch.setattr("sys.argv", ["backend", "doctor", "--accept-host", "1", "--data-dir", folder])
    with pytest.raises(SystemExit) as ended:
        earmark.cli.main()
    assert ended.value.code == 0
    assert "http://moved:8080" in capsys.readouterr().out
    (project,) = projects_of(services)
    assert (project.hostname, project.access_token) == ("http://moved:8080", "")
    assert list(projects._offer(project)) == []


def projects_of(services: Services) -> list[Project]:
    with services.database.read() as session:
        return known_projects(session)


def test_recordings_that_encoders_do_not_take_in_are_said(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    config = (
        '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
        '<Label value="Bat"/></Labels></View>'
    )
    time = np.arange(38_400) / 384_000
    for name, hertz in (("bat", 60_000), ("bird", 4_000)):
        soundfile.write(tmp_path / f"{name}.wav", 0.5 * np.sin(2 * np.pi * hertz * time), 384_000)
    with services.database.write() as session:
        for number, name in ((1, "bat"), (2, "bird")):
            key = f"{number}.5"
            remember_project(session, key, label_config=config)
            data = {"audio": str(tmp_path / f"{name}.wav")}
            session.add(Task(project_key=key, task_id=number, data=data))
            session.add(Task(project_key=key, task_id=10 + number, data={"audio": "/gone.wav"}))
    for name in ("bat", "bird"):
        services.extractor().extract_address(str(tmp_path / f"{name}.wav"), None)
    (finding,) = recordings.recordings(settings)
    assert (finding.level, finding.subject) == ("note", "project 1 recordings")
    assert "1 of the 1" in finding.text
    assert "--time-expansion" in finding.remedy


def test_an_empty_database_stays_empty(settings: Settings) -> None:
    settings.data_dir.mkdir()
    for check in (machine.database, projects.projects, recordings.recordings, heads.heads):
        list(check(settings))
    assert (settings.data_dir / "earmark.db").stat().st_size == 0
