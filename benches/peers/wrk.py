"""The load tool. Its own report is rounded; a line of Lua at its end says everything exactly."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass

# It ends when it is told to.
OPENING_SECONDS = math.inf
# Of `delay` and `request` there is nothing unless they are needed: wrk calls them for every request.
DONE = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\n{"requests":%d,"size":%d,"micros":%d,"errors":%d,"p50":%d,"p99":%d,' ..
        '"said":"connect %d, read %d, write %d, status %d, timeout %d"}\\n',
        summary.requests, summary.bytes, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))
end
"""
# Every route in turn, each request written beforehand.
SPREAD = """
local requests, turn = {}, 0
function init()
    for path in io.lines("%s") do requests[#requests + 1] = wrk.format(nil, path) end
end
function request()
    turn = turn %% #requests + 1
    return requests[turn]
end
"""
# One request a second and connection on average, and never all at once.
PACED = "function delay() return math.random(500, 1500) end\n"


@dataclass
class Answers:
    requests: int
    # Bytes read, heads included.
    size: int
    micros: int
    errors: int
    # Microseconds.
    p50: int
    p99: int
    # What the tool said of the errors, if it did.
    said: str = ""


class Running:
    """wrk at work on a load."""

    def __init__(self, lab, load, peer, seconds):
        self.seconds = seconds
        self.process = start(lab, peer.url(load.path), load.connections, seconds, load.upload, load.close, load.paced,
                             peer.paths(load.path))

    def finish(self):
        """Ends it now; it reports all the same."""
        self.process.send_signal(signal.SIGINT)
        return finish(self.process, self.seconds)


def run(lab, url, connections, seconds):
    """A plain load, from its beginning to its end."""
    return finish(start(lab, url, connections, seconds), seconds)


def start(lab, url, connections, seconds, upload=0, close=False, paced=False, paths=()):
    script = DONE + (PACED if paced else "")
    if upload:
        script += f'wrk.method = "POST"\nwrk.body = string.rep("x", {upload})\n'
    if close:
        script += 'wrk.headers["Connection"] = "close"\n'
    if len(paths) > 1:
        script += SPREAD % lab.write("paths.txt", "".join(f"{path}\n" for path in paths))
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
               "--timeout", "60s", "--script", lab.write("load.lua", script), url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process, seconds):
    try:
        output, _ = process.communicate(timeout=seconds + 30)
    finally:
        process.kill()
    if process.returncode != 0:
        sys.exit(f"peers: wrk fails: {output}")
    return Answers(**json.loads(output.splitlines()[-1]))
