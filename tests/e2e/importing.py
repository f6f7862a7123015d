"""``earmark import``, with what it needs: sounds, a project, a data folder.

A module of tests takes the fixtures over by name: ``project = importing.project``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.command_line import run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """<View><Audio name="audio" value="$audio"/>
<Choices name="tags" toName="audio" choice="multiple">
<Choice value="Bell"/><Choice value="Rain &amp; wind"/><Choice value="Bird chirp"/></Choices></View>"""

DATA: dict[str, str] = {}


def write_sounds(folder: Path, names: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(2000), 16000)


@pytest.fixture(autouse=True, scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JsonCache, locks and reports of this module's imports."""
    folder = tmp_path_factory.mktemp("data")
    DATA["DATA_DIR"] = str(folder)
    return folder


@pytest.fixture
def project(label_studio: Any, request: pytest.FixtureRequest) -> Any:
    return label_studio.client.projects.create(title=request.node.name[-50:], label_config=CONFIG)


def environment(label_studio: Any, variables: dict[str, str]) -> dict[str, str]:
    """Environment of an import into a Label Studio."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LABEL_STUDIO_")}
    inherited |= {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    return inherited | {"NO_PROXY": "127.0.0.1", "COLUMNS": "200", **DATA, **variables}


def start(label_studio: Any, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    """Start an import in a process of its own, which can be stopped or killed."""
    command = [sys.executable, "scripts/bulk_import.py", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(label_studio, variables), stdout=pipe, stderr=pipe, text=True
    )


def run(label_studio: Any, *arguments: object, **variables: str) -> tuple[int, str]:
    """Run an import to its end; its exit code, and what it printed."""
    done = run_command("import", *arguments, environment=environment(label_studio, variables))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def tasks_of(label_studio: Any, project: Any) -> list[Any]:
    return list(label_studio.client.tasks.list(project=project.id))
