"""The loads that are windows of time: wrk drives each peer in turn, and the kernel says what that took."""

import contextlib
import os
from dataclasses import asdict, dataclass, field

import measure
import wrk
from service import SIZES
from task import Task

MIB = 1024 * 1024
# As much of a core as others may take before a window is taken again.
DISTURBED_CORES = 0.25
WARM_UP_SECONDS = 1


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
    Load("routes", "1 KiB, 32 connections, 1,000 routes to 200 services", task=Task(routes=1000, services=200)),
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


def run(load, peers, lab, service, how):
    """Runs by peer, a list with one for each round; every second round goes the other way."""
    sizes = {peer.name: answer_size(peer, load) for peer in peers}
    for peer in peers:
        window(load, peer, lab, service, WARM_UP_SECONDS, sizes[peer.name])
    runs = {peer.name: [] for peer in peers}
    for number in range(how.rounds):
        for peer in peers if number % 2 == 0 else peers[::-1]:
            runs[peer.name].append(asdict(quiet_window(load, peer, lab, service, how, sizes[peer.name])))
    return runs


def answer_size(peer, load):
    head, body = peer.answer(load.path, upload=load.upload, close=load.close)
    if not load.upload and len(body) != SIZES[load.path]:
        raise AssertionError(f"{peer.name}: {len(body)} bytes instead of {SIZES[load.path]}")
    return len(head) + len(body)


def quiet_window(load, peer, lab, service, how, size):
    """The first of a few windows that others did not disturb, or else the last."""
    for _ in range(1 + how.retakes):
        taken = window(load, peer, lab, service, how.seconds, size)
        if taken.wrong or taken.others <= DISTURBED_CORES:
            break
    return taken


def window(load, peer, lab, service, seconds, size):
    pids, servers = peer.pids(), measure.tree(service.process.pid)
    place = measure.pinned(pids, servers) if load.pinned else contextlib.nullcontext()
    with place:
        others = measure.Others([*pids, *servers, os.getpid()])
        before = peer.cpu_seconds()
        answers = wrk.run(lab, peer.url(load.path), load.connections, seconds, load.upload, load.close, load.paced)
        cpu, disturbed = peer.cpu_seconds() - before, others.cores()
    wrong = mistakes(answers, size, load.connections)
    if wrong:
        return Run(wrong=wrong)
    moved = answers.size + answers.requests * load.upload
    return Run(cpu / answers.requests * 1e6, answers.requests / answers.micros * 1e6, answers.p50, answers.p99,
               moved / cpu / 1e6, disturbed)


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
