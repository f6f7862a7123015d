"""Label mapping of an import: match labels with controls of the label config, build task annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from earmark.errors import LabelConfigError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.annotators import NO_ACCOUNTS, Accounts
from earmark.importing.label_similarity import nearly_equal
from earmark.importing.models import ANNOTATORS_FIELD, Sound
from earmark.importing.verification import add_verification, unnamed_item, wrong_item
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config, suggestion_tools
from earmark.labels.verification import VerificationControl
from earmark.labelstudio.results import choices_item, region_item
from earmark.wording import counted

LabelsAs = Literal["as-given", "annotations", "ground-truth", "predictions", "none"]
Part = Literal["tags", "regions"]

MODEL_VERSION = "imported"
"""Model version of predictions that have none in the source."""
LINES_SHOWN = 30
_TAGS_NAME, _REGIONS_NAME = "tags", "label"


@dataclass
class _Group:
    """Labels for one control: number of files by label, and ``crowded``, the files with several tags."""

    files: Counter[str] = field(default_factory=Counter)
    crowded: list[str] = field(default_factory=list)


Groups = Mapping[tuple[Part, str], _Group]
"""By part and control name; an empty name means any control."""


def groups_of(sounds: Iterable[Sound]) -> Groups:
    """Count the files of each label, by the control that the sounds' records name."""
    groups: dict[tuple[Part, str], _Group] = {}
    for sound in sounds:
        seen: dict[tuple[Part, str], set[str]] = {}
        for record in sound.marks:
            for name, tags in record.tags.items():
                seen.setdefault(("tags", name), set()).update(tags)
                if len(tags) > 1:
                    groups.setdefault(("tags", name), _Group()).crowded.append(sound.fname)
            for name, regions in record.regions.items():
                labels = {region.label for region in regions if region.label}
                seen.setdefault(("regions", name), set()).update(labels)
        for key, labels in seen.items():
            groups.setdefault(key, _Group()).files.update(labels)
    return groups


def find_controls(label_config: str, groups: Groups) -> dict[tuple[Part, str], Control]:
    """Match each group with a control: the one of the same name, else the one with most of its labels.

    A group of a suggestion tool is left out: an export of Label Studio holds its mark beside the label.

    Raises
    ------
    LabelConfigError
        No control has some label: the message lists these labels with their numbers of files, and the
        lines to add to the label config. Or a sound has several tags for a single-choice control.
    """
    controls = parse_label_config(label_config)
    matched: dict[tuple[Part, str], Control] = {}
    missing: list[str] = []
    lines: list[str] = []
    tools = suggestion_tools(label_config)
    for (part, name), group in groups.items():
        if part == "regions" and name in tools:
            continue
        candidates = [
            control
            for control in controls
            if (control.type.draws_regions if part == "regions" else control.type.of_clip)
        ]
        if not candidates:
            if group.files:
                missing.append(f"a place for {_format_counts(group.files)}")
                lines += _control_lines(part, name, list(group.files), controls[0].to_name)
            continue
        best = min(candidates, key=lambda c: (c.name != name, len(group.files.keys() - set(c.labels))))
        lacking = Counter(
            {label: group.files[label] for label in sorted(group.files.keys() - set(best.labels))}
        )
        if lacking:
            missing.append(f"{_format_counts(lacking)} in '{best.name}'")
            lines += [_label_line(part, label) for label in lacking]
        elif group.crowded and best.type.exclusive:
            raise LabelConfigError(
                f"{len(group.crowded)} files have several labels ({', '.join(group.crowded[:3])} …), but the "
                f"Choices '{best.name}' take one: set choice=\"multiple\" there; nothing was imported."
            )
        matched[part, name] = best
    if missing:
        shown = "\n".join(f"    {line}" for line in lines[:LINES_SHOWN])
        more = f"\n    … and {len(lines) - LINES_SHOWN} more" if len(lines) > LINES_SHOWN else ""
        raise LabelConfigError(
            f"The project's label config lacks {'; '.join(missing)}. Nothing was imported: add these lines "
            f"under Settings, Labeling Interface, or use --labels-as none.\n{shown}{more}"
        )
    return matched


def make_label_config(groups: Groups, verified: bool = False) -> str:
    """Return a label config with one control for each group, its labels in alphabetical order.

    ``verified``: with controls by which regions are judged.
    """
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
            ElementTree.SubElement(view, "Header", value="What sounds anywhere in the clip?")
            control = ElementTree.SubElement(
                view, "Choices", name=title, toName="audio", choice="multiple", showInline="true"
            )
        else:
            control = ElementTree.SubElement(view, "Labels", name=title, toName="audio")
        for label in sorted(group.files):
            ElementTree.SubElement(control, _TAG[part], value=label)
    if verified:
        of_regions = [group.files for (part, _), group in groups.items() if part == "regions"]
        add_verification(view, "audio", set().union(*of_regions))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


_TAG: dict[Part, str] = {"tags": "Choice", "regions": "Label"}


def label_lines(groups: Groups) -> Iterator[str]:
    """Yield lines about the labels that a new project gets: their files, and likely typing errors."""
    for (part, name), group in sorted(groups.items()):
        if not group.files:
            continue
        title = f"{'tags' if part == 'tags' else 'labels of regions'}{f' ({name})' if name else ''}"
        counts = ", ".join(
            f"{label} ({counted(count, 'file')})" for label, count in sorted(group.files.items())
        )
        yield f"{len(group.files)} {title}: {counts}"
        pairs = nearly_equal(group.files)
        if pairs:
            shown = "; ".join(" and ".join(map(repr, pair)) for pair in pairs[:LINES_SHOWN])
            yield f"! nearly equal, is one a typing error? {shown}{' …' if len(pairs) > LINES_SHOWN else ''}"


