"""Sidekey beside its peers at the same work: CPU per request, latency, throughput, memory.

The work: an app's request over plain HTTP/1.1 to loopback goes on to a service that wants mutual TLS 1.3, the prefix of
its path exchanged and an 800-byte bearer token added; all connections are kept alive unless the load says otherwise.
Every peer has the same number of workers and faces the same nginx as the service, with the same forced cipher.
`wrk` drives the peers in turn, in short rounds whose order is reversed each time, so that whatever else the machine does
meets all of them. Everything is on loopback, and all that was started is stopped.
"""

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

# The bed is the neighbors' too.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import costs
import growth
import install
import loads
import readme
import table
import messages
from bed import ROOT, TARGET
from lab import Lab
from page import written
from peer import Peer
from service import Service, TokenEndpoint
from task import Unsupported

LOADS = {load.name: load for load in loads.LOADS}
COSTS = {cost.name: cost for cost in costs.COSTS}
ALL = LOADS | COSTS
RESULTS = TARGET / "peers.json"
DOCS = ROOT / "docs"
PGO = "sidekey-pgo"
BEFORE = "sidekey-before"


def main():
    # Else what was started would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers: terminated"))
    arguments = parse_arguments()
    if arguments.markdown:
        print(readme.table(last()))
    elif arguments.chart:
        arguments.chart.write_text(readme.picture(last()))
    elif arguments.write:
        write(last())
    elif arguments.growth:
        grow(arguments)
    else:
        compare(arguments)


def compare(arguments):
    kinds = install.peers(arguments)
    results = heading(kinds, arguments) | {"loads": {}, "costs": {}}
    with Lab() as lab:
        parts = lab, Service(lab), TokenEndpoint(lab)
        for task, group in by_task(arguments.loads).items():
            results["loads"] |= under_load(task, group, kinds, parts, arguments)
        for cost in (COSTS[name] for name in arguments.loads if name in COSTS):
            say(cost.title)
            results["costs"][cost.name] = costs.read_all(cost, kinds, parts)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(table.text(results))
    if wrong := table.mistakes(results):
        sys.exit("peers: not every answer was right:\n" + "\n".join(wrong))


def grow(arguments):
    """Writes the page and its picture."""
    arguments.peers = growth.BESIDE
    kinds = install.peers(arguments)
    with Lab() as lab:
        parts = lab, Service(lab), TokenEndpoint(lab)
        results = heading(kinds, arguments) | {"growth": growth.measure(kinds, parts, arguments)}
    if wrong := growth.mistakes(results["growth"]):
        sys.exit("peers: not every answer was right, so there is no page:\n" + "\n".join(wrong))
    (DOCS / "growth.svg").write_text(growth.picture(results))
    (DOCS / "growth.md").write_text(growth.page(results))


def write(results):
    """Puts the last comparison where it is shown."""
    for page, table_of in ((ROOT / "README.md", readme.table), (DOCS / "performance.md", readme.comparison)):
        page.write_text(written(page.read_text(), table_of(results), "peers"))
    (DOCS / "peers.svg").write_text(readme.picture(results))


def heading(kinds, arguments):
    return install.circumstances(kinds) | {"rounds": arguments.rounds, "seconds": arguments.seconds}


def last():
    """What the last comparison came to."""
    return json.loads(RESULTS.read_text())


def parse_arguments():
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every load, not the short form's alone")
    parser.add_argument("--peers", type=names(install.PEERS), help=f"of {', '.join(install.PEERS)}")
    parser.add_argument("--loads", type=names(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each peer under each load (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a window (default 3)")
    parser.add_argument("--retakes", type=int, default=3, help="times that a disturbed window is taken again (default 3)")
    parser.add_argument("--binary", type=Path, help="this sidekey, instead of a release build")
    parser.add_argument("--pgo-binary", type=Path, help="a sidekey built with PGO, as one more row")
    parser.add_argument("--before", type=Path, help="an earlier sidekey, as one more row")
    parser.add_argument("--growth", action="store_true", help="writes docs/growth.md and its picture instead")
    parser.add_argument("--write", action="store_true",
                        help="puts the last run's tables and picture into README.md and docs instead")
    parser.add_argument("--markdown", action="store_true", help="prints the last run's table for the README instead")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draws the last run instead")
    arguments = parser.parse_args()
    given = {PGO: arguments.pgo_binary, BEFORE: arguments.before}
    arguments.peers = arguments.peers or [name for name in install.PEERS if given.get(name, True)]
    if missing := [name for name in arguments.peers if not given.get(name, True)]:
        parser.error(f"{missing[0]} needs its binary")
    arguments.loads = arguments.loads or [name for name, load in ALL.items() if load.short or arguments.all]
    return arguments


def names(known):
    def split(text):
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return chosen

    return split


def by_task(chosen):
    groups = {}
    for load in (LOADS[name] for name in chosen if name in LOADS):
        groups.setdefault(load.task, []).append(load)
    return groups


def under_load(task, group, kinds, parts, arguments):
    """All loads of one task: the peers are started once for them."""
    lab, service, tokens = parts
    results = {}
    with lab.scene():
        if task.messages:
            lab.python = install.python()
            service = messages.EchoService(lab, lab.python)
        peers, unsupported = start(task, kinds, (lab, service, tokens))
        bench = loads.Bench(lab, service, arguments)
        for load in group:
            say(load.title)
            runs = bench.run([(load, peer) for peer in peers])
            results[load.name] = {
                "title": load.title, "figures": load.figures, "unsupported": unsupported,
                "runs": {peer.name: of_peer for peer, of_peer in zip(peers, runs)},
            }
    return results


def start(task, kinds, parts):
    """Those who can do it, at work; and why the others can't."""
    peers, unsupported = [], {}
    for name, kind in kinds.items():
        try:
            if task.only and name not in task.only:
                raise Unsupported("left out: the service can't hold the connections of all")
            peers.append(Peer(name, kind, task, *parts, asked=not task.messages))
        except Unsupported as why:
            unsupported[name] = str(why)
    if task.protocol == "2" and not task.messages and "sidekey" in kinds:
        # What the other protocol costs is seen side by side only.
        peers.append(Peer("sidekey-http1", kinds["sidekey"], replace(task, protocol="1.1"), *parts))
    return peers, unsupported


def say(what):
    print(f"peers: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
