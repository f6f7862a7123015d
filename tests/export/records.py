"""Hypothesis strategies that generate records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from earmark.export.records import ClipRecord, RegionRecord

AWKWARD = [
    "a b,c.wav",
    "sub/ünï 日本.wav",
    'he said "wuff".flac',
    "x'%41;=.wav",
    "🎵.ogg",
    "A.WAV",
    "a.wav",
    "12",
]
"""Names and labels as people really have them."""

any_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
)
line_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12
) | st.sampled_from(AWKWARD)
weak_labels = line_text.map(lambda text: text.replace(",", ";").strip()).filter(bool)
seconds = st.floats(0, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 0.1, 1 / 3, 30.0, 1e-7])
scores = st.none() | st.floats(0, 1)


@st.composite
def regions(
    draw: st.DrawFn, labels: st.SearchStrategy[str], annotator: str | None
) -> tuple[RegionRecord, ...]:
    """Zero to eight regions, sorted; some of zero length, some overlapping."""
    drawn = []
    for number in range(draw(st.integers(0, 8))):
        start = draw(seconds)
        end = start + draw(st.just(0.0) | st.floats(0, 100))
        drawn.append(RegionRecord(start, end, draw(labels), draw(scores), annotator, f"r{number}"))
    return tuple(sorted(drawn, key=lambda region: (region.start, region.end, region.label)))


@st.composite
def records(
    draw: st.DrawFn, labels: st.SearchStrategy[str] = line_text, names: st.SearchStrategy[str] = line_text
) -> ClipRecord:
    """One annotation or prediction; ``sounds`` sets its task id."""
    predicted = draw(st.booleans())
    annotator = None if predicted else draw(st.none() | st.sampled_from(["anna@example.com", "7"]))
    control_names = draw(st.lists(st.sampled_from(["label", "species", "wo ist's"]), unique=True, max_size=2))
    tags = draw(
        st.dictionaries(st.sampled_from(["tags", "wetter"]), st.lists(labels, unique=True, max_size=4))
    )
    scored = [name for name, chosen_labels in tags.items() if chosen_labels and bool(draw(st.booleans()))]
    return ClipRecord(
        file_name=draw(names),
        sound=draw(st.sampled_from(["/data/upload/1/01234567-a.wav", "https://example.com/ü?x=1,2", ""])),
        data=draw(st.dictionaries(line_text, line_text, max_size=3)),
        duration=draw(st.none() | st.floats(0.01, 1e5)),
        tags={name: tuple(chosen_labels) for name, chosen_labels in tags.items()},
        tag_scores={name: draw(st.floats(0, 1)) for name in scored},
        regions={name: draw(regions(labels, annotator)) for name in control_names},
        source="prediction" if predicted else "annotation",
        version=draw(st.sampled_from(["cnn14-v3", "v 1"])) if predicted else None,
        annotator=annotator,
        ground_truth=draw(st.booleans()),
    )


def sounds(record: st.SearchStrategy[ClipRecord]) -> st.SearchStrategy[list[list[ClipRecord]]]:
    """Several tasks with one to three records each, of one sound, with ids as in Label Studio."""

    def numbered(tasks: list[list[ClipRecord]]) -> list[list[ClipRecord]]:
        numbers = iter(range(1, 1000))
        result = []
        for task_id, task in enumerate(tasks, 1):
            first = task[0]
            about: dict[str, Any] = {
                "task_id": task_id, "file_name": first.file_name, "sound": first.sound, "data": first.data
            }  # fmt: skip
            result.append([replace(record, id=next(numbers), **about) for record in task])
        return result

    return st.lists(st.lists(record, min_size=1, max_size=3), max_size=5).map(numbered)
