"""What the contract promises of several programs, many workers and clocks, with real processes."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c  # noqa: E402


def credentials(cluster):
    return {role: cluster.certificate(role, role, ["127.0.0.1"] if role == "broker" else [])
            for role in ("broker", "worker", "client", "admin")}


def second_ledger(cluster):
    """For a program whose tasks are to be told apart from those of the first."""
    directory = os.path.join(cluster.directory, "second")
    os.mkdir(directory)
    return c.Ledger(directory)


def a23_ten_tasks_of_one_program_wait_for_few_of_the_million_of_another(build):
    with c.Cluster(build) as cluster:
        files = credentials(cluster)
        _, url = cluster.broker("tls://127.0.0.1:0", credentials=files["broker"])
        for i in (1, 2):
            cluster.worker(f"worker{i}", url, files["worker"], slots=2)
        first = cluster.job(url, 1000000, "--mode", "submit", "--sleep-us", "100000", "--limit-ms", "600000",
                            credentials=files["client"], name="a million")
        first.expect("^submitted 1000000", 120)
        c.until(lambda: cluster.status(url, files["admin"])["queued"] > 990000, 60, "a million tasks are queued", 0.2)
        ledger = second_ledger(cluster)
        second = cluster.start("ten", [cluster.support("job"), "--url", url, "--count", "10", "--mode", "submit",
                                       "--directory", os.path.dirname(ledger.path), "--sleep-us", "100000"],
                               env={f"NETPOOL_{key.upper()}": path for key, path in files["client"].items()})
        submitted = second.expect("^submitted 10", 60).stamp
        cluster.all_right(second, 120)
        ended = max(entry.stamp for entry in ledger.entries() if entry.what == "E")
        between = sum(entry.what == "S" and submitted < entry.stamp < ended for entry in cluster.ledger.entries())
        print(f"{between} of a million tasks ran from the submission of ten others to the end of these")
        # Turn and turn about that is some ten; a machine that pauses now and then adds some tens; first come, first
        # served it would be a million.
        assert between < 300, between
        first.signal(signal.SIGKILL)


def b16_all_workers_come_back_at_once_and_the_job_goes_on(build):
    with c.Cluster(build) as cluster:
        files = credentials(cluster)
        broker, url = cluster.broker("tls://127.0.0.1:0", credentials=files["broker"])
        workers = [cluster.worker(f"worker{i}", url, files["worker"], slots=1) for i in range(24)]
        job = cluster.job(url, 4000, "--sleep-us", "20000", "--progress", "100", "--limit-ms", "120000",
                          credentials=files["client"])
        job.expect("^progress 500$", 60)
        broker.signal(signal.SIGKILL)
        broker.popen.wait(10)
        cluster.broker(url, credentials=files["broker"])
        cluster.all_right(job, 120)
        c.until(lambda: len(cluster.status(url, files["admin"])["workers"]) == len(workers), 40, "all are back", 0.2)
        assert all(worker.is_running() for worker in workers)


def b37_wall_clock_that_jumps_an_hour_has_no_effect(build):
    if os.environ.get("NETPOOL_SANITIZE"):
        raise c.Skip("nothing can be preloaded before a sanitizer")
    with c.Cluster(build) as cluster:
        files = credentials(cluster)
        jump = cluster.support("clock_jump.so")
        os.environ["LD_PRELOAD"] = jump  # of all that is started from here on
        try:
            broker, url = cluster.broker("tls://127.0.0.1:0", credentials=files["broker"])
            worker = cluster.worker("worker1", url, files["worker"], slots=2)
            job = cluster.job(url, 200, "--mode", "submit", "--sleep-us", "60000", "--limit-ms", "120000",
                              credentials=files["client"])
        finally:
            del os.environ["LD_PRELOAD"]
        job.expect("^submitted 200$", 60)
        for process in (broker, worker, job):
            with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
                assert jump in file.read(), process.name
        report = cluster.all_right(job, 120)  # some seconds of work, so the clock jumps to and fro
        assert report["more_attempts"] == 0, report
        assert "gone" not in broker.text(), broker.text()
        assert broker.is_running() and worker.is_running()


if __name__ == "__main__":
    sys.exit(c.main([
        a23_ten_tasks_of_one_program_wait_for_few_of_the_million_of_another,
        b16_all_workers_come_back_at_once_and_the_job_goes_on,
        b37_wall_clock_that_jumps_an_hour_has_no_effect,
    ]))
