"""Sounds in buckets (``s3://``, ``gs://``, ``azure-blob://``), read with the credentials of this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import monotonic

from earmark.audio.addresses import shown
from earmark.errors import BucketError, SoundNotFoundError, SoundTooSlowError, SoundUnreachableError
from earmark.storage.object_storage import BUCKETS, bucket_faults, bucket_files, bucket_path

_PIECE_BYTES = 1 << 20


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
    files = bucket_files(address.partition("://")[0].lower(), fail_fast=True)
    started, received = monotonic(), 0
    try:
        with bucket_faults(address), files.open(bucket_path(address), "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                received += len(piece)
                if monotonic() - started > seconds:
                    if received < seconds * least_bytes_per_second:
                        raise SoundTooSlowError(
                            f"{shown(address)} arrives too slowly: {received} bytes came in {seconds:g} s: "
                            "check the connection, or lower DOWNLOAD_LEAST_KILOBYTES_PER_SECOND."
                        )
                    started, received = monotonic(), 0
                yield bytes(piece)
    except FileNotFoundError as error:
        raise SoundNotFoundError(f"There is no {shown(address)}: check the task's address.") from error
    except BucketError as error:  # whose text may hold what a message must not
        raise SoundUnreachableError(
            f"{shown(address)} cannot be read ({type(error.__cause__).__name__}): check this machine's "
            "credentials for the bucket."
        ) from error
