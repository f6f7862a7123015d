"""Script: predict, train and export embeddings with the encoder of the environment; prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from test_switching import labels, predict, train  # type: ignore[import-not-found]  # beside this script

from earmark.encoders import registry
from earmark.export import embeddings
from earmark.export.records import ClipRecord
from earmark.services import Services
from earmark.settings import get_settings


def main(folder: Path) -> None:
    """Do all of it with tones in a folder."""
    settings = get_settings()
    tasks: list[dict[str, Any]] = []
    for number in range(6):
        label, hertz = (("Low", 300.0), ("High", 4000.0))[number % 2]
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(44_100) / 44_100)
        path = folder / f"{number}.wav"
        soundfile.write(path, wave + 0.002 * np.random.default_rng(number).standard_normal(wave.size), 44_100)
        tasks.append({"id": number + 1, "data": {"audio": str(path)}, "label": label})
    before = predict(settings, tasks[4:])
    version = train(settings, tasks[:4])
    after = predict(settings, tasks[4:])
    with Services(settings) as services:
        extractor, encoder = services.extractor(), services.encoder()
        out = folder / "embeddings.npz"
        with embeddings.writing(
            out, encoder, lambda address: extractor.extract_address(address, None)
        ) as add:
            add([ClipRecord(Path(task["data"]["audio"]).name, task["data"]["audio"]) for task in tasks])
    with np.load(out) as arrays:
        shape, identity = arrays["embedding"].shape, arrays["encoder"].item()
    json.dump(
        {
            "before": before["model_version"],
            "version": version,
            "after": after["model_version"],
            "labels": labels(after),
            "embeddings": shape,
            "identity": identity,
            "ours": registry.is_version_name(version or ""),
            "stored": sorted(path.name for path in (settings.data_dir / "frames").iterdir()),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
