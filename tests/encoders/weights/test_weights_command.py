"""``earmark weights``: fetch, verify, install a copy; exit codes and sentences."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

import earmark.cli
from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.resumable_download import part_path
from earmark.settings import Settings
from tests.encoders.weights.zenodo import CONTENT, PAGE, SHA256, Server, Zenodo, closed_port, source_at

IDENTITY = f"cnn14-{SHA256[:12]}"


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        monkeypatch.setattr(cnn14_weights, "ZENODO", server.zenodo.source)
        yield server.zenodo
        server.shutdown()


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zenodo: Zenodo
) -> Run:
    def run(*arguments: object, **changes: object) -> Said:
        monkeypatch.setattr(earmark.cli, "command_settings", lambda *_: settings.model_copy(update=changes))
        monkeypatch.setattr(sys, "argv", ["backend", "weights", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            earmark.cli.main()
        return Said(ended.value.code or 0, *capsys.readouterr())  # type: ignore[arg-type]

    return run


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    path = tmp_path / "stick" / "brought.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def cached_files(settings: Settings) -> list[str]:
    folder = cnn14_weights.cache_path(settings).parent
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".pth" or ".p" in path.suffix)


def test_it_fetches_once_and_says_where(run: Run, settings: Settings, zenodo: Zenodo) -> None:
    path = cnn14_weights.cache_path(settings)
    output = run()
    assert output.code == 0
    assert f"✓ CNN14's weights are fetched: {path} (verified, encoder {IDENTITY})." in output.out
    assert "cnn14.pth from 127.0.0.1" in output.out
    assert output.err == ""
    output = run()
    assert output.code == 0
    assert output.out == f"✓ CNN14's weights are here already: {path} (verified, encoder {IDENTITY}).\n"
    assert run("--verify") == output
    assert zenodo.request_count == 1


def test_what_rotted_unnoticed_is_found_and_fetched_again(
    run: Run, settings: Settings, zenodo: Zenodo, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    path = cnn14_weights.cache_path(settings)
    path.write_bytes(CONTENT[:-1] + b"!")
    monkeypatch.setattr(
        "earmark.storage.atomic_files.JsonCache.known_digest_of", lambda *_: SHA256
    )  # as if nothing changed
    assert "already" in run().out
    output = run("--verify")
    assert output.code == 0
    assert f"{path} was damaged and is removed" in output.out
    assert path.read_bytes() == CONTENT
    assert zenodo.request_count == 2


def test_a_failure_is_one_sentence_and_always_tried_for_real(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, zenodo: Zenodo
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cnn14_weights, "ZENODO", source_at(closed_port()))
        for _ in range(2):
            output = run()
            assert output.code == 2
            assert "looking for 127.0.0.1" in output.out
            assert output.err.startswith("✗ CNN14's weights cannot be fetched (no connection to 127.0.0.1")
            assert output.err.count("\n") == 1
    assert run().code == 0
    assert cached_files(settings) == ["cnn14.pth"]


def test_a_copy_is_installed_without_network(
    run: Run, settings: Settings, brought: Path, zenodo: Zenodo
) -> None:
    path = cnn14_weights.cache_path(settings)
    path.parent.mkdir(parents=True)
    part_path(zenodo.source, path).write_bytes(CONTENT[:100])
    for file in (brought, brought, path):
        output = run("--from", file)
        assert output.code == 0
        assert f"✓ CNN14's weights are installed at {path} (verified, encoder {IDENTITY})." in output.out
        assert path.read_bytes() == CONTENT
        assert cached_files(settings) == ["cnn14.pth"]
    assert brought.read_bytes() == CONTENT
    assert "already" in run().out
    assert zenodo.request_count == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1000], "is cut short, or another file: 299,000 of 300,000 bytes, so 1,000 are missing"),
        (CONTENT + b"x", "is another file: 300,001 bytes instead of 300,000"),
        (CONTENT[:-1] + b"!", "has the right size but not the right content (sha256 "),
        (PAGE, "is a web page ('Zenodo is down'), not cnn14.pth"),
        (b"", "0 of 300,000 bytes"),
        (None, "cannot be read (No such file or directory): correct the path."),
    ],
)
def test_a_wrong_copy_changes_nothing(
    run: Run, settings: Settings, brought: Path, content: bytes | None, message: str
) -> None:
    run("--from", brought)
    if content is None:
        brought.unlink()
    else:
        brought.write_bytes(content)
    result = run("--from", brought)
    assert result.code == 2
    assert f"✗ {brought} " in result.err
    assert message in result.err
    assert result.err.count("\n") == 1
    assert cached_files(settings) == ["cnn14.pth"]
    assert cnn14_weights.find_checkpoint(settings) is not None


def test_a_folder_is_no_copy(run: Run, tmp_path: Path) -> None:
    output = run("--from", tmp_path)
    assert (output.code, "cannot be read (Is a directory)" in output.err) == (2, True)


def test_a_full_disk(run: Run, settings: Settings, brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cnn14_weights.cache_path(settings)
    path.parent.mkdir(parents=True)
    path.with_name("cnn14.pth.copy").symlink_to("/dev/full")
    output = run("--from", brought)
    assert output.code == 2
    assert "There is no room for CNN14's weights" in output.err
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
        assert "(0 MB free, 64 MB needed)" in run("--from", brought).err
    assert [name for name in cached_files(settings) if not name.endswith(".lock")] == []
    assert run("--from", brought).code == 0


@pytest.mark.slow
def test_a_checkpoint_of_ones_own_goes_first(
    run: Run, brought: Path, checkpoint: Path, zenodo: Zenodo
) -> None:
    output = run(cnn14_checkpoint=brought)
    assert output.code == 0
    assert f"CNN14_CHECKPOINT is {brought}: the published weights, sha256 {SHA256}" in output.out
    assert "goes before them" in run("--from", brought, cnn14_checkpoint=brought).out
    assert "weights of your own" in run(cnn14_checkpoint=checkpoint).out
    brought.unlink()
    output = run(cnn14_checkpoint=brought)
    assert (output.code, "which is no file" in output.err) == (2, True)
    assert zenodo.request_count == 0


@pytest.mark.slow
def test_verify_reads_ones_own_checkpoint_again(
    run: Run, brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cnn14_checkpoint=brought)
    monkeypatch.setattr(
        "earmark.storage.atomic_files.JsonCache.known_digest_of", lambda *_: "f" * 64
    )  # as if nothing changed
    assert f"sha256 {'f' * 64}" in run(cnn14_checkpoint=brought).out
    assert f"sha256 {SHA256}" in run("--verify", cnn14_checkpoint=brought).out


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1000, len(CONTENT)])
def test_a_checkpoint_that_holds_no_weights(run: Run, brought: Path, zenodo: Zenodo, size: int) -> None:
    brought.write_bytes(random.Random(5).randbytes(size))
    for arguments in ([], [], ["--verify"]):
        output = run(*arguments, cnn14_checkpoint=brought)
        assert (output.code, output.out) == (2, "")
        assert output.err.startswith(f"✗ {brought} does not hold the weights of Cnn14: ")
        assert "unset it" in output.err
        assert output.err.count("\n") == 1
    brought.write_bytes(CONTENT)
    assert run(cnn14_checkpoint=brought).code == 0
    assert zenodo.request_count == 0


@pytest.mark.slow
def test_a_checkpoint_is_read_once(
    run: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(cnn14_checkpoint=checkpoint).code == 0
    read: list[Path] = []
    monkeypatch.setattr(
        "earmark.encoders.weights.cnn14_checkpoint.network_in", lambda path, **_: read.append(path)
    )
    assert run(cnn14_checkpoint=checkpoint).code == 0
    assert read == []
    assert run("--verify", cnn14_checkpoint=checkpoint).code == 0
    assert read == [checkpoint]


def test_help_teaches(run: Run) -> None:
    output = run("--help")
    assert output.code == 0
    for word in ("zenodo.org/record/3987831", "--from", "--verify", "CNN14_CHECKPOINT", "sha256"):
        assert word in output.out
