"""Sidekey alone, as what it has to know and to hold grows: routes, services, client connections."""

import statistics
from dataclasses import replace

import chart
import loads
import table
from loads import Load
from peer import Peer
from task import Task

SMALL = Load("growth", "1 KiB, 32 connections")
# What grows, what the axis says, and each step as a load and a task.
SERIES = {
    "routes": ("Routes", [(number, SMALL, Task(routes=number)) for number in (1, 10, 100, 1000, 10000)]),
    "services": ("Services", [(number, SMALL, Task(routes=number, services=number)) for number in (1, 10, 100, 1000)]),
    "clients": ("Client connections", [(number, replace(SMALL, connections=number), Task())
                                       for number in (1, 10, 100, 1000, 10000)]),
}


def measure(kind, parts, how):
    """By series: each step's number and its windows. All steps of a series are at work side by side."""
    lab, service, _ = parts
    series = {}
    bench = loads.Bench(lab, service, how)
    for name, (title, steps) in SERIES.items():
        with lab.scene():
            pairs = [(load, Peer(f"{name}-{number}", kind, task, *parts)) for number, load, task in steps]
            runs = bench.run(pairs)
        series[name] = {"title": title,
                        "steps": [{"number": step[0], "runs": of_step} for step, of_step in zip(steps, runs)]}
    return series


def mistakes(series):
    """Why figures can't be had."""
    return [f"{one['title']}, {step['number']:,}: {wrong}" for one in series.values() for step in one["steps"]
            if (wrong := table.first_wrong(step["runs"]))]


def page(results):
    """The text of `docs/growth.md`."""
    series = results["growth"]
    rows = "\n".join(row(one["title"], step, one["steps"][0]) for one in series.values() for step in one["steps"])
    noisy = any(table.noisy(step["runs"]) for one in series.values() for step in one["steps"])
    warning = ("\nOther processes took more than a quarter of a core meanwhile: these figures are **noisy**.\n"
               if noisy else "")
    return f"""# Growth

CPU time for one request as the config and the number of clients grow. Flat is the goal: what Sidekey does for a request
should depend on that request, not on all that it knows.

![CPU time per request over the number of routes, services and client connections](growth.svg)

| what | how many | CPU µs per request, median (min–max) | to the first |
|---|---|---|---|
{rows}
{warning}
{results["taken"]}, {results["machine"]}, Sidekey {results["versions"]["sidekey"]}: {results["rounds"]} rounds of
{results["seconds"]} s for each line, one worker, 1 KiB answers over mutual TLS 1.3, an 800-byte bearer token added. The steps of
one series are at work side by side, in rounds whose order is reversed each time.

- **Routes** and **services** are asked for in turn, all of them, over 32 client connections. Each service has connections of
  its own: 1,000 services are at least 1,000 connections that are kept, so that fewer of them are in the processor's caches.
- **Client connections** ask one request after the other; the figure counts from when all are open. The system's own work
  grows with them too. With one alone the worker sleeps and wakes for each request.

To repeat it, and to write this page and its picture anew:

```console
$ cargo bench --bench peers -- --growth
```
"""


def row(title, step, first):
    micros = [run["micros"] for run in step["runs"]]
    ratios = [a["micros"] / b["micros"] for a, b in zip(step["runs"], first["runs"])]
    return f"| {title} | {step['number']:,} | {table.spread(micros)} | {statistics.median(ratios):.2f} |"


def picture(results):
    panels = [(one["title"], f"{one['title'].lower()} (each step ×10)", list(map(point, one["steps"])))
              for one in results["growth"].values()]
    return chart.curves("CPU µs per request", panels)


def point(step):
    return step["number"], *chart.spread([run["micros"] for run in step["runs"]])
