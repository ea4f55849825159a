"""Tensors on disk by key: what is slow to compute and does not change, computed once.

A file for each key, in a folder for each way of computing. Any number of processes may use the
folder: a file appears whole, and the same key always has the same content. Knows nothing of
models or pictures.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tools.whole import whole_file

__all__ = ["FeatureStore"]

_log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"


class FeatureStore:
    """The tensors of one way of computing, ``way``, within ``root``.

    All ways together take at most ``limit`` bytes. When they would take more, other ways go, the
    one least recently used first; when this one alone would, it stops growing: dropping what is
    old instead would, where each epoch reads everything in turn, drop all before it is read again.
    """

    def __init__(self, root: Path, way: str, *, limit: int) -> None:
        self._root = root
        self._folder = root / way
        self._limit = limit
        self._folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._folder)  # used now
        self._bytes = _size(root)
        self._full = False

    def read(self, key: str) -> dict[str, Tensor] | None:
        """What was written under ``key``; None if nothing was, or it is damaged."""
        path = self._path(key)
        try:
            return load_file(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as problem:
            _log.warning("computing again what %s does not hold (%s)", path, problem)
            return None

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """``tensors`` under ``key``, if there is room for them."""
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        if self._full or not self._room(size):
            return
        ready = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        try:
            with whole_file(self._path(key)) as temporary:
                save_file(ready, temporary)
        except (OSError, SafetensorError) as problem:
            # A cache that can't be written to costs time, never the run.
            self._full = True
            _log.warning("%s takes no more features (%s)", self._folder, problem)
            return
        self._bytes += size

    def _room(self, size: int) -> bool:
        if self._bytes + size <= self._limit:
            return True
        for folder in sorted(self._root.iterdir(), key=_used):
            if folder != self._folder:
                shutil.rmtree(folder, ignore_errors=True)
                self._bytes = _size(self._root)
                if self._bytes + size <= self._limit:
                    return True
        self._full = True
        _log.warning(
            "%s holds %.1f GB, all that speed.cache_gb allows: the other pictures are looked at "
            "anew each time",
            self._root,
            self._bytes / 1e9,
        )
        return False

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self._folder / name[:2] / (name + _SUFFIX)


def _size(root: Path) -> int:
    total = 0
    for path in root.rglob("*" + _SUFFIX):
        with suppress(FileNotFoundError):  # another process has just removed it
            total += path.stat().st_size
    return total


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
