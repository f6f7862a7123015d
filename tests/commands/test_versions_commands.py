"""Output of the version commands, on a terminal and as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.commands.common import opened
from earmark.learning.training import learn
from earmark.processes.discovery import DEMO_DATA
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.projects import remember_project
from tests.command_line import run_command
from tests.lessons import KEY, config, make_tones, receive, webhook

CONFIG = config("Low", "High")


@pytest.fixture(scope="module")
def trained_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a backend with a project of three versions."""
    folder = tmp_path_factory.mktemp("trained")
    tones = make_tones(folder, ["Low", "High"] * 5)
    settings = Settings(_env_file=None, data_dir=folder / "data", encoder="logmel")
    with Services(settings) as services:
        services.database.upgrade()
        for tasks in (tones[:6], tones[6:8], tones[8:]):
            receive(services, *(webhook(task, CONFIG) for task in tasks))
            learn(services, KEY)
    return settings.data_dir


@pytest.fixture
def trained(settings: Settings, trained_data: Path) -> Iterator[Services]:
    """Services on a copy of that folder."""
    shutil.copytree(trained_data, settings.data_dir)
    with Services(settings) as services:
        yield services


def run(services: Services, *arguments: str, code: int = 0, **environment: str) -> str:
    settings = {"DATA_DIR": str(services.settings.data_dir), "ENCODER": "logmel"}
    done = run_command(*arguments, environment={"PATH": os.environ["PATH"], **settings, **environment})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_table_of_versions(trained: Services) -> None:
    text = run(trained, "versions")
    assert "\x1b" not in text, "no colours outside a terminal"
    assert f"Tones, project {KEY}" in text
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("logmel")]
    assert [line[0] for line in lines] == ["logmel-v3", "logmel-v2", "logmel-v1"]
    assert ["active" in line for line in lines] == [True, False, False]
    assert lines[0][2] == "10"
    narrow = run(trained, "versions", "1", COLUMNS="80", FORCE_COLOR="1", TERM="xterm")
    assert "\x1b" in narrow
    assert "…" not in narrow, "no figure is cut"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", narrow)
    assert max(len(line) for line in plain.splitlines() if "logmel" in line) <= 80
    assert [cell for cell in ("label", "tags") if cell not in plain] == []


def test_back_and_forth_and_scripts(trained: Services) -> None:
    assert "logmel-v2 now answers for project 1 (Tones), logmel-v3 did before." in run(
        trained, "rollback", "1"
    )
    assert trained.version_name(KEY) == "logmel-v2"
    answer = json.loads(run(trained, "rollback", KEY, "--json"))
    assert answer == {"project": KEY, "before": "logmel-v2", "active": "logmel-v1"}
    assert "no earlier version to go back to" in run(trained, "rollback", "1", code=2)
    run(trained, "promote", "1", "v3")
    assert trained.version_name(KEY) == "logmel-v3"
    assert "already" in run(trained, "promote", "1", "logmel-v3")
    assert "no version “v9”" in run(trained, "promote", "1", "v9", code=2)
    state = json.loads(run(trained, "versions", "1", "--json"))
    assert (state["versions"][0], state["projects"][0]["active"]) == ("logmel-v3", "logmel-v3")


def test_a_number_that_two_projects_have_is_asked_about(trained: Services) -> None:
    with trained.database.write() as session:
        remember_project(session, "1.5", title="Bats")
    text = run(trained, "rollback", "1", code=2)
    assert f"{KEY} (Tones), 1.5 (Bats)" in text
    assert trained.version_name(KEY) == "logmel-v3"
    assert "logmel-v2 now answers" in run(trained, "rollback", KEY)


def test_the_learning_curve(trained: Services) -> None:
    text = run(trained, "progress", "1", COLUMNS="80", FORCE_COLOR="1", TERM="xterm")
    rows = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    assert [row[0] for row in rows if row and row[0].isdecimal()] == [*map(str, range(1, 11)), "1"]
    assert "logmel" not in text, "no row for each version"
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()) <= 90
    curve = json.loads(run(trained, "progress", "1", "--json"))["learning_curve"]
    assert [point["name"] for point in curve["versions"]] == ["logmel-v0", "logmel-v1", "logmel-v2"]
    assert [(step["first"], step["last"]) for step in curve["steps"]] == [(n, n) for n in range(1, 11)]
    assert curve["steps"][0]["suggestions"] == 0, "nothing was shown before the first training"
    assert curve["steps"][-1]["tags_f1"] == 1.0


def test_a_stopped_demo_is_pointed_to(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEMO_DATA).mkdir(parents=True)
    (tmp_path / DEMO_DATA / "earmark.db").touch()

    def last_output() -> str:
        with opened(services.settings.data_dir):
            return capsys.readouterr().err

    assert f"DATA_DIR={DEMO_DATA}" in last_output()
    with services.database.write() as session:
        remember_project(session, KEY, title="Owls", label_config=CONFIG)
    assert last_output() == "", "there is a project here"


def test_nothing_yet(services: Services) -> None:
    assert "No project has connected yet" in run(services, "versions")
    with services.database.write() as session:
        remember_project(session, KEY, title="Owls [red]", label_config=CONFIG)
    assert "Owls [red]" in run(services, "versions")
    assert "the next submitted annotation is the first" in run(services, "progress", "1")
