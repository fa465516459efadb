"""The loads that are windows of time: a tool drives each peer in turn, and the kernel says what that took."""

import contextlib
import os
import sys
import time
from dataclasses import asdict, dataclass, field

import h2load
import measure
import messages
import wrk
from peer import WrongAnswer
from service import SIZES
from task import Task

MIB = 1024 * 1024
# As much of a core as others may take before a window is taken again.
DISTURBED_CORES = 0.25
# The first of all windows is as long, and measures nothing. A peer whose token is still on its way has three of them.
WARM_UP_SECONDS = 1
WARM_UPS = 3
# Ten thousand handshakes may take so long.
OPENING_SECONDS = 60
# With no new connection to the service for as long they are all there.
SETTLED_SECONDS = 0.5


@dataclass(frozen=True)
class Load:
    name: str
    title: str
    connections: int = 32
    # On each, where one carries many: HTTP/2.
    streams: int = 1
    task: Task = field(default_factory=Task)
    # What drives it.
    tool: object = wrk
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
    Load("100", "1 KiB, 100 connections", connections=100),
    Load("256", "1 KiB, 256 connections", connections=256),
    Load("1000", "1 KiB, 1,000 connections", connections=1000, short=True),
    Load("1024", "1 KiB, 1,024 connections", connections=1024),
    Load("4000", "1 KiB, 4,000 connections", connections=4000,
         task=Task(pool=4096, clients=4500, only=("nginx", "haproxy", "sidekey", "sidekey-pgo", "sidekey-before"))),
    Load("64k", "64 KiB, 32 connections", path="64k", figures=("micros", "mb_per_core")),
    Load("up", "1 MiB up, 32 connections", path="upload", upload=MIB, figures=("mb_per_core",)),
    Load("paced", "1,000 connections, a request a second each", connections=1000, paced=True),
    Load("connect", "a new client connection per request", close=True),
    Load("resumed", "a new handshake with the service per request, resumed", task=Task(upstream="resumed")),
    Load("full", "a new handshake with the service per request, in full", task=Task(upstream="full")),
    Load("h2", "1 KiB, 32 connections, HTTP/2 to the service", task=Task(protocol="2"), short=True),
    Load("h2c", "1 KiB, 10 connections with 50 streams each, HTTP/2 from the app", connections=10, streams=50,
         task=Task(incoming="2"), tool=h2load, short=True),
    Load("grpc", "gRPC, one bidirectional stream, 100-byte messages: a message is a request", connections=1,
         task=Task(incoming="2", protocol="2", messages=True), tool=messages, short=True),
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
    # Connections to the service that were made in it, though all that it takes were there before.
    late: int = 0
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
        """The connections to the service are there then, which are kept from now on."""
        for _ in range(WARM_UPS):
            if not self.window(load, peer, size, WARM_UP_SECONDS).wrong:
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
            tool = load.tool.Running(self.lab, load, peer, min(OPENING_SECONDS, load.tool.OPENING_SECONDS) + seconds)
            self.until_open(load, tool)
            others = measure.Others([*pids, *servers, os.getpid(), tool.process.pid])
            before = time.monotonic(), peer.cpu_seconds(), *self.service.so_far()
            time.sleep(seconds)
            after = time.monotonic(), peer.cpu_seconds(), *self.service.so_far()
            disturbed = others.cores()
            answers = tool.finish()
        if wrong := mistakes(answers, size, load.connections * load.streams):
            return Run(wrong=wrong)
        spent = Spent(*(now - then for now, then in zip(after, before)))
        return figures(answers, size + load.upload, spent, disturbed)

    def until_open(self, load, tool):
        """Until each connection has had its first request, and what that takes of the service is there: opening connections is not
        the load."""
        until = time.monotonic() + min(OPENING_SECONDS, load.tool.OPENING_SECONDS)
        (first, known), since = self.service.so_far(), time.monotonic()
        while time.monotonic() < until and tool.process.poll() is None:
            time.sleep(0.02)
            requests, connections = self.service.so_far()
            if connections != known and load.task.upstream == "kept":
                known, since = connections, time.monotonic()
            elif requests - first >= load.connections * load.streams and time.monotonic() - since >= SETTLED_SECONDS:
                return


@dataclass
class Spent:
    """What there was between the beginning of a window and its end."""

    seconds: float
    cpu: float
    requests: int
    connections: int


def figures(answers, size, spent, others):
    """What a window comes to: `size` bytes went through for each request, in both directions.

    >>> answers = wrk.Answers(requests=5000, size=0, micros=2_500_000, errors=0, p50=7, p99=9)
    >>> run = figures(answers, 2000, Spent(seconds=0.5, cpu=0.01, requests=1000, connections=3), others=0.5)
    >>> run.micros, run.rate, run.p50, run.p99, run.mb_per_core, run.late, run.others, run.wrong
    (10.0, 2000.0, 7, 9, 200.0, 3, 0.5, '')

    A peer that gave its answers before the window began, and hangs in it, has no figures. It is no reason to end the run:

    >>> figures(answers, 2000, Spent(seconds=0.5, cpu=0.0, requests=1, connections=0), others=0.5).wrong
    'no CPU time used in a window (5,000 answers before it): it hangs, or is gone'
    >>> figures(answers, 2000, Spent(seconds=0.5, cpu=0.1, requests=0, connections=0), others=0.5).wrong
    'no answer in a window (5,000 before it): it hangs'
    """
    if spent.cpu <= 0:
        return Run(wrong=f"no CPU time used in a window ({answers.requests:,} answers before it): it hangs, or is gone")
    if spent.requests <= 0:
        return Run(wrong=f"no answer in a window ({answers.requests:,} before it): it hangs")
    return Run(spent.cpu / spent.requests * 1e6, spent.requests / spent.seconds, answers.p50, answers.p99,
               spent.requests * size / spent.cpu / 1e6, spent.connections, others)


def answer_size(load, peer):
    """Of one as the tool counts it: h2load leaves heads out, and a message has none."""
    if load.task.messages:
        return messages.BYTES
    head, body = peer.answer(load.path, upload=load.upload, close=load.close)
    if not load.upload and len(body) != SIZES[load.path]:
        raise WrongAnswer(f"{peer.name}: {len(body)} bytes instead of {SIZES[load.path]}")
    return len(body) + (len(head) if load.tool is wrk else 0)


def mistakes(answers, size, at_once):
    """Why these answers make no figure; wrk has counted refusals and broken connections."""
    if answers.requests == 0:
        return "no answer"
    if answers.errors:
        return f"{answers.errors} of {answers.requests} answers were errors{answers.said and f': {answers.said}'}"
    # At the end every connection, or stream, may have a part of one more answer.
    if not 0 <= answers.size - answers.requests * size <= at_once * size:
        return f"{answers.size / answers.requests:.1f} bytes an answer instead of {size}"
    return ""