def _format_counts(files: Mapping[str, int]) -> str:
    listed = [f"{label} ({counted(count, 'file')})" for label, count in files.items()]
    return ", ".join(listed[:LINES_SHOWN]) + (" …" if len(listed) > LINES_SHOWN else "")


def _label_line(part: Part, label: str) -> str:
    return f"<{_TAG[part]} value={quoteattr(label)}/>"


def _control_lines(part: Part, name: str, labels: Sequence[str], to_name: str) -> list[str]:
    label_lines = [f"  {_label_line(part, label)}" for label in sorted(labels)]
    target = quoteattr(to_name)
    if part == "tags":
        return [
            f'<Choices name={quoteattr(name or _TAGS_NAME)} toName={target} choice="multiple">',
            *label_lines,
            "</Choices>",
        ]
    return [f"<Labels name={quoteattr(name or _REGIONS_NAME)} toName={target}>", *label_lines, "</Labels>"]


@dataclass(frozen=True)
class Marking:
    """Converts the labels of a source to annotations and predictions of tasks."""

    controls: Mapping[tuple[Part, str], Control]
    labels_as: LabelsAs
    accounts: Accounts = NO_ACCOUNTS
    """Accounts of Label Studio: annotations by these annotators are attributed to them."""
    verdict: VerificationControl | None = None
    """The control that judges regions, if any label is denied."""

    def part(self, sound: Sound) -> dict[str, Any]:
        """Return the task's ``annotations`` and ``predictions``; empty for a sound without records.

        A record without labels becomes an annotation too: an annotator listened and found none of them.
        """
        entries: dict[str, list[dict[str, Any]]] = {}
        for record in self._records(sound):
            predicted = self._is_prediction(record)
            result = self._result(record, sound, predicted)
            if predicted:
                score = min((item["score"] for item in result), default=1.0)
                version = record.version or MODEL_VERSION
                entry = {"result": result, "score": score, "model_version": version}
                entries.setdefault("predictions", []).append(entry)
            else:
                ground_truth = self.labels_as == "ground-truth"
                ground_truth = ground_truth or (self.labels_as == "as-given" and record.ground_truth)
                annotation = {"result": result, "ground_truth": ground_truth}
                account = self.accounts.number_of(record.annotator)
                completed_by = {} if account is None else {"completed_by": account}
                entries.setdefault("annotations", []).append({**annotation, **completed_by})
        return entries

    def fields(self, sound: Sound) -> dict[str, Any]:
        """Return the task field with the annotators that have no account; empty if all have one."""
        names = self.without_account(sound)
        return {ANNOTATORS_FIELD: ", ".join(dict.fromkeys(names))} if names else {}

    def without_account(self, sound: Sound) -> list[str]:
        """Return the annotators without an account, once for each of their annotations of the sound."""
        return [
            record.annotator
            for record in self._records(sound)
            if record.annotator
            and not self._is_prediction(record)
            and self.accounts.number_of(record.annotator) is None
        ]

    def _is_prediction(self, record: ClipRecord) -> bool:
        if self.labels_as == "as-given":
            return record.source == "prediction"
        return self.labels_as == "predictions"

    def _records(self, sound: Sound) -> Sequence[ClipRecord]:
        """Return the records to import; if all become one kind, annotations precede predictions."""
        annotations = [record for record in sound.marks if record.source == "annotation"]
        return annotations if annotations and self.labels_as != "as-given" else sound.marks

    def _result(self, record: ClipRecord, sound: Sound, predicted: bool) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for name, tags in record.tags.items():
            control = self.controls.get(("tags", name))
            if control and tags:
                score = record.tag_scores.get(name)
                item = choices_item(control, tags, 1.0 if score is None else score, sound.identity)
                items.append(_set_score(item, score, predicted))
        for name, regions in record.regions.items():
            control = self.controls.get(("regions", name))
            if control is None:
                continue
            for same_region in _group_by_id(regions):
                first = same_region[0]
                if not first.label:
                    unnamed = unnamed_item(control, first.start, first.end, sound)
                    items += [] if predicted else [_set_score(unnamed, None, predicted)]
                    continue
                item = region_item(
                    control,
                    first.start,
                    first.end,
                    first.label,
                    1.0 if first.score is None else first.score,
                    sound.facts.duration,
                    sound.identity,
                )
                item["value"] |= control.value([region.label for region in same_region])
                items.append(_set_score(item, first.score, predicted))
                if first.is_denied and self.verdict is not None:
                    items.append(wrong_item(control, items[-1], self.verdict))
            named = [region for region in regions if region.label]
            denied_alone = bool(named) and all(region.is_denied for region in named)
            if record.is_open or (denied_alone and not record.annotated):
                unnamed = unnamed_item(control, 0.0, sound.facts.duration, sound)
                items.append(_set_score(unnamed, None, predicted))
        return items


def _set_score(item: dict[str, Any], score: float | None, predicted: bool) -> dict[str, Any]:
    """Keep the score of predictions, which need one; annotations have one only if the source has it."""
    if predicted:
        return item
    if score is None:
        del item["score"]
    return item | {"origin": "manual"}


def _group_by_id(regions: Iterable[RegionRecord]) -> list[list[RegionRecord]]:
    """Group the records of one region with several labels; in order."""
    groups: dict[object, list[RegionRecord]] = {}
    for index, region in enumerate(regions):
        key = index if region.id is None else (region.id, region.start, region.end)
        groups.setdefault(key, []).append(region)
    return list(groups.values())
