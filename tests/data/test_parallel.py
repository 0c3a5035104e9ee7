"""Ordered maps over threads and processes: few items ahead, errors in one line, no process outlives its parent."""

import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from conftest import ROOT
from sources import pack

from stages.core.errors import UserError
from stages.data import archive, large_pictures, parallel
from stages.data.parallel import WORKERS, map_in_threads


def test_threads_keep_the_order_with_few_items_in_memory():
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    results = map_in_threads(lambda number: number * 2, items)
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) <= 10 + 4 * WORKERS + 1
    assert list(results) == list(range(20, 2000, 2))


@pytest.mark.parametrize("size, ahead", [(1000, 8), (10_000, 4), (40_000, 2)])
def test_fewer_items_are_taken_ahead_where_results_are_large(size, ahead, monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS", 2)
    monkeypatch.setattr(parallel, "AHEAD", 40_000)
    taken = []
    results = map_in_threads(lambda number: np.zeros(size, np.uint8), (taken.append(0) or 0 for _ in range(100)))
    for number in range(1, 20):
        next(results)
        assert len(taken) <= number + ahead
    assert len(taken) == 19 + ahead and len(list(results)) == 81


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_prefetching_keeps_the_order_and_as_many_results_ahead_as_there_are_threads(threads):
    taken = []
    results = parallel.prefetch(lambda number: number * 2, (taken.append(number) or number for number in range(50)),
                                threads)
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) == 10 + threads
    assert list(results) == list(range(20, 100, 2))


def test_an_error_of_a_prefetching_thread_is_raised_in_its_turn():
    results = parallel.prefetch(math.sqrt, [4, 1, -1], 2)
    assert [next(results), next(results)] == [2, 1]
    with pytest.raises(ValueError, match="math domain error"):
        next(results)


def test_processes_keep_the_order_and_take_few_items_ahead(monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS", 2)
    taken = []
    results = parallel.map_in_processes(math.sqrt, (taken.append(number) or number for number in range(1000)))
    assert [next(results) for _ in range(5)] == [math.sqrt(number) for number in range(5)]
    assert len(taken) <= (4 * 2 + 1) * parallel.CHUNK
    assert list(results) == [math.sqrt(number) for number in range(5, 1000)]


def test_an_error_in_a_process_is_raised_in_the_parent(monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS", 2)
    with pytest.raises(ValueError, match="math domain error"):
        list(parallel.map_in_processes(math.sqrt, [1, -1]))
    with pytest.raises(UserError, match="the system ended one of the processes"):
        list(parallel.map_in_processes(os._exit, [1]))


@pytest.mark.slow
@pytest.mark.parametrize("how, tracebacks", [(signal.SIGKILL, 0), (signal.SIGINT, 1)])
def test_processes_end_silently_with_their_parent(how, tracebacks):
    script = ("import time; from stages.data import parallel; parallel.WORKERS = 2\n"
              "if __name__ == '__main__':\n"
              "    for _ in parallel.map_in_processes(time.sleep, [0.01] * 100_000): print(flush=True)")
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, start_new_session=True)
    for _ in range(320):  # some seconds of one process's work: both have begun by then
        parent.stdout.readline()
    children = psutil.Process(parent.pid).children()  # these two, and the tracker that Python adds
    os.kill(parent.pid, how) if how == signal.SIGKILL else os.killpg(parent.pid, how)
    assert parent.communicate(timeout=30)[1].decode().count("Traceback") == tracebacks  # the parent's own
    assert len(children) == 3 and not psutil.wait_procs(children, timeout=30)[1]


def gif(side: int) -> bytes:
    """41 bytes that claim side × side pixels, and hold none of them."""
    size = side.to_bytes(2, "little") * 2
    return b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b"," + bytes(4) + size + b"\0\x02\x02\x44\x01\0;"


@pytest.mark.parametrize("files, at_once", [
    ({"a.gif": gif(13_000)}, {1}), ({"a.gif": gif(100)}, range(2, 9)), ({"a": b"no picture"}, range(2, 9)),
    ({"a.gif": gif(100), "mask.png": gif(13_000)}, {1}), ({"a.gif": gif(100), "mask.json": bytes(5000)}, range(2, 9)),
    ({"a.gif": gif(100), "mask.png": bytes(5000)}, {1}), ({}, range(2, 9))])
def test_large_files_are_read_one_at_a_time_and_small_ones_are_not(files, at_once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(large_pictures, "LARGE_FILE", 4000)
    monkeypatch.setattr(parallel, "WORKERS", 8)
    pack(tmp_path / "raw.zip", files | {"other.png": bytes(5000)})
    monkeypatch.setattr(archive, "RAW", tmp_path / "raw.zip")
    together, most = set(), []

    def decode(number: int) -> None:
        with large_pictures.room_for(raw, "a.gif", "a", "mask.png", "mask.json"):
            together.add(number)
            most.append(len(together))
            time.sleep(0.05)
            together.discard(number)

    with archive.Raw() as raw:
        assert len(list(parallel.map_in_threads(decode, range(8)))) == 8
    assert max(most) in at_once
