"""What is measured. Each row is a function: it runs what it needs, and gives a table and perhaps a plot."""

import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request

import servers
from servers import OTHER_CORE, SERVER_CORE, Unavailable

# A pace that the slowest of the peers can keep on one core.
PACED = {"items": 50, "bytes": 200, "rate": 10}
BURST = {"items": 300, "bytes": 200, "rate": 0}


class Bench:
    """The binaries, how often everything is repeated, and what was run."""

    def __init__(self, binary, limits, rounds, tell):
        self.binary, self.limits, self.rounds, self.tell = binary, limits, rounds, tell
        self.commands = []

    def generator(self, server, load, *flags):
        """Puts a server under load; gives the generator's report."""
        numbers = [part for key, value in load.items() for part in (f"--{key}", str(value))]
        command = ["bench", *server.flags, *numbers, *map(str, flags)]
        shown = " ".join(part if part.isprintable() and " " not in part else repr(part) for part in command)
        if shown not in self.commands:
            self.commands.append(shown)
        done = subprocess.run(
            ["taskset", "-c", OTHER_CORE, self.binary, *command, "--url", server.url, "--pid", str(server.pid), "--json"],
            capture_output=True,
            text=True,
        )
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise Unavailable(f"the generator failed: {done.stderr.strip()[-300:]}") from None
        report["good"] = done.returncode == 0
        return report

    def rounds_of(self, starts, load, *flags):
        """Runs each server in turn, as often as there are rounds; gives the reports of each."""
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
    """The median of one figure."""

    def figure(report):
        for key in path:
            report = report[key]
        return report

    return statistics.median(figure(report) for report in reports)


def ms(microseconds):
    return f"{microseconds / 1000:.2f}"


def faults(reports):
    """What was not as it should be, over all rounds."""
    found = []
    for key in ("lost", "gaps", "duplicates", "disordered", "failed", "closed"):
        count = sum(report[key] for report in reports)
        if count:
            found.append(f"{count} {key}")
    if any(report["generator"]["is_bottleneck"] for report in reports):
        found.append("generator busy")
    return ", ".join(found) or "none"


def spread(reports):
    """Least and most of the CPU per delivery."""
    all_of_them = [report["server"]["cpu_us_per_delivery"] for report in reports]
    return f"{min(all_of_them):.2f}–{max(all_of_them):.2f}"


def compare(bench, starts, ours, notes):
    """Paced and burst, CPU per delivery first, as tables with ratios to the one called `ours`."""
    flags = ["--connections", 1000]
    tables, bars = [], []
    for title, load in ((f"Paced: {PACED['rate']} messages a second", PACED), (f"Burst: {BURST['items']} messages as fast as it can", BURST)):
        reports, absent = bench.rounds_of(starts, load, *flags)
        cost = {name: median(found, "server", "cpu_us_per_delivery") for name, found in reports.items()}
        own = cost.get(ours)
        rows = []
        for name, found in reports.items():
            ratio = f"{cost[name] / own:.2f}" if own else "–"
            latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
            rate = f"{median(found, 'delivered_per_second'):,.0f}"
            rows.append([name, f"{cost[name]:.2f}", spread(found), ratio, rate, *latency, faults(found)])
        rows += [[name, "–", "", "", "", "", "", why] for name, why in absent.items()]
        head = ["server", "CPU µs a delivery", "least–most", f"to {ours}", "deliveries/s", "p50 ms", "p99 ms", "faults"]
        tables.append({"title": title, "head": head, "rows": rows})
        bars.append({"title": title, "unit": "CPU µs a delivery", "bars": [[name, cost[name], name.startswith("Thoughtwire")] for name in cost]})
    return {"tables": tables, "plots": bars, "notes": notes}


def fanout(bench):
    """One live session, 1,000 subscribers, 200-byte messages"""
    starts = {"Thoughtwire, native": servers.thoughtwire(bench.binary), **servers.peers(bench.limits)}
    return compare(
        bench,
        starts,
        "Thoughtwire, native",
        [
            "Thoughtwire has each message on disk before anybody gets it; of the others none keeps anything beyond memory.",
            "The frames of all but MemGPT's interface and FastAPI are equal byte for byte in length and shape: the native wire's.",
        ],
    )


