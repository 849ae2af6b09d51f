"""Executors killed at random while 100,000 tasks run."""

import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c  # noqa: E402

TASKS = 100000
SLEEP_US = "400"


class Killer:
    """Kills executors: processes below a supervisor that have started a task not long ago."""

    def __init__(self, cluster, root, rng):
        self.cluster = cluster
        self.root = root
        self.rng = rng
        self.offset = 0
        self.known = set()
        self.killed = set()

    def read_new_pids(self):
        """Pids of the ledger's new lines: reading all of it each time would take longer than the job."""
        try:
            with open(self.cluster.ledger.path, "rb") as file:
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return
        text = text[:text.rfind(b"\n") + 1]
        self.offset += len(text)
        self.known |= {int(line.split()[3]) for line in text.splitlines() if line.endswith(b" .")}

    def kill_one(self):
        self.read_new_pids()
        alive = set(c.descendants(self.root)) & self.known - self.killed
        if not alive:
            return
        victim = self.rng.choice(sorted(alive))
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed.add(victim)


def kill_until_done(cluster, job, root):
    rng = random.Random(c.seed())
    killer = Killer(cluster, root, rng)
    job.expect("^progress 1000$", 60)
    while job.is_running() and job.lines[-1].text.startswith("progress"):
        killer.kill_one()
        time.sleep(rng.uniform(0.005, 0.05))  # the pace of the killing, not a wait for anything
    report = cluster.all_right(job, 120)
    executions = cluster.ledger.executions()
    assert len(executions) == TASKS, f"{len(executions)} of {TASKS} tasks in the ledger"
    assert len(killer.killed) >= 50, f"only {len(killer.killed)} executors were killed"
    # What was running when its executor was killed ran again, and nothing else did.
    again = sum(executions.values()) - TASKS
    print(f"{len(killer.killed)} executors killed, {again} executions repeated, {report['more_attempts']} attempts more")
    assert 0 < again <= report["more_attempts"], (again, report)
    assert report["more_attempts"] <= len(killer.killed), (report, len(killer.killed))
    return report


def job_options():
    return "--sleep-us", SLEEP_US, "--max-attempts", "20", "--progress", "1000", "--limit-ms", "150000"


def b2_executors_killed_at_random_in_a_local_pool_cost_attempts_and_no_task(build):
    with c.Cluster(build) as cluster:
        job = cluster.job("local:4", TASKS, *job_options(), "--module", cluster.support("ledger.so"))
        report = kill_until_done(cluster, job, job.pid)
        assert report["info"]["retried"] == report["more_attempts"], report
        assert report["info"]["done"] == TASKS and report["info"]["failed"] == 0, report


def b2_executors_killed_at_random_on_a_tls_cluster_cost_attempts_and_no_task(build):
    with c.Cluster(build) as cluster:
        files = {role: cluster.certificate(role, role, ["127.0.0.1"] if role == "broker" else [])
                 for role in ("broker", "worker", "client", "admin")}
        _, url = cluster.broker("tls://127.0.0.1:0", credentials=files["broker"])
        workers = [cluster.worker(f"worker{i}", url, files["worker"], slots=4) for i in (1, 2)]
        job = cluster.job(url, TASKS, *job_options(), credentials=files["client"])
        report = kill_until_done(cluster, job, workers[0].pid)
        status = cluster.status(url, files["admin"])
        assert status["retried"] == report["more_attempts"], (status, report)
        assert status["done"] == TASKS and status["failed"] == 0, status
        assert all(worker.is_running() for worker in workers)


if __name__ == "__main__":
    sys.exit(c.main([
        b2_executors_killed_at_random_in_a_local_pool_cost_attempts_and_no_task,
        b2_executors_killed_at_random_on_a_tls_cluster_cost_attempts_and_no_task,
    ]))
