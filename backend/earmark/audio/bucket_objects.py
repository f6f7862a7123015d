"""Sounds in buckets (``s3://``, ``gs://``, ``azure-blob://``), read with the credentials of this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from time import monotonic
from typing import Any

from earmark.audio.addresses import shown
from earmark.errors import (
    BucketError,
    BucketTimeoutError,
    SoundNotFoundError,
    SoundTooSlowError,
    SoundUnreachableError,
)
from earmark.storage.object_storage import BUCKETS, bucket_faults, bucket_files, bucket_path, in_time

_FIRST_PIECE_BYTES, _LARGEST_PIECE_BYTES = 1 << 18, 1 << 23


def is_bucket_address(address: str) -> bool:
    """Whether an address names an object of a bucket."""
    return address.partition("://")[0].lower() in BUCKETS and "://" in address


def bucket_name(address: str) -> str:
    """Return scheme and bucket of an address."""
    scheme, _, path = address.partition("://")
    return f"{scheme.lower()}://{path.partition('/')[0]}"


def object_pieces(address: str, seconds: float, least_bytes_per_second: float) -> Iterator[bytes]:
    """Yield the content of an object.

    Parameters
    ----------
    seconds, least_bytes_per_second
        The object must arrive at this mean rate in each such period.

    Raises
    ------
    MissingExtraError
        The library for this kind of bucket is missing.
    SoundNotFoundError
        The address names no bucket, or there is no such object.
    SoundUnreachableError
        The bucket refuses or cannot be reached; SoundTooSlowError where it arrives below the least rate.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket_path(address).partition("/")[0]):
        raise SoundNotFoundError(f"{shown(address)} names no bucket: correct it in the task.")
    path, started, received, counted = bucket_path(address), monotonic(), 0, 0
    too_slow = SoundTooSlowError(
        f"{shown(address)} does not arrive in time: less than {least_bytes_per_second / 1000:g} kB a second "
        f"over {seconds:g} s: check the connection, or lower DOWNLOAD_LEAST_KILOBYTES_PER_SECOND."
    )
    try:
        with bucket_faults(address):
            files, size = in_time(lambda: _opened(address), seconds)
            piece_bytes = _FIRST_PIECE_BYTES
            while received < size:
                asked_at, end = monotonic(), min(size, received + piece_bytes)
                piece = in_time(partial(files.cat_file, path, start=received, end=end), seconds)
                if not piece:
                    raise EOFError(f"it ends after {received} of {size} bytes")
                received += len(piece)
                now = monotonic()
                if now - started > seconds:
                    if received - counted < seconds * least_bytes_per_second:
                        raise too_slow
                    started, counted = now, received
                # Large requests are faster, and small ones tell sooner how fast a slow connection is
                piece_bytes = (
                    min(2 * piece_bytes, _LARGEST_PIECE_BYTES) if now - asked_at < 1 else _FIRST_PIECE_BYTES
                )
                yield bytes(piece)
    except FileNotFoundError as error:
        raise SoundNotFoundError(f"There is no {shown(address)}: check the task's address.") from error
    except BucketTimeoutError as error:
        raise too_slow from error
    except BucketError as error:  # whose text may hold what a message must not
        raise SoundUnreachableError(
            f"{shown(address)} cannot be read ({type(error.__cause__).__name__}): check the connection, and "
            "this machine's credentials for the bucket."
        ) from error


def _opened(address: str) -> tuple[Any, int]:
    """Return the file system of an object, and the object's size in bytes."""
    files = bucket_files(address.partition("://")[0].lower(), fail_fast=True)
    facts = files.info(bucket_path(address))
    if facts["type"] == "directory":
        raise FileNotFoundError(address)
    return files, int(facts["size"])