def dialects(bench):
    """The same messages over the older wires"""
    peers = servers.peers(bench.limits)
    names = ["MemGPT's interface (pymemgpt 0.2.5)", "FastAPI, uvicorn"]
    starts = {f"Thoughtwire, {dialect}": servers.thoughtwire(bench.binary, dialect) for dialect in ("memgpt", "sparky")}
    starts |= {name: peers[name] for name in names}
    return compare(bench, starts, "Thoughtwire, memgpt", ["FastAPI stands for Sparky's own server, whose endpoint has this shape."])


def streams(bench):
    """1,000 sessions with one subscriber each, streaming deltas"""
    rows = []
    for title, load in (
        ("paced, 10 deltas a second in each", {"items": 100, "bytes": 20, "rate": 10}),
        ("as fast as it can", {"items": 500, "bytes": 20, "rate": 0}),
    ):
        starts = {title: servers.thoughtwire(bench.binary)}
        reports, _ = bench.rounds_of(starts, load, "--sessions", 1000, "--deltas")
        found = reports[title]
        per_core = statistics.median(report["delivered"] / max(report["server"]["cpu_seconds"], 0.01) for report in found)
        latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
        rate = f"{median(found, 'delivered_per_second'):,.0f}"
        rows.append([title, f"{per_core:,.0f}", rate, *latency, f"{median(found, 'superseded'):,.0f}", faults(found)])
    head = ["load", "deltas per CPU-second", "deltas/s", "p50 ms", "p99 ms", "superseded", "faults"]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": []}


def turns(bench):
    """Turns: from `send` to `turn_ended`"""
    load = {"items": 1, "bytes": 200, "rate": 0}
    rows = []
    for title, sessions in (("1,000 sessions", 1000), ("one session alone", 1)):
        reports, _ = bench.rounds_of({title: servers.thoughtwire(bench.binary)}, load, "--sessions", sessions, "--subscribers", 1, "--seconds", 8)
        found = reports[title]
        latency = [ms(median(found, "turns", "latency_us", key)) for key in ("p50", "p99")]
        cost = statistics.median(report["server"]["cpu_seconds"] * 1e6 / max(report["turns"]["ended"], 1) for report in found)
        rows.append([title, f"{cost:,.0f}", f"{median(found, 'turns', 'per_second'):,.0f}", *latency, faults(found)])
    alone = append(bench, 1)["alone_us"]
    rows.append(["one write and fdatasync of 300 bytes alone", "", "", ms(alone), "", ""])
    head = ["load", "CPU µs a turn", "turns/s", "p50 ms", "p99 ms", "faults"]
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": ["A turn is one message of 200 bytes; a closed loop."]}


