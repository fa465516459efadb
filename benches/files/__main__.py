"""Sidekey as a client of file servers and of OpenPGP, beside the clients that people use: CPU, requests a second, memory.

Beside Sidekey's SFTP stands OpenSSH's `sftp`, beside its FTP curl, beside its OpenPGP gpg, each at the same server or the same
message, in turn, in an order that is reversed in each round. Of Sidekey the process alone is counted: the app that
asks it, which is curl or wrk, has no part in its figures. Everything is on loopback, files are in memory where there is room,
and all that was started is stopped, by its number.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# The bed and the pages are the neighbors', too; so are their clocks.
BENCHES = Path(__file__).resolve().parents[1]
sys.path += [str(BENCHES), str(BENCHES / "peers")]

import bed
import loads
import partners
import report
import sizes
from page import written

RESULTS = bed.TARGET / "files.json"
PAGE = bed.ROOT / "docs" / "performance.md"
# Where files are, so that no disk is measured.
MEMORY = Path("/dev/shm")
LOADS = {load.name: load for load in loads.LOADS}


def main():
    # Else what was started would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("files: terminated"))
    arguments = parse_arguments()
    if arguments.write:
        results = json.loads(RESULTS.read_text())
        PAGE.write_text(written(PAGE.read_text(), report.markdown(results), "files"))
    else:
        compare(arguments)


def compare(arguments):
    partners.install()
    binary = (arguments.binary or bed.build()).resolve()
    results = bed.occasion() | {
        "rounds": arguments.rounds, "mib": arguments.mib, "files": arguments.files, "versions": partners.versions(binary),
        "loads": {}, "sizes": {},
    }
    if arguments.sizes:
        results["sizes"] = sizes.measure(binary, arguments.without)
    # Four files of that size at most are there at a time.
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > arguments.mib * 2**20 * 6
    tempfile.tempdir = str(MEMORY) if in_memory else None
    with partners.Partners(arguments) as there:
        for load in (LOADS[name] for name in arguments.loads):
            print(f"files: {load.title}", file=sys.stderr)
            runs = [load.round(there, binary, number) for number in range(arguments.rounds)]
            results["loads"][load.name] = {
                "title": load.title, "unit": load.unit, "beside": load.beside, "wanted": load.wanted,
                "most_mib": load.most_mib, "most_above_mib": load.most_above_mib, "runs": runs,
            }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(report.text(results))
    if missed := report.missed(results):
        sys.exit("files: not what was wanted:\n" + "\n".join(missed))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="benches/files", description=__doc__.splitlines()[0])
    parser.add_argument("--loads", type=names, default=list(LOADS), help=f"of {', '.join(LOADS)}")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--mib", type=int, default=1024, help="size of a large file (default 1024)")
    parser.add_argument("--files", type=int, default=10_000, help="how many small files (default 10,000)")
    parser.add_argument("--names", type=int, default=100_000, help="how many names in the long listing (default 100,000)")
    parser.add_argument("--binary", type=Path, help="this sidekey, instead of a release build")
    parser.add_argument("--without", type=Path, help="a sidekey without `files` and `openpgp`, instead of a build of it")
    parser.add_argument("--no-sizes", dest="sizes", action="store_false",
                        help="leaves the size of the binary out, which wants a second build")
    parser.add_argument("--write", action="store_true",
                        help="puts the last run's table into docs/performance.md instead")
    return parser.parse_args()


def names(text):
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in LOADS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(LOADS)}")
    return chosen


if __name__ == "__main__":
    main()
