"""Encoders of other packages: the documented example in a real package, and those that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from earmark.encoders import encoder_identity, get_encoder, plugins, registry
from earmark.encoders.logmel import LogmelEncoder
from earmark.errors import ConfigurationError, EncoderPluginError, OutOfTimeError
from earmark.monitoring.doctor.machine import plugins as plugin_findings
from earmark.settings import Settings
from tests.encoders.plugin_packages import SOURCE, add_encoder, add_package

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def forget() -> None:
    """Look for packages anew, as a new process does."""
    for cached in (plugins._found, plugins._loaded, plugins.plugin_names):
        cached.cache_clear()
    registry._resolve.cache_clear()
    registry.version_name_pattern.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, which this process looks into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    forget()
    yield folder
    forget()
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


def choose(name: str, folder: Path) -> Settings:
    return Settings(_env_file=None, data_dir=folder / "data", encoder=name)


def spec_source(**changes: str) -> str:
    """The source of a plug-in ``odd`` with other lines."""
    source = SOURCE.format(name="odd", rate=8000, frame_rate=10.0)
    for old, new in changes.items():
        source = source.replace(old, new)
    return source


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of docs/encoders.md, installed by pip into a folder."""
    text = (ROOT / "docs" / "encoders.md").read_text()
    (toml,) = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (python,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert (toml + python).count("\n") <= 60
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "pyproject.toml").write_text(toml)
    (source / "earmark_octaves.py").write_text(python)
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, env=environment)
    return target