def append(bench, writers):
    """What a file with fdatasync can do here."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        command = ["taskset", "-c", SERVER_CORE, f"{bench.limits}/append", f"{folder}/log", str(writers), "300", "4"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def durable(bench):
    """Durable events: 128 sessions that write as fast as they can"""
    load = {"items": 1000, "bytes": 200, "rate": 0}
    reports, _ = bench.rounds_of({"Thoughtwire": servers.thoughtwire(bench.binary)}, load, "--sessions", 128, "--subscribers", 1)
    found = reports["Thoughtwire"]
    plain = statistics.median(append(bench, 128)["appends_per_second"] for _ in range(bench.rounds))
    rate = median(found, "delivered_per_second")
    rows = [
        ["Thoughtwire, each event read by one subscriber", f"{rate:,.0f}", f"{median(found, 'server', 'cpu_us_per_delivery'):.1f}", faults(found)],
        ["append and fdatasync, 128 writers, one wait for all", f"{plain:,.0f}", "", ""],
    ]
    return {"tables": [{"title": "", "head": ["", "events/s", "CPU µs an event", "faults"], "rows": rows}], "plots": [], "notes": []}


def idle(bench):
    """Memory of an idle connection, 15,000 of them"""
    rows = []
    for dialect in ("native", "memgpt", "sparky"):
        figures = []
        for _ in range(bench.rounds):
            bench.tell(f"  {dialect}")
            with servers.thoughtwire(bench.binary, dialect)(None) as server:
                before = resident(server.pid)
                report = bench.generator(server, {}, "--connections", 15000, "--inputs", 0, "--hold", 3)
                figures.append((report["server"]["rss_after"] - before) / 15000 / 1024)
        rows.append([dialect, f"{statistics.median(figures):.1f}", f"{min(figures):.1f}–{max(figures):.1f}"])
    return {"tables": [{"title": "", "head": ["wire", "KiB a connection", "least–most"], "rows": rows}], "plots": [], "notes": []}


def resident(pid):
    """Resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def slow(bench):
    """Clients that do not read"""
    starts = {"": servers.thoughtwire(bench.binary)}
    load = {"items": 300, "bytes": 1000, "rate": 20}
    kept, woken, ratios = [], [], []
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        pair = []
        for extra in ([], ["--stalled", 100, "--wake"]):
            with starts[""](load) as server:
                # The same number of readers in both.
                pair.append(bench.generator(server, load, "--connections", 900 + (100 if extra else 0), *extra))
        kept.append(pair[0])
        woken.append(pair[1])
        ratios.append([pair[1]["latency_us"][key] / max(pair[0]["latency_us"][key], 1) for key in ("p50", "p99")])
    rows = []
    for title, found in (("900 readers", kept), ("900 readers beside 100 that never read", woken)):
        latency = [ms(median(found, "latency_us", key)) for key in ("p50", "p99")]
        rows.append([title, *latency, f"{median(found, 'server', 'cpu_us_per_delivery'):.2f}", faults(found)])
    rows.append(["ratio, median of pairs", *(f"{statistics.median(column):.2f}" for column in zip(*ratios)), "", ""])
    first = {"title": "Latency of those who read", "head": ["", "p50 ms", "p99 ms", "CPU µs a delivery", "faults"], "rows": rows}

    load = {"items": 16384, "bytes": 16384, "rate": 0}
    rows = []
    for title, flags in (("10 that read", []), ("8 that read, 2 that read only when it is over", ["--stalled", 2, "--wake", "--patience", 60])):
        reports, _ = bench.rounds_of({title: servers.thoughtwire(bench.binary)}, load, "--connections", 10, *flags)
        found = reports[title]
        memory = [f"{median(found, 'server', key) / 2**20:.0f}" for key in ("rss_before", "rss_peak", "rss_after")]
        cells = [title, *memory, f"{median(found, 'seconds'):.1f}"]
        if flags:
            peak = f"{median(found, 'stalled', 'rss_peak') / 2**20:.0f}"
            bad = sum(report["stalled"][key] for report in found for key in ("lost", "gaps", "duplicates", "disordered"))
            has = f"{median(found, 'stalled', 'has'):,.0f} of {median(found, 'stalled', 'of'):,.0f} pieces, faults: {bad or 'none'}"
            cells += [peak, has, faults(found)]
        else:
            cells += ["", "", faults(found)]
        rows.append(cells)
    head = ["subscribers", "MiB before", "at most", "after", "seconds", "MiB at most while the two catch up", "the two got", "faults of the others"]
    second = {"title": "256 MiB through one session: the server's memory", "head": head, "rows": rows}
    return {"tables": [first, second], "plots": [], "notes": ["A stalled connection's own buffer is 4 KiB, so that soon it is the server that waits."]}


def size(bench):
    """The binary, and how long it takes to be ready on an empty directory"""
    took = []
    for _ in range(max(5, bench.rounds)):
        begun = time.monotonic()
        with servers.thoughtwire(bench.binary)(None):
            took.append((time.monotonic() - begun) * 1000)
    binary = os.path.getsize(bench.binary) / 2**20
    with tempfile.TemporaryDirectory() as folder:
        stripped = f"{folder}/stripped"
        subprocess.run(["strip", "-o", stripped, bench.binary], check=True)
        small = os.path.getsize(stripped) / 2**20
    rows = [["binary, MiB", f"{binary:.1f}"], ["binary without symbols, MiB", f"{small:.1f}"], ["ready after, ms (median)", f"{statistics.median(took):.0f}"]]
    return {"tables": [{"title": "", "head": ["", ""], "rows": rows}], "plots": [], "notes": []}


