"""Engine selection: what runs CNN14's network on this machine. Importing this imports none of them.

Measured on a 2-core Xeon with AMX, 10 s of sound to embedding, least of many runs: OpenVINO bf16 31 ms,
PyTorch bf16 channels-last 85, ONNX Runtime fp32 167, OpenVINO fp32 188, PyTorch fp32 280, its reference
panns_inference 300.
``python -m benchmarks.embed`` measures anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from earmark.encoders.engines import cpu_features as processor
from earmark.encoders.engines.base import Engine, EngineFaultError, EngineName, Plan, Precision
from earmark.errors import ConfigurationError
from earmark.settings import Settings

if TYPE_CHECKING:
    from earmark.encoders.cnn14_network import Cnn14

__all__ = ["Engine", "EngineFaultError", "Plan", "first_that_starts", "plans", "plans_for"]

_PACKAGES: dict[EngineName, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "torch": ("torch",),
}
_BF16_ORDER: tuple[tuple[EngineName, Precision], ...] = (("openvino", "bf16"), ("torch", "bf16"))
_FP32_ORDER: tuple[tuple[EngineName, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("torch", "fp32"),
)
_CUDA_ORDER: tuple[Precision, ...] = ("fp16", "bf16", "fp32")

_log = structlog.get_logger(__name__)


def plans_for(settings: Settings) -> list[Plan]:
    """Return the ways to run CNN14 that the settings leave, best first; see ``plans``."""
    return plans(settings.cnn14_engine, settings.cnn14_precision, threads=settings.torch_threads)


def plans(
    engine: str = "auto", precision: str = "auto", *, threads: int = 0, device: str | None = None
) -> list[Plan]:
    """Return the ways to run CNN14 here, best first, by what is installed and what the processor has.

    Parameters
    ----------
    engine, precision
        As the settings ``CNN14_ENGINE`` and ``CNN14_PRECISION`` spell them.
    threads
        CPU threads; 0 takes one for each physical core that is ours.
    device
        ``cpu`` to leave a GPU alone; None takes one where there is one.

    Raises
    ------
    ConfigurationError
        Nothing here does what was asked for.
    """
    threads = threads or processor.usable_cores()
    possible: list[Plan] = []
    if device != "cpu" and engine in ("auto", "torch") and processor.has_cuda():
        possible += [Plan("torch", kind, device or "cuda", threads) for kind in _CUDA_ORDER]
    order = (_BF16_ORDER if processor.has_bf16() else ()) + _FP32_ORDER
    possible += [Plan(name, kind, "cpu", threads) for name, kind in order]
    possible = [
        plan
        for plan in possible
        if engine in ("auto", plan.engine)
        and precision in ("auto", plan.precision)
        and all(find_spec(package) for package in _PACKAGES[plan.engine])
    ]
    if not possible:
        raise ConfigurationError(
            f"CNN14 cannot run here with CNN14_ENGINE={engine} and CNN14_PRECISION={precision} "
            f"({_why_not(engine, precision)}): unset them to have the fastest way chosen."
        )
    return possible


def first_that_starts(candidates: Iterable[Plan], network: Cnn14) -> tuple[Plan, Engine]:
    """Start the first engine that works and agrees with PyTorch; failures are logged.

    Parameters
    ----------
    candidates
        Ways to run it, best first.
    network
        CNN14 in float32 on the CPU; engines read it and leave it as it is.

    Raises
    ------
    EngineFaultError
        None of them starts.
    """
    from earmark.encoders.engines.self_test import compare_with_torch

    reasons: list[str] = []
    for plan in candidates:
        try:
            engine = _start(plan, network)
            compare_with_torch(engine, network)
        except EngineFaultError as error:
            reasons.append(f"{plan}: {error}")
            _log.warning("encoder_engine_failed", engine=str(plan), reason=str(error))
            continue
        _log.info("encoder_engine", engine=plan.engine, precision=plan.precision, threads=plan.threads)
        return plan, engine
    raise EngineFaultError("; ".join(reasons) or "no engine is left")


def _start(plan: Plan, network: Cnn14) -> Engine:
    try:
        if plan.engine == "openvino":
            from earmark.encoders.engines.openvino_engine import OpenvinoEngine

            return OpenvinoEngine(plan, network)
        if plan.engine == "onnxruntime":
            from earmark.encoders.engines.onnxruntime_engine import OnnxruntimeEngine

            return OnnxruntimeEngine(plan, network)
        from earmark.encoders.engines.torch_engine import TorchEngine

        return TorchEngine(plan, network)
    except ImportError as error:  # installed, but a library it needs is missing or too old
        raise EngineFaultError(f"it cannot be imported ({error})") from error


def _why_not(engine: str, precision: str) -> str:
    return ", ".join(_obstacles(engine, precision)) or "that engine has no such precision"


def _obstacles(engine: str, precision: str) -> Iterator[str]:
    for name, packages in _PACKAGES.items():
        if engine == name:
            yield from (f"{package} is not installed" for package in packages if not find_spec(package))
    if precision == "bf16" and not processor.has_bf16():
        yield "this processor has no bf16"
    if precision == "fp16":
        yield "fp16 is for GPUs"
