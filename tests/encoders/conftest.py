"""The reference network with random weights, and a checkpoint of it, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.reference import random_cnn14, save_checkpoint


@pytest.fixture(scope="session")
def reference() -> Any:
    """panns_inference's Cnn14 on random weights."""
    return random_cnn14()


@pytest.fixture(scope="session")
def checkpoint(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights, in the form of the published file."""
    return save_checkpoint(reference, tmp_path_factory.mktemp("weights") / "cnn14.pth")
