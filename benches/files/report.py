"""Results as text, and as the table of docs/performance.md: medians with min–max, ratios paired within a round."""

import statistics

from chart import number

# Both features, of what the program was without.
MOST_GROWTH = 1.5
HEADER = ["", "Sidekey", "beside", "ratio", "wanted", "peak, MiB", "above idle, MiB", "at most"]


def rows(results):
    for load in results["loads"].values():
        ours = [run["ours"] for run in load["runs"]]
        theirs = [run["theirs"] for run in load["runs"] if "theirs" in run]
        yield [
            load["title"],
            f"{spread([run['figure'] for run in ours])} {load['unit']}",
            f"{load['beside']}: {spread(theirs)}" if theirs else "–",
            spread(ratios(load)) if theirs else "–",
            f"≥ {load['wanted']}" if load["wanted"] else "–",
            number(max(run["peak_mib"] for run in ours)),
            number(max(run["above_mib"] for run in ours)),
            limit(load),
        ]


def limit(load):
    return f"{load['most_above_mib']} above idle" if load["most_above_mib"] else f"{load['most_mib']}"


def ratios(load):
    return [run["ours"]["figure"] / run["theirs"] for run in load["runs"] if "theirs" in run]


def missed(results):
    """Each line a promise that did not come true."""
    return list(missed_loads(results)) + list(missed_size(results))


def missed_loads(results):
    for load in results["loads"].values():
        found = ratios(load)
        if found and load["wanted"] and statistics.median(found) < load["wanted"]:
            yield f"{load['title']}: {spread(found)} of {load['beside']}, wanted {load['wanted']}"
        peak = max(run["ours"]["peak_mib"] for run in load["runs"])
        above = max(run["ours"]["above_mib"] for run in load["runs"])
        if peak > load["most_mib"]:
            yield f"{load['title']}: {number(peak)} MiB, at most {load['most_mib']}"
        if load["most_above_mib"] and above > load["most_above_mib"]:
            yield f"{load['title']}: {number(above)} MiB above idle, at most {load['most_above_mib']}"


def missed_size(results):
    if results["sizes"] and growth(results["sizes"]) > MOST_GROWTH:
        yield f"the program: {number(growth(results['sizes']))} times as large, at most {MOST_GROWTH}"


def growth(sizes):
    return sizes["with"] / sizes["without"]


def size_line(results):
    sizes = results["sizes"]
    if not sizes:
        return "The size of the program was not looked at."
    return (f"The program, stripped: {sizes['with'] / 1e6:.1f} MB, without `files` and `openpgp` "
            f"{sizes['without'] / 1e6:.1f} MB: {number(growth(sizes))} times as large, {MOST_GROWTH} at most.")


def text(results):
    table = [HEADER, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip() for row in table]
    return "\n".join([caption(results), *lines, size_line(results)])


def markdown(results):
    lines = ["| " + " | ".join(HEADER) + " |", "|---|" + "---:|" * (len(HEADER) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(results)]
    return "\n".join([*lines, "", size_line(results), "", caption(results)])


def caption(results):
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (f"{results['taken']}, {results['machine']}; large files of {results['mib']:,} MiB, {results['files']:,} small ones "
            f"of 1 KiB; medians of {results['rounds']} rounds; {versions}. To repeat it: `cargo bench --bench files`.")


def spread(values):
    low, middle, high = (number(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"
