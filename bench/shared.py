"""The rows about PostgreSQL, and about several nodes on it."""

import contextlib
import glob
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

import servers
from lasting import readers
from measure import faults, median, ms
from servers import BOTH, HERE, PORT, Unavailable

TOOL = os.path.join(os.path.dirname(HERE), "tools", "postgres")
TICKS = os.sysconf("SC_CLK_TCK")


class Cluster:
    """A PostgreSQL server with its default settings, on the disk of `BENCH_DIR`."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR"))
        # PostgreSQL does not run as root, and its user has to reach its data.
        os.chmod(self.folder, 0o755)
        self.data = f"{self.folder}/data"
        self.url = tool("cluster", self.data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        tool("end", self.data)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name):
        """Creates a database, and returns its address."""
        psql = shutil.which("psql") or max(glob.glob("/usr/lib/postgresql/*/bin/psql"))
        command = [psql, "-X", "-q", self.url.split("?")[0], "-c", f"CREATE DATABASE {name}"]
        subprocess.run(command, check=True)
        return self.url.replace("/postgres?", f"/{name}?")

    def cpu(self):
        """Returns the processor time of all its processes so far, those that ended included."""
        with open(f"{self.data}/postmaster.pid") as file:
            main = file.readline().strip()
        ticks = 0
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue  # It has ended meanwhile.
            if path == f"/proc/{main}/stat":
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == main:
                ticks += sum(map(int, fields[11:13]))
        return ticks / TICKS


def tool(*arguments):
    """Runs `tools/postgres`, and returns what it prints."""
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(done.stderr.strip()[-300:])
    return done.stdout.strip()


def cpu_of(pid):
    """Returns the processor time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / TICKS


def postgres(bench):
    """Durable events through PostgreSQL: batches of 64 sessions"""
    seconds = bench.some(10, 0.3)
    cases = [
        ("Thoughtwire's store, thoughts, 4 in each batch", "postgres", 64, 4, "thoughts"),
        ("the same, messages, which are indexed for searches", "postgres", 64, 4, "messages"),
        ("the same, thoughts, 1 in each batch", "postgres", 64, 1, "thoughts"),
        ("plain SQL: one prepared statement of the same rows", "postgres", 64, 4, "plain"),
        ("SQLite, thoughts, 4 in each batch", "sqlite", 64, 4, "thoughts"),
        ("SQLite, messages, 4 in each batch", "sqlite", 64, 4, "messages"),
    ]
    found = {title: [] for title, *_ in cases}
    with Cluster() as cluster:
        for number in range(bench.rounds):
            for at, (title, place, *load, kind) in enumerate(cases):
                bench.tell(f"  round {number + 1}: {title}")
                bench.ran(f"store {place.upper()} {load[0]} {load[1]} {seconds} {kind}")
                with contextlib.ExitStack() as stack:
                    if place == "postgres":
                        where = cluster.create(f"bench_{number}_{at}")
                    else:
                        folder = tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR"))
                        where = stack.enter_context(folder)
                    command = ["taskset", "-c", BOTH, f"{bench.limits}/store", where]
                    command += [*map(str, load), str(seconds), kind]
                    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                    process = subprocess.Popen(command, **pipes)
                    # By now the schema and the sessions are there.
                    process.stdout.readline()
                    before = cluster.cpu()
                    said, complaint = process.communicate()
                    database = cluster.cpu() - before if place == "postgres" else 0
                if process.returncode:
                    raise Unavailable(f"`store` failed: {complaint.strip()[-300:]}")
                report = json.loads(said)
                own = report["cpu_us"] / report["events"]
                each = database * 1e6 / report["events"]
                found[title].append((report["per_second"], own, each))
    medians = {
        title: [statistics.median(column) for column in zip(*each, strict=True)]
        for title, each in found.items()
    }
    least = sum(medians[cases[3][0]][1:])
    rows = [
        [title, f"{rate:,.0f}", f"{own:.1f}", f"{each:.1f}", f"{(own + each) / least:.2f}"]
        for title, (rate, own, each) in medians.items()
    ]
    head = ["", "events/s", "CPU µs an event", "PostgreSQL's CPU µs an event", "CPU to plain SQL"]
    notes = [
        "Texts of 200 bytes. A session's next batch follows when its last one is saved. "
        "PostgreSQL has its default settings, with `fsync` and `synchronous_commit` on, and shares "
        "both cores with the process that writes. Plain SQL has no fence, no states of sessions "
        "and no index for searches.",
    ]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": notes}


