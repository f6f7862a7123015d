"""Plain paths in tasks lead into AUDIO_ROOTS, by default the document root and the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFoundError
from tests.audio.sound_server import SOUND, Server, access_to, assert_is_sound, settings_in


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A sound in each of three folders, and in one that nothing names."""
    made = {}
    for name in ("data", "served", "library", "elsewhere"):
        (tmp_path / name).mkdir(exist_ok=True)
        made[name] = tmp_path / name / "a.wav"
        made[name].write_bytes(SOUND)
    return made


def test_by_default_the_document_root_and_the_data_folder(tmp_path: Path, files: dict[str, Path]) -> None:
    settings = settings_in(
        tmp_path / "data", audio_roots=(), label_studio_local_files_document_root=tmp_path / "served"
    )
    settings = settings.model_copy(update={"data_dir": tmp_path / "data"})
    source = SoundSource(settings)
    for name in ("data", "served"):
        assert_is_sound(source.locate(str(files[name]), None))
        assert_is_sound(source.locate(f"file://{files[name]}", None))
    for name in ("library", "elsewhere"):
        with pytest.raises(SoundNotFoundError, match="AUDIO_ROOTS"):
            source.locate(str(files[name]), None)
    (tmp_path / "served" / "link.wav").symlink_to(files["elsewhere"])
    with pytest.raises(SoundNotFoundError, match="AUDIO_ROOTS"):
        source.locate(str(tmp_path / "served" / "link.wav"), None)


def test_named_folders_take_the_place_of_the_default(tmp_path: Path, files: dict[str, Path]) -> None:
    source = SoundSource(settings_in(tmp_path, audio_roots=(tmp_path / "library",)))
    assert_is_sound(source.locate(str(files["library"]), None))
    with pytest.raises(SoundNotFoundError, match="AUDIO_ROOTS"):
        source.locate(str(files["elsewhere"]), None)


@pytest.mark.parametrize(
    "name",
    ["/proc/self/environ", "/dev/zero", "/dev/stdin", "/sys/kernel/notes"],
)
def test_the_kernels_files_are_no_sounds_wherever_roots_are(
    server: Server, tmp_path: Path, name: str
) -> None:
    anywhere = settings_in(
        tmp_path, audio_roots=(Path("/"),), label_studio_local_files_document_root=Path("/")
    )
    source = SoundSource(anywhere)
    (tmp_path / "link.wav").symlink_to(name)
    for address in (name, f"file://{name}", str(tmp_path / "link.wav")):
        with pytest.raises(SoundNotFoundError):
            source.locate(address, None)
    with pytest.raises(SoundNotFoundError):  # not read here, and Label Studio has none
        source.locate(f"/data/local-files/?d={name.removeprefix('/')}", access_to(server))
