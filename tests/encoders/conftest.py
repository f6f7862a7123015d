"""The reference network with random weights, and a checkpoint of it, made once.

PyTorch takes seconds to load, so only the tests that need it load it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def reference() -> Any:
    """panns_inference's Cnn14 on random weights."""
    from benchmarks.reference import random_cnn14

    return random_cnn14()


@pytest.fixture(scope="session")
def checkpoint(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights, in the form of the published file."""
    from benchmarks.reference import save_checkpoint

    return save_checkpoint(reference, tmp_path_factory.mktemp("weights") / "cnn14.pth")
