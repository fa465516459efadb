"""What the README shows of a run: a table, and a picture of the figures that say most."""

import statistics

import chart
from install import PEERS
from table import first_wrong

# Of the short form: which load or cost, which figure of it, and what to call it.
COLUMNS = (
    ("small", "micros", "CPU µs/request"),
    ("pinned", "micros", "on a core of its own"),
    ("workers", "micros", "2 workers, 64 connections"),
    ("one", "p50", "p50 µs, 1 connection"),
    ("small", "p99", "p99 µs"),
    ("down", "mb_per_core", "MB/s per core, 1 MiB"),
    ("in_use", "", "PSS in use, MiB"),
    ("idle", "", "KiB per idle client"),
    ("burst", "", "the same, 5,000 after a burst"),
)
DRAWN = (("small", "micros"), ("in_use", ""), ("idle", ""))


def table(results):
    """The table of the README: one row for each peer, the short form's figures."""
    columns = [column for column in COLUMNS if column[0] in results["loads"] or column[0] in results["costs"]]
    names = list(results["versions"])
    lines = ["| | " + " | ".join(title for _, _, title in columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {PEERS[name]} {results['versions'][name]} | "
              + " | ".join(cell(results, name, key, figure) for key, figure, _ in columns) + " |" for name in names]
    caption = (f"{results['taken']}, {results['machine']}; medians of {results['rounds']} rounds of "
               f"{results['seconds']} s, all peers at the same work in turn. To repeat it: `cargo bench --bench peers`.")
    return "\n".join([*lines, "", caption])


def cell(results, name, key, figure):
    values = figures(results, name, key, figure)
    return chart.number(statistics.median(values)) if values else "–"


def figures(results, name, key, figure):
    """All of a peer's values; none if there are none or one was wrong."""
    if key in results["costs"]:
        return [] if name in results["costs"][key]["wrong"] else results["costs"][key]["values"].get(name, [])
    runs = results["loads"].get(key, {"runs": {}})["runs"].get(name, [])
    return [] if first_wrong(runs) else [run[figure] for run in runs]


def picture(results):
    panels = []
    for key, figure, title in COLUMNS:
        rows = [(PEERS[name], *chart.spread(values), name.startswith("sidekey")) for name in results["versions"]
                if (values := figures(results, name, key, figure))]
        if (key, figure) in DRAWN and rows:
            panels.append((title, rows))
    return chart.bars("Sidekey beside its peers: less is better", panels)
