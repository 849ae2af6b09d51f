"""Five hosts with their own addresses, real TLS between them, and what happens to hosts and cables."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import cluster as c  # noqa: E402
import hosts as h  # noqa: E402

NOTICED_WITHIN_S = 10
LOST = r"\b{}\b.*gone"


class Setting:
    """A client's host, a broker's and those of three workers."""

    def __init__(self, cluster, slots=2, broker_options=()):
        self.cluster = cluster
        self.network = h.Network(cluster, ["client", "broker", "one", "two", "three"])
        address = self.network["broker"].address
        self.files = {role: cluster.certificate(role, role, [address] if role == "broker" else [])
                      for role in ("broker", "client", "admin")}
        self.broker, self.url = cluster.broker(f"tls://{address}:0", credentials=self.files["broker"],
                                               options=broker_options, netns=self.network["broker"].netns)
        self.workers = {}
        for name in ("one", "two", "three"):
            files = cluster.certificate("worker", name)
            self.workers[name] = cluster.worker(name, self.url, files, slots, netns=self.network[name].netns)

    def job(self, count, *options):
        return self.cluster.job(self.url, count, *options, credentials=self.files["client"],
                                netns=self.network["client"].netns)

    def status(self):
        return self.cluster.status(self.url, self.files["admin"], netns=self.network["client"].netns)

    def worker_states(self):
        return {row["name"]: row["state"] for row in self.status()["workers"]}

    def kill_host(self, name):
        """As when the power fails: nobody says goodbye."""
        self.network.unplug(name)
        for pid in [self.workers[name].pid] + c.descendants(self.workers[name].pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        assert self.workers[name].wait(20) == -signal.SIGKILL

    def is_noticed(self, process, pattern, since):
        line = process.expect(pattern, NOTICED_WITHIN_S, since)
        print(f"{process.name}: {line.stamp - since:.1f} s: {line.text}")
        assert line.stamp - since <= NOTICED_WITHIN_S


def b1_b7_b12_job_survives_a_dead_host_a_cut_cable_and_a_stopped_worker(build):
    count = 20000
    with c.Cluster(build) as cluster:
        setting = Setting(cluster)
        job = setting.job(count, "--sleep-us", "5000", "--progress", "500", "--limit-ms", "150000")
        job.expect("^progress 2000$", 60)

        killed = time.monotonic()
        setting.kill_host("one")
        job.expect("^progress 3000$", 60)
        cut = time.monotonic()
        setting.network.cut("two")
        setting.is_noticed(setting.broker, LOST.format("one"), killed)
        setting.is_noticed(setting.broker, LOST.format("two"), cut)
        setting.is_noticed(setting.workers["two"], r"gone", cut)

        healed = time.monotonic()
        setting.network.heal("two")
        setting.broker.expect(r"\btwo\b.*ready", 40, healed)
        stopped = time.monotonic()
        setting.workers["three"].signal(signal.SIGSTOP)
        setting.is_noticed(setting.broker, LOST.format("three"), stopped)
        continued = time.monotonic()
        setting.workers["three"].signal(signal.SIGCONT)
        setting.broker.expect(r"\bthree\b.*ready", 40, continued)

        report = cluster.all_right(job, 150)
        assert report["more_attempts"] > 0, f"nothing was retried: {report}"
        assert len(cluster.ledger.executions()) == count
        assert setting.worker_states() == {"two": "ready", "three": "ready"}


def b12_one_way_partition_is_noticed_on_both_sides(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster)
        job = setting.job(6, "--mode", "submit", "--sleep-us", "3000000", "--limit-ms", "90000")
        c.until(lambda: len(cluster.ledger.running_at(time.monotonic())) >= 4, 40, "tasks run")
        since = time.monotonic()
        setting.network.cut("one", ["input"])  # it is heard and hears nothing
        setting.network.cut("two", ["output"])  # it hears and is not heard
        for name in ("one", "two"):
            setting.is_noticed(setting.broker, LOST.format(name), since)
            setting.is_noticed(setting.workers[name], r"(silent|lost|gone|closed)", since)
        setting.network.heal("one")
        setting.network.heal("two")
        c.until(lambda: set(setting.worker_states().values()) == {"ready"} and len(setting.worker_states()) == 3, 40,
                "all workers are back", 0.2)
        cluster.all_right(job, 90)


def b12_program_cut_off_from_its_broker_comes_back_to_all_its_results(build):
    with c.Cluster(build) as cluster:
        # It may take its time to come back: what is tested here is that it does.
        setting = Setting(cluster, broker_options=("--session-grace-ms", "60000"))
        job = setting.job(3000, "--sleep-us", "5000", "--progress", "100", "--limit-ms", "90000")
        job.expect("^progress 500$", 60)
        cut = time.monotonic()
        setting.network.cut("client")
        setting.is_noticed(setting.broker, r"\b(client|job)\b.*gone", cut)
        setting.network.heal("client")
        cluster.all_right(job, 90)
        executions = cluster.ledger.executions()
        assert len(executions) == 3000 and set(executions.values()) == {1}, executions.most_common(3)


if __name__ == "__main__":
    sys.exit(c.main([
        b1_b7_b12_job_survives_a_dead_host_a_cut_cable_and_a_stopped_worker,
        b12_one_way_partition_is_noticed_on_both_sides,
        b12_program_cut_off_from_its_broker_comes_back_to_all_its_results,
    ]))
