"""Training digest: a hash over everything that a training would learn from, to tell whether it is new.

Controls and clips are hashed in no particular order and field by field, so that a new field counts too. The
frames of a sound follow from its content and the encoder's identity, and need not be read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path

import earmark.head
from earmark.errors import HeadDamagedError
from earmark.head.examples import AnnotatedClip
from earmark.labels.controls import Control
from earmark.learning.training_set import TrainingSet, load_fitted
from earmark.services import Services
from earmark.store.registry import newest_version

WITHOUT_EFFECT = frozenset({"labels", "to_name", "hints", "shown"})
"""Fields of a control that are not hashed as they are: labels, of which the order has no effect, what only
the interface shows, and other names of labels, which count through the head before any training."""


def training_digest(services: Services, training_set: TrainingSet) -> str:
    """Sha256, in hexadecimal, of what a training learns from: controls, annotated clips, encoder, software.

    Raises
    ------
    WeightsError
        The encoder cannot be loaded.
    """
    start = services.zero_shot_head(training_set.controls)
    frames = {
        id(sound.frames): sound.digest for one in training_set.annotated for sound in one.sounds.values()
    }
    parts = [
        _head_software(),
        services.encoder_identity(),
        "" if start is None else hashlib.sha256(start.to_bytes()).hexdigest(),
        *sorted(_of_control(control) for control in training_set.controls),
        *sorted(
            _of_clip(clip, frames) for clip in training_set.clips if clip.weight > 0 and says_something(clip)
        ),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def says_something(clip: AnnotatedClip) -> bool:
    """Whether an annotation of a sound holds, or rules out, any label."""
    return bool(clip.regions or clip.tags)


def nothing_new(services: Services, key: str, training_set: TrainingSet, digest: str) -> str:
    """Why a training would make no other version than there is, in a sentence or two; empty where it would.

    Compared are the version that was trained last, which may have been refused or rolled back, and the one
    that answers. One whose stored arrays cannot be read is to be made anew.
    """
    active = services.active(key)
    with services.database.read() as session:
        newest = newest_version(session, key, services.encoder_identity())
    same = [v for v in (active, newest) if v is not None and v.digest == digest]
    if not same:
        return ""
    version = same[0]
    try:
        load_fitted(services, training_set, version)
    except HeadDamagedError:
        return ""
    if active is not None and version.id == active.id:
        return (
            f"Nothing new: {version.name}, which answers, was trained on just these annotations and labels."
        )
    number, answers = key.partition(".")[0], active.name if active else services.untrained_name()
    what = (
        f"which was not served: {version.reason}"
        if version.status == "rejected"
        else f"in place of which {answers} was made active."
    )
    return (
        f"Nothing new: training on the same annotations and labels again would make {version.name} again, "
        f"{what} Annotate or correct a task, or serve it: earmark promote {number} {version.name}"
    )


def _of_control(control: Control) -> str:
    kept = {
        field.name: getattr(control, field.name)
        for field in fields(control)
        if field.name not in WITHOUT_EFFECT
    }
    return _canonical({**kept, "labels": frozenset(control.labels)})


def _of_clip(clip: AnnotatedClip, frames: Mapping[int, str]) -> str:
    digest = frames.get(id(clip.frames)) or hashlib.sha256(clip.frames.tobytes()).hexdigest()
    rest = {field.name: getattr(clip, field.name) for field in fields(clip) if field.name != "frames"}
    return _canonical({**rest, "sound": digest})


def _canonical(value: object) -> str:
    """A value as text, the same for equal values whatever order their sets and dictionaries have."""
    if is_dataclass(value) and not isinstance(value, type):
        return _canonical({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        items = sorted((_canonical(name), _canonical(item)) for name, item in value.items())
        return "{" + ",".join(f"{name}:{item}" for name, item in items) + "}"
    if isinstance(value, Set):
        return "{" + ",".join(sorted(map(_canonical, value))) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return repr(value)


@lru_cache(maxsize=1)
def _head_software() -> str:
    """Digest of the code that fits heads: after an update of it, the same annotations give another head."""
    sources = sorted(Path(*earmark.head.__path__).glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
