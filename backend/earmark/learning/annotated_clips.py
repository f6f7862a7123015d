"""A project's annotations with their encoded sounds, and the weighted clips made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from earmark.audio.addresses import shown
from earmark.audio.source import LocatedSound
from earmark.errors import EarmarkError, SoundTooSlowError
from earmark.export.records import SOURCE_DIGEST_FIELD, TRUST_FIELD
from earmark.features.extractor import EncodedSound
from earmark.features.prefetch import Prefetch
from earmark.head.examples import AnnotatedClip
from earmark.labels.control import Control
from earmark.labelstudio.result_reader import ReadResult, read_result
from earmark.prediction.predictor import sound_addresses
from earmark.services import Services
from earmark.store.models import Annotation, Project, Task
from earmark.store.renames import Names

log = structlog.get_logger(__name__)

Value = TypeVar("Value")
_OfTasks = dict[int, dict[str, Value]]
"""By task and data key."""
LabelWeights = Mapping[int, Mapping[str, Mapping[str, float]]]
"""Weights of labels, by annotation, control and label; 1 where none is given."""

AWAITED = frozenset({"too_slow", "unreachable", "label_studio"})
"""Error reasons after which a sound is fetched again later."""
GROUND_TRUTH_WEIGHT = 2.0
"""A ground-truth annotation counts as much as two that were only submitted."""
REVIEWED_WEIGHT = 1.5
"""An annotation accepted by a second person: between the two."""
TRUST_WEIGHTS = {"curated": 1.5, "noisy": 0.5}
"""Weights of imported labels that no annotator has changed, by ``label_trust`` in the task's data."""


@dataclass(frozen=True)
class AnnotatedSound:
    """One annotation, parsed, and its sounds by data key; sounds that could not be loaded are missing.

    ``channels``: by data key, each channel of the sound, where annotations tell channels apart and they
    differ.
    """

    annotation: Annotation
    task: Task
    read: ReadResult
    sounds: dict[str, EncodedSound] = field(default_factory=dict)
    channels: dict[str, tuple[EncodedSound, ...]] = field(default_factory=dict)


def load_annotated_sounds(
    services: Services,
    project: Project,
    controls: Sequence[Control],
    names: Names,
    annotations: Sequence[tuple[Annotation, Task]],
) -> tuple[list[AnnotatedSound], dict[int, str]]:
    """Parse every annotation and encode each sound once; unusable ones are logged and left out.

    Returns
    -------
    The annotations; and by task the reason why a sound is not available now and may be later.
    """
    tasks = list({task.task_id: task for _, task in annotations}.values())
    read = [read_result(annotation.result, controls, names, task.data) for annotation, task in annotations]
    sounds, channels, awaited = _sounds(services, project, tasks, controls, keys_per_channel(controls, read))
    annotated = [
        AnnotatedSound(annotation, task, result, sounds[task.task_id], channels[task.task_id])
        for (annotation, task), result in zip(annotations, read, strict=True)
    ]
    return annotated, awaited


def keys_per_channel(controls: Sequence[Control], read: Iterable[ReadResult]) -> frozenset[str]:
    """Return the data keys of sounds whose channels a project's annotations tell apart.

    They do if any region is on another channel than the first: then the regions on the first one are of
    that channel alone as well. Otherwise channel 0 is all that the editor writes, also where its label
    config shows the channels one by one (``splitChannels``).
    """
    used = {
        name
        for result in read
        for name, regions in result.regions.items()
        if any(region.channel for region in regions)
    }
    return frozenset(control.data_key for control in controls if control.name in used)


def annotated_clips(
    annotated: Sequence[AnnotatedSound],
    controls: Sequence[Control],
    label_weights: LabelWeights | None = None,
) -> list[AnnotatedClip]:
    """One clip for each annotation and sound, weighted by how far the annotation is trusted.

    Where annotations tell channels apart, there is one for each channel, with the regions on it, and one
    for the mix with what was said of the whole sound. The annotators of one sound share the weight of one,
    which `build_examples` applies.
    """
    clips = []
    for annotated_sound in annotated:
        for data_key, sound in annotated_sound.sounds.items():
            heads = {control.name: control.head_name for control in controls if control.data_key == data_key}
            read = annotated_sound.read
            clip = AnnotatedClip(
                frames=sound.frames,
                duration=sound.duration,
                group=_recording_key(annotated_sound.task, sound),
                weight=_weight(annotated_sound.annotation, annotated_sound.task),
                regions=_by_head(heads, read.regions),
                tags=_by_head(heads, read.tags),
                tag_weights=_by_head(heads, read.tag_weights),
                open_tags=_by_head(heads, read.open_tags),
                label_weights=_by_head(
                    heads, (label_weights or {}).get(annotated_sound.annotation.annotation_id, {})
                ),
                levels=sound.levels,
            )
            channels = annotated_sound.channels.get(data_key, ())
            clips += [_clip_of_channel(clip, channel) for channel in channels]
            if clip.tags or not channels:
                clips.append(replace(clip, regions={}) if channels else clip)
    return clips


