"""What players make of sound files: ffmpeg's command line, and ``decodeAudioData`` of Chromium."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import find_chromium

RATE = 32_000
_TO_MONO = ("-ac", "1", "-ar", str(RATE), "-f", "f32le", "-")
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--mute-audio")
_DECODE = """async (address) => {
  const content = await (await fetch(address)).arrayBuffer();
  let sound;
  try { sound = await new OfflineAudioContext(1, 1, %d).decodeAudioData(content); } catch { return null; }
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / sound.numberOfChannels;
  }
  const levels = new Uint8Array(mono.length);
  for (let i = 0; i < mono.length; i++) levels[i] = Math.min(255, Math.round(Math.abs(mono[i]) * 255));
  let text = "";
  for (let i = 0; i < levels.length; i += 8192) text += String.fromCharCode(...levels.subarray(i, i + 8192));
  return btoa(text);
}"""

Sounds = dict[str, tuple[NDArray[np.float32], int]]
"""Absolute levels of samples, or the samples, mono, and their rate, by file name; without what is refused."""


def ffmpeg_decoded(folder: Path, names: Sequence[str]) -> Sounds | None:
    """Decode files with the ffmpeg that is installed; None without one."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None

    def decode(name: str) -> bytes:
        command = [program, "-v", "quiet", "-nostdin", "-i", name, *_TO_MONO]
        return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=False, timeout=60).stdout

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = list(pool.map(decode, names))
    return {
        name: (np.frombuffer(output[: len(output) // 4 * 4], np.float32), RATE)
        for name, output in zip(names, outputs, strict=True)
        if output
    }


def chromium_decoded(folder: Path, names: Sequence[str]) -> Sounds | None:
    """Decode files with Chromium, through Playwright; None without either."""
    program = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if program is None:
        return None
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sounds: Sounds = {}
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, headless=True, args=_OPTIONS)
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/blank")
            for name in names:
                levels = page.evaluate(_DECODE % RATE, f"/{name}")
                if levels:
                    samples = (np.frombuffer(base64.b64decode(levels), np.uint8) / 255).astype(np.float32)
                    sounds[name] = samples, RATE
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    return sounds


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """Serve a file, or an empty page."""
        if self.path != "/blank":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
