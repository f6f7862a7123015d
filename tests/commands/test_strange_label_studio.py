"""What answers instead of Label Studio, or does not: each command says so in one sentence, within seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.cli import main
from earmark.labelstudio import health
from earmark.monitoring.doctor import projects
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.access import remember_access
from earmark.store.projects import remember_project
from tests.audio.sound_server import Answer, Handler, Server

KEY = "1.1795198673"
LONGEST_SECONDS = 10.0


def hang(handler: Handler) -> None:
    handler.rfile.read(1)  # until the client is gone


def says(code: int, body: bytes, kind: str) -> Answer:
    return lambda handler: handler.give(code, body, Content_Type=kind)


ANSWERS: dict[str, Answer] = {
    "page": says(200, b"<!doctype html><html>welcome</html>", "text/html"),
    "list": says(200, b"[]", "application/json"),
    "error": says(500, b"<h1>Server Error (500)</h1>", "text/html"),
    "moved": lambda handler: handler.give(301, Location="https://elsewhere.example/health"),
    "empty": says(200, b"", "text/plain"),
    "nothing": hang,
}


class Stranger(Server):
    """Answers every path alike."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answers = _Always(answer)


class _Always(dict[str, Answer]):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def get(self, key: str, default: object = None) -> Answer:
        return self._answer


@pytest.fixture(params=list(ANSWERS))
def stranger(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Stranger(ANSWERS[request.param]) as server:
        yield server
        server.shutdown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_the_doctor_says_it_once(services: Services, stranger: Server) -> None:
    with services.database.write() as session:
        remember_access(session, KEY, stranger.url, "token", services.cipher)
    projects.label_studio_fault.cache_clear()
    values = {**services.settings.model_dump(exclude_unset=True), "label_studio_api_key": "token"}
    settings = Settings(_env_file=None, **values, label_studio_url=stranger.url)
    findings = [*projects.label_studio(settings), *projects.projects(settings)]
    faults = [finding for finding in findings if finding.level == "fault"]
    assert [finding.subject for finding in faults] == ["Label Studio"]
    assert "\n" not in faults[0].text
    projects.label_studio_fault.cache_clear()
    bare_settings = services.settings  # the address comes from the project
    faults = [finding for finding in projects.projects(bare_settings) if finding.level == "fault"]
    assert [finding.subject for finding in faults] == ["project 1 webhook"]


COMMANDS = [
    ["sync", "1"],
    ["connect", "1"],
    ["import", ".", "--project", "1"],
    ["export", "1", "--format", "jsonl", "--out", "out"],
    ["versions", "Elsewhere"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_each_command_ends_with_one_sentence(
    services: Services,
    tmp_path: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, title="Town")
    with Stranger(ANSWERS["page"]) as server:
        monkeypatch.setenv("DATA_DIR", str(services.settings.data_dir))
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123456789abcdef")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["earmark", *command])
        started = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main()
        took = time.monotonic() - started
        server.shutdown()
    text = capsys.readouterr().err
    assert ended.value.code == 2, text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1, text
    assert took < LONGEST_SECONDS
