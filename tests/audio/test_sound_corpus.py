"""Every format, header fault and damage: decoded whole and in time, or refused with one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.decode import agrees
from benchmarks.decode_corpus import CorpusFile, corpus
from benchmarks.decode_sounds import clicks_in
from earmark.audio.decode import probe, read
from earmark.errors import SoundUnreadableError
from tests.examples import with_examples

pytestmark = pytest.mark.slow

RATE = 32_000
KINDS = ("format", "header", "joined", "times", "damage", "no sound")


@pytest.fixture(scope="module")
def files() -> list[CorpusFile]:
    return list(corpus())


@pytest.mark.parametrize("kind", KINDS)
def test_sound_is_whole_and_in_time(files: list[CorpusFile], tmp_path: Path, kind: str) -> None:
    of_kind = [file for file in files if file.kind == kind]
    assert of_kind
    wrong = [sentence for file in of_kind if (sentence := _fault(file, tmp_path))]
    assert not wrong


def _fault(file: CorpusFile, folder: Path) -> str:
    path = folder / file.name
    path.write_bytes(file.content)
    try:
        samples = read(path, RATE)
    except SoundUnreadableError as error:
        return "" if file.may_refuse or file.seconds is None else str(error)
    seconds, clicks = len(samples) / RATE, tuple(clicks_in(samples, RATE))
    if not agrees(file, seconds, clicks):
        return f"{file.name}: {seconds:.3f} s, clicks at {clicks}"
    measured = probe(path).duration_seconds
    lacks = file.may_lack is not None or file.may_end
    return "" if lacks or abs(measured - seconds) < 0.35 else f"{file.name}: probed {measured:.3f} s"


@pytest.mark.slow
@given(data=st.data())
@with_examples(150)
def test_any_damage_is_sound_or_a_clear_error(files: list[CorpusFile], data: st.DataObject) -> None:
    """Bytes replaced, removed or added anywhere, and headers more often than the rest."""
    file = data.draw(st.sampled_from([file for file in files if file.kind in ("format", "times")]))
    content = file.content[:60_000]
    for _ in range(data.draw(st.integers(1, 4))):
        most = data.draw(st.sampled_from([200, len(content)]))
        at = data.draw(st.integers(0, min(most, len(content))))
        added = data.draw(st.binary(max_size=40))
        removed = data.draw(st.sampled_from([0, len(added), 1000]))
        content = content[:at] + added + content[at + removed :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        path.write_bytes(content)
        for attempt in (read, lambda path, rate: probe(path)):
            try:
                attempt(path, RATE)
            except SoundUnreadableError as error:
                assert file.name in str(error)  # noqa: PT017
