"""Threads that read the same type for the first time at once do not bring the process down."""

from __future__ import annotations

import subprocess
import sys

TRIES = 30
THREADS = 8

PROGRAM = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import msgspec
from appliance import decoding

class Leaf(msgspec.Struct, frozen=True):
    name: str
    size: int = 0
    marks: tuple[int, ...] = ()

class Branch(msgspec.Struct, frozen=True):
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = {}
    other: Leaf | None = None

class Tree(msgspec.Struct, frozen=True):
    branch: Branch
    branches: tuple[Branch, ...] = ()
    leaf: Leaf | None = None
    named: dict[str, Branch] = {}

tree = Tree(Branch(Leaf("a")))
packed = msgspec.msgpack.encode(tree)
gate = threading.Barrier(%d)
sys.setswitchinterval(1e-6)

def read(_):
    gate.wait()
    return decoding.from_msgpack(packed, Tree)

with ThreadPoolExecutor(%d) as threads:
    assert all(one == tree for one in threads.map(read, range(%d)))
"""


def test_first_reads_at_once() -> None:
    program = PROGRAM % (THREADS, THREADS, THREADS)
    for _ in range(TRIES):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
