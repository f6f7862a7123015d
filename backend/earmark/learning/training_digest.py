"""Training digest: a hash of a training's inputs, to skip a training that would give the same head.

Controls and clips are hashed in no particular order and field by field, so that a new field counts too. The
frames and levels of a sound follow from its content and the encoder's identity, so they are not read again.
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
from earmark.labels.control import Control
from earmark.learning.training_set import TrainingSet, load_fitted
from earmark.services import Services
from earmark.store.registry import newest_version

WITHOUT_EFFECT = frozenset({"labels", "to_name", "hints", "former", "shown"})
"""Fields of a control that are not hashed as they are: labels, of which the order has no effect, what only
the interface shows, and other names of labels, which count through the head before any training."""


def training_digest(services: Services, training_set: TrainingSet) -> str:
    """SHA-256, in hexadecimal, of a training's inputs: controls, annotated clips, encoder, software.

    Raises
    ------
    WeightsError
        The encoder cannot be loaded.
    """
    zero_shot = services.zero_shot_head(training_set.controls)
    frames = {
        id(sound.frames): sound.digest
        for annotated_sound in training_set.annotated
        for sound in annotated_sound.sounds.values()
    }
    parts = [
        _head_software(),
        services.encoder_identity(),
        "" if zero_shot is None else hashlib.sha256(zero_shot.to_bytes()).hexdigest(),
        *sorted(_control_text(control) for control in training_set.controls),
        *sorted(
            _clip_text(clip, frames)
            for clip in training_set.clips
            if clip.weight > 0 and has_annotation(clip)
        ),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def has_annotation(clip: AnnotatedClip) -> bool:
    """Whether an annotation of a sound sets, or rules out, any label."""
    return bool(clip.regions or clip.tags)


def reason_to_skip(services: Services, key: str, training_set: TrainingSet, digest: str) -> str:
    """Return why a training would give the same version again, in a sentence or two; empty if it would not.

    The digest is compared with those of the newest version, which may have been rejected or rolled back, and
    of the active one. A version whose stored arrays cannot be read is trained anew.
    """
    active = services.serving_version(key)
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
    number, active_name = key.partition(".")[0], active.name if active else services.untrained_name()
    what = (
        f"which was not served: {version.reason}"
        if version.status == "rejected"
        else f"in place of which {active_name} was made active."
    )
    return (
        f"Nothing new: training on the same annotations and labels again would make {version.name} again, "
        f"{what} Annotate or correct a task, or serve it: earmark promote {number} {version.name}"
    )


def _control_text(control: Control) -> str:
    hashed_fields = {
        field.name: getattr(control, field.name)
        for field in fields(control)
        if field.name not in WITHOUT_EFFECT
    }
    return _canonical({**hashed_fields, "labels": frozenset(control.labels)})


def _clip_text(clip: AnnotatedClip, frames: Mapping[int, str]) -> str:
    digest = frames.get(id(clip.frames)) or hashlib.sha256(clip.frames.tobytes()).hexdigest()
    other_fields = {
        field.name: getattr(clip, field.name)
        for field in fields(clip)
        if field.name not in ("frames", "levels")
    }
    return _canonical({**other_fields, "sound": digest})


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
