#!/usr/bin/env python3
"""Watchkeeper beside Arize Phoenix, in one run on one machine (gateways: `cargo xtask peers`). Standard library only; it is installed below
target/peers.

    python3 benches/compare.py ingest      OTLP/HTTP, 2 KB spans, durable: beside Arize Phoenix
    python3 benches/compare.py detection   from an attack's arrival to the record of its detection, at rates, with the built-in rules and with 500
    python3 benches/compare.py streams     first text and delay of each event of a stream, masked and not: beside the direct connection

Needs `cargo build --release -p watchkeeper -p watchkeeper-benches` first. Rates differ from machine to machine; the ratios and the
CPU time per span or call are what to look at.
"""

import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "target/peers"
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
LOAD = RELEASE / "watchkeeper-benches"
PHOENIX = "20.26.1"


def load(*arguments):
    result = subprocess.run([LOAD, *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"load: {result.stderr}")
    return json.loads(result.stdout)


def wait_for(port, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nothing listens on {port}")


class Server:
    """A server under test: its CPU time and memory are read from /proc, for the whole tree of processes."""

    def __init__(self, command, port, env=None, cwd=None):
        self.log = open(PEERS / f"log-{port}.txt", "w")
        self.process = subprocess.Popen(command, env={**os.environ, **(env or {})}, cwd=cwd, stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for(port)

    def pids(self):
        known = {self.process.pid}
        for _ in range(4):
            for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = path.read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(fields[1]) in known:
                    known.add(int(path.parent.name))
        return known

    def cpu(self):
        total = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
            except OSError:
                pass
        return total / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        total = 0
        for pid in self.pids():
            try:
                total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                pass
        return round(total / 2**20)

    def stop(self, how=signal.SIGTERM):
        os.killpg(self.process.pid, how)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def watchkeeper(data, config=""):
    """All listeners on ports of their own; the gateway on 14000, OTLP/HTTP on 14318."""
    path = pathlib.Path(data).parent / "bench.toml"
    path.write_text('[listen]\notlp_grpc = "127.0.0.1:14317"\notlp_http = "127.0.0.1:14318"\ngateway = "127.0.0.1:14000"\nconsole = "127.0.0.1:17700"\n' + config)
    return Server([RELEASE / "watchkeeper", "serve", "--data", data, "--config", path], 17700)


def ask(data, sql):
    answer = subprocess.run([RELEASE / "watchkeeper", "query", sql, "--format", "json", "--data", data], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def is_done(data):
    """Whether all that is recorded is sealed, indexed and detected. One question: each is recorded itself."""
    status = subprocess.run([RELEASE / "watchkeeper", "status", "--format", "json", "--data", data], capture_output=True, text=True, check=True)
    values = {row["what"]: row["value"] for row in json.loads(status.stdout)}
    return all(values[f"progress.{what}"] >= values["progress.recorded"] for what in ("sealed", "indexed", "detected"))


def phoenix():
    python = PEERS / "phoenix/bin/phoenix"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS / "phoenix"], check=True)
        subprocess.run([PEERS / "phoenix/bin/pip", "install", "--quiet", f"arize-phoenix=={PHOENIX}"], check=True)
    return python


def ingest():
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for texts, count in (("fresh", 60_000), ("agent", 60_000)):
            data = f"{scratch}/{texts}"
            server = watchkeeper(data)
            # The clock of the CPU stops when the last span is acknowledged, and again when all are detected, indexed and sealed.
            before = server.cpu()
            result = load("spans", "http://127.0.0.1:14318", "--count", count, "--batch", 100, "--connections", 8, "--texts", texts)
            durable = server.cpu() - before
            began = time.monotonic()
            while not is_done(data):
                time.sleep(0.2)
            everything = server.cpu() - before
            lag = time.monotonic() - began
            resident = server.resident_mib()
            server.stop(signal.SIGKILL)
            kept = ask(data, "SELECT count(*) AS n FROM events WHERE kind = 'model_call'")[0]["n"]
            verified = subprocess.run([RELEASE / "watchkeeper", "verify", data], capture_output=True, text=True, check=False)
            rows.append({
                "what": f"watchkeeper, {texts} texts", "accepted_spans_per_s": round(result["spans_per_s"]), "bytes_per_span": result["bytes_per_span"],
                "cpu_us_per_span_until_all_acknowledged": round(durable / count * 1e6, 1), "cpu_us_per_span_to_sealed_indexed_detected": round(everything / count * 1e6, 1),
                "seconds_until_all_done": round(result["seconds"] + lag, 1), "ack_p50_ms": round(result["ack_p50_ms"], 2), "ack_p99_ms": round(result["ack_p99_ms"], 1),
                "resident_mib": resident, "acknowledged": result["accepted"], "there_after_sigkill": kept, "verify": verified.returncode,
            })
        binary = phoenix()
        work = f"{scratch}/phoenix"
        os.mkdir(work)
        server = Server([binary, "serve"], 16006, env={
            "PHOENIX_WORKING_DIR": work, "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": "16006", "PHOENIX_GRPC_PORT": "16317",
            "PHOENIX_TELEMETRY_ENABLED": "false", "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false"})
        time.sleep(5)
        before, count = server.cpu(), 5_000

        def stored():
            with sqlite3.connect(f"file:{work}/phoenix.db?mode=ro", uri=True) as database:
                return database.execute("SELECT count(*) FROM spans").fetchone()[0]

        began = time.monotonic()
        result = load("spans", "http://127.0.0.1:16006", "--count", count, "--batch", 25, "--connections", 4, "--texts", "fresh", "--seconds", 150)
        while stored() < result["accepted"] and time.monotonic() - began < 180:
            time.sleep(0.5)
        durable = stored()
        seconds = time.monotonic() - began
        rows.append({
            "what": f"phoenix {PHOENIX}", "accepted_spans_per_s": round(result["spans_per_s"]), "durable_spans_per_s": round(durable / seconds),
            "cpu_us_per_span_durable": round((server.cpu() - before) / max(durable, 1) * 1e6), "ack_p50_ms": round(result["ack_p50_ms"], 1),
            "ack_p99_ms": round(result["ack_p99_ms"], 1), "resident_mib": server.resident_mib(), "refused_requests": result["refused_requests"]})
        before_kill = stored()
        result = load("spans", "http://127.0.0.1:16006", "--count", 2_000, "--batch", 25, "--connections", 4, "--texts", "fresh", "--seconds", 30)
        server.stop(signal.SIGKILL)
        rows[-1]["acknowledged_before_sigkill"] = result["accepted"]
        rows[-1]["there_after_sigkill"] = stored() - before_kill
    report(rows)
    fresh, peer = rows[0], rows[-1]
    print(f"durable spans/s, Watchkeeper : Phoenix = {fresh['accepted_spans_per_s'] / max(peer['durable_spans_per_s'], 1):.0f} : 1")
    print(f"CPU per durable span, Phoenix : Watchkeeper = {peer['cpu_us_per_span_durable'] / fresh['cpu_us_per_span_until_all_acknowledged']:.0f} : 1")


def own_rules(directory, number):
    """Rules as teams write them: words, starts, regexes, numbers, exceptions; one in ten counts by user."""
    directory.mkdir()
    fields = ("watchkeeper.text.user", "watchkeeper.text.output", "watchkeeper.text.user", "gen_ai.tool.call.arguments")
    for nth in range(number):
        name, field = f"bench-{nth}", fields[nth % 4]
        condition = {
            0: f"  words:\n    {field}|contains: [ 'quay {nth}', 'berth {nth}', 'crane {nth} fails' ]\n  condition: words\n",
            1: f"  all:\n    {field}|contains|all: [ 'harbour', 'ledger {nth}' ]\n  not_ours:\n    user.id|startswith: 'svc-'\n  condition: all and not not_ours\n",
            2: f"  shape:\n    {field}|re: 'dock-{nth}-[0-9]{{4}}\\s+(open|shut)'\n  condition: shape\n",
            3: f"  much:\n    gen_ai.usage.output_tokens|gt: {100_000 + nth}\n  model:\n    gen_ai.request.model|startswith: 'gpt-'\n  condition: much and model\n",
            4: f"  end:\n    {field}|endswith: 'pilot {nth}'\n  condition: end\n",
        }[nth % 5]
        rule = f"title: Bench {nth}\nid: {nth:08x}-0000-4000-8000-000000000000\nname: {name}\nstatus: test\nlogsource:\n  product: ai\ndetection:\n{condition}level: low\n"
        if nth % 10 == 0:
            rule += (f"---\ntitle: Bench {nth} often\nid: {nth:08x}-0000-4000-8000-000000000001\nstatus: test\ncorrelation:\n  type: event_count\n  rules: [ {name} ]\n"
                     "  group-by: [ user.id ]\n  timespan: 10m\n  condition:\n    gte: 10\nlevel: medium\n")
        (directory / f"{name}.yml").write_text(rule)


def detection():
    """Each 100th span is an attack of a user of its own. A detection's delay is from when the attack was received until it was recorded itself."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        own_rules(scratch / "rules", 500 - len(list((ROOT / "content/rules").iterdir())))
        for rules, config in (("built-in rules", ""), ("500 rules", f'[rules]\ndirs = ["{scratch}/rules"]\n')):
            for rate in (1_000, 2_000, 4_000, 0):
                data = scratch / f"{rules.split()[0]}-{rate}"
                data.mkdir()
                server = watchkeeper(data / "data", config)
                time.sleep(2)
                before, count = server.cpu(), (rate or 2_000) * 20
                options = ("--rate", rate) if rate else ()
                result = load("spans", "http://127.0.0.1:14318", "--count", count, "--batch", 100, "--connections", 8, "--attack-every", 100, *options)
                began = time.monotonic()
                while not is_done(data / "data"):
                    time.sleep(0.2)
                lag = time.monotonic() - began
                cpu = server.cpu() - before
                delays = ask(data / "data", """
                    SELECT (unixepoch(d.observed, 'subsec') - unixepoch(e.observed, 'subsec')) * 1000 AS ms, e.event_id AS attack
                    FROM events d JOIN detections t ON t.event_id = d.event_id JOIN events e ON e.event_id = json_extract(t.events, '$[0]')
                    WHERE e.user_id LIKE 'attacker-%'""")
                resident = server.resident_mib()
                server.stop()
                times = sorted(row["ms"] for row in delays)
                at = lambda share: round(times[min(len(times) - 1, int(len(times) * share))], 1) if times else None
                rows.append({
                    "what": f"{rules}, {rate or 'as many as are taken'} spans/s", "accepted_spans_per_s": round(result["spans_per_s"]),
                    "attacks": count // 100, "attacks_told": len({row["attack"] for row in delays}), "detections": len(times),
                    "delay_p50_ms": at(0.5), "delay_p99_ms": at(0.99), "delay_max_ms": times and round(times[-1], 1), "behind_at_the_end_s": round(lag, 1),
                    "cpu_us_per_span": round(cpu / count * 1e6, 1), "resident_mib": resident})
    report(rows)


def streams():
    """The same streams direct, through the gateway, and masked, in turns, so that what else the machine does hits all of them."""
    rounds, names = 5, ("direct", "watchkeeper", "watchkeeper, masking")
    results = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        upstream = Server([LOAD, "upstream", "19003", "--delay-ms", "20", "--event-ms", "5"], 19003)
        policy = '[[gateway.policy]]\nid = "masked"\nmodels = ["masked"]\nanswers = "redact"\n'
        server = watchkeeper(f"{scratch}/streams", '[upstream]\nopenai = "http://127.0.0.1:19003"\n' + policy)
        for _ in range(rounds):
            for name, port, model in zip(names, (19003, 14000, 14000), ("stand-in", "stand-in", "masked")):
                results[name].append(load("calls", f"http://127.0.0.1:{port}", "--stream", "--count", 60, "--warm-up", 10, "--connections", 2, "--model", model))
        server.stop()
        upstream.stop()
    figures = ("first_byte", "first_text", "event", "event_own", "")
    median = {
        name: {f"{figure}{'_' if figure else ''}{at}_ms": sorted(one[f"{figure}{'_' if figure else ''}{at}_ms"] for one in of)[rounds // 2]
               for figure in figures for at in ("p50", "p99")}
        for name, of in results.items()
    }
    direct = median["direct"]
    for name in names:
        row = {"what": name}
        for figure, value in median[name].items():
            added = f"  (added {value - direct[figure]:.3f}, ratio {value / max(direct[figure], 0.001):.2f})" if name != "direct" else ""
            row[figure or "whole"] = f"{value:.3f}{added}"
        report([row])


def report(rows):
    for row in rows:
        print(row.pop("what"))
        for name, value in row.items():
            print(f"    {name:48} {value}")


if __name__ == "__main__":
    PEERS.mkdir(parents=True, exist_ok=True)
    if not LOAD.exists() or not (RELEASE / "watchkeeper").exists():
        sys.exit("first: cargo build --release -p watchkeeper -p watchkeeper-benches")
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    {"ingest": ingest, "detection": detection, "streams": streams}.get(what, lambda: sys.exit(__doc__))()
