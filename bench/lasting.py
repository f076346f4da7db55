"""The rows about long-lived state: idle connections, returning clients and long logs."""

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request

import servers
from measure import call, faults, median, resident, talked
from servers import OTHER_CORE, PORT, Unavailable

# The default limit of a server, minus a reserve.
MOST_CONNECTIONS = 19_000
# A session without subscribers leaves memory a minute after its last turn.
PASSIVE = 60


def idle(bench):
    """Memory of an idle connection, attached to one of 1,000 sessions"""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    connections = bench.some(min(MOST_CONNECTIONS, files - 1000), 500)
    sessions, seconds = bench.some(1000, 50), bench.some(600, 10)
    load = {"items": 1, "bytes": 200, "rate": 0}
    flags = [
        "--connections",
        connections,
        "--sessions",
        sessions,
        "--arrivals",
        10,
        "--seconds",
        seconds,
        "--hold",
        10,
        "--patience",
        120,
    ]
    rows = []
    with contextlib.ExitStack() as stack:
        tls = stack.enter_context(tempfile.TemporaryDirectory())
        running, absent = [], []
        # All four run at the same time, each in a process of its own.
        for number, (title, dialect, folder, goal) in enumerate(
            [
                ("native", "native", None, 10),
                ("memgpt", "memgpt", None, 10),
                ("sparky", "sparky", None, 10),
                ("native, TLS", "native", tls, 28),
            ]
        ):
            bench.tell(f"  {title}: {connections:,} connections")
            try:
                if folder:
                    servers.certificate(folder)
                server = stack.enter_context(
                    servers.thoughtwire(bench.binary, dialect, port=PORT + 10 * number, tls=folder)(
                        None
                    )
                )
                before = resident(server.pid)
                process = bench.generating(server, load, *flags)
                stack.callback(process.kill)
                until_ready(process)
                running.append((title, goal, before, process))
            except Unavailable as why:
                absent.append([title, "–", "–", "–", str(goal), "–", str(why)])
        bench.tell(f"  all are connected, and stay for {seconds} s")
        for title, goal, before, process in running:
            try:
                report = bench.report(process)
            except Unavailable as why:
                absent.append([title, "–", "–", "–", str(goal), "–", str(why)])
                continue
            figures = [
                (report["server"][key] - before) / connections / 1024
                for key in ("rss_before", "rss_peak", "rss_after")
            ]
            cells = [f"{figure:.1f}" for figure in figures]
            rows.append([title, *cells, str(goal), f"{report['delivered']:,}", faults([report])])
    head = [
        "wire",
        "KiB a connection when all are there",
        "at most",
        f"after {seconds} s",
        "goal",
        "deliveries meanwhile",
        "faults",
    ]
    notes = [
        f"{connections:,} connections of each wire, all four at the same time, spread over "
        f"{sessions:,} sessions each. The figures include the sessions' memory. The connections "
        f"stay for {seconds} seconds. Each is pinged every 20 seconds, and ten times a second some "
        "session gets an input and answers all its readers. Measured once, whatever the number of "
        "rounds.",
    ]
    return {
        "tables": [{"title": "", "head": head, "rows": rows + absent}],
        "plots": [],
        "notes": notes,
    }


def until_ready(process):
    """Waits until a generator reports that all its connections are ready."""
    said = []
    for line in process.stderr:
        said.append(line)
        if "are ready" in line:
            return
    raise Unavailable(f"the generator failed: {''.join(said).strip()[-300:]}")


