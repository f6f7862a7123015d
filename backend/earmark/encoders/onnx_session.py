"""ONNX Runtime session on the CPU. Importing this imports onnxruntime, with its telemetry turned off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# From 1.29 on, onnxruntime sends what it runs to Microsoft unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def session(path: Path, threads: int) -> Any:
    """Load a model file into a session with so many threads; raises what onnxruntime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors are raised; warnings only repeat them
    # Idle threads that spin take the cores from decoding, from heads and from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
