"""The load tool for HTTP/2 without TLS, of nghttp2: so many streams at once on each connection."""

import re
import statistics
import subprocess
import sys

import wrk

# It can't be told to end early: as long as it takes for all streams to have had their first answer, and a bit more.
OPENING_SECONDS = 2


class Running:
    """h2load at work on a load."""

    def __init__(self, lab, load, peer, seconds):
        self.seconds, self.log = seconds, lab.folder / "h2load.log"
        self.log.unlink(missing_ok=True)
        command = ["h2load", "--threads=1", f"--clients={load.connections}", f"--max-concurrent-streams={load.streams}",
                   f"--duration={seconds}", f"--log-file={self.log}", peer.url(load.path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self):
        try:
            output, _ = self.process.communicate(timeout=self.seconds + 30)
        finally:
            self.process.kill()
        if self.process.returncode != 0:
            sys.exit(f"peers: h2load fails: {output}")
        return answers(output, self.log.read_text(), self.seconds)


def answers(report, log, seconds):
    """What h2load reports, and from its log, a line for each answer, what it does not.

    >>> report = "\\n".join([
    ...     "requests: 4 total, 4 started, 4 done, 3 succeeded, 1 failed, 1 errored, 0 timeout",
    ...     "status codes: 3 2xx, 0 3xx, 1 4xx, 0 5xx",
    ...     "traffic: 3.27KB (3347) total, 188B (188) headers (space savings 90.00%), 3.00KB (3072) data"])
    >>> answers(report, "1\\t200\\t300\\n2\\t200\\t100\\n3\\t200\\t200\\n", 2)
    Answers(requests=3, size=3072, micros=2000000, errors=1, p50=200, p99=300, said='')
    """
    succeeded, failed = (int(re.search(rf"(\d+) {what}", report)[1]) for what in ("succeeded", "failed"))
    size = int(re.search(r"\((\d+)\) data", report)[1])
    times = sorted(int(line.split("\t")[2]) for line in log.splitlines())
    p50, p99 = (round(statistics.median(times)), times[len(times) * 99 // 100]) if times else (0, 0)
    return wrk.Answers(succeeded, size, seconds * 1_000_000, failed, p50, p99)