def readers(bench, server, clients, *rest):
    """Runs `peers/readers.py`, and returns its report."""
    mode, *where = rest
    # Session ids differ in each run.
    bench.ran(
        " ".join(
            [
                "bench/peers/readers.py URL PID",
                str(clients),
                mode,
                *(["SESSIONS"] if where else []),
                *map(str, where[1:]),
            ]
        )
    )
    url = re.sub("^http", "ws", server.url) + ("/v1/ws" if server.url.startswith("http") else "")
    command = [
        "taskset",
        "-c",
        OTHER_CORE,
        f"{servers.DEPS}/venv/bin/python",
        f"{servers.PEERS}/readers.py",
        url,
        server.pid,
        clients,
        *rest,
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"the clients failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def resume(bench):
    """Coming back: what clients that were away cost"""
    long, clients = bench.some(10_000, 500), bench.some(1000, 50)
    # A turn of 97 messages has 100 events, with its input, its start and its end.
    talking = "load:items=97,bytes=200"
    alone, after_restart, ours, theirs = [], [], [], []
    absent = None
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        folder = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR"))
        start = servers.thoughtwire(bench.binary, folder=folder)
        with start(None) as server:
            session = talked(server, "long", f"load:items={long},bytes=200")
            found = [readers(bench, server, 1, "native", session, 0) for _ in range(10)]
            # Averaged, since one alone is below the resolution of the processor time clock.
            alone.append(
                {
                    key: statistics.mean(each[key] for each in found)
                    for key in ("cpu", "seconds", "busy", "least")
                }
            )
        # A new process on the same data, with live traffic at the same time.
        with start(None) as server:
            talked(server, "live", "load:items=2000,bytes=200,rate=200", wait=False)
            head = call(server, "GET", f"/v1/sessions/{session}")["session"]["head"]
            after_restart.append(readers(bench, server, clients, "native", session, head - 100))
        shutil.rmtree(folder, ignore_errors=True)
        with servers.thoughtwire(bench.binary)(None) as server:
            session = call(server, "POST", "/v1/agents", {"name": "away", "model": talking})[
                "agent"
            ]["main_session"]
            ours.append(readers(bench, server, clients, "native-return", session))
        try:
            with servers.peers(bench.limits)["Socket.IO, with recovery"](
                {"items": 100, "bytes": 200, "rate": 0}
            ) as server:
                theirs.append(readers(bench, server, clients, "socketio-return"))
        except Unavailable as why:
            absent = str(why)
    rows = [
        [f"Thoughtwire: one client, {long:,} events behind", *cells(alone, long)],
        [
            f"Thoughtwire: {clients:,} clients, 100 events behind, at once after a restart, "
            "beside live traffic",
            *cells(after_restart, 100),
        ],
        [
            f"Thoughtwire: {clients:,} clients that lost their connections, 100 events behind",
            *cells(ours, 100),
        ],
        [
            f"Socket.IO: {clients:,} clients that lost their connections, 100 events behind",
            *(cells(theirs, 100) if theirs else ["–", "–", "–", absent]),
        ],
    ]
    head = [
        "",
        "server's CPU, ms",
        "until the last has all, s",
        "the clients' own core, busy",
        "faults",
    ]
    notes = [
        "Socket.IO's connection state recovery works in the memory of one process, and for two "
        "minutes. After a restart, or later, clients do not get what they missed. Every client "
        "that was connected costs memory while it is away. Thoughtwire reads the log, at any time "
        "and for any client. Where the clients' core is busy all the time, the clients are the "
        "bottleneck.",
    ]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": notes}


def cells(found, least):
    """Formats processor time, time, the clients' load, and whether all got what they missed."""
    cpu, seconds, busy = (
        statistics.median(each[key] for each in found) for key in ("cpu", "seconds", "busy")
    )
    got = min(each["least"] for each in found)
    return [
        f"{cpu * 1000:.0f}",
        f"{seconds:.2f}",
        f"{busy * 100:.0f} %",
        "none" if got >= least else f"some got only {got:.0f} of {least} events",
    ]


def flat(bench):
    """Cost that stays flat: more sessions, and longer logs"""
    cases = [(10, 10), (1000, 10), (100_000, 10), (10, 1_000_000)]
    if bench.is_short:
        cases = [(10, 10), (1000, 10), (10, 10_000)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        for sessions, events in cases:
            data = f"{folder}/{sessions}-{events}"
            bench.tell(f"  {sessions:,} sessions of {events:,} events are being made")
            bench.ran(f"fill DIR {sessions} {events}")
            made = time.monotonic()
            subprocess.run([f"{bench.limits}/fill", data, str(sessions), str(events)], check=True)
            rows.append(grown(bench, data, sessions, events, time.monotonic() - made))
            shutil.rmtree(data)
    head = [
        "sessions",
        "events in all",
        "file, MiB",
        "made in, s",
        "ready after, ms",
        "MiB resident then",
        "CPU µs an event",
        "CPU µs to attach, asleep",
        "CPU µs to attach, awake",
        "faults",
    ]
    first = {"title": "With so much in the log", "head": head, "rows": rows}
    notes = [
        "The events are those of 10 new sessions that send as fast as they can, each with one "
        "subscriber, on a server with all the other events in its file. Attaching is a "
        "connection, its handshake, `attach` at the head of an existing session, and its answers, "
        "by 1,000 clients at once. Asleep means that none of these sessions is in memory yet; it "
        "is measured where there are as many sessions as clients.",
        f"A session leaves memory {PASSIVE} seconds after its last use.",
    ]
    return {"tables": [first, passive(bench)], "plots": [], "notes": notes}


def grown(bench, data, sessions, events, made):
    """Measures the costs on a data directory, as a row."""
    clients = bench.some(1000, 100)
    names = ",".join(
        f"s-{number * sessions // min(sessions, clients)}"
        for number in range(min(sessions, clients))
    )
    took, memory, asleep, awake, reports = [], [], [], [], []
    size = sum(os.path.getsize(f"{data}/{name}") for name in os.listdir(data))
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        begun = time.monotonic()
        with servers.thoughtwire(bench.binary, folder=data)(None) as server:
            took.append((time.monotonic() - begun) * 1000)
            memory.append(resident(server.pid) / 2**20)
            first = readers(bench, server, clients, "native", names)
            asleep.append(first["cpu"] / clients * 1e6)
            awake.append(readers(bench, server, clients, "native", names)["cpu"] / clients * 1e6)
            load = {"items": bench.some(5000, 200), "bytes": 60, "rate": 0}
            reports.append(
                bench.generator(server, load, "--sessions", 10, "--subscribers", 1, "--keep")
            )
    return [
        f"{sessions:,}",
        f"{sessions * events:,}",
        f"{size / 2**20:,.0f}",
        f"{made:.0f}",
        f"{statistics.median(took):.0f}",
        f"{statistics.median(memory):.0f}",
        f"{median(reports, 'server', 'cpu_us_per_delivery'):.1f}",
        f"{statistics.median(asleep):.0f}" if sessions >= clients else "–",
        f"{statistics.median(awake):.0f}",
        faults(reports),
    ]


def passive(bench):
    """Measures memory before sessions are used, while they are, and after they left memory."""
    sessions = bench.some(5000, 200)
    load = {"items": 1, "bytes": 200, "rate": 0}
    rows = []
    with servers.thoughtwire(bench.binary)(None) as server:
        # The first time also fills the caches of the process.
        for title in ("the first", "others after them"):
            bench.tell(f"  {title} {sessions:,} sessions are used, and leave memory")
            before = resident(server.pid)
            report = bench.generator(
                server, load, "--sessions", sessions, "--subscribers", 1, "--inputs", 2, "--keep"
            )
            deadline = time.monotonic() + 3 * PASSIVE
            while in_memory(server) and time.monotonic() < deadline:
                time.sleep(1)
            left = in_memory(server)
            # The allocator returns memory to the system with a delay.
            time.sleep(bench.some(15, 2))
            after = resident(server.pid)
            cells = [
                f"{value / 2**20:.1f}" for value in (before, report["server"]["rss_peak"], after)
            ]
            problem = f"{left} sessions are in memory yet" if left else faults([report])
            rows.append(
                [
                    f"{title} {sessions:,}",
                    *cells,
                    f"{(after - before) / 1024 / sessions:.2f}",
                    problem,
                ]
            )
    head = [
        "sessions",
        "MiB before",
        "at most while used",
        "MiB when they have left memory",
        "KiB that stay, a session",
        "faults",
    ]
    return {"title": "Sessions that were used and have left memory", "head": head, "rows": rows}


def in_memory(server):
    """Reads the number of sessions in memory from a server's metrics."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as answer:
        found = re.search(r"^thoughtwire_live_sessions (\d+)", answer.read().decode(), re.MULTILINE)
    return int(found[1]) if found else 0