@contextlib.contextmanager
def two_nodes(bench, url):
    """Starts two nodes on a database, which share both cores with the generator."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                servers.thoughtwire(bench.binary, port=PORT + at, shares=True, store=url)(None)
            )
            for at in range(2)
        ]


def nodes(bench):
    """Two nodes on PostgreSQL: subscribers on a session's owner, and on the other node"""
    sessions, readers_each = bench.some(100, 5), bench.some(10, 2)
    flags = ["--sessions", sessions, "--subscribers", readers_each]
    burst = {"items": bench.some(300, 20), "bytes": 200, "rate": 0}
    reports = {}

    def measured(nodes_of_run, place, title, load):
        owner, other = nodes_of_run
        bench.tell(f"  subscribers on the {place}, {title}")
        asked, partner = (owner, other) if place == "owner" else (other, owner)
        more = ["--owner", owner.url] if place == "other node" else []
        report = bench.generator(asked, load, *flags, *more, partners=[partner])
        reports.setdefault((title, place), []).append(report)
        return report

    with Cluster() as cluster:
        for number in range(bench.rounds):
            with two_nodes(bench, cluster.create(f"bench_{number}")) as pair:
                bench.tell(f"  round {number + 1}")
                fastest = measured(pair, "owner", "burst", burst)
                measured(pair, "other node", "burst", burst)
                each = max(
                    round(fastest["delivered_per_second"] / 2 / sessions / readers_each), 1
                )
                half = {"items": each * bench.some(10, 1), "bytes": 200, "rate": each}
                for place in ("owner", "other node"):
                    measured(pair, place, "half of its rate", half)
    rows = []
    for (title, place), found in reports.items():
        cost = median(found, "server", "cpu_us_per_delivery")
        own = median(reports[title, "owner"], "server", "cpu_us_per_delivery")
        latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
        rate = f"{median(found, 'delivered_per_second'):,.0f}"
        ratio = f"{cost / own:.2f}" if own else "–"
        name = f"{title}, on the {place}"
        rows.append([name, f"{cost:.1f}", ratio, rate, *latency, faults(found)])
    head = ["subscribers", "CPU µs a delivery", "to the owner", "deliveries/s", "p50 ms", "p99 ms"]
    notes = [
        f"{sessions} sessions with {readers_each} subscribers each, all on one of two nodes. CPU "
        "is that of both nodes, without PostgreSQL's. Nodes, PostgreSQL and the generator share "
        "both cores.",
    ]
    table = {"title": "", "head": [*head, "faults"], "rows": rows}
    return {"tables": [table], "plots": [], "notes": notes}


def attach(bench):
    """Starting and attaching with many sessions, in PostgreSQL and in SQLite"""
    rows = []
    with Cluster() as cluster:
        for sessions in bench.some([1000, 100_000], [100]):
            for place in ("SQLite", "PostgreSQL"):
                with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
                    url = cluster.create(f"bench_{sessions}") if place == "PostgreSQL" else None
                    bench.tell(f"  {sessions:,} sessions are being made in {place}")
                    bench.ran(f"fill {place.upper()} {sessions} 10")
                    command = [f"{bench.limits}/fill", url or folder, str(sessions), "10"]
                    subprocess.run(command, check=True)
                    rows.append(attached(bench, cluster, place, sessions, folder, url))
    head = ["sessions", "in", "ready after, ms", "CPU ms until ready", "PostgreSQL's CPU ms"]
    head += ["CPU µs to attach, asleep", "PostgreSQL's", "CPU µs to attach, awake", "PostgreSQL's"]
    notes = [
        "Attaching is a connection, its handshake, `attach` at the head of a session, and its "
        "answers, by 1,000 clients at once, each with a session of its own. Asleep means that none "
        "of these sessions is in memory yet: a node takes it first.",
    ]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": notes}


def attached(bench, cluster, place, sessions, folder, url):
    """Measures a start and attachments, as a row."""
    clients = min(sessions, 1000)
    names = ",".join(f"s-{number * sessions // clients}" for number in range(clients))
    columns = []
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        before, begun = cluster.cpu(), time.monotonic()
        start = servers.thoughtwire(bench.binary, folder=folder, store=url)
        with start(None) as server:
            found = [(time.monotonic() - begun) * 1000, cpu_of(server.pid) * 1000]
            found.append((cluster.cpu() - before) * 1000)
            for _ in ("asleep", "awake"):
                before = cluster.cpu()
                found.append(readers(bench, server, clients, "native", names)["cpu"])
                found.append(cluster.cpu() - before)
        found[3:] = [seconds / clients * 1e6 for seconds in found[3:]]
        columns.append(found)
    medians = [statistics.median(column) for column in zip(*columns, strict=True)]
    cells = [f"{value:,.0f}" for value in medians]
    if place == "SQLite":
        cells[2] = cells[4] = cells[6] = "–"
    return [f"{sessions:,}", place, *cells]
