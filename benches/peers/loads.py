"""The loads that are windows of time: wrk drives each peer in turn, and the kernel says what that took."""

import contextlib
import os
import sys
import time
from dataclasses import asdict, dataclass, field

import measure
import wrk
from peer import WrongAnswer
from service import SIZES
from task import Task

MIB = 1024 * 1024
# As much of a core as others may take before a window is taken again.
DISTURBED_CORES = 0.25
# Seconds of the tries before the first window: the first will do, unless a thousand handshakes come first.
WARM_UPS = (1, 4, 8)


@dataclass(frozen=True)
class Load:
    name: str
    title: str
    connections: int = 32
    task: Task = field(default_factory=Task)
    path: str = "orders"
    upload: int = 0
    # A new connection of the app for each request.
    close: bool = False
    # About one request a second on each connection.
    paced: bool = False
    # The proxy has one core, the service and wrk have the other.
    pinned: bool = False
    # What its ratios are drawn from.
    figures: tuple = ("micros",)
    short: bool = False


LOADS = [
    Load("small", "1 KiB, 32 connections", figures=("micros", "p99"), short=True),
    Load("pinned", "1 KiB, 32 connections, on a core of its own", pinned=True, short=True),
    Load("one", "1 KiB, 1 connection", connections=1, figures=("micros", "p50"), short=True),
    Load("down", "1 MiB down, 32 connections", path="1m", figures=("mb_per_core",), short=True),
    Load("workers", "1 KiB, 64 connections, 2 workers", connections=64, task=Task(workers=2), short=True),
    Load("256", "1 KiB, 256 connections", connections=256),
    Load("1024", "1 KiB, 1,024 connections", connections=1024),
    Load("64k", "64 KiB, 32 connections", path="64k", figures=("micros", "mb_per_core")),
    Load("up", "1 MiB up, 32 connections", path="upload", upload=MIB, figures=("mb_per_core",)),
    Load("paced", "1,000 connections, a request a second each", connections=1000, paced=True),
    Load("connect", "a new client connection per request", close=True),
    Load("resumed", "a new handshake with the service per request, resumed", task=Task(upstream="resumed")),
    Load("full", "a new handshake with the service per request, in full", task=Task(upstream="full")),
    Load("h2", "1 KiB, 32 connections, HTTP/2 to the service", task=Task(protocol="2")),
    Load("routes", "1 KiB, 32 connections, all of 1,000 routes, 200 services", task=Task(routes=1000, services=200)),
]


@dataclass
class Run:
    """One window of one peer."""

    micros: float = 0
    rate: float = 0
    p50: int = 0
    p99: int = 0
    mb_per_core: float = 0
    # Cores that others kept busy meanwhile.
    others: float = 0
    wrong: str = ""


class Bench:
    """The lab, the service in it, and how often and for how long everything is measured."""

    def __init__(self, lab, service, how):
        self.lab, self.service, self.how = lab, service, how

    def run(self, pairs):
        """The windows of each pair of a load and a peer: a list with one for each round.

        Every second round goes the other way, so that what changes by and by meets all alike.
        """
        sizes, wrong = {}, {}
        for place, (load, peer) in enumerate(pairs):
            try:
                sizes[place] = answer_size(load, peer)
                self.warm_up(load, peer, sizes[place])
            except WrongAnswer as why:
                wrong[place] = Run(wrong=str(why))
        runs = [[] for _ in pairs]
        for number in range(self.how.rounds):
            for place in sorted(range(len(pairs)), reverse=number % 2):
                run = wrong.get(place) or self.quiet_window(*pairs[place], sizes[place])
                runs[place].append(asdict(run))
        return runs

    def warm_up(self, load, peer, size):
        """Until connections to the service are there, which are kept from then on."""
        for seconds in WARM_UPS:
            if not self.window(load, peer, size, seconds).wrong:
                return

    def quiet_window(self, load, peer, size):
        """The first of a few windows that others did not disturb, or else the last."""
        for _ in range(1 + self.how.retakes):
            taken = self.window(load, peer, size, self.how.seconds)
            if taken.wrong or taken.others <= DISTURBED_CORES:
                break
        if taken.wrong:
            # At once: the others have their windows still, and the table is far away.
            print(f"peers: {load.name}, {peer.name}: {taken.wrong}", file=sys.stderr)
        return taken

    def window(self, load, peer, size, seconds):
        pids, servers = peer.pids(), measure.tree(self.service.process.pid)
        with measure.pinned(pids, servers) if load.pinned else contextlib.nullcontext():
            wrk_process = wrk.start(self.lab, peer.url(load.path), load.connections, seconds, load.upload, load.close,
                                    load.paced, peer.paths(load.path))
            self.until_open(load, seconds)
            others = measure.Others([*pids, *servers, os.getpid(), wrk_process.pid])
            cpu, requests = -peer.cpu_seconds(), -self.service.requests()
            answers = wrk.finish(wrk_process, seconds)
            cpu, requests = cpu + peer.cpu_seconds(), requests + self.service.requests()
            disturbed = others.cores()
        if wrong := mistakes(answers, size, load.connections):
            return Run(wrong=wrong)
        return figures(answers, size + load.upload, cpu, requests, disturbed)

    def until_open(self, load, seconds):
        """Until each connection has had its first request, or for half of the window: opening them is not the load."""
        first, until = self.service.requests(), time.monotonic() + seconds / 2
        while self.service.requests() - first < load.connections and time.monotonic() < until:
            time.sleep(0.02)


def figures(answers, size, cpu, requests, others):
    """What a window comes to: `size` bytes went through for each request, in both directions.

    >>> answers = wrk.Answers(requests=1000, size=0, micros=500_000, errors=0, p50=7, p99=9)
    >>> run = figures(answers, 2000, cpu=0.01, requests=1000, others=0.5)
    >>> run.micros, run.rate, run.p50, run.p99, run.mb_per_core, run.others, run.wrong
    (10.0, 2000.0, 7, 9, 200.0, 0.5, '')

    A peer that gave its answers before the window began, and hangs in it, has no figures. It is no reason to end the run:

    >>> figures(answers, 2000, cpu=0.0, requests=1, others=0.5).wrong
    'no CPU time used in a window (1,000 answers before it): it hangs, or is gone'
    """
    if cpu <= 0:
        return Run(wrong=f"no CPU time used in a window ({answers.requests:,} answers before it): it hangs, or is gone")
    return Run(cpu / requests * 1e6, answers.requests / answers.micros * 1e6, answers.p50, answers.p99,
               requests * size / cpu / 1e6, others)


def answer_size(load, peer):
    head, body = peer.answer(load.path, upload=load.upload, close=load.close)
    if not load.upload and len(body) != SIZES[load.path]:
        raise WrongAnswer(f"{peer.name}: {len(body)} bytes instead of {SIZES[load.path]}")
    return len(head) + len(body)


def mistakes(answers, size, connections):
    """Why these answers make no figure; wrk has counted refusals and broken connections."""
    if answers.requests == 0:
        return "no answer"
    if answers.errors:
        return f"{answers.errors} of {answers.requests} answers were errors"
    # At the end every connection may have a part of one more answer.
    if not 0 <= answers.size - answers.requests * size <= connections * size:
        return f"{answers.size / answers.requests:.1f} bytes an answer instead of {size}"
    return ""
