"""``earmark connect`` against a real Label Studio and a backend that asks for a password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from sqlalchemy import select

from earmark.errors import LabelStudioError
from earmark.labelstudio.connection import check_webhook
from earmark.monitoring.doctor import examine
from earmark.processes.stack import api_url, child_environment, start_backend
from earmark.processes.supervisor import supervised
from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.models import Event
from tests.command_line import run_command

ROOT = Path(__file__).parents[2]
LOGIN = ("annotators", "a-password:with-colon")

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Locked:
    """A running backend that asks for a password, and a project of Label Studio."""

    settings: Settings
    environment: dict[str, str]
    url: str
    client: Any
    project: Any

    def connect(self, *options: str, **environment: str) -> CompletedProcess[str]:
        """Run the command."""
        return run_command(
            "connect", self.project.id, *options, environment={**self.environment, **environment}
        )

    def state(self) -> list[Any]:
        """All that connecting sets in Label Studio, without times."""
        times = {"created_at", "updated_at"}
        backends = [b.model_dump(exclude=times) for b in self.client.ml.list(project=self.project.id)]
        hooks = [h.model_dump(exclude=times) for h in self.client.webhooks.list(project=self.project.id)]
        project = self.client.projects.get(id=self.project.id)
        return [backends, hooks, project.model_version, project.show_collab_predictions]

    def events(self, action: str) -> int:
        """Webhooks that arrived."""
        database = Database(self.settings.sqlalchemy_url)
        try:
            with database.read() as session:
                query = select(Event.project_key).where(Event.action == action)
                keys = [key for key in session.scalars(query) if key.startswith(f"{self.project.id}.")]
                return len(keys)
        finally:
            database.close()


@pytest.fixture(scope="module")
def locked(label_studio: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("locked")
    settings = Settings(
        _env_file=None,
        data_dir=folder / "data",
        port=port,
        encoder="logmel",
        api_user=LOGIN[0],
        api_password=LOGIN[1],
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
    )
    environment = {
        **child_environment(settings),
        "API_USER": LOGIN[0],
        "API_PASSWORD": LOGIN[1],
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "TRAIN_DEBOUNCE_SECONDS": "86400",
        "TRAIN_MAX_WAIT_SECONDS": "86400",
    }
    for name in ("REDIS_URL", "DATABASE_URL", "API_TOKEN"):
        environment.pop(name, None)
    client = label_studio.client
    project = client.projects.create(
        title="Locked backend", label_config=(ROOT / "label_config.xml").read_text()
    )
    sound = folder / "noise.wav"
    soundfile.write(sound, 0.1 * np.random.default_rng(0).standard_normal(32000), 32000)
    client.projects.import_tasks(id=project.id, request=[{"data": {"audio": str(sound)}}])
    with supervised(folder / "run") as supervisor:
        start_backend(supervisor, settings, environment, folder / "logs")
        yield Locked(settings, environment, api_url(settings), client, project)


def test_connecting_twice_is_connecting_once(locked: Locked) -> None:
    first = locked.connect()
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("✓") == 5
    state = locked.state()
    backends, hooks, version, shown = state
    assert [(b["url"], b["title"], b["basic_auth_user"]) for b in backends] == [
        (locked.url, "logmel-v0", LOGIN[0])
    ]
    assert [(h["url"], h["is_active"], h["send_for_all_actions"]) for h in hooks] == [
        (f"{locked.url}/webhook", True, True)
    ]
    assert (version, shown) == ("logmel-v0", True)
    assert LOGIN[1] not in first.stdout + first.stderr
    second = locked.connect()
    assert second.stdout == first.stdout
    assert locked.state() == state


def test_webhooks_and_predictions_arrive(locked: Locked) -> None:
    assert locked.connect().returncode == 0
    (task,) = locked.client.tasks.list(project=locked.project.id)
    events_before = locked.events("ANNOTATION_CREATED")
    locked.client.annotations.create(id=task.id, result=[])
    assert locked.events("ANNOTATION_CREATED") == events_before + 1
    url, token = locked.settings.label_studio_url, locked.settings.api_key
    answer = httpx.post(
        f"{url}/api/dm/actions?id=retrieve_tasks_predictions&project={locked.project.id}",
        json={"selectedItems": {"all": True, "excluded": []}},
        headers={"Authorization": f"Token {token}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    predictions = locked.client.predictions.list(task=task.id)
    assert [prediction.model_version for prediction in predictions] == ["logmel-v0"]


@pytest.mark.parametrize("harm", ["header", "inactive", "deleted", "title", "twice"])
def test_what_was_broken_is_repaired(locked: Locked, harm: str) -> None:
    assert locked.connect().returncode == 0
    good = locked.state()
    number = locked.project.id
    (hook,) = locked.client.webhooks.list(project=number)
    (backend,) = locked.client.ml.list(project=number)
    if harm == "header":
        locked.client.webhooks.update(id=hook.id, url=hook.url, headers={"Authorization": "Basic b2xk"})
    elif harm == "inactive":
        locked.client.webhooks.update(id=hook.id, url=hook.url, is_active=False, send_payload=False)
    elif harm == "deleted":
        locked.client.webhooks.delete(id=hook.id)
    elif harm == "title":
        login = {"basic_auth_user": LOGIN[0], "basic_auth_pass": LOGIN[1], "auth_method": "BASIC_AUTH"}
        locked.client.ml.update(id=backend.id, url=backend.url, project=number, title="Mine", **login)
    else:
        locked.client.webhooks.create(url=hook.url, project=number)
    if harm in ("header", "inactive", "deleted"):
        with pytest.raises(LabelStudioError, match="nothing would be learned"):
            check_webhook(locked.client, "", number, locked.url, LOGIN)
        findings = {finding.subject: finding for finding in examine(locked.settings)}
        assert findings[f"project {number} webhook"].level == "fault"
    assert locked.connect().returncode == 0
    for part in (good, now := locked.state()):
        part[1][0].pop("id")  # a deleted webhook comes back under another number
    assert now == good


def test_another_address_replaces_the_old_one(locked: Locked) -> None:
    assert locked.connect().returncode == 0
    elsewhere = locked.url.replace("127.0.0.1", "localhost")
    moved = locked.connect("--url", f"{elsewhere}/")
    assert moved.returncode == 0, moved.stderr
    backends, hooks, *_ = locked.state()
    assert [backend["url"] for backend in backends] == [elsewhere]
    assert [hook["url"] for hook in hooks] == [f"{elsewhere}/webhook"]
    assert locked.connect().returncode == 0
    backends, hooks, *_ = locked.state()
    assert [backend["url"] for backend in backends] == [locked.url]
    assert [hook["url"] for hook in hooks] == [f"{locked.url}/webhook"]


def test_a_wrong_password_is_said_and_changes_nothing(locked: Locked) -> None:
    assert locked.connect().returncode == 0
    state = locked.state()
    refused = locked.connect(API_PASSWORD="another-one")
    assert refused.returncode == 2
    assert "refuses the user and password" in refused.stderr
    assert "API_PASSWORD must be the same" in refused.stderr
    assert "another-one" not in refused.stdout + refused.stderr
    assert locked.state() == state


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        (("--url", "http://127.0.0.1:9"), {}, "http://127.0.0.1:9"),
        ((), {"API_PASSWORD": "", "API_TOKEN": "only-a-token"}, "set API_PASSWORD as well"),
        ((), {"LABEL_STUDIO_API_KEY": "not-the-token-of-anybody"}, "refuses the token"),
        ((), {"DATA_DIR": "elsewhere"}, "is not in this database"),
    ],
)
def test_each_hindrance_is_one_sentence(
    locked: Locked, options: tuple[str, ...], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    if "DATA_DIR" in environment:
        environment = {"DATA_DIR": str(tmp_path / environment["DATA_DIR"])}
    failed = locked.connect(*options, **environment)
    assert failed.returncode == 2, failed.stdout
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stderr.startswith("✗")


def test_an_unknown_project_is_said(locked: Locked) -> None:
    failed = run_command("connect", "No such title", environment=locked.environment)
    assert failed.returncode == 2
    assert "No such title" in failed.stderr
