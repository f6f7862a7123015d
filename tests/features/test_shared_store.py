"""Frames that machines share, through a bucket or a folder."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from earmark.errors import MissingExtraError
from earmark.features.extractor import EncodedSound, FrameStore
from earmark.features.shared_store import BucketFrames, frame_store
from earmark.settings import Settings
from tests.buckets import Bucket
from tests.features.test_extractor import DIGEST, frames


class Broken:
    """A bucket that is away; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def cat_file(self, path: str) -> bytes:
        self.asked += 1
        raise ConnectionError(path)

    def pipe_file(self, path: str, content: bytes) -> None:
        self.asked += 1
        raise ConnectionError(path)


def test_machines_share_frames_through_a_bucket(tmp_path: Path) -> None:
    files = DirFileSystem(path=str(tmp_path), fs=LocalFileSystem(auto_mkdir=True))
    sound, other = EncodedSound(DIGEST, 1.7, frames()), EncodedSound("cd" * 32, 1.0, frames(3))
    first, second = (BucketFrames(tmp_path / name, files, "bucket/frames/") for name in ("one", "two"))
    assert second.load(DIGEST, "e-1") is None
    first.save(sound, "e-1")
    loaded = second.load(DIGEST, "e-1")
    assert loaded is not None
    np.testing.assert_array_equal(loaded.frames, sound.frames)
    assert FrameStore(tmp_path / "two").load(DIGEST, "e-1") is not None, "a copy is kept"
    # What is damaged in the bucket counts as absent, and is replaced
    first.save(other, "e-1")
    (there,) = (tmp_path / "bucket").rglob(f"{other.digest}.frames")
    there.write_bytes(there.read_bytes()[:-1] + b"x")
    assert second.load(other.digest, "e-1") is None
    second.save(other, "e-1")
    three = BucketFrames(tmp_path / "three", files, "bucket/frames")
    assert three.load(other.digest, "e-1") is not None


def test_a_bucket_that_is_away_is_logged_once_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Broken()
    store = BucketFrames(tmp_path / "frames", files, "bucket")
    for _ in range(3):
        assert store.load("cd" * 32, "e-1") is None
        store.save(EncodedSound(DIGEST, 1.0, frames()), "e-1")
        assert store.load(DIGEST, "e-1") is not None
    assert files.asked == 1
    assert "".join(capsys.readouterr()).count("each machine encodes for itself") == 1


class WritableBucket(Bucket):
    """Takes objects as well."""

    def do_PUT(self) -> None:  # noqa: N802
        if "Expect" in self.headers:
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[self.path.partition("/calls/")[2]] = body
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_frames_url_names_a_bucket_of_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(WritableBucket):
        objects: ClassVar[dict[str, bytes]] = {}
        fetched: ClassVar[list[str]] = []

    handler = Handler
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        first, second = (
            frame_store(Settings(_env_file=None, data_dir=tmp_path / name, frames_url="s3://calls/frames"))
            for name in ("one", "two")
        )
        assert second.load(DIGEST, "e-1") is None
        first.save(EncodedSound(DIGEST, 1.0, frames()), "e-1")
        assert set(handler.objects) == {f"frames/e-1/ab/{DIGEST}.frames"}
        loaded = second.load(DIGEST, "e-1")
        assert loaded is not None
        np.testing.assert_array_equal(loaded.frames, frames())
    finally:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        server.shutdown()
        thread.join()
        server.server_close()


def test_frames_url_names_a_folder_or_says_what_it_can_be(tmp_path: Path) -> None:
    def store(url: str) -> FrameStore:
        return frame_store(Settings(_env_file=None, data_dir=tmp_path / "data", frames_url=url))

    store(str(tmp_path / "mount")).save(EncodedSound(DIGEST, 1.0, frames()), "e-1")
    assert store(f"file://{tmp_path}/mount").load(DIGEST, "e-1") is not None
    assert not (tmp_path / "data").exists()
    for wrong in ("ftp://host/x", "relative/folder", "file://host/x"):
        with pytest.raises(ValueError, match="whole path"):
            store(wrong)
    with pytest.raises(MissingExtraError, match="gcsfs"):
        store("gs://bucket")
