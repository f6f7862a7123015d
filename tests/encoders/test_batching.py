"""One pass at a time; equal lengths together; a failure is the failure of one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.encoders.batching import BatchRunner
from tests.waiting import until


class Network:
    """Returns the first sample of each waveform; holds its first pass until it is let go."""

    def __init__(self) -> None:
        self.passes: list[tuple[int, ...]] = []
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        self.passes.append(waveforms.shape)
        self.started.set()
        assert self.go.wait(10)
        if (waveforms == 13).any():
            raise RuntimeError("thirteen")
        return waveforms[:, None, :1]


def answers(network: Network, passes: BatchRunner, waves: list[NDArray[np.float32]]) -> list[float | str]:
    """Occupy the network with a first waveform, let all others wait behind it, then let it go."""

    def ask(wave: NDArray[np.float32]) -> float | str:
        try:
            return float(passes(wave)[0, 0])
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(len(waves)) as pool:
        first = pool.submit(ask, waves[0])
        assert network.started.wait(10)
        others = [pool.submit(ask, wave) for wave in waves[1:]]
        until(lambda: len(passes._waiting) == len(others), "all others wait")
        network.go.set()
        return [first.result(), *(other.result() for other in others)]


def wave(value: float, size: int = 100) -> NDArray[np.float32]:
    return np.full(size, value, np.float32)


def test_those_who_wait_share_the_next_pass() -> None:
    network = Network()
    waves = [wave(0), *(wave(i) for i in range(1, 6)), wave(7, 50), wave(8, 50)]
    assert answers(network, BatchRunner(network, 1000), waves) == [0, 1, 2, 3, 4, 5, 7, 8]
    assert sorted(network.passes) == [(1, 100), (2, 50), (5, 100)]


def test_no_pass_is_longer_than_it_may_be() -> None:
    network = Network()
    assert answers(network, BatchRunner(network, 250), [wave(i) for i in range(6)]) == [0, 1, 2, 3, 4, 5]
    assert max(count for count, _ in network.passes) == 2


@pytest.mark.parametrize("shared", [0, 99])
def test_one_by_one(shared: int) -> None:
    network = Network()
    assert answers(network, BatchRunner(network, shared), [wave(i) for i in range(4)]) == [0, 1, 2, 3]
    assert network.passes == [(1, 100)] * 4


def test_one_failure_is_not_everyones() -> None:
    network = Network()
    outcomes = answers(network, BatchRunner(network, 1000), [wave(0), wave(13), wave(2), wave(3)])
    assert outcomes[0] == 0
    assert "thirteen" in outcomes[1:]
    assert all(
        value in ("thirteen", expected) for value, expected in zip(outcomes, [0, 13, 2, 3], strict=True)
    )


def test_it_goes_on_after_a_failure() -> None:
    network = Network()
    network.go.set()
    passes = BatchRunner(network, 0)
    with pytest.raises(RuntimeError):
        passes(wave(13))
    assert passes(wave(4))[0, 0] == 4
