"""Steps of several ranks, measured and forecast; see ranks.sh."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BINARY, STEPS = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2])
RECIPE = {
    "network.width": 32, "schedule.batch": 64, "schedule.micro_batch": 8, "eval.all_at_end": False,
    "schedule.steps": STEPS, "eval.every": STEPS, "eval.limit": 8, "checkpoint.every": 10**9,
}
SETTINGS = [f"--set={key}={str(value).lower()}" for key, value in RECIPE.items()]
MPIRUN = ["mpirun", "-q", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
BRIDGE, NETWORK = "miya0", "10.77.0"


def sh(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


def seconds(launcher, folder, name):
    """The median time of a step."""
    out = pathlib.Path(folder) / name
    sh(*launcher, BINARY, "train", *SETTINGS, "--threads", "1", "-q", "--out", str(out))
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    speeds = [line["images_per_second"] for line in lines if "images_per_second" in line]
    return RECIPE["schedule.batch"] / statistics.median(speeds[len(speeds) // 4:])


def forecast(ranks, gbit, microseconds):
    """Of a machine with one thread, while the other ranks train, each by itself: cores that share
    caches and memory are slower together than alone, which is no matter of the exchange."""
    link = ["--ranks", str(ranks), "--bandwidth", str(gbit), "--latency", str(microseconds)]
    call = [BINARY, "train", *SETTINGS, "--threads", "1", "--dry-run", "--json", *link]
    with tempfile.TemporaryDirectory() as folder:
        train = [BINARY, "train", *SETTINGS, "--set=schedule.steps=100000", "--threads", "1", "-q"]
        others = [
            subprocess.Popen([*train, "--out", f"{folder}/{i}"], stderr=subprocess.DEVNULL)
            for i in range(ranks - 1)
        ]
        try:
            time.sleep(3 if others else 0)
            found = [json.loads(sh(*call).stdout)["on_ranks"][0] for _ in range(3)]
        finally:
            for other in others:
                other.kill()
                other.wait()
    return sorted(found, key=lambda one: one["step"])[1]


class Namespaces:
    """A network namespace for each rank, all on one bridge."""

    def __init__(self, ranks, gbit, microseconds):
        self.names = [f"miya-rank{rank}" for rank in range(ranks)]
        limit = ["rate", f"{gbit}gbit", "burst", "256kb", "latency", "50ms"]
        sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        self.latency = 0
        for rank, name in enumerate(self.names):
            outer, inner = f"miya{rank}o", f"miya{rank}i"
            inside = ["ip", "netns", "exec", name]
            sh("ip", "netns", "add", name)
            sh("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            sh("ip", "link", "set", inner, "netns", name)
            sh("ip", "link", "set", outer, "master", BRIDGE, "up")
            sh(*inside, "ip", "addr", "add", f"{NETWORK}.{rank + 10}/24", "dev", inner)
            sh(*inside, "ip", "link", "set", inner, "up")
            sh(*inside, "ip", "link", "set", "lo", "up")
            for before, device in ([], outer), (inside, inner):
                sh(*before, "tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "tbf",
                   *limit)
            # Half of the way in each direction.
            half = ["netem", "delay", f"{microseconds / 2}us"]
            delay = ["tc", "qdisc", "add", "dev", inner, "parent", "1:1", *half]
            if microseconds and sh(*inside, *delay, check=False).returncode == 0:
                self.latency = microseconds

    def launcher(self, folder):
        """mpirun with a rank in each."""
        script = pathlib.Path(folder) / "in-namespace"
        script.write_text('#!/bin/sh\nexec ip netns exec "miya-rank$OMPI_COMM_WORLD_RANK" "$@"\n')
        script.chmod(0o755)
        # Messages by TCP over the bridge alone, also between ranks of one machine, and mpirun's
        # own server where the namespaces reach it.
        tcp = ["--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
               "--mca", "btl_tcp_if_include", f"{NETWORK}.0/24"]
        server = ["-x", "PMIX_MCA_gds=hash"]
        os.environ["PMIX_MCA_ptl_tcp_if_include"] = BRIDGE
        return [*MPIRUN, *tcp, *server, "-n", str(len(self.names)), str(script)]

    def sent(self):
        """Bytes that the last rank has sent."""
        rank = len(self.names) - 1
        call = ["ip", "netns", "exec", self.names[rank], "ip", "-s", "-j", "link", "show"]
        return json.loads(sh(*call, "dev", f"miya{rank}i").stdout)[0]["stats64"]["tx"]["bytes"]

    def close(self):
        for name in self.names:
            sh("ip", "netns", "del", name, check=False)
        sh("ip", "link", "del", BRIDGE, check=False)


def row(ranks, how, measured, expected, sent=None):
    keys = ("gradients", "optimizer", "copying", "exchange", "latency", "overlap")
    parts = " ".join(f"{expected[key]:.4f}" for key in keys)
    print(f"| {ranks} | {how} | {measured:.4f} | {expected['step']:.4f} | {parts} | "
          f"{measured / expected['step']:.2f} | {expected['bytes'] / 1e6:.2f} | "
          f"{'' if sent is None else f'{sent / 1e6:.2f}'} |", flush=True)


def main():
    print(f"{os.cpu_count()} cores; batch {RECIPE['schedule.batch']}, parts of "
          f"{RECIPE['schedule.micro_batch']}, width {RECIPE['network.width']}, digits\n")
    print("| ranks | between them | s a step | forecast | its gradients, optimiser, copying, "
          "exchange, latency, overlap | ratio | MB a step, forecast | MB out of a rank |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for ranks in (1, 2, 4):
            found = seconds([*MPIRUN, "-n", str(ranks)], folder, f"shared {ranks}")
            row(ranks, "shared memory", found, forecast(ranks, 100, 1))
        if os.geteuid() != 0:
            print("\nNOT MEASURED: namespaces with limited bandwidth, which need root")
            return
        for ranks in (2, 4):
            for gbit, microseconds in ((10, 0), (1, 0), (0.1, 0), (1, 1000)):
                spaces = Namespaces(ranks, gbit, microseconds)
                try:
                    if spaces.latency != microseconds:
                        print(f"NOT MEASURED: {ranks} ranks, latency: this kernel has no netem")
                        continue
                    name = f"{ranks} {gbit} {microseconds}"
                    found = seconds(spaces.launcher(folder), folder, name)
                    how = f"{gbit} Gbit/s" + (f", {microseconds} us" if microseconds else "")
                    # What a message takes over a bridge of this machine.
                    expected = forecast(ranks, gbit, microseconds or 30)
                    row(ranks, how, found, expected, spaces.sent() / STEPS)
                finally:
                    spaces.close()


if __name__ == "__main__":
    main()
