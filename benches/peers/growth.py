"""What a request costs as what a proxy has to know and to hold grows: Sidekey's routes and services, and clients of it and of peers."""

import statistics
from dataclasses import replace

import chart
import loads
import table
from install import PEERS
from lab import most_files
from loads import Load
from peer import Peer
from task import Task

SMALL = Load("growth", "1 KiB, 32 connections")
# Whose clients grow. Each has its rounds alone: their connections together would be more than the service can hold.
BESIDE = ("nginx", "haproxy", "sidekey")


def series():
    """What grows, what the axis says, and each step as a load and a task."""
    most = most_clients()
    many = Task(pool=most, clients=most + 100)
    return {
        "routes": ("Routes", [(number, SMALL, Task(routes=number)) for number in (1, 10, 100, 1000, 10000)]),
        "services": ("Services", [(number, SMALL, Task(routes=number, services=number)) for number in (1, 10, 100, 1000)]),
        "clients": ("Client connections", [(number, replace(SMALL, connections=number), many)
                                           for number in (1, 10, 100, 1000, most)]),
    }


def most_clients():
    """Ten thousand, or as many as have two descriptors each: one to the client, one to the service."""
    return min(10_000, (most_files() - 600) // 200 * 100)


def measure(kinds, parts, how):
    """By series and peer: each step's number and its windows. All steps of one peer are at work side by side."""
    lab, service, _ = parts
    bench, measured = loads.Bench(lab, service, how), {}
    for name, (title, steps) in series().items():
        measured[name] = {"title": title, "peers": {}}
        for peer in BESIDE if name == "clients" else ("sidekey",):
            with lab.scene():
                pairs = [(load, Peer(f"{peer}-{name}-{number}", kinds[peer], task, *parts)) for number, load, task in steps]
                runs = bench.run(pairs)
            measured[name]["peers"][peer] = [{"number": step[0], "runs": of_step} for step, of_step in zip(steps, runs)]
    return measured


def mistakes(measured):
    """Why figures can't be had."""
    return [f"{one['title']}, {peer}, {step['number']:,}: {wrong}" for one in measured.values()
            for peer, steps in one["peers"].items() for step in steps if (wrong := table.first_wrong(step["runs"]))]


def page(results):
    """The text of `docs/growth.md`."""
    measured = results["growth"]
    rows = "\n".join(row(one["title"], step, one["peers"]["sidekey"][0]) for one in measured.values()
                     for step in one["peers"]["sidekey"])
    all_steps = [step for one in measured.values() for steps in one["peers"].values() for step in steps]
    warning = ("\nOther processes took more than a quarter of a core meanwhile: these figures are **noisy**.\n"
               if any(table.noisy(step["runs"]) for step in all_steps) else "")
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

## Client connections, beside others

The same load on proxies that are set as [Performance](performance.md) says, their pools as large as the number of clients; Sidekey has its
defaults, of which one is that a service has 1,024 connections at most. Ratios are paired within a round.

{beside(measured["clients"]["peers"], results["versions"])}

To repeat it, and to write this page and its picture anew:

```console
$ cargo bench --bench peers -- --growth
```
"""


def row(title, step, first):
    return f"| {title} | {step['number']:,} | {table.spread(micros(step))} | {statistics.median(ratios(step, first)):.2f} |"


def beside(peers, versions):
    """A row for each peer: its steps from a hundred clients on, and how the last compares with the first of them."""
    numbers = [step["number"] for step in steps_of_many(peers["sidekey"])]
    head = "| | " + " | ".join(f"{number:,} clients, µs" for number in numbers) + " | the last to the first |"
    lines = [head, "|---|" + "---:|" * (len(numbers) + 1)]
    for name, all_steps in peers.items():
        steps = steps_of_many(all_steps)
        cells = [table.spread(micros(step)) for step in steps] + [table.spread(ratios(steps[-1], steps[0]))]
        lines.append(f"| {PEERS[name]} {versions[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def steps_of_many(steps):
    return [step for step in steps if step["number"] >= 100]


def micros(step):
    return [run["micros"] for run in step["runs"]]


def ratios(step, first):
    return [a / b for a, b in zip(micros(step), micros(first))]


def picture(results):
    panels = [(one["title"], f"{one['title'].lower()} (each step ×10)", list(map(point, one["peers"]["sidekey"])))
              for one in results["growth"].values()]
    return chart.curves("CPU µs per request", panels)


def point(step):
    return step["number"], *chart.spread(micros(step))
