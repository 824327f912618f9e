"""Who uses the CPU: we and our children, or others."""

import os
import subprocess
import sys
import time

from bench.common.machine import (
    ForeignCpu,
    describe_machine,
    thread_cpu_seconds,
    tree_cpu_seconds,
)

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_children_count_as_ours_also_when_they_have_ended():
    before = tree_cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert tree_cpu_seconds(os.getpid()) - before >= 0.25


def test_our_own_work_is_not_foreign():
    """However much the others take: it is no more than we leave."""
    cores = os.cpu_count() or 1
    foreign, began = ForeignCpu(), time.monotonic()
    for child in [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(cores)]:
        assert child.wait() == 0
    elapsed = time.monotonic() - began
    assert foreign.share() <= 1 - 0.3 / elapsed + 0.1  # each of the cores


def test_threads_are_told_by_name():
    found = thread_cpu_seconds(os.getpid())
    assert sum(found.values()) > 0


def test_the_machine_has_what_a_reader_needs():
    assert describe_machine().keys() >= {"cpu", "cores", "kernel", "libraries"}
