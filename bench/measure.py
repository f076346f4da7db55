"""Runs the load generator, and evaluates its reports."""

import json
import os
import statistics
import subprocess
import urllib.request

from servers import Unavailable


class Bench:
    """The binaries, the number of rounds, and the commands that were run."""

    def __init__(self, binary, limits, rounds, is_short, tell):
        self.binary, self.limits, self.rounds, self.is_short, self.tell = (
            binary,
            limits,
            rounds,
            is_short,
            tell,
        )
        self.commands = []

    def some(self, number, few):
        """Returns `number`, or `few` where the bench only checks that a row runs."""
        return few if self.is_short else number

    def generating(self, server, load, *flags, partners=()):
        """Starts the generator on a server, and returns its process.

        The processor time of `partners`, nodes of the same cluster, is added to the server's.
        """
        numbers = [part for key, value in load.items() for part in (f"--{key}", str(value))]
        command = ["bench", *server.flags, *numbers, *map(str, flags)]
        shown = " ".join(
            part if part.isprintable() and " " not in part else repr(part) for part in command
        )
        self.ran(f"thoughtwire {shown}")
        return subprocess.Popen(
            [
                "taskset",
                "-c",
                server.beside,
                self.binary,
                *command,
                "--url",
                server.url,
                *(f"--pid={each.pid}" for each in (server, *partners)),
                "--json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **server.environment},
        )

    def generator(self, server, load, *flags, partners=()):
        """Runs the generator on a server, and returns its report."""
        return self.report(self.generating(server, load, *flags, partners=partners))

    def report(self, process):
        """Waits for a generator, and returns its report."""
        said, complaint = process.communicate()
        try:
            report = json.loads(said)
        except ValueError:
            raise Unavailable(f"the generator failed: {complaint.strip()[-300:]}") from None
        report["good"] = process.returncode == 0
        return report

    def ran(self, command):
        """Records a command, so that it can be run again."""
        if command not in self.commands:
            self.commands.append(command)

    def rounds_of(self, starts, load, *flags):
        """Runs the servers in turn in each round. Returns their reports, and the absent ones."""
        reports = {name: [] for name in starts}
        absent = {}
        for number in range(self.rounds):
            for name, start in starts.items():
                if name in absent:
                    continue
                self.tell(f"  round {number + 1}: {name}")
                try:
                    with start(load) as server:
                        reports[name].append(self.generator(server, load, *flags))
                except Unavailable as why:
                    absent[name] = str(why)
        return {name: found for name, found in reports.items() if found}, absent


def median(reports, *path):
    """Returns the median of one figure."""

    def figure(report):
        for key in path:
            report = report[key]
        return report

    return statistics.median(figure(report) for report in reports)


def ms(microseconds):
    return f"{microseconds / 1000:.2f}"


def faults(reports):
    """Lists the faults of all rounds."""
    found = []
    for key in ("lost", "gaps", "duplicates", "disordered", "failed", "closed"):
        count = sum(report[key] for report in reports)
        if count:
            found.append(f"{count} {key}")
    if any(report["generator"]["is_bottleneck"] for report in reports):
        found.append("generator busy")
    return ", ".join(found) or "none"


def spread(reports):
    """Formats the least and the most CPU time per delivery."""
    all_of_them = [report["server"]["cpu_us_per_delivery"] for report in reports]
    return f"{min(all_of_them):.2f}–{max(all_of_them):.2f}"


def resident(pid):
    """Returns the resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def call(server, method, path, body=None):
    """Sends a REST request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        server.url + path, data, {"content-type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def talked(server, name, model, wait=True):
    """Creates a session and runs a turn in it, or only starts one."""
    session = call(server, "POST", "/v1/agents", {"name": name, "model": model})["agent"][
        "main_session"
    ]
    call(
        server,
        "POST",
        f"/v1/sessions/{session}/inputs" + ("?wait=600" if wait else ""),
        {"text": "go"},
    )
    return session
