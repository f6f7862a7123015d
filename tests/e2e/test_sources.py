"""Sounds fetched from a real Label Studio: uploads and local files, with either kind of token."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFoundError, SoundUnreachableError
from earmark.importing.audio_checks import read_facts
from earmark.importing.destinations import LocalFiles, Uploads
from earmark.importing.importer import Importer
from earmark.importing.models import Sound
from earmark.labelstudio.credentials import AccessBook
from earmark.settings import Settings

CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="a"/></Choices></View>'
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def addresses(label_studio: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """An upload and a local file: the address in its task, and the digest of its content."""
    client, url = label_studio.client, label_studio.url
    project = client.projects.create(title="Sources", label_config=CONFIG)
    by_kind = {}
    for kind, place in (
        ("upload", Uploads(url, label_studio.token, project.id)),
        ("local file", LocalFiles(client, url, project.id, label_studio.document_root)),
    ):
        path = label_studio.document_root / "sources" / f"{kind}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(kind)).uniform(-0.5, 0.5, 16_000)
        soundfile.write(path, noise, 16_000)
        importer = Importer(client, url, project.id, "audio", place, tmp_path_factory.mktemp("imports"))
        importer.run(*importer.plan([Sound(path, path.name, read_facts(path, path.name))]))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (task,) = [t for t in client.tasks.list(project=project.id) if t.data["sha256"] == digest]
        by_kind[kind] = (task.data["audio"], digest)
    return by_kind


def settings_with(label_studio: Any, folder: Path, token: str) -> Settings:
    return Settings(
        _env_file=None, data_dir=folder, label_studio_url=label_studio.url, label_studio_api_key=token
    )


@pytest.mark.parametrize("token_kind", ["legacy", "personal"])
@pytest.mark.parametrize("kind", ["upload", "local file"])
def test_every_sound_arrives_whole_with_either_token(
    label_studio: Any, addresses: dict[str, tuple[str, str]], tmp_path: Path, kind: str, token_kind: str
) -> None:
    token = label_studio.token if token_kind == "legacy" else label_studio.personal_access_token()
    settings = settings_with(label_studio, tmp_path, token)
    address, digest = addresses[kind]
    assert address.startswith("/data/upload/" if kind == "upload" else "/data/local-files/")
    located = SoundSource(settings).locate(address, AccessBook(settings).for_project(None))
    assert located.digest == digest
    assert hashlib.sha256(located.path.read_bytes()).hexdigest() == digest


def test_a_wrong_token_and_a_missing_file_say_so(
    label_studio: Any, addresses: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    refused = settings_with(label_studio, tmp_path / "refused", "f" * 40)
    with pytest.raises(SoundUnreachableError, match="LABEL_STUDIO_API_KEY"):
        SoundSource(refused).locate(addresses["upload"][0], AccessBook(refused).for_project(None))
    allowed = settings_with(label_studio, tmp_path / "allowed", label_studio.token)
    for missing in ("/data/upload/1/00000000-gone.wav", "/data/local-files/?d=sources/gone.wav"):
        with pytest.raises(SoundNotFoundError):
            SoundSource(allowed).locate(missing, AccessBook(allowed).for_project(None))
