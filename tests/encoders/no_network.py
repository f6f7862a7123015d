"""The kernel ends this process when anything in it, Python or not, opens an internet socket."""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_KILL_PROCESS, _ALLOW = 0x80000000, 0x7FFF0000
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data


def can_forbid() -> bool:
    """Whether this system has such a filter."""
    return sys.platform == "linux" and platform.machine() in _SOCKET_CALL


def forbid_internet_sockets() -> None:
    """Install the filter, for this process and its children, for ever; does nothing elsewhere."""
    if not can_forbid():
        return
    steps = [
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_EQUAL, 0, 4, _SOCKET_CALL[platform.machine()]),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_IF_EQUAL, 1, 0, _FAMILIES[0]),
        (_JUMP_IF_EQUAL, 0, 1, _FAMILIES[1]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the filter cannot be installed")
