"""The reference that CNN14 is compared with: panns_inference's Cnn14 with seeded random weights."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from earmark.encoders.audioset import AUDIOSET_LABELS_CSV


def reference_class() -> Any:
    """``panns_inference.models.Cnn14``, imported without the download that its import begins with.

    Importing the package runs wget unless ``~/panns_data`` holds the class list; so it is imported
    with a home folder that does.
    """
    before = {name: os.environ.get(name) for name in ("HOME", "MPLCONFIGDIR")}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "panns_data"
        folder.mkdir()
        (folder / "class_labels_indices.csv").write_bytes(AUDIOSET_LABELS_CSV.read_bytes())
        os.environ.update(HOME=home, MPLCONFIGDIR=home)
        try:
            return importlib.import_module("panns_inference.models").Cnn14
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def reference_cnn14() -> Any:
    """The reference network as its authors build it, untrained, in eval mode."""
    build = reference_class()
    return build(
        sample_rate=32000, window_size=1024, hop_size=320, mel_bins=64, fmin=50, fmax=14000, classes_num=527
    ).eval()


def random_cnn14() -> Any:
    """The reference network with seeded random weights and batch norms with statistics that matter."""
    torch.manual_seed(14)
    network = reference_cnn14()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            torch.nn.init.uniform_(layer.weight, 0.8, 1.4)
            torch.nn.init.normal_(layer.bias, 0.0, 0.1)
            torch.nn.init.normal_(layer.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
    # What real log-mel looks like, so that bn0 passes on numbers near 1 and the net is not saturated.
    torch.nn.init.normal_(network.bn0.running_mean, -30.0, 5.0)
    torch.nn.init.uniform_(network.bn0.running_var, 200.0, 500.0)
    return network


def save_checkpoint(network: Any, path: Path) -> Path:
    """Write a checkpoint in the form of the published one; returns its path."""
    torch.save({"iteration": 1, "model": network.state_dict()}, path)
    return path


def random_checkpoint(folder: Path) -> Path:
    """A checkpoint of ``random_cnn14`` in a folder."""
    return save_checkpoint(random_cnn14(), folder / "random-cnn14.pth")
