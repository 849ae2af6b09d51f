"""Programs and workers that die, stop, or are told to go, while the broker stays."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c  # noqa: E402

TIMEOUT_S = 8  # a peer silent for longer is gone
SESSION_GRACE_S = 10  # a program whose link broke may come back for so long


class Setting:
    def __init__(self, cluster, workers, slots=4, options=()):
        self.cluster = cluster
        self.files = {role: cluster.certificate(role, role, ["127.0.0.1"] if role == "broker" else [])
                      for role in ("broker", "client", "admin")}
        self.broker, self.url = cluster.broker("tls://127.0.0.1:0", credentials=self.files["broker"])
        self.workers = [self.add_worker(f"worker{i}", slots, options) for i in range(1, workers + 1)]

    def add_worker(self, name, slots, options=()):
        return self.cluster.worker(name, self.url, self.cluster.certificate("worker", name), slots, options)

    def job(self, count, *options, name="job"):
        return self.cluster.job(self.url, count, *options, credentials=self.files["client"], name=name)

    def status(self):
        return self.cluster.status(self.url, self.files["admin"])


def b6_killed_program_leaves_neither_tasks_nor_memory(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, workers=2)
        doomed = setting.job(20000, "--mode", "submit", "--sleep-us", "20000", name="doomed")
        doomed.expect("^submitted 20000", 60)
        before = setting.status()
        assert before["queued"] > 1000 and before["memory_bytes"] > 0, before
        doomed.signal(signal.SIGKILL)
        assert doomed.wait(5) == -signal.SIGKILL

        def is_forgotten():
            status = setting.status()
            return status["queued"] == 0 and status["running"] == 0 and status["memory_bytes"] == 0 and status
        status = c.until(is_forgotten, SESSION_GRACE_S + TIMEOUT_S + 20, "tasks cancelled and memory freed", 0.2)
        print(f"before {before}\nafter {status}")
        cluster.all_right(setting.job(200, name="next job"), 60)


def b7_worker_stopped_past_its_lease_has_its_tasks_retried_and_its_late_results_dropped(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, workers=2, slots=2)
        stopped, _ = setting.workers
        job = setting.job(16000, "--sleep-us", "5000", "--progress", "100", "--limit-ms", "90000")
        job.expect("^progress 1000$", 60)
        stopped.signal(signal.SIGSTOP)  # its executors go on: their results come late
        since = time.monotonic()
        setting.broker.expect(r"worker1\b.*gone", TIMEOUT_S + 12, since)
        noticed = time.monotonic() - since
        assert noticed > TIMEOUT_S / 2, f"called gone after only {noticed:.1f} s"
        stopped.signal(signal.SIGCONT)
        c.until(lambda: [row["state"] for row in setting.status()["workers"]] == ["ready", "ready"], 40,
                "the worker is back", 0.2)
        report = cluster.all_right(job, 90)
        assert report["more_attempts"] > 0, f"nothing was retried: {report}"
        executions = cluster.ledger.executions()
        assert len(executions) == 16000 and max(executions.values()) <= 2, executions.most_common(3)


def b30_worker_told_to_stop_under_load_loses_nothing_and_repeats_nothing(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, workers=3)
        job = setting.job(9000, "--sleep-us", "8000", "--progress", "500", "--limit-ms", "60000")
        for index, at in enumerate((2000, 5000)):
            job.expect(f"^progress {at}$", 60)
            setting.workers[index].signal(signal.SIGTERM)
            assert setting.workers[index].wait(40) == 0, "a drained worker ends with 0"
        report = cluster.all_right(job, 60)
        executions = cluster.ledger.executions()
        assert len(executions) == 9000 and set(executions.values()) == {1}, executions.most_common(5)
        assert report["more_attempts"] == 0, report


def b30_worker_told_to_stop_gives_back_what_it_has_not_started_and_finishes_what_runs(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, workers=1, slots=2)
        job = setting.job(20, "--mode", "submit", "--sleep-us", "2000000", "--limit-ms", "60000")
        c.until(lambda: len(cluster.ledger.running_at(time.monotonic())) == 2, 40, "two tasks run")
        setting.workers[0].signal(signal.SIGTERM)
        assert setting.workers[0].wait(40) == 0
        ended = cluster.ledger.entries()
        starts = sum(entry.what == "S" for entry in ended)
        assert starts == len(ended) - starts, "a task that ran was not finished"
        setting.add_worker("worker9", slots=8)
        cluster.all_right(job, 60)
        assert set(cluster.ledger.executions().values()) == {1}


if __name__ == "__main__":
    sys.exit(c.main([
        b6_killed_program_leaves_neither_tasks_nor_memory,
        b7_worker_stopped_past_its_lease_has_its_tasks_retried_and_its_late_results_dropped,
        b30_worker_told_to_stop_under_load_loses_nothing_and_repeats_nothing,
        b30_worker_told_to_stop_gives_back_what_it_has_not_started_and_finishes_what_runs,
    ]))
