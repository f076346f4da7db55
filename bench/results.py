"""RESULTS.md, out of what the last run of each row found."""

import json
import os

import plot
from rows import ROWS

# From this load average on, before a row, its figures are told to be no better than they are.
BUSY = 1.0

HEAD = """# What it costs

Written by `make bench`; do not edit. How it is measured:

- One server at a time, pinned to one core; the generator, `thoughtwire bench`, to another. Everything on one machine, over loopback.
- CPU is processor time of the server's process, the kernel's work for it included, between the first input and the last delivery. It is the first figure since it depends least on what else the machine does. Times and rates come second.
- All servers take turns within a round; each figure is the median of the rounds. Compare figures of one table, not of two.
- Latency is from when a message was due to when the generator read it. A server that falls behind its pace cannot hide it.
- The generator checks what it gets: every reader each message once, in order. `faults` says what was not so, and where the generator itself had no time left.

[GOALS.md](GOALS.md) holds it against what was to be reached, and says what holds back what is missed.

`make bench` runs every row, `make bench BENCH="fanout slow"` some; `ROUNDS=5` says how often.
"""


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def tables(found):
    """The tables of a row, with their titles."""
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
                f"**Other processes were running (load average {found['run']['load_before']}): take ratios from this, no times.**\n"
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
    """When, where and how a row was measured."""
    machine, run = found["machine"], found["run"]
    lines = [
        f"<details><summary>{run['date']}, commit {run['commit']}, {run['rounds']} rounds, load average {run['load_before']} before</summary>\n",
        *(f"- {name}: {value}" for name, value in {**machine, **found["versions"]}.items()),
        *(["\n```sh", *found["commands"], "```"] if found["commands"] else []),
        "\n</details>\n",
    ]
    return "\n".join(lines)