def resume(bench):
    """Coming back: what clients that were away cost"""
    away, together, crowd = [], [], []
    for number in range(bench.rounds):
        bench.tell(f"  round {number + 1}")
        folder = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR"))
        start = servers.thoughtwire(bench.binary, folder=folder)
        with start(None) as server:
            session = talked(server, "long", "load:items=10000,bytes=200")
            before = cpu_seconds(server.pid)
            for _ in range(10):
                away.append(come_back(server, session, 0, 1))
            together.append((cpu_seconds(server.pid) - before) / 10 * 1000)
        # The same data under a new process, with others talking meanwhile.
        with start(None) as server:
            talked(server, "live", "load:items=2000,bytes=200,rate=200", wait=False)
            head = call(server, "GET", f"/v1/sessions/{session}")["session"]["head"]
            before = cpu_seconds(server.pid)
            found = come_back(server, session, head - 100, 1000)
            crowd.append((cpu_seconds(server.pid) - before, found["seconds"], found["least"]))
        shutil.rmtree(folder, ignore_errors=True)
    seconds = [f"{statistics.median(column):.2f}" for column in zip(*[(cpu, wall) for cpu, wall, _ in crowd])]
    faults = "none" if min(found["least"] for found in away) >= 10_000 and min(least for _, _, least in crowd) >= 100 else "events are missing"
    rows = [
        ["one client, 10,000 events behind", f"{statistics.median(together):.0f}", f"{statistics.median(found['seconds'] for found in away):.2f}", faults],
        ["1,000 clients, 100 events behind, at once after a restart, beside live traffic", f"{float(seconds[0]) * 1000:.0f}", seconds[1], faults],
    ]
    head = ["", "server's CPU, ms", "until the last has all, s", "faults"]
    note = "Socket.IO's recovery has no row: what it keeps for clients that are away is in memory, and a restart forgets it."
    return {"tables": [{"title": "", "head": head, "rows": rows}], "plots": [], "notes": [note]}


def call(server, method, path, body=None):
    """A REST request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def talked(server, name, model, wait=True):
    """A session in which a turn of a model has run, or begins to."""
    session = call(server, "POST", "/v1/agents", {"name": name, "model": model})["agent"]["main_session"]
    call(server, "POST", f"/v1/sessions/{session}/inputs" + ("?wait=600" if wait else ""), {"text": "go"})
    return session


def come_back(server, session, after, clients):
    """Has clients attach behind a position and read all."""
    url = server.url.replace("http", "ws") + "/v1/ws"
    command = ["taskset", "-c", OTHER_CORE, f"{servers.DEPS}/venv/bin/python", f"{servers.PEERS}/readers.py", url, session, str(after), str(clients)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cpu_seconds(pid):
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def codec(bench):
    """Reading and writing frames"""
    lines = 200_000
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for dialect in ("native", "memgpt", "sparky"):
            with open(os.path.join(os.path.dirname(servers.HERE), "vectors", f"{dialect}.jsonl")) as file:
                wires = [row["wire"] for row in map(json.loads, file) if "\n" not in row.get("wire", "\n")]
            # Only those that are frames of this wire: what is refused costs less.
            command = [bench.binary, "frame", "decode", "--dialect", dialect]
            read = subprocess.run(command, input="\n".join(wires) + "\n", capture_output=True, text=True, check=True).stdout.splitlines()
            known = [(wire, line) for wire, line in zip(wires, read) if line.startswith('{"ok"')]
            cells = [f"Thoughtwire, {dialect}"]
            for verb, texts in zip(("decode", "encode"), zip(*known)):
                with open(f"{folder}/frames", "w") as file:
                    file.writelines(f"{text}\n" for text in (texts * (lines // len(texts) + 1))[:lines])
                costs = [frame_cost(bench.binary, verb, dialect, f"{folder}/frames") / lines * 1e9 for _ in range(bench.rounds)]
                cells.append(f"{statistics.median(costs):,.0f}")
            rows.append(cells)
    costs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for command in [original()] * bench.rounds]
    rows.append(["MemGPT's own (pymemgpt 0.2.5)", *(f"{statistics.median(cost[verb] for cost in costs):,.0f}" for verb in ("decode", "encode"))])
    notes = [
        "Ours is `thoughtwire frame decode` and `encode` over the recorded frames: each frame is read, checked, and written in its normal form, "
        "and its line is read and written as well, so it is more than a connection does for it.",
        "MemGPT's own is `json.loads` alone, and the text of one thought of 200 bytes.",
    ]
    return {"tables": [{"title": "", "head": ["", "decode, ns a frame", "encode, ns a frame"], "rows": rows}], "plots": [], "notes": notes}


def original():
    """What measures MemGPT's own frames."""
    return ["taskset", "-c", SERVER_CORE, f"{servers.DEPS}/memgpt/bin/python", f"{servers.PEERS}/codec.py"]


def frame_cost(binary, verb, dialect, file):
    """Processor time, in seconds, that reading or writing a file of frames takes."""
    with open(file) as frames:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["taskset", "-c", SERVER_CORE, binary, "frame", verb, "--dialect", dialect]
        subprocess.run(command, stdin=frames, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


ROWS = {row.__name__: row for row in (fanout, dialects, streams, turns, durable, idle, resume, codec, slow, size)}
