"""Where the labels of a source go in a project's label config, and what is missing there."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from earmark.errors import LabelConfigError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.annotators import NOBODY_KNOWN, Accounts
from earmark.importing.models import ANNOTATORS_FIELD, Sound
from earmark.labels.controls import Control, parse_label_config
from earmark.labelstudio.results import choices_item, region_item

LabelsAs = Literal["as-given", "annotations", "ground-truth", "predictions", "none"]
Part = Literal["tags", "regions"]

MODEL_VERSION = "imported"
"""Version name of predictions that come without one."""
LINES_SHOWN = 30
_TAGS_NAME, _REGIONS_NAME = "tags", "label"


@dataclass
class _Group:
    """Labels that go to one control: how many files have each, and whether some file has several."""

    files: Counter[str] = field(default_factory=Counter)
    crowded: list[str] = field(default_factory=list)


Groups = Mapping[tuple[Part, str], _Group]
"""By part and control name; an empty name leaves the control open."""


def groups_of(sounds: Iterable[Sound]) -> Groups:
    """Count the labels of all sounds, for each control that their marks name."""
    groups: dict[tuple[Part, str], _Group] = {}
    for sound in sounds:
        seen: dict[tuple[Part, str], set[str]] = {}
        for record in sound.marks:
            for name, tags in record.tags.items():
                seen.setdefault(("tags", name), set()).update(tags)
                if len(tags) > 1:
                    groups.setdefault(("tags", name), _Group()).crowded.append(sound.fname)
            for name, regions in record.regions.items():
                seen.setdefault(("regions", name), set()).update(region.label for region in regions)
        for key, labels in seen.items():
            groups.setdefault(key, _Group()).files.update(labels)
    return groups


def find_controls(label_config: str, groups: Groups) -> dict[tuple[Part, str], Control]:
    """Find the control for each group: the one of its name, else the one that has most of its labels.

    Raises
    ------
    LabelConfigError
        Labels have no place: the message lists them, with the number of files of each, and the
        lines that the label config lacks. Or a sound has several labels and the control takes one.
    """
    controls = parse_label_config(label_config)
    found: dict[tuple[Part, str], Control] = {}
    missing: list[str] = []
    lines: list[str] = []
    for (part, name), group in groups.items():
        fitting = [c for c in controls if (c.kind == "regions") == (part == "regions")]
        if not fitting:
            if group.files:
                missing.append(f"a place for {_listing(group.files)}")
                lines += _control_lines(part, name, list(group.files), controls[0].to_name)
            continue
        best = min(fitting, key=lambda c: (c.name != name, len(group.files.keys() - set(c.labels))))
        lacking = Counter(
            {label: group.files[label] for label in sorted(group.files.keys() - set(best.labels))}
        )
        if lacking:
            missing.append(f"{_listing(lacking)} in '{best.name}'")
            lines += [_label_line(part, label) for label in lacking]
        elif group.crowded and best.kind == "single":
            raise LabelConfigError(
                f"{len(group.crowded)} files have several labels ({', '.join(group.crowded[:3])} …), but the "
                f"Choices '{best.name}' take one: set choice=\"multiple\" there; nothing was imported."
            )
        found[part, name] = best
    if missing:
        shown = "\n".join(f"    {line}" for line in lines[:LINES_SHOWN])
        more = f"\n    … and {len(lines) - LINES_SHOWN} more" if len(lines) > LINES_SHOWN else ""
        raise LabelConfigError(
            f"The project's label config lacks {'; '.join(missing)}. Nothing was imported: add these lines "
            f"under Settings, Labeling Interface, or use --labels-as none.\n{shown}{more}"
        )
    return found


def make_label_config(groups: Groups) -> str:
    """Return a label config with a control for each group, with its labels in alphabetical order."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Audio", name="audio", value="$audio", hotkey="ctrl+enter")
    used: set[str] = {"audio"}
    for (part, name), group in sorted(groups.items()):
        if not group.files:
            continue
        title = name or (_TAGS_NAME if part == "tags" else _REGIONS_NAME)
        while title in used:
            title += "_"
        used.add(title)
        if part == "tags":
            ElementTree.SubElement(view, "Header", value="What is heard anywhere in the clip?")
            control = ElementTree.SubElement(
                view, "Choices", name=title, toName="audio", choice="multiple", showInline="true"
            )
        else:
            control = ElementTree.SubElement(view, "Labels", name=title, toName="audio")
        for label in sorted(group.files):
            ElementTree.SubElement(control, _TAG[part], value=label)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


_TAG: dict[Part, str] = {"tags": "Choice", "regions": "Label"}


