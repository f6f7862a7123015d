"""CPU features and the cores available to this process. Imports no engine."""

from __future__ import annotations

import math
import os
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

_CPUINFO = Path("/proc/cpuinfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@cache
def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16; False if that is unknown."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())


def usable_cores() -> int:
    """Count physical cores that this process may use, by affinity and the container's quota."""
    counts = [psutil.cpu_count(logical=False) or os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    counts.append(_quota())
    return max(1, min(counts))


def has_cuda() -> bool:
    """Whether PyTorch sees a GPU; imports torch only where its build could."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    import torch

    return torch.cuda.is_available()


def _quota() -> int:
    """Return the CPU quota of cgroup v2 in cores, rounded up; very large without a limit."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return 1 << 16
