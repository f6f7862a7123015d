"""Commands find the backend started from this folder, and never mix the settings of two."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from earmark.processes import discovery
from earmark.processes.discovery import command_settings, registered, running_backends
from earmark.settings import Settings, environment_of, load_settings
from tests.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty registry, and a folder of its own to run commands in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "state" / "earmark" / "running"


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **more)


@contextmanager
def another_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has registered itself with these settings."""
    code = (
        "import time\n"
        "from earmark.processes.discovery import registered\n"
        "from earmark.settings import load_settings\n"
        "with registered(load_settings()): print(flush=True); time.sleep(600)"
    )
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_is_not_set_comes_from_the_running_backend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = settings_in(
        tmp_path / "clone" / "demo-data",
        port=9391,
        encoder="logmel",
        audio_roots=(tmp_path,),
        api_password="secret",
        label_studio_url="http://ls:1",
        label_studio_api_key="token",
    )
    monkeypatch.setenv("PREDICT_BUDGET_SECONDS", "7")
    monkeypatch.delenv("AUDIO_ROOTS")
    with registered(demo):
        discovered = command_settings()
    assert (discovered.data_dir, discovered.port, discovered.encoder) == (demo.data_dir, 9391, "logmel")
    assert (discovered.label_studio_url, discovered.api_key, discovered.login) == (
        "http://ls:1",
        "token",
        ("earmark", "secret"),
    )
    assert (discovered.audio_roots, discovered.predict_budget_seconds) == ((tmp_path,), 7)
    assert "demo-data" in capsys.readouterr().err
    assert command_settings() == load_settings(), "it is gone with the end of the block"
    assert capsys.readouterr() == ("", "")


def test_the_file_is_for_this_user_alone_and_goes_with_the_backend(registry: Path, tmp_path: Path) -> None:
    with registered(settings_in(tmp_path / "data", label_studio_api_key="token")):
        (path,) = registry.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(registry.stat().st_mode) == 0o700
        path.chmod(0o644)
        assert running_backends() == [], "others may have read or written it"
    assert list(registry.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATA_DIR", "elsewhere"),
        ("DATABASE_URL", "sqlite:////elsewhere.db"),
        ("REDIS_URL", "redis://elsewhere"),
        ("PORT", "9999"),
        ("LABEL_STUDIO_URL", "http://production"),
        ("LABEL_STUDIO_API_KEY", "token-of-production"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True], ids=["environment", "env-file"])
def test_a_backend_that_an_explicit_setting_contradicts_is_not_taken(
    name: str, value: str, in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = settings_in(
        tmp_path / "demo", port=9391, label_studio_url="http://ls:1", label_studio_api_key="token"
    )
    if in_file:
        monkeypatch.delenv("EARMARK_ENV_FILE")
        Path(".env").write_text(f"{name}={value}\n")
    else:
        monkeypatch.setenv(name, value)
    with registered(demo):
        assert command_settings() == load_settings()
        chosen = command_settings(tmp_path / "demo")
    assert (chosen.data_dir, chosen.label_studio_url, chosen.api_key, chosen.database_url, chosen.port) == (
        demo.data_dir,
        "http://ls:1",
        "token",
        None,
        9391,
    )


def test_another_token_for_the_same_label_studio_is_the_same_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls:1/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "mine")
    with registered(
        settings_in(tmp_path / "d", label_studio_url="http://ls:1", label_studio_api_key="theirs")
    ):
        discovered = command_settings()
    assert (discovered.data_dir, discovered.api_key) == (tmp_path / "d", "mine")


def test_options_count_more_than_the_backend(tmp_path: Path) -> None:
    with registered(settings_in(tmp_path / "d", label_studio_url="http://ls:1", label_studio_api_key="t")):
        elsewhere = command_settings(label_studio_url="http://other", label_studio_api_key=None)
        both = command_settings(tmp_path / "d", label_studio_url="http://other", label_studio_api_key="o")
    assert (elsewhere.data_dir, elsewhere.api_key) == (Path("data"), None)
    assert (both.data_dir, both.label_studio_url, both.api_key) == (tmp_path / "d", "http://other", "o")


def test_of_several_the_last_one_is_taken_and_the_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        another_process(settings_in(tmp_path / "first", port=9391)),
        registered(settings_in(tmp_path / "second", port=9392)),
    ):
        assert command_settings().port == 9392
        output = capsys.readouterr().err
        assert "9392" in output
        assert f"--data-dir {tmp_path / 'first'}" in output
        assert command_settings(tmp_path / "first").port == 9391


def test_a_backend_of_another_folder_and_other_code_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registered(settings_in(tmp_path / "d", port=9391)):
        monkeypatch.chdir(tmp_path)
        assert command_settings().port == 9391, "the same code"
        monkeypatch.setattr(discovery, "CODE_FOLDER", tmp_path / "other-clone")
        assert command_settings() == load_settings()
        assert command_settings(tmp_path / "d").port == 9391, "named by its data folder"


def test_what_a_killed_backend_left_is_removed(registry: Path, tmp_path: Path) -> None:
    with another_process(settings_in(tmp_path / "d")) as process:
        assert len(running_backends()) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: running_backends() == [], "the killed backend is forgotten")
    assert list(registry.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"process": "1@1.0"}, {"host": "another"}, {"settings": {}}, {"process": 7}]
)
def test_files_that_are_not_of_a_living_backend_are_passed_over(
    change: dict[str, Any], registry: Path, tmp_path: Path
) -> None:
    with registered(settings_in(tmp_path / "d")):
        (path,) = registry.iterdir()
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        assert running_backends() == []
        path.write_text("{") if path.exists() else None
        assert running_backends() == []


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with registered(settings_in(tmp_path / "d")):
        assert running_backends() == []


def test_children_get_exactly_the_settings_of_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = settings_in(tmp_path / "d", audio_roots=(tmp_path, tmp_path / "b"), port=9090, api_token="t")
    monkeypatch.delenv("EARMARK_ENV_FILE")
    Path(".env").write_text("REDIS_URL=redis://production\nDATABASE_URL=postgresql+psycopg://production/x\n")
    for name, value in environment_of(parent).items():
        monkeypatch.setenv(name, value)
    assert load_settings().model_dump() == parent.model_dump()
