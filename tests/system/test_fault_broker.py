"""The broker dies, stays away, or is told to go, while a program uses it."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c  # noqa: E402

TASKS = 1000
RECOVERY_S = 5  # a restarted broker waits so long for workers that hold what clients resubmit


class Setting:
    """A broker, two workers and what it takes to start the broker again where it was."""

    def __init__(self, cluster, transport):
        self.cluster = cluster
        self.transport = transport
        self.files = {}
        if transport == "tls":
            for role in ("broker", "worker", "client", "admin"):
                self.files[role] = cluster.certificate(role, role, ["127.0.0.1"] if role == "broker" else [])
        self.listen = "tls://127.0.0.1:0" if transport == "tls" else f"ipc://{cluster.directory}/run/broker.sock"
        self.broker, self.url = self.start_broker(self.listen)
        self.workers = [cluster.worker(f"worker{i}", self.url, self.files.get("worker"), slots=4) for i in (1, 2)]

    def start_broker(self, url):
        return self.cluster.broker(url, credentials=self.files.get("broker"))

    def kill_broker(self):
        """Kills it, and tells when it was dead: what ended a moment before may have been answered to it."""
        self.broker.signal(signal.SIGKILL)
        self.broker.popen.wait(5)
        return time.monotonic()

    def restart_broker(self):
        self.broker, url = self.start_broker(self.url)
        assert url == self.url, f"broker came back at {url}, not at {self.url}"

    def job(self, count, *options, name="job"):
        return self.cluster.job(self.url, count, *options, credentials=self.files.get("client"), name=name)


def broker_killed(build, transport, mode):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, transport)
        # About 12 s of work: at least as long as what the broker is away and waits for workers to report. Each task of
        # 0 to 200 ms: a killed broker takes a while to die, and some are to run beyond that.
        job = setting.job(TASKS, "--mode", mode, "--sleep-us", "200000", "--limit-ms", "100000")
        c.until(lambda: len(cluster.ledger.entries()) > 300, 60, "150 tasks have run")
        killed = setting.kill_broker()
        running = cluster.ledger.running_at(killed)
        assert running, "no task was running when the broker was killed"
        setting.restart_broker()
        report = cluster.all_right(job, 120)
        executions = cluster.ledger.executions()
        repeated = {task: executions[task] for task in running if executions[task] != 1}
        assert not repeated, f"tasks that were running when the broker was killed ran again: {repeated}"
        assert len(executions) == TASKS
        again = sum(executions.values()) - TASKS
        print(f"{len(running)} were running at the kill; {again} finished ones, whose results died with the broker, "
              f"ran again; the job took {report['elapsed_ms']} ms")
        if mode == "stream":
            assert report["longest_gap_ms"] < (RECOVERY_S + 20) * 1000, report


def b4_broker_killed_in_the_middle_of_a_map_over_tls_is_only_a_pause(build):
    broker_killed(build, "tls", "map")


def b4_broker_killed_in_the_middle_of_a_stream_over_tls_is_only_a_pause(build):
    broker_killed(build, "tls", "stream")


def b4_broker_killed_in_the_middle_of_a_map_over_ipc_is_only_a_pause(build):
    broker_killed(build, "ipc", "map")


def b4_broker_killed_in_the_middle_of_a_stream_over_ipc_is_only_a_pause(build):
    broker_killed(build, "ipc", "stream")


def b4_broker_killed_while_one_long_task_runs_lets_it_finish_once(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, "tls")
        # Every task sleeps 4 to 10 s: all run at the kill, some outlive the broker's successor's recovery.
        job = setting.job(8, "--mode", "submit", "--least-sleep-us", "4000000", "--sleep-us", "10000000",
                          "--limit-ms", "60000")
        c.until(lambda: len(cluster.ledger.executions()) == 8, 20, "all 8 tasks run")
        setting.kill_broker()
        setting.restart_broker()
        cluster.all_right(job, 60)
        assert set(cluster.ledger.executions().values()) == {1}, cluster.ledger.executions()


def b5_broker_gone_for_good_ends_every_future_as_unreachable(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, "tls")
        job = setting.job(500, "--mode", "submit", "--sleep-us", "4000000", "--reconnect-ms", "3000",
                          "--limit-ms", "40000")
        job.expect("^submitted 500", 40)
        killed = setting.kill_broker()
        report = cluster.report(job, 30, status=1)
        took = time.monotonic() - killed
        assert report["status"] == "OK" and report["ended"] == 500, report
        assert report["failed"].get("UNREACHABLE", 0) + report["ok"] == 500 and report["wrong"] == 0, report
        assert report["failed"]["UNREACHABLE"] >= 400, report
        assert 2.5 < took < 3 + 12, f"ended {took:.1f} s after the broker's death, 3 s were configured"


def b31_broker_told_to_stop_says_so_and_a_new_one_takes_over(build):
    with c.Cluster(build) as cluster:
        setting = Setting(cluster, "tls")
        job = setting.job(6000, "--sleep-us", "8000", "--progress", "500", "--limit-ms", "60000")
        job.expect("^progress 2000$", 60)
        setting.broker.signal(signal.SIGTERM)
        assert setting.broker.wait(30) == 0, "the broker ends with 0 when told to"
        setting.restart_broker()
        cluster.all_right(job, 60)
        for worker in setting.workers:
            assert worker.is_running(), f"{worker.name} ended with its broker"


if __name__ == "__main__":
    sys.exit(c.main([
        b4_broker_killed_in_the_middle_of_a_map_over_tls_is_only_a_pause,
        b4_broker_killed_in_the_middle_of_a_stream_over_tls_is_only_a_pause,
        b4_broker_killed_in_the_middle_of_a_map_over_ipc_is_only_a_pause,
        b4_broker_killed_in_the_middle_of_a_stream_over_ipc_is_only_a_pause,
        b4_broker_killed_while_one_long_task_runs_lets_it_finish_once,
        b5_broker_gone_for_good_ends_every_future_as_unreachable,
        b31_broker_told_to_stop_says_so_and_a_new_one_takes_over,
    ]))
