"""Predictions and annotations as the page draws them: marks over a spectrogram, and a line of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earmark.labelstudio.result_reader import ReadResult
from earmark.pages.environment import clock

COLOURS = 12
"""Colours ``--c0`` to ``--c11`` of the style sheet, in turn for labels without one in the label config."""
NO_COLOUR = "var(--c0)"
NAMED = 4
"""Regions that a line of text lists."""


@dataclass(frozen=True)
class Mark:
    """A region: seconds, labels, and its colour as CSS writes it."""

    start: float
    end: float
    labels: tuple[str, ...]
    colour: str


@dataclass(frozen=True)
class Marks:
    """A prediction or an annotation: regions in order of time, and tags of the whole clip."""

    regions: tuple[Mark, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The regions and tags in a line."""
        named = [
            f"{', '.join(mark.labels)} {clock(mark.start)} to {clock(mark.end)}"
            for mark in self.regions[:NAMED]
        ]
        more = len(self.regions) - len(named)
        parts = [*named, *([f"{more} more regions"] if more > 0 else [])]
        if self.tags:
            parts.append(f"tags {', '.join(self.tags)}")
        return "; ".join(parts) or "nothing"


@dataclass(frozen=True)
class Colours:
    """Colours of labels, as CSS writes them."""

    by_label: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Iterable[str], chosen: Mapping[str, str]) -> Colours:
        """Give each of these labels its chosen colour, or the next one of the style sheet."""
        names = enumerate(dict.fromkeys(labels))
        return cls({label: chosen.get(label, f"var(--c{place % COLOURS})") for place, label in names})

    def __getitem__(self, label: str) -> str:
        """Return the colour of a label."""
        return self.by_label.get(label, NO_COLOUR)

    def marks(self, read: ReadResult, controls: Collection[str] | None = None) -> Marks:
        """Return a parsed result, of all controls or of those with these names."""
        return self.stored_marks(
            {
                "regions": {
                    name: [(region.start, region.end, sorted(region.labels)) for region in spans]
                    for name, spans in read.regions.items()
                },
                "tags": {name: sorted(tags) for name, tags in read.tags.items()},
            },
            controls,
        )

    def stored_marks(self, stored: Mapping[str, Any], controls: Collection[str] | None = None) -> Marks:
        """Return a prediction as `stored_result` stores it, of all controls or of those with these names."""

        def of(part: str) -> list[Any]:
            return [
                each
                for name, entries in stored[part].items()
                if controls is None or name in controls
                for each in entries
            ]

        return self._marks(of("regions"), of("tags"))

    def _marks(self, regions: Iterable[Sequence[Any]], tags: Iterable[str]) -> Marks:
        marks = [
            Mark(float(start), float(end), tuple(labels), self[labels[0] if labels else ""])
            for start, end, labels in regions
        ]
        return Marks(
            tuple(sorted(marks, key=lambda mark: (mark.start, mark.end))), tuple(dict.fromkeys(tags))
        )