def _listing(files: Mapping[str, int]) -> str:
    listed = [f"{label} ({count} files)" for label, count in files.items()]
    return ", ".join(listed[:LINES_SHOWN]) + (" …" if len(listed) > LINES_SHOWN else "")


def _label_line(part: Part, label: str) -> str:
    return f"<{_TAG[part]} value={quoteattr(label)}/>"


def _control_lines(part: Part, name: str, labels: Sequence[str], to_name: str) -> list[str]:
    labelled = [f"  {_label_line(part, label)}" for label in sorted(labels)]
    to = quoteattr(to_name)
    if part == "tags":
        return [
            f'<Choices name={quoteattr(name or _TAGS_NAME)} toName={to} choice="multiple">',
            *labelled,
            "</Choices>",
        ]
    return [f"<Labels name={quoteattr(name or _REGIONS_NAME)} toName={to}>", *labelled, "</Labels>"]


@dataclass(frozen=True)
class Marking:
    """How labels of the source become part of a task."""

    controls: Mapping[tuple[Part, str], Control]
    labels_as: LabelsAs
    accounts: Accounts = NOBODY_KNOWN
    """Accounts of Label Studio, which keep their annotations."""

    def part(self, sound: Sound) -> dict[str, Any]:
        """Return the task's annotations and predictions; nothing for a sound that nothing is said of.

        A record without labels is one all the same: somebody listened, and nothing of them is there.
        """
        made: dict[str, list[dict[str, Any]]] = {}
        for record in self._records(sound):
            predicted = self._predicted(record)
            result = self._result(record, sound, predicted)
            if predicted:
                score = min((item["score"] for item in result), default=1.0)
                version = record.version or MODEL_VERSION
                entry = {"result": result, "score": score, "model_version": version}
                made.setdefault("predictions", []).append(entry)
            else:
                truth = self.labels_as == "ground-truth"
                truth = truth or (self.labels_as == "as-given" and record.ground_truth)
                annotation = {"result": result, "ground_truth": truth}
                account = self.accounts.number_of(record.annotator)
                by = {} if account is None else {"completed_by": account}
                made.setdefault("annotations", []).append({**annotation, **by})
        return made

    def fields(self, sound: Sound) -> dict[str, Any]:
        """Return the task's field with the annotators that have no account; nothing without such."""
        names = self.without_account(sound)
        return {ANNOTATORS_FIELD: ", ".join(dict.fromkeys(names))} if names else {}

    def without_account(self, sound: Sound) -> list[str]:
        """Return the annotators of a sound's annotations that have no account, once for each annotation."""
        return [
            record.annotator
            for record in self._records(sound)
            if record.annotator
            and not self._predicted(record)
            and self.accounts.number_of(record.annotator) is None
        ]

    def _predicted(self, record: ClipRecord) -> bool:
        if self.labels_as == "as-given":
            return record.source == "prediction"
        return self.labels_as == "predictions"

    def _records(self, sound: Sound) -> Sequence[ClipRecord]:
        """Return the records that count: told to make one kind, what people said goes before predictions."""
        by_people = [record for record in sound.marks if record.source == "annotation"]
        return by_people if by_people and self.labels_as != "as-given" else sound.marks

    def _result(self, record: ClipRecord, sound: Sound, predicted: bool) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for name, tags in record.tags.items():
            control = self.controls.get(("tags", name))
            if control and tags:
                score = record.tag_scores.get(name)
                item = choices_item(control, tags, 1.0 if score is None else score, sound.identity)
                items.append(_scored(item, score, predicted))
        for name, regions in record.regions.items():
            control = self.controls.get(("regions", name))
            if control is None:
                continue
            for together in _by_id(regions):
                one = together[0]
                item = region_item(
                    control,
                    one.start,
                    one.end,
                    one.label,
                    1.0 if one.score is None else one.score,
                    sound.facts.duration,
                    sound.identity,
                )
                item["value"][control.result_type] = [region.label for region in together]
                items.append(_scored(item, one.score, predicted))
        return items


def _scored(item: dict[str, Any], score: float | None, predicted: bool) -> dict[str, Any]:
    """Predictions need a score; what somebody said has one where it came with one."""
    if predicted:
        return item
    if score is None:
        del item["score"]
    return item | {"origin": "manual"}


def _by_id(regions: Iterable[RegionRecord]) -> list[list[RegionRecord]]:
    """Records of one region with several labels, together; in order."""
    groups: dict[object, list[RegionRecord]] = {}
    for number, region in enumerate(regions):
        key = number if region.id is None else (region.id, region.start, region.end)
        groups.setdefault(key, []).append(region)
    return list(groups.values())
