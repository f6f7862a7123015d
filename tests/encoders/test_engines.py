"""Which engine runs CNN14: chosen, proven, replaced when it fails, and silent towards the network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs

from earmark.encoders import engines
from earmark.encoders.cnn14 import Cnn14Encoder
from earmark.encoders.engines import EngineFaultError, Plan, first_that_starts, plans
from earmark.encoders.engines import cpu_features as processor
from earmark.encoders.engines.front_end import FrontEnd
from earmark.encoders.engines.torch_engine import TorchEngine
from earmark.encoders.weights.cnn14_checkpoint import network_in
from earmark.errors import ConfigurationError
from earmark.monitoring.doctor.machine import encoder as doctor_on_encoder
from earmark.settings import Settings
from tests.encoders.no_network import can_forbid

pytestmark = pytest.mark.slow

PROJECT_ROOT = Path(__file__).parents[2]
NOISE = (0.1 * np.random.default_rng(1).standard_normal(32_000)).astype(np.float32)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend to be on another machine."""

    def pretend(*, bf16: bool = False, cuda: bool = False, missing: tuple[str, ...] = ()) -> None:
        monkeypatch.setattr(processor, "has_bf16", lambda: bf16)
        monkeypatch.setattr(processor, "has_cuda", lambda: cuda)
        monkeypatch.setattr(processor, "usable_cores", lambda: 6)
        monkeypatch.setattr(engines, "find_spec", lambda name: None if name in missing else object())

    return pretend


def names(listed_plans: list[Plan]) -> list[str]:
    return [f"{plan.engine} {plan.precision} {plan.device}" for plan in listed_plans]


# --- choosing ----------------------------------------------------------------------------------


def test_the_order_follows_the_machine(machine: Callable[..., None]) -> None:
    fp32 = ["onnxruntime fp32 cpu", "openvino fp32 cpu", "torch fp32 cpu"]
    machine()
    assert names(plans()) == fp32
    machine(bf16=True)
    assert names(plans()) == ["openvino bf16 cpu", "torch bf16 cpu", *fp32]
    machine(bf16=True, cuda=True)
    assert names(plans())[:4] == [
        "torch fp16 cuda",
        "torch bf16 cuda",
        "torch fp32 cuda",
        "openvino bf16 cpu",
    ]
    assert names(plans(device="cpu"))[0] == "openvino bf16 cpu"
    machine(missing=("onnx",))
    assert names(plans()) == ["openvino fp32 cpu", "torch fp32 cpu"]


def test_settings_narrow_the_choice(machine: Callable[..., None]) -> None:
    machine(bf16=True)
    assert names(plans("openvino")) == ["openvino bf16 cpu", "openvino fp32 cpu"]
    assert names(plans(precision="fp32"))[0] == "onnxruntime fp32 cpu"
    assert names(plans("torch", "bf16")) == ["torch bf16 cpu"]
    assert plans()[0].threads == 6
    assert plans(threads=3)[0].threads == 3


@pytest.mark.parametrize(
    ("engine", "precision", "hint"),
    [
        ("auto", "bf16", "this processor has no bf16"),
        ("openvino", "fp16", "fp16 is for GPUs"),
        ("onnxruntime", "auto", "onnx is not installed"),
    ],
)
def test_what_cannot_be_is_said(
    machine: Callable[..., None], engine: str, precision: str, hint: str, tmp_path: Path, checkpoint: Path
) -> None:
    machine(missing=("onnx",))
    with pytest.raises(ConfigurationError, match=hint):
        plans(engine, precision)
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        cnn14_checkpoint=checkpoint,
        cnn14_engine=engine,
        cnn14_precision=precision,
    )
    fault = list(doctor_on_encoder(settings))[1]
    assert fault.level == "fault"
    assert hint in fault.remedy


def test_doctor_says_engine_precision_and_threads(
    machine: Callable[..., None], tmp_path: Path, checkpoint: Path
) -> None:
    machine(bf16=True)
    settings = Settings(_env_file=None, data_dir=tmp_path, cnn14_checkpoint=checkpoint, torch_threads=4)
    assert "openvino in bf16, 4 threads" in list(doctor_on_encoder(settings))[1].text


def test_this_machines_cores_are_counted() -> None:
    assert 1 <= processor.usable_cores() <= (torch.get_num_threads() or 1) * 64


# --- failing -----------------------------------------------------------------------------------


