"""What `prepare` sets for the process."""

import subprocess
import sys

import pytest

FREED = """
import ctypes, psutil
from llama_nb.runtime.process import prepare
{prepare}
own, libc = psutil.Process(), ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def block(size):
    place = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(place, 1, size)
    return place
libc.free(block(30 * 2**20))  # glibc's own limit follows the largest block that was freed
before = own.memory_info().rss
held = [block(2 * 2**20) for _ in range(50)]
last = block(100_000)  # pins the end of the heap
for place in held:
    libc.free(place)
print((own.memory_info().rss - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is on Linux only")
def test_freed_blocks_go_back_to_the_system() -> None:
    kept = {
        called: int(subprocess.check_output([sys.executable, "-c", FREED.format(prepare=called)], text=True))
        for called in ("", "prepare()")
    }
    assert kept[""] > 80
    assert kept["prepare()"] < 10
