"""Changes to the headers of sound files, as damaged or careless writers make them."""

from __future__ import annotations

import struct


def id3(size: int) -> bytes:
    """Return an ID3v2 tag of one frame, a private one of ``size`` bytes."""
    frame = b"PRIV" + struct.pack(">I", size) + bytes(2) + b"x" * size
    sizes = [len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0)]
    return b"ID3\x03\x00\x00" + bytes(sizes) + frame


def flac_length(content: bytes, samples: int) -> bytes:
    """Set the number of samples in STREAMINFO (RFC 9639, section 8.2), and no digest of them."""
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | samples
    return content[:18] + packed.to_bytes(8, "big") + bytes(16) + content[42:]


def without_first_frame(content: bytes) -> bytes:
    """Drop an MP3 file's first frame, which tells the number of frames."""
    mark = max(content.find(b"Xing"), content.find(b"Info"))
    first = content.rindex(b"\xff\xfb", 0, mark)
    return content[content.index(b"\xff\xfb", mark) :] if first >= 0 else content


def mp3_length(content: bytes, factor: float) -> bytes:
    """Multiply the number of frames that an MP3 file's first frame tells."""
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    frames = struct.unpack(">I", content[at : at + 4])[0]
    return content[:at] + struct.pack(">I", int(frames * factor)) + content[at + 4 :]


def without_webm_duration(content: bytes) -> bytes:
    """Make the element Duration (RFC 9559) a Void element, as a browser's recorder writes none."""
    at = content.index(b"\x44\x89")
    size = content[at + 2] & 0x7F
    void = b"\xec" + bytes([0x80 | (size + 1)]) + bytes(size + 1)
    return content[:at] + void + content[at + len(void) :]
