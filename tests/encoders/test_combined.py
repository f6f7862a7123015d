"""Two encoders as one: frames side by side, one stream for both, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.encoders import encoder_identity, registry
from earmark.encoders.base import Tagger
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.fan_out import BLOCKS_AHEAD, fan_out
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.yamnet import YamnetEncoder
from earmark.encoders.yamnet_model import convert
from earmark.head.zero_shot import zero_label_head
from earmark.labels.controls import Control
from earmark.settings import Settings
from tests.encoders.yamnet_wheel import quantised_graph

RATE = 32_000
FRAME = round(0.32 * RATE)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> CombinedEncoder:
    folder = tmp_path_factory.mktemp("small")
    graph, data = quantised_graph(0)
    (folder / "model.onnx").write_bytes(graph)
    (folder / "model.data").write_bytes(data)
    (folder / "float32.onnx").write_bytes(convert(folder / "model.onnx"))
    return CombinedEncoder(YamnetEncoder(folder / "float32.onnx"), LogmelEncoder())


def noise(samples: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def test_its_identity_is_known_without_loading_it(encoder: CombinedEncoder, tmp_path: Path) -> None:
    found = encoder_identity(Settings(_env_file=None, data_dir=tmp_path, encoder="yamnet+logmel"))
    assert found == encoder.identity
    assert registry.spec_of(found).sample_rate == encoder.sample_rate
    assert registry.is_version_name("yamnet+logmel-v3")
    assert registry.spec_of("yamnet+logmel-v3").name == encoder.name


def test_embeddings_are_those_of_both(encoder: CombinedEncoder) -> None:
    sound = noise(10 * FRAME)
    frames = encoder.frames([sound])
    assert frames.shape == (10, encoder.frame_dim)
    alone = LogmelEncoder()
    expected = alone.pool(alone.frames([sound]))
    assert np.allclose(encoder.pool(frames)[-len(expected) :], expected, atol=1e-5)
    runs = np.stack([frames[:3], frames[3:6]])
    assert np.allclose(encoder.pool(runs)[1], encoder.pool(frames[3:6]), atol=1e-5)


@settings(max_examples=25)
@given(samples=st.integers(1, 30 * FRAME), cuts=st.lists(st.floats(0, 1), max_size=5))
def test_frames_do_not_depend_on_how_the_sound_was_cut(
    encoder: CombinedEncoder, samples: int, cuts: list[float]
) -> None:
    sound = noise(samples)
    blocks = np.split(sound, sorted(round(cut * samples) for cut in cuts))
    frames = encoder.frames(blocks)
    assert len(frames) == -(-samples // FRAME)
    assert np.isfinite(frames).all()
    assert np.array_equal(frames, encoder.frames([sound]))


def test_the_zero_shot_head_is_the_first_encoders(encoder: CombinedEncoder) -> None:
    assert isinstance(encoder, Tagger)
    control = Control("x", "audio", "multiple", ("Dog", "Siren"), "audio", {})
    head = zero_label_head(encoder, [control])
    first = zero_label_head(encoder._first, [control])
    assert head is not None
    assert first is not None
    frames = encoder.frames([noise(8 * FRAME)])
    of_first = encoder._first.pool(frames[:, : encoder._first.frame_dim])
    found = head.controls["x"].probabilities(encoder.pool(frames)[None])
    assert np.allclose(found, first.controls["x"].probabilities(of_first[None]), atol=1e-6)


def test_every_consumer_gets_every_block_and_few_are_held() -> None:
    made: list[int] = []
    slow = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    def waits(blocks: Iterable[int]) -> int:
        assert slow.wait(20)
        return sum(blocks)

    def goes_first(blocks: Iterable[int]) -> int:
        total = 0
        for number in blocks:
            total += number
            if number == BLOCKS_AHEAD - 1:
                assert len(made) <= BLOCKS_AHEAD + 2, "the slowest holds the stream back"
                slow.set()
        return total

    assert fan_out(numbers(), [waits, goes_first]) == [4950, 4950]


@pytest.mark.parametrize("number", [0, 50])
def test_errors_of_the_stream_and_of_consumers_end_it(number: int) -> None:
    def breaks(_blocks: Iterable[int]) -> int:
        for block in _blocks:
            if block == number:
                raise ValueError("a consumer's")
        return 0

    def total(blocks: Iterable[int]) -> int:
        return sum(blocks)

    def stream() -> Iterator[int]:
        yield from range(number)
        raise OSError("the stream's")

    with pytest.raises(ValueError, match="consumer"):
        fan_out(range(100), [total, breaks])
    with pytest.raises(OSError, match="stream"):
        fan_out(stream(), [total, total])
