"""Sidekey beside its peers at the same work: CPU per request, latency, throughput, memory.

The work: an app's request over plain HTTP/1.1 to loopback goes on to a service that wants mutual TLS 1.3, the prefix of
its path exchanged and an 800-byte bearer token added; all connections are kept alive unless the load says otherwise.
Every peer has the same number of workers and faces the same nginx as the service, with the same forced cipher.
`wrk` drives the peers in turn, in short rounds whose order is reversed each time, so that whatever else the machine does
meets all of them. Everything is on loopback, and all that was started is stopped.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

import install
import loads
import table
from lab import Lab
from peer import Peer
from service import Service, TokenEndpoint
from sidekey import TARGET
from task import Unsupported

LOADS = {load.name: load for load in loads.LOADS}
RESULTS = TARGET / "peers.json"


def main():
    # Else what was started would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers: terminated"))
    arguments = parse_arguments()
    kinds = install.peers(arguments)
    results = {
        **install.circumstances(kinds),
        "rounds": arguments.rounds, "seconds": arguments.seconds, "loads": {}, "costs": {},
    }
    with Lab() as lab:
        service, tokens = Service(lab), TokenEndpoint(lab)
        for task, group in by_task(arguments.loads).items():
            run_group(task, group, kinds, results, (lab, service, tokens), arguments)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(table.text(results))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every load, not the short form's alone")
    parser.add_argument("--peers", type=names(install.PEERS), help=f"of {', '.join(install.PEERS)}")
    parser.add_argument("--loads", type=names(LOADS), help=f"of {', '.join(LOADS)}")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each peer under each load (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a window (default 3)")
    parser.add_argument("--retakes", type=int, default=3, help="times that a disturbed window is taken again (default 3)")
    parser.add_argument("--binary", type=Path, help="this sidekey, instead of a release build")
    parser.add_argument("--pgo-binary", type=Path, help="a sidekey built with PGO, as one more row")
    arguments = parser.parse_args()
    arguments.peers = arguments.peers or list(install.PEERS)
    arguments.loads = arguments.loads or [name for name, load in LOADS.items() if load.short or arguments.all]
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
    for name in chosen:
        groups.setdefault(LOADS[name].task, []).append(LOADS[name])
    return groups


def run_group(task, group, kinds, results, parts, arguments):
    """All loads of one task: each peer is started once for them."""
    lab, service, _ = parts
    peers, unsupported = [], {}
    with lab.scene():
        for name, kind in kinds.items():
            try:
                peers.append(Peer(name, kind, task, *parts))
            except Unsupported as why:
                unsupported[name] = str(why)
        for load in group:
            print(f"peers: {load.title}", file=sys.stderr)
            results["loads"][load.name] = {
                "title": load.title, "figures": load.figures, "unsupported": unsupported,
                "runs": loads.run(load, peers, lab, service, arguments),
            }


if __name__ == "__main__":
    main()
