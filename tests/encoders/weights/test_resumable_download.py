"""Downloading CNN14's weights from a server that does what Zenodo has been seen to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.resumable_download import part_path
from earmark.encoders.weights.transfer_progress import Lines
from earmark.errors import WeightsError
from earmark.settings import Settings
from tests.encoders.weights.zenodo import (
    CONTENT,
    PAGE,
    SHA256,
    Handler,
    Server,
    Zenodo,
    answering,
    impatient,
    reset,
    stalled,
    trickling,
    truncated,
)

HALF = len(CONTENT) // 2
WRONG = b"x" * len(CONTENT)


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        yield server.zenodo
        server.zenodo.release.set()
        server.shutdown()


@pytest.fixture
def fetch(settings: Settings, zenodo: Zenodo) -> Callable[..., Path]:
    def run(anew: bool = False, **patience: Any) -> Path:
        return cnn14_weights.fetch_checkpoint(
            settings, zenodo.source, patience=impatient(**patience), anew=anew
        )

    return run


@pytest.fixture
def part(settings: Settings, zenodo: Zenodo) -> Path:
    path = part_path(zenodo.source, cnn14_weights.cache_path(settings, zenodo.source))
    path.parent.mkdir(parents=True)
    return path


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"cnn14.pth.lock", "digests"}


def test_it_is_fetched_once_and_verified(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    for _ in range(2):
        path = fetch()
        assert path.read_bytes() == CONTENT
        assert left_in(path.parent) == {"cnn14.pth"}
    assert zenodo.ranges == [None]


@pytest.mark.parametrize("break_off", [truncated, stalled, reset])
def test_what_came_is_kept_and_gone_on_with(
    fetch: Callable[..., Path], zenodo: Zenodo, break_off: Callable[[int], Callable[[Handler], None]]
) -> None:
    zenodo.script = [break_off(HALF)]
    assert fetch(silence_seconds=0.3).read_bytes() == CONTENT
    first, second = zenodo.ranges
    assert first is None
    assert second is not None
    if break_off is not reset:  # a reset may drop what was under way
        assert second == f"bytes={HALF}-"


def test_a_server_that_trickles_is_as_good_as_dead(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    zenodo.script = [trickling(HALF, 0.01)]
    assert fetch(silence_seconds=0.3).read_bytes() == CONTENT
    first, second = zenodo.ranges
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > HALF, "what trickled is kept as well"


def test_a_server_that_never_does_more_is_given_up(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    zenodo.script = [trickling(0, 0.01)] * 9
    with pytest.raises(WeightsError, match=r"after 3 tries: 127\.0\.0\.1 sends only \d+ bytes per second"):
        fetch(tries=3, silence_seconds=0.2)
    assert zenodo.request_count == 3


def test_a_slow_server_is_not_given_up(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    zenodo.script = [trickling(len(CONTENT) - 60, 0.01)]
    assert fetch(silence_seconds=0.2, least_rate=1.0).read_bytes() == CONTENT
    assert zenodo.request_count == 1


def test_a_server_that_always_breaks_off_is_asked_as_long_as_it_helps(
    fetch: Callable[..., Path], zenodo: Zenodo
) -> None:
    zenodo.script = [truncated(len(CONTENT) // 20)] * 12
    assert fetch(tries=2).read_bytes() == CONTENT
    assert zenodo.request_count == 13


def test_a_file_that_ends_early_without_a_length(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    zenodo.script = [answering(200, CONTENT[:HALF], Content_Length=None)]
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges == [None, f"bytes={HALF}-"]


def test_a_busy_server_is_asked_again(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    waited: list[float] = []
    zenodo.script = [answering(503), answering(502), answering(429)]
    assert fetch(sleep=waited.append, first_pause_seconds=1.0).read_bytes() == CONTENT
    assert waited == [1.0, 3.0, 9.0]


@pytest.mark.parametrize("spelling", ["seconds", "date"])
def test_a_server_that_says_when_is_asked_then(
    fetch: Callable[..., Path], zenodo: Zenodo, spelling: str
) -> None:
    waited: list[float] = []
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    zenodo.script = [
        answering(503, Retry_After="60" if spelling == "seconds" else until),
        answering(503, Retry_After="soon"),
    ]
    assert fetch(sleep=waited.append).read_bytes() == CONTENT
    assert waited[0] == pytest.approx(60, abs=30)
    assert waited[1] == 0


def test_a_server_that_asks_for_an_hour_is_left_alone(fetch: Callable[..., Path], zenodo: Zenodo) -> None:
    zenodo.script = [answering(429, Retry_After=3600)]
    with pytest.raises(WeightsError, match="HTTP 429, and asks to wait 3600 s"):
        fetch()
    assert zenodo.request_count == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (answering(200, WRONG), "another file of the right size with sha256 "),
        (answering(200, CONTENT[:500]), "another file of 500 bytes, not of 300,000"),
        (answering(200, PAGE, Content_Type="text/html"), r"a web page \('Zenodo is down'\) of "),
        (answering(200, PAGE, Content_Length=None), r"a web page \('Zenodo is down'\)"),
        (answering(200, PAGE.ljust(len(CONTENT))), r"a web page \('Zenodo is down'\)"),
        (answering(200, CONTENT + b"x", Content_Length=None), "more than 300,000 bytes"),
        (answering(503), "HTTP 503"),
        (answering(416), "HTTP 416"),
        (answering(206, CONTENT), "another part"),
        (truncated(0), "broke"),
    ],
)
def test_what_failed_is_never_kept_and_said(
    fetch: Callable[..., Path], settings: Settings, zenodo: Zenodo, behaviour: Any, message: str
) -> None:
    zenodo.script = [behaviour] * 9
    with pytest.raises(WeightsError, match=f"after 3 tries: .*{message}") as caught:
        fetch(tries=3)
    assert zenodo.request_count == 3
    assert "\n" not in str(caught.value)
    path = cnn14_weights.cache_path(settings, zenodo.source)
    for way_out in ("earmark weights", "--from FILE", str(path), "ENCODER=logmel"):
        assert way_out in str(caught.value)
    assert {name for name in left_in(path.parent) if "part" not in name} == {"fetching-failed.json"}
    assert not part_path(zenodo.source, path).exists() or part_path(zenodo.source, path).stat().st_size == 0
    with pytest.raises(WeightsError, match="s ago"):
        fetch()
    assert zenodo.request_count == 3, "a failure is remembered"
    zenodo.script = [behaviour]
    assert fetch(anew=True).read_bytes() == CONTENT
    assert left_in(path.parent) == {"cnn14.pth"}


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final(fetch: Callable[..., Path], zenodo: Zenodo, status: int) -> None:
    zenodo.script = [answering(status)]
    with pytest.raises(WeightsError, match=f"HTTP {status}"):
        fetch()
    assert zenodo.request_count == 1


def test_a_page_does_not_cost_what_came(fetch: Callable[..., Path], zenodo: Zenodo, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    zenodo.script = [
        answering(200, PAGE, Content_Type="text/html"),
        answering(200, PAGE, Content_Length=None),
    ]
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges == [f"bytes={HALF}-"] * 3


def test_the_error_says_what_is_kept(fetch: Callable[..., Path], zenodo: Zenodo, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    zenodo.script = [answering(404)]
    with pytest.raises(WeightsError, match=r"0 of 0 MB came and are kept"):
        fetch()
    assert part.read_bytes() == CONTENT[:HALF]


def test_a_server_without_ranges_starts_again(fetch: Callable[..., Path], zenodo: Zenodo, part: Path) -> None:
    part.write_bytes(b"y" * HALF)
    zenodo.script = [answering(200, CONTENT)]
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda handler: handler.begin(total=len(CONTENT) + 7),
        answering(206, CONTENT[1:], Content_Range=f"bytes 1-{len(CONTENT) - 1}/{len(CONTENT)}"),
        answering(416),
    ],
)
def test_a_file_that_changed_is_started_again(
    fetch: Callable[..., Path], zenodo: Zenodo, part: Path, behaviour: Callable[[Handler], None]
) -> None:
    part.write_bytes(CONTENT[:HALF])
    zenodo.script = [behaviour]
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("length", [HALF, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_something_else_is_thrown_away(
    fetch: Callable[..., Path], zenodo: Zenodo, part: Path, length: int
) -> None:
    part.write_bytes(b"y" * length)
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges[-1] is None


def test_a_part_that_is_complete_needs_no_request(
    fetch: Callable[..., Path], zenodo: Zenodo, part: Path
) -> None:
    part.write_bytes(CONTENT)
    assert fetch().read_bytes() == CONTENT
    assert zenodo.request_count == 0


def test_a_redirect_keeps_the_range(fetch: Callable[..., Path], zenodo: Zenodo, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    zenodo.script = [answering(302, Location="/records/cnn14.pth")]
    assert fetch().read_bytes() == CONTENT
    assert zenodo.ranges == [f"bytes={HALF}-"] * 2


@pytest.mark.parametrize("target", ["/cnn14.pth", "file:///etc/passwd", "http://["])
def test_a_redirect_to_nowhere(fetch: Callable[..., Path], zenodo: Zenodo, target: str) -> None:
    zenodo.script = [answering(302, Location=target)] * 99
    with pytest.raises(WeightsError, match="cannot be fetched"):
        fetch(tries=1)


# --- the disk ------------------------------------------------------------------------------------


def test_a_disk_without_room_is_not_filled(
    fetch: Callable[..., Path], zenodo: Zenodo, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part.write_bytes(CONTENT[:HALF])
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=64_000_000))
        with pytest.raises(WeightsError, match=r"no room .*64 MB free, 64 MB needed.*DATA_DIR"):
            fetch()
    assert zenodo.request_count == 0
    assert part.exists(), "it costs nothing more"
    assert fetch().read_bytes() == CONTENT, "a disk that has room again is used at once"


def test_a_disk_that_fills_up_gets_its_room_back(
    fetch: Callable[..., Path], zenodo: Zenodo, part: Path
) -> None:
    part.symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"no room for CNN14's weights in .*No space left"):
        fetch()
    assert not part.is_symlink()
    assert zenodo.request_count == 1
    assert fetch().read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(tmp_path: Path, zenodo: Zenodo) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    with pytest.raises(WeightsError, match=r"cannot be kept in .*DATA_DIR"):
        cnn14_weights.fetch_checkpoint(settings, zenodo.source, patience=impatient())
    assert zenodo.request_count == 0


# --- what is shown -------------------------------------------------------------------------------


def test_lines_are_said_now_and_then() -> None:
    messages: list[str] = []
    lines = Lines(messages.append, every_seconds=3600)
    lines.begin("file from host", 0, 300_000_000)
    lines.reach(100)
    lines.begin("file from host", 100_000_000, 300_000_000)
    assert messages == ["file from host", "file from host (100 of 300 MB)"]
    often = Lines(messages.append, every_seconds=0)
    often.begin("again", 0, 300_000_000)
    often.reach(150_000_000)
    assert messages[2:] == ["again", "again: 150 of 300 MB"]


def test_without_a_terminal_the_caller_gets_the_lines(settings: Settings, zenodo: Zenodo) -> None:
    messages: list[str] = []
    zenodo.script = [answering(503)]
    cnn14_weights.fetch_checkpoint(settings, zenodo.source, patience=impatient(), say=messages.append)
    assert messages == [
        "looking for 127.0.0.1",
        "127.0.0.1 answers HTTP 503; try 2 of 4 in 0 s",
        "cnn14.pth from 127.0.0.1",
        "verifying cnn14.pth",
    ]
    assert zenodo.source.sha256 == SHA256


def test_a_terminal_gets_a_bar(
    fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch()
    captured = capsys.readouterr()
    assert "cnn14.pth" in captured.err
    assert "━" in captured.err
    assert captured.out == ""
