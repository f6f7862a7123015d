"""Stand-in servers for buckets: of the part of S3 that reading needs, and one that never answers."""

from __future__ import annotations

import base64
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest


class Bucket(http.server.BaseHTTPRequestHandler):
    """Lists and serves the ``objects`` of the bucket ``calls``."""

    objects: ClassVar[dict[str, bytes]]
    fetched: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def _answer(self, send_body: bool) -> None:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        status, body, headers = 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        if bucket == "calls" and not key:
            status, body = 200, self._listing(parse_qs(parts.query).get("prefix", [""])[0])
        elif bucket == "calls" and key in self.objects:
            status, body = 200, self.objects[key]
            headers = {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
            if self.command == "GET":
                self.fetched.append(key)
            if span := self.headers.get("Range"):
                first, _, last = span.removeprefix("bytes=").partition("-")
                end = min(len(body), int(last or len(body)) + 1)
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(body)}"
                status, body = 206, body[int(first) : end]
        elif bucket != "calls":
            body = b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def _listing(self, prefix: str) -> bytes:
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size>"
            f"<ETag>&quot;{hashlib.md5(body, usedforsecurity=False).hexdigest()}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, body in self.objects.items()
            if key.startswith(prefix)
        )
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>calls</Name>'
            f"<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ).encode()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bucket]]:
    import fsspec

    handler = type("Handler", (Bucket,), {"objects": {}, "fetched": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield handler
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that takes connections and never answers, as the endpoint of each kind of bucket."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        key = base64.b64encode(b"secret").decode()
        account = f"AccountName=calls;AccountKey={key};BlobEndpoint={url}/calls;"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"DefaultEndpointsProtocol=http;{account}")
        yield
