"""What a power cut may leave of a till's files: the daemon's write log, cut anywhere, and what the disk made of it.

log = read(path)                        # recorded by powercut.c around the real daemon
for record in log:
    disk.apply(record)
    disk.leave(folder, "some", rng)     # files as a power cut at this instant may leave them

The disk keeps its word about syncs and about nothing else: of what was written since, any sectors of any writes
may be there. A name is safe once its folder was synced after it (POSIX fsync(2); real file systems are kinder).
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Disks write whole sectors of at least this size (SQLite assumes the same: "powersafe overwrite").
SECTOR = 512

_HEAD = struct.Struct("=cHIq")

# What of the writes that nobody synced reached the disk.
Luck = Literal["all", "none", "some"]


@dataclass(frozen=True, slots=True)
class Record:
    op: str
    path: str
    at: int
    data: bytes


def build(folder: Path) -> Path:
    """The recorder, compiled: the compiler comes with `make setup`."""
    library = folder / "powercut.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
    )
    return library


def recording(library: Path, log: Path, under: Path) -> dict[str, str]:
    """The environment of a process whose writes under that folder are to be recorded."""
    return {"LD_PRELOAD": str(library), "POWERCUT_LOG": str(log), "POWERCUT_UNDER": str(under)}


def read(log: Path) -> list[Record]:
    data, at, records = log.read_bytes(), 0, []
    while at < len(data):
        op, path, size, offset = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name, at = data[at : at + path].decode(), at + path
        records.append(Record(op.decode(), name, offset, data[at : at + size]))
        at += size
    return records


@dataclass
class _Inode:
    synced: bytearray = field(default_factory=bytearray)
    loose: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, data), or None: a new size
    is_folder: bool = False

    def sync(self) -> None:
        for at, data in self.loose:
            _put(self.synced, at, data)
        self.loose.clear()

    def left(self, luck: Luck, rng: random.Random) -> bytearray:
        content = bytearray(self.synced)
        for at, data in self.loose:
            if luck == "all" or (luck == "some" and rng.random() < 0.7):
                for start, sectors in _torn(at, data, luck, rng):
                    _put(content, start, sectors)
        return content


def _torn(at: int, data: bytes | None, luck: Luck, rng: random.Random) -> Iterator[tuple[int, bytes | None]]:
    if data is None or luck == "all" or rng.random() < 0.5:
        yield at, data
        return
    start = at
    while start < at + len(data):
        end = min((start // SECTOR + 1) * SECTOR, at + len(data))
        if rng.random() < 0.5:
            yield start, data[start - at : end - at]
        start = end


def _put(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class Disk:
    """Files and names under one folder, which is there from the beginning."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._now: dict[str, _Inode] = {}
        self._safe: dict[str, _Inode] = {}
        self._loose: list[tuple[str, str, _Inode | None]] = []  # (folder, path, what is there now)

    def apply(self, record: Record) -> None:
        match record.op:
            case "c" | "d":
                self._name(record.path, _Inode(is_folder=record.op == "d"))
            case "u":
                self._name(record.path, None)
            case "r" if record.path in self._now:  # a socket is made by other means, and means nothing here
                self._name(record.data.decode(), self._now[record.path])
                self._name(record.path, None)
            case "w":
                self._now[record.path].loose.append((record.at, record.data))
            case "t":
                self._now[record.path].loose.append((record.at, None))
            case "s" if record.path in self._now and not self._now[record.path].is_folder:
                self._now[record.path].sync()
            case "s":
                for folder, path, inode in self._loose:
                    if folder == record.path:
                        _set(self._safe, path, inode)
                self._loose = [change for change in self._loose if change[0] != record.path]

    def _name(self, path: str, inode: _Inode | None) -> None:
        _set(self._now, path, inode)
        self._loose.append((path.rpartition("/")[0], path, inode))

    def leave(self, folder: Path, luck: Luck, rng: random.Random) -> None:
        """Makes `folder` what the root is when the power comes back."""
        names = dict(self._safe)
        kept = {"all": len(self._loose), "none": 0, "some": rng.randint(0, len(self._loose))}[luck]
        for _, path, inode in self._loose[:kept]:
            _set(names, path, inode)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path, inode in sorted(names.items()):  # a folder before what is in it
            target = folder / path.removeprefix(self._root).lstrip("/")
            if not target.parent.exists():
                continue  # its folder's own name was lost
            if inode.is_folder:
                target.mkdir()
            else:
                target.write_bytes(inode.left(luck, rng))

    @property
    def torn(self) -> bool:
        """Whether luck matters now."""
        return bool(self._loose) or any(inode.loose for inode in self._now.values())


def _set(names: dict[str, _Inode], path: str, inode: _Inode | None) -> None:
    if inode is None:
        names.pop(path, None)
    else:
        names[path] = inode


class Said:
    """What the daemon has told its clients so far, from what it sent on their sockets."""

    def __init__(self) -> None:
        self._rest: dict[str, bytes] = {}
        self.lines: list[dict[str, Any]] = []

    def apply(self, record: Record) -> None:
        if record.op != "a":
            return
        *lines, self._rest[record.path] = (self._rest.get(record.path, b"") + record.data).split(b"\n")
        self.lines += [json.loads(line) for line in lines if line.startswith(b"{")]
