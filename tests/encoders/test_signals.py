"""Signals are survived, whatever engines have come and gone in the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT_ROOT = Path(__file__).parents[2]

# faulthandler gives the main thread a stack for signals, as pytest does, and Python's handlers run on it.
ENGINES_THEN_CTRL_C = """
import faulthandler, gc, os, signal, sys
from pathlib import Path
faulthandler.enable()
signal.signal(signal.SIGINT, lambda *_: print("seen", flush=True))
from earmark.encoders.weights.cnn14_checkpoint import network_in
from earmark.encoders.engines import Plan
from earmark.encoders.engines.openvino_engine import OpenvinoEngine
network = network_in(Path(sys.argv[1]))
engines = [OpenvinoEngine(Plan("openvino", "fp32", "cpu", 1), network) for _ in range(2)]
while engines:
    del engines[0]
    gc.collect()
os.kill(os.getpid(), signal.SIGINT)
"""


def test_ctrl_c_after_engines_ended_is_no_segmentation_fault(checkpoint: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENGINES_THEN_CTRL_C, str(checkpoint)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "seen\n"), done.stderr[-2000:]
