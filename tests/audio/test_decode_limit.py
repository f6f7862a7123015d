"""Time limit of decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio import decode_limit
from earmark.audio.decode import read
from earmark.audio.decode_limit import DecodeLimit
from earmark.errors import SoundUnreadableError


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_decoding_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    soundfile.write(tmp_path / "a", np.zeros(400_000), 8000, format=form)
    monkeypatch.setattr(decode_limit, "SECONDS", 0.0)
    monkeypatch.setattr(decode_limit, "SECONDS_A_MEGABYTE", 0.0)
    with pytest.raises(SoundUnreadableError, match="takes more than"):
        read(tmp_path / "a", 8000)


def test_the_limit_grows_with_bytes_and_stands_still_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(1_000_000))
    now = 0.0
    monkeypatch.setattr(decode_limit, "monotonic", lambda: now)
    limit = DecodeLimit(tmp_path / "a", "a")
    most = decode_limit.SECONDS + decode_limit.SECONDS_A_MEGABYTE
    with limit:
        now += most - 1
    now += 1000
    limit.check()
    with limit:
        now += 2
        with pytest.raises(SoundUnreadableError):
            limit.check()
