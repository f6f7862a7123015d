"""``docker-compose.yml`` and ``Dockerfile``, checked without a Docker engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from earmark.cli import app
from earmark.jobs.queues import QueueKind
from earmark.settings import Settings, misspelled
from scripts.label_studio_server import LabelStudioServer

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ("worker-learn", "worker-predict")
BACKEND = ("api", *WORKERS)
SERVICES = ("label-studio", *BACKEND, "redis")


def filled_in(value: Any) -> Any:
    """Replace ``${NAME:-default}`` by the default, as compose does when nothing is set."""
    if isinstance(value, str):
        inner = re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", value)
        return inner if inner == value else filled_in(inner)  # a default may be a variable
    if isinstance(value, dict):
        return {key: filled_in(item) for key, item in value.items()}
    return [filled_in(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = filled_in(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = compose["services"]
    return section


def test_every_service_is_there_and_watched(services: dict[str, Any]) -> None:
    assert set(services) == set(SERVICES)
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for service in services.values():
        assert re.search(r":\d+\.\d+\.\d+(-\w+)?$", service["image"]), service["image"]
    assert services["label-studio"]["image"] == "heartexlabs/label-studio:1.23.2"


def test_ports_are_open_on_this_machine_alone(services: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in services.items()}
    assert ports == {
        "label-studio": ["127.0.0.1:8080:8080"],
        "api": ["127.0.0.1:9090:9090"],
        "worker-learn": [],
        "worker-predict": [],
        "redis": [],
    }


@pytest.mark.parametrize("name", BACKEND)
def test_every_variable_of_the_backend_is_a_setting(services: dict[str, Any], name: str) -> None:
    environment = services[name]["environment"]
    assert {variable.lower() for variable in environment} <= set(Settings.model_fields)
    settings = Settings(_env_file=None, **{key.lower(): value for key, value in environment.items()})
    assert settings.data_dir == Path("/data")
    assert (settings.bind, settings.port) == ("0.0.0.0", 9090)
    assert settings.label_studio_url == "http://label-studio:8080"
    assert settings.redis_url == "redis://redis:6379/0"


@pytest.mark.parametrize("name", BACKEND)
def test_the_backend_reads_every_setting_of_the_env_file(
    services: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert services[name]["env_file"] == [{"path": ".env", "required": False}]
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", text, flags=re.M))
    from_file = {key: value for key, value in dotenv_values(tmp_path / ".env").items() if value}
    together = {**from_file, "SECRET_KEY": "k" * 32, "LOG_LEVEL": "DEBUG", **services[name]["environment"]}
    for variable, value in together.items():
        monkeypatch.setenv(variable, value)
    settings = Settings(_env_file=None)
    assert settings.data_dir == Path("/data")
    assert settings.secret_key
    assert settings.log_level == services[name]["environment"]["LOG_LEVEL"]


def test_variables_of_compose_are_no_misspelled_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    variables = {*re.findall(r"\$\{(\w+)", text), *re.findall(r"^#   (\w+)", text, re.M)}
    for variable in variables:
        monkeypatch.setenv(variable, "x")
    assert not variables & misspelled().keys()


@pytest.mark.parametrize("name", BACKEND)
def test_the_backend_runs_commands_that_exist(services: dict[str, Any], name: str) -> None:
    start, command = services[name]["command"][:2]
    assert start == "earmark"
    names = {
        registered.name or getattr(registered.callback, "__name__", "")
        for registered in app.registered_commands
    }
    assert command in names


def test_each_queue_has_a_worker_of_its_own(services: dict[str, Any]) -> None:
    commands = [services[name]["command"][1:] for name in WORKERS]
    assert commands == [["worker", "--queue", kind.value] for kind in QueueKind]


def test_api_and_workers_share_their_data_and_label_studios_files(services: dict[str, Any]) -> None:
    assert all(services["api"]["volumes"] == services[name]["volumes"] for name in WORKERS)
    audio = "./audio:/label-studio/files/audio:ro"
    root = services["label-studio"]["environment"]["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"]
    for name in ("label-studio", *BACKEND):
        assert audio in services[name]["volumes"]
        assert services[name]["environment"]["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == root
    # A storage's path must be a subfolder of the document root.
    assert Path(audio.split(":")[1]).parent == Path(root)


def test_named_volumes_and_networks_are_declared(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    used = {volume.split(":")[0] for service in services for volume in service["volumes"]}
    assert used - {"./audio"} == set(compose["volumes"])
    assert {network for service in services for network in service["networks"]} == set(compose["networks"])


def test_redis_keeps_its_data_and_stays_away_from_label_studio(services: dict[str, Any]) -> None:
    assert services["redis"]["command"] == ["redis-server", "--appendonly", "yes"]
    assert services["redis"]["volumes"] == ["redis-data:/data"]
    assert not set(services["redis"]["networks"]) & set(services["label-studio"]["networks"])
    assert not any("REDIS" in variable for variable in services["label-studio"]["environment"])


def test_each_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    for name, needs in {
        "api": {"redis", "label-studio"},
        **{name: {"redis", "api"} for name in WORKERS},
    }.items():
        assert services[name]["depends_on"] == {need: {"condition": "service_healthy"} for need in needs}


def test_label_studio_gets_what_connecting_needs(services: dict[str, Any], tmp_path: Path) -> None:
    environment = services["label-studio"]["environment"]
    server = LabelStudioServer(tmp_path / "x", tmp_path, 1, "u@example.com", "password", "token", tmp_path)
    ours = {
        name: value
        for name, value in server.environment().items()
        if re.match(r"LABEL_STUDIO_|COLLECT|SENTRY|FRONTEND", name) and name != "LABEL_STUDIO_BASE_DATA_DIR"
    }
    assert set(environment) == set(ours)
    same = {name for name in ours if ours[name].lower() in ("", "true", "false")}
    assert {name: environment[name] for name in same} == {name: ours[name] for name in same}
    assert environment["LABEL_STUDIO_USER_TOKEN"] == services["api"]["environment"]["LABEL_STUDIO_API_KEY"]
    assert 5 < len(environment["LABEL_STUDIO_USER_TOKEN"]) <= 40


def test_checks_in_python_are_python(services: dict[str, Any]) -> None:
    for service in services.values():
        test = service["healthcheck"]["test"]
        if "python" in test[1]:
            compile(test[-1], "healthcheck", "exec")


def test_dockerfile_runs_as_an_ordinary_user_and_watches_itself() -> None:
    text = (ROOT / "Dockerfile").read_text()
    instructions = [line.split()[0] for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert text.splitlines()[1] == "FROM python:3.11-slim"
    assert "HEALTHCHECK" in instructions
    assert instructions.index("USER") < instructions.index("CMD")
    copied = {part for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for part in line.split()}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
