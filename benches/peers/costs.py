"""The figures that are no window of time: memory, and system calls."""

import contextlib
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

import peer as peers
import wrk
from bed import stop
from peer import Peer, WrongAnswer
from task import Task

CROWD = 5000
CLIENTS = 1000
# In flight at once, where a figure wants traffic rather than clients.
BUSY = 64
# What a peer puts off, it has done by then: closing, parking, giving memory back; or what it does after its start.
SETTLE_SECONDS = 3
START_SECONDS = 1
# Sidekey keeps what was in use at once within the last 10 s, and looks once a second.
SHRINK_SECONDS = 14
LOAD_SECONDS = 5
# Connections to the service are kept for 60 s here.
AFTERWARDS_SECONDS = 70


@dataclass(frozen=True)
class Cost:
    name: str
    title: str
    # Given a peer that was just started and the lab.
    read: Callable
    task: Task = Task()
    # Whether the peer has answered before it is read.
    asked: bool = True
    # Each of a process of its own. Where many connections are made, one reading is many already.
    readings: int = 1
    short: bool = False


def read_all(cost, kinds, parts):
    """Readings by peer, each of a process that was just started; and why some have none."""
    values, wrong = {}, {}
    for _ in range(cost.readings):
        for name, kind in kinds.items():
            try:
                with parts[0].scene():
                    peer = Peer(name, kind, cost.task, *parts, asked=cost.asked)
                    values.setdefault(name, []).append(cost.read(peer, parts[0]))
            except (WrongAnswer, OSError) as why:
                wrong[name] = str(why)
    return {"title": cost.title, "values": values, "wrong": wrong}


def fresh(peer, _lab):
    kib = settled_kib(peer, START_SECONDS)
    peer.check()
    return kib / 1024


def in_use(count):
    """MiB of a process while so many clients are there that each had one answer and are idle since."""
    def read(peer, _lab):
        with clients(peer, count) as connections:
            one_by_one(peer, connections)
            return settled_kib(peer) / 1024

    return read


def idle(count):
    """KiB for each client connection that has had one answer and is idle since."""
    def read(peer, _lab):
        time.sleep(START_SECONDS)
        # What the first request of all needs is no client's.
        peer.answer("orders")
        before = settled_kib(peer)
        with clients(peer, count) as connections:
            one_by_one(peer, connections)
            return (settled_kib(peer) - before) / count

    return read


def burst(peer, lab):
    """The same once all clients have asked at the same time, twice.

    Beforehand there was traffic, so that the connections to the service, which are kept, are not counted in.
    """
    wrk.run(lab, peer.url("orders"), BUSY, 1)
    before = settled_kib(peer)
    with clients(peer, CROWD) as connections:
        for _ in range(2):
            all_at_once(peer, connections, "orders")
        return (settled_kib(peer, SHRINK_SECONDS) - before) / CROWD


def afterwards(peer, lab):
    """MiB more than when it was idle before, once a load of so many clients has been over for longer than anything is kept."""
    before = settled_kib(peer)
    wrk.run(lab, peer.url("orders"), CLIENTS, LOAD_SECONDS)
    return (settled_kib(peer, AFTERWARDS_SECONDS) - before) / 1024


def pooled(peer, _lab):
    """KiB for each connection to the service that is kept: as many slow requests, then silence."""
    with clients(peer, BUSY * 4) as connections:
        one_by_one(peer, connections)
        before = settled_kib(peer)
        all_at_once(peer, connections, "slow")
        return (settled_kib(peer) - before) / len(connections)


def syscalls(peer, lab):
    """System calls for each request, all threads together, while strace slows them down."""
    report = lab.folder / "strace.txt"
    command = ["strace", "-c", "-f", "-o", report]
    for pid in peer.pids():
        command += ["-p", str(pid)]
    wrk.run(lab, peer.url("orders"), 32, 1)
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lab.stops.callback(stop, tracer, lab.stop_seconds)
    # It says "attached" for each process.
    for _ in peer.pids():
        tracer.stderr.readline()
    requests = wrk.run(lab, peer.url("orders"), 32, 2).requests
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=20)
    total = re.search(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*total$", report.read_text(), re.M)
    return int(total[1]) / requests


def settled_kib(peer, seconds=SETTLE_SECONDS):
    time.sleep(seconds)
    return peer.pss_kib()


@contextlib.contextmanager
def clients(peer, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(peer.connect()) for _ in range(count)]


def one_by_one(peer, connections):
    for connection in connections:
        peers.ask(connection, peer.request(peer.path("orders")))


def all_at_once(peer, connections, name):
    request = peer.request(peer.path(name))
    for connection in connections:
        connection.sendall(request)
    for connection in connections:
        peers.read(connection)


# Few connections to the service are kept, so that what is read is the price of clients alone.
# nginx closes idle clients once a sixteenth of its places is left.
MANY_CLIENTS = Task(pool=BUSY, clients=CROWD + CROWD // 5)
COSTS = [
    Cost("fresh", "PSS fresh, MiB", fresh, asked=False, readings=3, short=True),
    Cost("in_use", "PSS in use, MiB", in_use(CLIENTS), readings=3, short=True),
    Cost("idle", "KiB per idle client", idle(CLIENTS), readings=3, short=True),
    Cost("burst", "KiB per idle client, 5,000 after a burst", burst, MANY_CLIENTS, short=True),
    Cost("crowd", "KiB per idle client, 5,000", idle(CROWD), MANY_CLIENTS),
    Cost("afterwards", "MiB more than before, 70 s after 1,000 clients", afterwards),
    Cost("pooled", "KiB per kept connection to the service", pooled),
    Cost("syscalls", "system calls per request", syscalls),
]
