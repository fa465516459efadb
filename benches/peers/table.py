"""Results as text: medians with min–max, and ratios that are paired within a round."""

import statistics

import chart
from loads import DISTURBED_CORES

# What the others are compared with, where they take part.
REFERENCES = ("nginx", "haproxy", "envoy-oauth", "envoy", "sidekey-http1", "sidekey-before")
FIGURES = {
    "micros": "CPU µs/request",
    "rate": "requests/s",
    "p50": "p50 µs",
    "p99": "p99 µs",
    "mb_per_core": "MB/s per core",
    "late": "handshakes",
}
SHORT = {"micros": "CPU", "p50": "p50", "p99": "p99", "mb_per_core": "MB/s"}


def text(results):
    parts = [heading(results)]
    parts += [load_text(load) for load in results["loads"].values()]
    if results["costs"]:
        parts.append(costs_text(results["costs"]))
    return "\n\n".join(parts)


def heading(results):
    versions = "\n".join(f"  {name:14}{version}" for name, version in results["versions"].items())
    return (f"{results['taken']}, {results['machine']}\n{results['rounds']} rounds of {results['seconds']} s, "
            f"medians (min–max), ratios paired within a round\n{versions}")


def load_text(load):
    header = ["", *FIGURES.values()] + [f"{SHORT[figure]} to {reference}" for figure in load["figures"]
                                        for reference in references(load)] + [""]
    rows = [header] + [row(load, name) for name in load["runs"]]
    rows += [[name, f"n/a: {why}"] for name, why in load["unsupported"].items()]
    return f"{load['title']}\n{aligned(rows)}"


def references(load):
    # With its own OAuth 2.0 client, if it is there so: that is what it would be used with.
    left_out = {"envoy"} if "envoy-oauth" in load["runs"] else set()
    return [name for name in REFERENCES if name in load["runs"] and name not in left_out]


def row(load, name):
    runs = load["runs"][name]
    if wrong := first_wrong(runs):
        return [name, f"wrong: {wrong}"]
    return ([name, *(spread([run[figure] for run in runs]) for figure in FIGURES)]
            + [ratio_text(load, name, reference, figure) for figure in load["figures"]
               for reference in references(load)]
            + ["noisy" if noisy(runs) else ""])


def first_wrong(runs):
    return next((run["wrong"] for run in runs if run["wrong"]), "")


def noisy(runs):
    return any(run["others"] > DISTURBED_CORES for run in runs)


def mistakes(results):
    """Every peer that gave a wrong answer, and to what."""
    return ([f"{load['title']}, {name}: {wrong}" for load in results["loads"].values()
             for name, runs in load["runs"].items() if (wrong := first_wrong(runs))]
            + [f"{cost['title']}, {name}: {wrong}" for cost in results["costs"].values()
               for name, wrong in cost["wrong"].items()])


def ratio_text(load, name, reference, figure):
    found = ratios(load, name, reference, figure)
    return spread(found) if found and name != reference else "–"


def ratios(load, name, reference, figure):
    """One for each round; none at all if a single answer of either was wrong."""
    mine, other = load["runs"][name], load["runs"][reference]
    if first_wrong(mine) or first_wrong(other):
        return []
    return [a[figure] / b[figure] for a, b in zip(mine, other) if b[figure]]


def spread(values):
    low, middle, high = (chart.number(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def costs_text(costs):
    names = list(dict.fromkeys(name for cost in costs.values() for name in [*cost["values"], *cost["wrong"]]))
    rows = [["", *(cost["title"] for cost in costs.values())]]
    rows += [[name, *(cost_text(cost, name) for cost in costs.values())] for name in names]
    return aligned(rows)


def cost_text(cost, name):
    if name in cost["wrong"]:
        return f"wrong: {cost['wrong'][name]}"
    return spread(cost["values"][name]) if name in cost["values"] else "–"


def aligned(rows):
    columns = max(map(len, rows))
    # A row that only says why it has no figures does not widen the others.
    widths = [max(len(row[place]) for row in rows if len(row) == columns) for place in range(columns)]
    return "\n".join(f"  {row[0]:{widths[0]}}  " + "  ".join(
        f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])) for row in rows)