def _clip_of_channel(clip: AnnotatedClip, channel: EncodedSound) -> AnnotatedClip:
    """Return the clip of one channel: its frames, and the regions that were drawn on it."""
    regions = {
        name: tuple(region for region in regions if region.channel == channel.channel)
        for name, regions in clip.regions.items()
    }
    of_regions = replace(clip, regions=regions, tags={}, tag_weights={}, open_tags={})
    return replace(of_regions, frames=channel.frames, levels=channel.levels)


def _by_head(heads: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of controls, by name, as values of their heads."""
    return {heads[name]: value for name, value in values.items() if name in heads}


def _weight(annotation: Annotation, task: Task) -> float:
    trust = task.data.get(TRUST_FIELD)
    untouched = not (annotation.shown_at or annotation.worked_on)
    if untouched and isinstance(trust, str) and trust in TRUST_WEIGHTS:
        return TRUST_WEIGHTS[trust]
    if annotation.ground_truth:
        return GROUND_TRUTH_WEIGHT
    return REVIEWED_WEIGHT if annotation.reviewed else 1.0


def _recording_key(task: Task, sound: EncodedSound) -> str:
    """Recording that a sound is a part of: its copies and segments never stand on both sides of a fold.

    The import cuts long files and stores the digest of the whole; any other sound has its own.
    """
    whole = task.data.get(SOURCE_DIGEST_FIELD)
    return whole if isinstance(whole, str) and whole else sound.digest


def _sounds(
    services: Services,
    project: Project,
    tasks: Sequence[Task],
    controls: Sequence[Control],
    per_channel: frozenset[str],
) -> tuple[_OfTasks[EncodedSound], _OfTasks[tuple[EncodedSound, ...]], dict[int, str]]:
    """Sounds and their channels by task and data key, and by task the reason why one is not available yet.

    ``per_channel``: data keys of the sounds whose channels are wanted.
    """
    sounds: _OfTasks[EncodedSound] = {task.task_id: {} for task in tasks}
    channels: _OfTasks[tuple[EncodedSound, ...]] = {task.task_id: {} for task in tasks}
    awaited: dict[int, str] = {}
    if not tasks or not controls:
        return sounds, channels, awaited
    extractor, access = services.extractor(), services.access.for_project(project)
    addresses = [sound_addresses({"data": task.data}, controls) for task in tasks]
    wait_seconds, missing = services.settings.train_fetch_seconds, set(range(len(tasks)))

    def encode(position: int, locate: Callable[[str], LocatedSound]) -> None:
        task = tasks[position]
        for data_key, address in addresses[position].items():
            try:
                with services.faults_of(address, project.key, task.task_id):
                    located = locate(address)
                    sound = extractor.extract(located, address)
                    if data_key in per_channel:
                        channels[task.task_id][data_key] = extractor.extract_channels(located, address)
            except EarmarkError as error:
                log.warning("annotation left out", task=task.task_id, reason=error.reason, detail=str(error))
                if error.reason in AWAITED:
                    awaited[task.task_id] = str(error)
            else:
                sounds[task.task_id][data_key] = sound

    def located(address: str) -> LocatedSound:
        located_sound = extractor.find_local(address, access)
        if located_sound is None:
            raise SoundTooSlowError(
                f"{shown(address)} did not arrive within {wait_seconds:g} s: it is asked for again by itself."
            )
        return located_sound

    of_tasks = [tuple(task_addresses.values()) for task_addresses in addresses]
    with Prefetch(extractor, access, of_tasks, wait_seconds=wait_seconds) as prefetch:
        for position in prefetch:
            encode(position, prefetch.locate)
            missing.discard(position)
    for position in sorted(missing):
        encode(position, located)
    return sounds, channels, awaited
