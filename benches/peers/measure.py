"""What the kernel knows: CPU time, memory, and who else was at work."""

import contextlib
import os
import re
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2


def tree(pid):
    """The process and all below it."""
    pids = [pid]
    for parent in pids:
        for thread in threads(parent):
            with contextlib.suppress(OSError):
                pids += map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
    return pids


def threads(pid):
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def cpu_seconds(pids):
    """User and system time of all threads, ended ones too, to the nanosecond.

    That of `/proc/PID/stat` is the same time, but in steps of 10 ms. The clock's number is how
    `clock_getcpuclockid(3)` makes it on Linux.
    """
    return sum(time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)


def pss_kib(pids):
    """Memory that is shared with other processes counts in part."""
    def of(pid):
        return int(re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])

    return sum(map(of, pids))


class Others:
    """CPU time of all processes but `ours`, and what the hypervisor gave to other machines.

    A process that ends takes nothing with it: its parent inherits its time.
    """

    def __init__(self, ours):
        self.ours = set(ours)
        self.began, self.seconds = time.monotonic(), self.total()

    def cores(self):
        """How many cores they kept busy since."""
        return max(0.0, self.total() - self.seconds) / (time.monotonic() - self.began)

    def total(self):
        others = (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in self.ours)
        return (sum(map(ticks, others)) + stolen()) / TICKS_PER_SECOND


def ticks(pid):
    """User and system time, its own and that of children that have ended."""
    try:
        # After the name, which may hold anything: state is field 3, utime 14, stime 15, cutime 16, cstime 17.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))


def stolen():
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


@contextlib.contextmanager
def pinned(apart, together):
    """Keeps the processes of `apart` on the first core and those of `together`, and us, on the second."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    everywhere = os.sched_getaffinity(0)
    placed = [(apart, {first}), ([*together, os.getpid()], {second})]
    try:
        for pids, cores in placed:
            place(pids, cores)
        yield
    finally:
        for pids, _ in placed:
            place(pids, everywhere)


def place(pids, cores):
    for pid in pids:
        for thread in threads(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)