class Faulty:
    """An engine that gives what it is told to give."""

    shared_seconds = 0.0

    def __init__(self, answer: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.run = answer


def _gives_up(waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
    raise EngineFaultError("it gave up")


def _only(name: str, wrong: Callable[..., Any]) -> Callable[..., Any]:
    """``engines._start`` with one engine replaced."""
    start = engines._start
    return lambda plan, network: wrong(plan, network) if plan.engine == name else start(plan, network)


def _does_not_start(plan: Plan, network: object) -> object:
    raise EngineFaultError("no such library")


@pytest.mark.parametrize(
    "wrong",
    [
        _does_not_start,
        lambda plan, network: Faulty(_gives_up),
        lambda plan, network: Faulty(lambda w: np.full((1, w.shape[1] // 10_240, 2048), np.nan, np.float32)),
        lambda plan, network: Faulty(lambda w: np.ones((1, w.shape[1] // 10_240, 2048), np.float32)),
        lambda plan, network: Faulty(lambda w: np.ones((1, 1, 1), np.float32)),
    ],
    ids=["does not start", "gives up", "not finite", "wrong numbers", "wrong shape"],
)
def test_a_failing_engine_is_passed_over_aloud(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., Any]
) -> None:
    monkeypatch.setattr(engines, "_start", _only("openvino", wrong))
    network = network_in(checkpoint)
    with capture_logs() as logs:
        plan, _ = first_that_starts(
            [Plan("openvino", "fp32", "cpu", 1), Plan("torch", "fp32", "cpu", 1)], network
        )
    assert plan.engine == "torch"
    assert [entry["event"] for entry in logs] == ["encoder_engine_failed", "encoder_engine"]
    assert logs[0]["log_level"] == "warning"
    assert "openvino" in logs[0]["engine"]


def test_an_engine_that_was_asked_for_is_not_replaced(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_start", _only("openvino", _does_not_start))
    with pytest.raises(ConfigurationError, match=r"no such library.*CNN14_ENGINE"):
        Cnn14Encoder(checkpoint, device="cpu", engine="openvino")


def test_a_pass_that_fails_is_run_by_the_next_engine(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Cnn14Encoder(checkpoint, device="cpu", precision="fp32")
    expected = encoder.frames([NOISE])
    failed = encoder.plan
    monkeypatch.setattr(encoder, "_engine", Faulty(_gives_up))
    with capture_logs() as logs:
        frames = encoder.frames([NOISE])
    assert encoder.plan != failed
    assert logs[0]["event"] == "encoder_engine_failed"
    assert logs[0]["reason"] == "it gave up"
    np.testing.assert_allclose(frames.astype(np.float32), expected.astype(np.float32), atol=1e-3)
    encoder._plans = []
    monkeypatch.setattr(encoder, "_engine", Faulty(_gives_up))
    with pytest.raises(ConfigurationError, match="no engine is left"):
        encoder.frames([NOISE])


# --- the front end -----------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.31, 1.0, 45.0])
@pytest.mark.parametrize("fourier", [True, False], ids=["FFT", "matrices"])
def test_the_front_end_is_the_networks(checkpoint: Path, seconds: float, fourier: bool) -> None:
    """Also with matrices that are no Fourier transform, which are then taken as they stand."""
    network = network_in(checkpoint)
    if not fourier:
        real = network.spectrogram_extractor.stft.conv_real.weight
        real.data += 0.01 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    front_end = FrontEnd(network)
    assert (front_end._matrix is None) == fourier
    rng = np.random.default_rng(2)
    waves = torch.from_numpy((0.1 * rng.standard_normal((2, round(seconds * 32_000)))).astype(np.float32))
    with torch.inference_mode():
        expected = network.logmel_extractor(network.spectrogram_extractor(waves))
        expected = network.bn0(expected.transpose(1, 3)).transpose(1, 3)
        actual = front_end(waves)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_the_front_end_of_silence_and_tones(checkpoint: Path) -> None:
    """Where bands are empty, only the clamp at -100 dB and rounding are left."""
    network = network_in(checkpoint)
    t = torch.arange(32_000) / 32_000
    waves = torch.stack([torch.zeros(32_000), torch.sin(2 * torch.pi * 1000 * t), torch.full((32_000,), 0.5)])
    with torch.inference_mode():
        expected = network(waves).numpy()
        actual = TorchEngine(Plan("torch", "fp32", "cpu", 1), network).run(waves.numpy())
    np.testing.assert_allclose(actual, expected, atol=1e-4 * expected.max())


# --- nothing is sent ---------------------------------------------------------------------------

WATCHED = """
import json, socket, sys
from pathlib import Path
from no_network import forbid_internet_sockets

tried = []

def forbidden(*args, **kwargs):
    tried.append(repr(args[1:] or args))
    raise OSError("the network is forbidden here")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = forbidden
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = forbidden
forbid_internet_sockets()

import numpy as np
from earmark.encoders.cnn14 import Cnn14Encoder

encoder = Cnn14Encoder(Path(sys.argv[1]), device="cpu", engine=sys.argv[2], precision=sys.argv[3])
frames = encoder.frames([np.zeros(40_000, np.float32)])
encoder.pool(frames)
telemetry = [name for name in sys.modules if "telemetry" in name and sys.modules[name] is not None]
print(json.dumps({"tried": tried, "frames": len(frames), "telemetry": telemetry}))
"""


@pytest.mark.skipif(not can_forbid(), reason="the kernel's filter is written for Linux on x86-64 and ARM64")
def test_the_kernel_would_tell() -> None:
    """The filter sees what Python's own socket module does not: a socket opened in C."""
    opens = (
        "import ctypes, no_network; no_network.forbid_internet_sockets(); ctypes.CDLL(None).socket({}, 1, 0)"
    )
    for family, survives in ((1, True), (2, False), (10, False)):
        done = subprocess.run(
            [sys.executable, "-c", opens.format(family)], cwd=Path(__file__).parent, check=False
        )
        assert (done.returncode == 0) == survives


@pytest.mark.parametrize("plan", plans(device="cpu"), ids=lambda plan: f"{plan.engine}-{plan.precision}")
def test_nothing_is_sent(checkpoint: Path, tmp_path: Path, plan: Plan) -> None:
    """In a process of its own, with a fresh home, in which nobody has declined anything yet.

    Python's sockets record and refuse; sockets that a library opens in C end the process.
    """
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(checkpoint), plan.engine, plan.precision],
        cwd=PROJECT_ROOT,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"killed by the kernel for opening a socket, or: {done.stderr}"
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["tried"] == []
    assert report["frames"] == 3
    assert not [name for name in report["telemetry"] if name.startswith("openvino_telemetry")]
    assert list(home.iterdir()) == [], "no id to be recognised by was left behind"
