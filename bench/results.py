"""Writes RESULTS.md from the last results of each row."""

import json
import os

import plot
from rows import ROWS

# From this load average before a row, RESULTS.md warns of its figures.
BUSY = 1.0

HEAD = """# What it costs

Written by `make bench`; do not edit. The method:

- One server runs at a time, pinned to one core. The generator, `thoughtwire bench`, has another
  core. Both are on one machine, and talk over loopback.
- CPU is processor time of the server's process, with the kernel's work for it, between the first
  input and the last delivery. It comes first because it depends least on other load. Times and
  rates come second.
- All servers take turns within a round, and each figure is the median of the rounds. Compare
  figures within a table, not across tables.
- Latency counts from when a message was due to when the generator read it. A server that falls
  behind its pace cannot hide it.
- The generator checks that every reader gets each message once and in order. `faults` lists
  violations, and where the generator itself was too busy.

[GOALS.md](GOALS.md) compares the figures with the goals, and explains those that are missed.

`make bench` runs every row, `make bench BENCH="fanout slow"` some of them. `ROUNDS=5` sets the
number of rounds.
"""


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def tables(found):
    """Formats the tables of a row, with their titles."""
    return [
        part
        for each in found["tables"]
        for part in ([f"### {each['title']}\n"] if each["title"] else [])
        + [table(each["head"], each["rows"])]
    ]


def write(folder):
    """Writes RESULTS.md and its plots from the files of the rows."""
    parts = [HEAD]
    for name, row in ROWS.items():
        path = os.path.join(folder, "results", f"{name}.json")
        if not os.path.exists(path):
            continue
        with open(path) as file:
            found = json.load(file)
        parts.append(f"## {row.__doc__}\n")
        if found["run"]["load_before"] >= BUSY:
            parts.append(
                "**Other processes were running (load average "
                f"{found['run']['load_before']}): use the ratios, not the times.**\n"
            )
        parts += [note + "\n" for note in found["notes"]]
        parts += tables(found)
        for number, each in enumerate(found["plots"]):
            picture = f"results/{name}-{number + 1}.svg"
            with open(os.path.join(folder, picture), "w") as file:
                file.write(plot.bars(each))
            parts.append(f"![{each['title']}: {each['unit']}]({picture})\n")
        parts.append(where(found))
    with open(os.path.join(folder, "RESULTS.md"), "w") as file:
        file.write("\n".join(parts))


def where(found):
    """Formats when, where and how a row was measured."""
    machine, run = found["machine"], found["run"]
    lines = [
        f"<details><summary>{run['date']}, commit {run['commit']}, {run['rounds']} rounds, "
        f"load average {run['load_before']} before</summary>\n",
        *(f"- {name}: {value}" for name, value in {**machine, **found["versions"]}.items()),
        *(["\n```sh", *found["commands"], "```"] if found["commands"] else []),
        "\n</details>\n",
    ]
    return "\n".join(lines)
