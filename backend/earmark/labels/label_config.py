"""Label config parser: the controls for sound, with their labels and the data key of their sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from earmark.errors import LabelConfigError
from earmark.labels.config_tree import Tag, parse_tree
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.labels import Labels
from earmark.labels.control_types.registry import type_of_tag
from earmark.labels.task_values import expression
from earmark.labels.verification import VerificationControl, find_verification_controls
from earmark.labels.visibility import conditions_of

LONGEST_CACHED = 50_000
"""Characters of a label config that is kept parsed; longer ones, which are rare, are parsed each time."""
CACHED = 128

_SOUND_TAGS = {"audio", "audioplus", "video"}
_OBJECT_TAGS = _SOUND_TAGS | {
    "chat", "hypertext", "image", "list", "paragraphs", "pdf", "table", "text", "timeseries", "website",
}  # fmt: skip
_UNLEARNED = {
    "datetime": "dates are not learned from sound",
    "number": "numbers are not learned from sound yet",
    "pairwise": "comparisons of two sounds are not learned",
    "ranker": "rankings are not learned",
    "textarea": "texts are not learned from sound",
}
"""Control tags that are left as annotators filled them, by the reason."""


@dataclass(frozen=True)
class IgnoredControl:
    """A control on sound that is neither learned nor predicted, and why."""

    name: str
    tag: str
    reason: str


@dataclass(frozen=True)
class LabelConfig:
    """What a label config asks about sounds.

    ``tools``: names of the ``Labels`` that mark a region only to request its label. ``ignored``: controls
    on sound that are neither learned nor predicted. ``verification_controls``: controls that verify regions.
    """

    controls: tuple[Control, ...]
    tools: frozenset[str]
    ignored: tuple[IgnoredControl, ...]
    verification_controls: tuple[VerificationControl, ...]


def parse_label_config(label_config: str) -> tuple[Control, ...]:
    """Find every control that Earmark can serve, in document order.

    Raises
    ------
    LabelConfigError
        The text is not a label config, or no control in it that can be learned is for sound.
    """
    config = read_label_config(label_config)
    if not config.controls:
        reasons = "; ".join(
            f"<{control.tag}> '{control.name}': {control.reason}" for control in config.ignored
        )
        raise LabelConfigError(
            "The label config has no control that can be learned, with at least one label, for an Audio tag: "
            'add one, such as <Labels name="label" toName="audio"><Label value="Dog"/></Labels>.'
            + (f" ({reasons}.)" if reasons else "")
        )
    return config.controls


def read_label_config(label_config: str) -> LabelConfig:
    """Read a label config, which may have no control on sound.

    Raises
    ------
    LabelConfigError
        The text is not XML, is too long, or declares entities.
    """
    return _cached(label_config) if len(label_config) <= LONGEST_CACHED else _read(label_config)


def suggestion_tools(label_config: str) -> frozenset[str]:
    """Names of the ``Labels`` that mark a region only to request its label; see `_tools`."""
    try:
        return read_label_config(label_config).tools
    except LabelConfigError:
        return frozenset()  # parse_label_config raises on it


def _read(label_config: str) -> LabelConfig:
    tags = list(parse_tree(label_config).walk())
    objects = [tag for tag in tags if tag.name in _OBJECT_TAGS and tag.get("name")]
    sounds = {
        tag.get("name"): tag for tag in objects if tag.name in _SOUND_TAGS and expression(tag.get("value"))
    }
    only = objects[0].get("name") if len(objects) == 1 else ""
    of_sounds = [
        (tag, names)
        for tag in tags
        if tag.get("name") and tag not in objects and tag.name not in ("label", "choice")
        if (names := [name for name in tag.names("toname") or (only,) if name in sounds])
    ]
    tools = _tools([tag for tag, _ in of_sounds])
    verifying = _verification_controls(of_sounds)
    certain = {control.name for control in verifying if control.role != "doubt"}
    controls: list[Control] = []
    ignored: list[IgnoredControl] = []
    for tag, names in of_sounds:
        if tag in tools:
            continue
        control_type = type_of_tag(tag)
        reason = _reason_to_ignore(tag, control_type, [sounds[name] for name in names])
        if tag.get("name") in certain:
            continue
        if reason or control_type is None:
            if reason:
                ignored.append(IgnoredControl(tag.get("name"), _spelled(tag), reason))
            continue
        for place, name in enumerate(names):
            controls.append(_control(tag, control_type, sounds[name], place, tuple(verifying)))
    unique = _with_unique_names(controls)
    return LabelConfig(unique, frozenset(tag.get("name") for tag in tools), tuple(ignored), tuple(verifying))


_cached = lru_cache(maxsize=CACHED)(_read)


def _control(
    tag: Tag, control_type: ControlType, sound: Tag, place: int, verifying: tuple[VerificationControl, ...]
) -> Control:
    """Build the control of a tag, for one of its sounds."""
    name = tag.get("name")
    labels: dict[str, Tag] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for path, label in control_type.config_paths(tag):
        joined = control_type.joined(path)
        labels.setdefault(joined, label)
        paths.setdefault(joined, path)
    hints = {joined: other for joined, label in labels.items() if (other := _hints(label, paths[joined]))}
    shown = {
        joined: label.get("value")
        for joined, label in labels.items()
        if label.get("alias") and label.get("value")
    }
    nested = any(len(path) > 1 for path in paths.values())
    return Control(
        name=name if place == 0 else f"{name}@{sound.get('name')}",
        to_name=sound.get("name"),
        type=control_type,
        labels=tuple(labels),
        data_key=expression(sound.get("value")),
        hints=hints,
        shown=shown,
        from_name=name,
        head_name=tag.first_name or name,
        paths=paths if nested else {},
        leaves_only=nested and (tag.flag("leafsonly") or control_type.result_type == "choices"),
        several=tag.get("choice").lower() == "multiple",
        options=expression(tag.get("value")) if tag.get("value").startswith("$") else "",
        frame_rate=_frame_rate(sound),
        conditions=conditions_of(tag),
        verification_controls=verifying if control_type.draws_regions else (),
        threshold=_share(tag.get("model_score_threshold")),
        trainable=tag.flag("model_trainable", default=True),
        encoder=tag.get("model_encoder").strip(),
        optional=tag.repeated,
    )


def _hints(label: Tag, path: tuple[str, ...]) -> tuple[str, ...]:
    """Other names of a label, by which it may match a class of the encoder."""
    other_names = [part.strip() for part in label.get("predicted_values").split(",")]
    other_names += [label.get("value")] if label.get("alias") else []
    other_names += [label.get("hint")]
    other_names += [path[-1]] if len(path) > 1 else []
    return tuple(dict.fromkeys(hint for hint in other_names if hint))


def _reason_to_ignore(tag: Tag, control_type: ControlType | None, sounds: list[Tag]) -> str:
    """Return why a control on sound is ignored; empty where it is not, or where it is no control."""
    if tag.name in _UNLEARNED:
        return _UNLEARNED[tag.name]
    if control_type is None:
        return ""
    if tag.flag("model_skip"):
        return 'its tag says model_skip="true"'
    if tag.flag("peritem") or (control_type.result_type == "taxonomy" and tag.flag("labeling")):
        return "it labels parts of the data other than time spans"
    if isinstance(control_type, Labels) and any(sound.name == "video" for sound in sounds):
        return "Labels on a Video mark its picture: TimelineLabels mark spans of its sound"
    if control_type.result_type == "timelinelabels" and any(sound.name != "video" for sound in sounds):
        return "the editor draws TimelineLabels on a Video alone"
    if tag.get("apiurl"):
        return "its labels come from another server (apiUrl)"
    if not control_type.config_paths(tag) and not tag.get("value").startswith("$"):
        return "it has no labels"
    return ""


def _verification_controls(of_sounds: list[tuple[Tag, list[str]]]) -> list[VerificationControl]:
    """Find the controls that verify regions, of all sounds."""
    labels: set[str] = set()
    for tag, _ in of_sounds:
        control_type = type_of_tag(tag)
        if control_type is not None and control_type.draws_regions:
            labels |= {
                text
                for _, label in control_type.config_paths(tag)
                for text in (label.get("alias"), label.get("value"))
                if text
            }
    per_region = [
        tag for tag, _ in of_sounds if tag.name in ("choices", "taxonomy") and tag.flag("perregion")
    ]
    return find_verification_controls(per_region, frozenset(labels))


def _tools(tags: list[Tag]) -> list[Tag]:
    """``Labels`` with ``smartOnly="true"`` beside others on the same sound: their labels are never learned.

    Label Studio's editor overwrites the label of a backend's answer with the selected one. So the label
    that requests a suggestion must be of another tag than the suggested labels.
    """
    labels = [tag for tag in tags if tag.name == "labels"]
    ordinary = {tag.get("toname") for tag in labels if not tag.flag("smartonly")}
    return [tag for tag in labels if tag.flag("smartonly") and tag.get("toname") in ordinary]


def _with_unique_names(controls: list[Control]) -> tuple[Control, ...]:
    """Controls with the same name, which Label Studio refuses, are learned by the first one alone."""
    counts: Counter[str] = Counter()

    def first() -> Iterator[Control]:
        for control in controls:
            counts[control.name] += 1
            if counts[control.name] == 1:
                yield control

    return tuple(first())


def _frame_rate(sound: Tag) -> str:
    rate = sound.get("framerate")
    return expression(rate) if sound.name == "video" else ""


def _share(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def _spelled(tag: Tag) -> str:
    """Return a tag's name as Label Studio spells it."""
    return {"textarea": "TextArea", "timelinelabels": "TimelineLabels", "datetime": "DateTime"}.get(
        tag.name, tag.name.capitalize()
    )
