"""Recordings by the names that tables give them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from earmark.importing.field import audio_index
from earmark.importing.field.audio_index import AudioIndex


@pytest.mark.parametrize(
    ("name", "recordings"),
    [
        ("x/a.wav", ["x/a.wav"]),
        ("/home/other/x/a.wav", ["x/a.wav"]),
        ("x\\A", ["x/a.wav"]),
        ("elsewhere/a.wav", ["a.wav", "x/a.wav", "y/a.wav"]),
        ("a.wav", ["a.wav"]),
        ("two_words", ["two words.wav"]),
        ("--4gqARaEJE", ["--4gqARaEJE_30.wav"]),
        ("BfvyPmVMo-_", ["YBfvyPmVMo-_.wav"]),
        ("XC123", ["XC123 - Owl.mp3"]),
        ("XC12", []),
        ("XC123-220101_001.mp3", ["XC123 - Owl.mp3"]),
        ("BfvyPmVMo-__30000", ["YBfvyPmVMo-__30000.wav"]),
        ("gone.wav", []),
    ],
)
def test_a_name_finds_its_recordings(name: str, recordings: list[str]) -> None:
    names = ["a.wav", "x/a.wav", "y/a.wav", "two words.wav", "--4gqARaEJE_30.wav", "YBfvyPmVMo-_.wav"]
    names += ["YBfvyPmVMo-__30000.wav"]
    assert AudioIndex([*names, "XC123 - Owl.mp3", "XC1234.mp3"]).find(name) == recordings


def test_names_alike_and_identifiers_are_looked_up_and_not_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alike = [f"{number}/audio.wav" for number in range(200)]
    index = AudioIndex([*alike, *(f"Y{number:011d}_30.wav" for number in range(200))])
    compared: list[int] = []
    closest = audio_index._closest

    def counting(path: PurePosixPath, names: list[str]) -> list[str]:
        compared.append(len(names))
        return closest(path, names)

    monkeypatch.setattr(audio_index, "_closest", counting)
    for number in range(200):
        assert index.find(f"/home/other/{number}/audio.wav") == [f"{number}/audio.wav"]
        assert index.beside(f"{number}/audio.txt") == [f"{number}/audio.wav"]
        assert index.find(f"{number:011d}") == [f"Y{number:011d}_30.wav"]
    assert set(compared) == {1}
