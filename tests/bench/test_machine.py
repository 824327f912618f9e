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
    foreign = ForeignCpu()
    start = time.process_time()
    while time.process_time() - start < 0.5:
        pass
    elapsed_cores = os.cpu_count() or 1
    assert foreign.share() <= 1 - 1 / elapsed_cores + 0.2


def test_threads_are_told_by_name():
    found = thread_cpu_seconds(os.getpid())
    assert sum(found.values()) > 0


def test_the_machine_has_what_a_reader_needs():
    assert describe_machine().keys() >= {"cpu", "cores", "kernel", "libraries"}
