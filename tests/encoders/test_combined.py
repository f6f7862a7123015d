"""Several encoders as one: frames side by side on one grid, one stream for all, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.encoders import encoder_identity, registry
from earmark.encoders.base import Tagger
from earmark.encoders.combined import CombinedEncoder, embedding_parts
from earmark.encoders.fan_out import BLOCKS_AHEAD, fan_out
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.yamnet import YamnetEncoder
from earmark.encoders.yamnet_model import convert
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.settings import Settings
from tests.encoders.weights.yamnet_wheel import quantised_graph
from tests.examples import with_examples

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
    identity = encoder_identity(Settings(_env_file=None, data_dir=tmp_path, encoder="yamnet+logmel"))
    assert identity == encoder.identity
    assert registry.spec_of(identity).sample_rate == encoder.sample_rate
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


def test_members_count_the_same_and_so_do_the_parts_of_each(encoder: CombinedEncoder) -> None:
    parts = embedding_parts(encoder)
    assert sum(part.width for part in parts) == encoder.embedding_dim
    assert [part.weight for part in parts] == [0.25, 0.25, 0.5]
    assert [part.weight for part in embedding_parts(encoder.members[0])] == [0.5, 0.5]
    assert embedding_parts(LogmelEncoder()) == ()


@with_examples(25)
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


class Counting:
    """Frame i holds i; pooled to the mean."""

    sample_rate, frame_dim, embedding_dim = 1000, 1, 1

    def __init__(self, name: str, frame_rate: float) -> None:
        self.name, self.identity, self.frame_rate = name, f"{name}-1", frame_rate

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        seconds = sum(len(block) for block in blocks) / self.sample_rate
        return np.arange(max(1, int(seconds * self.frame_rate)), dtype=np.float16)[:, None]

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(frames.mean(axis=-2, dtype=np.float32))


@pytest.mark.parametrize(
    ("rates", "grid", "each"),
    [
        ((3.125, 12.5), 3.125, [1, 4]),
        ((3.125, 3.125, 12.5), 3.125, [1, 1, 4]),
        ((6.25, 25.0), 6.25, [1, 4]),  # no coarser than its members
        ((1 / 3, 12.5), 3.125, [1, 4]),  # a slow member makes no slow grid
        ((1.0, 2.0), 2.0, [1, 1]),
        ((3.125, 10.0), 3.125, [1, 4]),  # no frame is left out
        ((7.0, 7.0), 7.0, [1, 1]),
    ],
)
def test_the_time_grid_of_a_combination(rates: tuple[float, ...], grid: float, each: list[int]) -> None:
    members = [Counting(f"member{number}", rate) for number, rate in enumerate(rates)]
    combined = CombinedEncoder(*members)
    assert combined.frame_rate == grid
    assert combined.frame_dim == sum(each)
    frames = combined.frames([np.zeros(48_000, dtype=np.float32)])
    assert len(frames) == round(48 * grid)
    start = 0
    for member, many in zip(members, each, strict=True):
        own = frames[:, start : start + many].astype(int)
        middles = (np.arange(len(frames))[:, None] + (np.arange(many) + 0.5) / many) / grid
        assert (np.abs((own + 0.5) / member.frame_rate - middles) <= 0.5 / member.frame_rate + 1e-6).all()
        assert set(own.ravel()) == set(range(int(48 * member.frame_rate))), "every frame has its place"
        start += many
    halves = combined.pool(np.stack([frames[: len(frames) // 2], frames[len(frames) // 2 :]]))
    assert np.allclose(halves.mean(axis=0), [(int(48 * rate) - 1) / 2 for rate in rates], rtol=0.01)


def test_the_order_of_its_members_makes_no_difference(settings_of: Settings) -> None:
    names = ["logmel+yamnet+cnn14", "cnn14+yamnet+logmel", "yamnet+cnn14+logmel"]
    assert len({registry.spec_of(name).name for name in names}) == 1
    identities = {encoder_identity(settings_of.model_copy(update={"encoder": name})) for name in names}
    (identity,) = identities
    spec = registry.spec_of(identity)
    assert [weights.name for weights in spec.weights] == ["cnn14", "yamnet"]
    assert spec.takes_checkpoint
    assert spec.cost == sum(registry.spec_of(name).cost or 0 for name in spec.name.split("+"))
    assert registry.class_names(identity) == registry.class_names("cnn14"), "each class once"


@pytest.fixture
def settings_of(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)


def test_classes_of_all_members_are_told_apart(encoder: CombinedEncoder) -> None:
    class Bats(Counting):
        def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return np.array([[1.0, 2.0]], dtype=np.float32), np.array([3.0, 4.0], dtype=np.float32)

    names = {"yamnet": ("Dog", "Bat"), "bats": ("bat", "Noctule")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "class_names", lambda identity: names.get(identity.partition("-")[0], ()))
        weights, bias = CombinedEncoder(*encoder.members, Bats("bats", 1.0)).class_layer()
    assert weights.shape == (encoder.embedding_dim + 1, 3), "Dog, Bat and Noctule"
    assert weights[-1].tolist() == [0.0, 0.0, 2.0]
    assert bias.tolist() == [0.0, 0.0, 4.0]
    assert weights[:-1, 2].tolist() == [0.0] * encoder.embedding_dim


def test_the_zero_shot_head_is_the_first_encoders(encoder: CombinedEncoder) -> None:
    assert isinstance(encoder, Tagger)
    control = Control("x", "audio", MULTIPLE_CHOICE, ("Dog", "Siren"), "audio", {})
    head = zero_shot_head(encoder, [control])
    first = zero_shot_head(encoder.members[0], [control])
    assert head is not None
    assert first is not None
    frames = encoder.frames([noise(8 * FRAME)])
    of_first = encoder.members[0].pool(frames[:, : encoder.members[0].frame_dim])
    probabilities = head.controls["x"].probabilities(encoder.pool(frames)[None])
    assert np.allclose(probabilities, first.controls["x"].probabilities(of_first[None]), atol=1e-6)


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