@pytest.mark.parametrize(("name", "spelt"), [("octaves", "octaves"), ("octaves+logmel", "logmel+octaves")])
def test_the_documented_plugin_predicts_trains_and_exports(
    documented: Path, tmp_path: Path, name: str, spelt: str
) -> None:
    path = os.pathsep.join([str(documented), str(ROOT / "backend")])
    environment = {
        **os.environ, "PYTHONPATH": path, "ENCODER": name, "DATA_DIR": str(tmp_path / "data"),
        "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plugin_loop.py")), str(tmp_path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert (report["before"], report["version"], report["after"]) == (f"{spelt}-v0", *[f"{spelt}-v1"] * 2)
    assert report["ours"]
    assert report["labels"] == [["Low"], ["High"]]
    assert report["embeddings"] == [6, 16 if spelt == "octaves" else 16 + LogmelEncoder.embedding_dim]
    assert report["identity"].startswith(f"{spelt.replace('+', '.')}-")


def test_plugins_join_the_registry(site: Path, tmp_path: Path) -> None:
    add_encoder(site, "level")
    add_encoder(site, "another")
    assert registry.plugin_names() == ("another", "level")
    assert registry.plugin_faults() == {}
    assert registry.is_version_name("logmel+level-v3")
    settings = choose("level+logmel+another", tmp_path)
    assert settings.encoder == "logmel+another+level"
    encoder = get_encoder(settings)
    assert (encoder.name, encoder.identity) == (settings.encoder, encoder_identity(settings))
    assert registry.spec_of(encoder.identity) is registry.spec_of("another+level+logmel")
    (finding,) = plugin_findings(settings)
    assert (finding.level, finding.text) == ("fine", "another, level")


BROKEN: dict[str, tuple[str, str, str]] = {
    "import": ("odd", "import a_module_of_nobody\n", "a_module_of_nobody"),
    "exit": ("odd", "raise SystemExit(3)\n", "SystemExit"),
    "attribute": ("odd", "spec = None\n", "SPEC"),
    "type": ("odd", "SPEC = 'level'\n", "str"),
    "renamed": ("odd", spec_source(**{'EncoderSpec("odd"': 'EncoderSpec("even"'}), "even"),
    "rate": ("odd", spec_source(**{"Level.identity, 8000": "Level.identity, 0"}), "sample_rate"),
    "preload": ("odd", spec_source(**{"identity, 8000)": "identity, 8000, preload=('no.one',))"}), "no.one"),
    "spelling": ("Odd-One", spec_source(), "a-z"),
    "reserved": ("logmel", spec_source(), "itself"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_named_and_harms_nothing(site: Path, tmp_path: Path, kind: str) -> None:
    name, source, hint = BROKEN[kind]
    add_package(site, "pack", {name: "pack:SPEC"}, source)
    add_encoder(site, "level")
    settings = choose("logmel", tmp_path)
    fine, note = plugin_findings(settings)
    assert (fine.text, note.level) == ("level", "note")
    assert repr(name) in note.text
    assert "pack 1.0" in note.text
    assert hint in note.text
    assert isinstance(get_encoder(settings), LogmelEncoder)
    assert get_encoder(choose("level", tmp_path)).name == "level"
    if kind not in ("reserved", "spelling"):
        with pytest.raises(ValidationError, match=re.escape(hint)):
            choose("odd+logmel", tmp_path)


def test_a_name_that_two_packages_claim_is_neither_ones(site: Path, tmp_path: Path) -> None:
    add_encoder(site, "level", "first")
    add_encoder(site, "level", "second")
    assert {"first 1.0", "second 1.0"} <= set(re.findall(r"\w+ 1\.0", registry.plugin_faults()["level"]))
    with pytest.raises(ConfigurationError) as refused:
        registry.spec_of("level")
    assert refused.value.reason == "encoder_plugin"
    assert get_encoder(choose("logmel", tmp_path)).name == "logmel"


def embed(settings: Settings) -> None:
    encoder_identity(settings)
    encoder = get_encoder(settings)
    encoder.pool(encoder.frames([np.ones(8000, dtype=np.float32)]))


FAULTY = {
    "build": ("SPEC = EncoderSpec(", "def Level(): return 1 / 0\nSPEC = EncoderSpec("),
    "identity": ("lambda settings: Level.identity", "lambda settings: settings.nothing"),
    "identity's form": ("lambda settings: Level.identity", "lambda settings: 'level 1'"),
    "another identity": ('"odd-1"', '"odd-2"; identity = "odd-3"'),
    "attributes": ("frame_dim = embedding_dim = 1", "embedding_dim = 1"),
    "rate": ("sample_rate, frame_rate = 8000", "sample_rate, frame_rate = 4000"),
    "frames": ("wave = np.concatenate(list(blocks))", "raise OSError('no luck')"),
    "frames' type": (".astype(np.float16)", ".astype(np.float64)"),
    "frames' values": ("np.sqrt(", "np.log(0 * "),
    "pool": ("frames.mean(axis=-2, dtype=np.float32)", "frames[0, 0, 0, 0]"),
    "pool's type": ("frames.mean(axis=-2, dtype=np.float32)", "frames.mean(axis=-1)"),
}


@pytest.mark.parametrize("kind", FAULTY)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_errors_of_a_plugin_are_its_own(site: Path, tmp_path: Path, kind: str) -> None:
    source = spec_source(**{FAULTY[kind][0]: FAULTY[kind][1]})
    if kind == "another identity":
        source = source.replace("lambda settings: Level.identity", "lambda settings: 'odd-2'")
    add_package(site, "pack", {"odd": "pack:SPEC"}, source)
    settings = choose("odd", tmp_path)
    with pytest.raises(EncoderPluginError, match="'odd'"):
        embed(settings)


def test_errors_of_the_sound_are_none_of_a_plugins(site: Path, tmp_path: Path) -> None:
    add_encoder(site, "level")
    encoder = get_encoder(choose("level", tmp_path))

    def stream(error: Exception) -> Iterator[Any]:
        yield np.zeros(100, dtype=np.float32)
        raise error

    for error in (OutOfTimeError("late"), OSError("gone")):
        with pytest.raises(type(error)):
            encoder.frames(stream(error))


@pytest.mark.parametrize(
    "text", ["logmel+", "+logmel", "auto+logmel", "logmel+logmel", "logmel-v1", "vggish"]
)
def test_combinations_of_nothing_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        choose(text, tmp_path)


def test_a_name_that_no_folder_takes_is_refused(site: Path, tmp_path: Path) -> None:
    names = [f"{'wordy' * 5}{number}" for number in range(4)]
    for name in names:
        add_encoder(site, name)
    with pytest.raises(ValidationError, match="fewer"):
        choose("+".join(names), tmp_path)
