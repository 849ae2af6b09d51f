"""`netpool up`, `netpool status`, and the texts of --help."""

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k


def start_up(commands, *options, program_env=None):
    """A `netpool up` without a command: (process, the environment it prints)."""
    process = commands.popen("up", "--module", commands.module(), *options, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=program_env)
    environment = {}
    for _ in range(4):
        line = process.stdout.readline().decode()
        assert line, process.stderr.read()
        match = re.fullmatch(r"export (NETPOOL_[A-Z]+)=(.*)\n", line)
        assert match, line
        (environment[match.group(1)],) = shlex.split(match.group(2))
    return process, environment


def are_gone(pids):
    def gone():
        found = {child for children in c.children_by_parent().values() for child in children}
        return not found.intersection(pids)

    c.until(gone, 40, f"processes {pids} end")


def cli_help_of_every_verb_is_complete(build):
    with k.Commands(build) as commands:
        for verb in ("map", "up", "status"):
            done = k.expect(commands.command(verb, "--help"), 0)
            for section in (b"NAME", b"SYNOPSIS", b"DESCRIPTION", b"OPTIONS", b"EXIT STATUS", b"ENVIRONMENT", b"EXAMPLES"):
                assert re.search(rb"^" + section + rb"$", done.stdout, re.M), (verb, section)
            assert max(len(line) for line in done.stdout.splitlines()) <= 120
            assert commands.command("help", verb).stdout == done.stdout
        k.expect(commands.command("ca", "--help"), 0)
        for argv in (["--help"], ["help"], ["-h"]):
            assert b"COMMANDS" in k.expect(commands.command(*argv), 0).stdout
        assert re.fullmatch(rb"netpool \d+\.\d+\.\d+\n", k.expect(commands.command("--version"), 0).stdout)


def cli_up_runs_a_command_on_a_tls_pool_and_returns_its_status(build):
    with k.Commands(build) as commands:
        up = ("up", "--workers", "2", "--module", commands.module(), "--")
        done = k.expect(commands.command(*up, "sh", "-c", 'cat; echo "$NETPOOL_URL"', stdin=b"input\n"), 0)
        assert re.fullmatch(rb"input\ntls://127\.0\.0\.1:\d+\n", done.stdout), done.stdout
        k.expect(commands.command(*up, "sh", "-c", "exit 42"), 42, b"")
        k.expect(commands.command(*up, "sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM, b"")
        k.expect(commands.command(*up, "/nowhere/program"), 127, b"", k.one_line(rb"/nowhere/program: No such file"))
        k.expect(commands.command(*up, "/etc/passwd"), 126, b"", k.one_line(rb"/etc/passwd: Permission denied"))
        k.expect(commands.command("up", "--workers", "0"), 2, b"", k.one_line(rb"--workers '0'"))
        k.expect(commands.command("up", "--port", "65536"), 2, b"", k.one_line(rb"--port '65536'"))
        k.expect(commands.command("up", "--module", commands.module(), "true"), 2, b"", k.one_line(rb"put -- before"))
        k.expect(commands.command("up", "--"), 2, b"", k.one_line(rb"a command is missing after --"))


def cli_up_prints_an_environment_that_works(build):
    with k.Commands(build) as commands:
        directory = os.path.join(commands.directory, "it's a 'state'")
        process, environment = start_up(commands, "--dir", directory)
        k.expect(commands.command("map", "factorize", stdin=b"12\n", env=environment), 0, b"12: 2 2 3\n")
        children = c.descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == b""
        are_gone(children)
        assert os.listdir(os.path.join(directory, "log")) == [], "logs are left behind"
        k.expect(commands.command("status", env=environment), 3, b"", k.one_line(rb"127\.0\.0\.1"))


def cli_up_keeps_its_certificates_and_its_directory_private(build):
    with k.Commands(build) as commands:
        up = ("up", "--module", commands.module(), "--", "sh", "-c", 'cat "$NETPOOL_CERT"')
        first = k.expect(commands.command(*up), 0).stdout
        assert first == k.expect(commands.command(*up), 0).stdout, "a new certificate each time"
        state = os.path.join(commands.directory, "state-home", "netpool")
        assert stat.S_IMODE(os.stat(state).st_mode) == 0o700
        keys = [name for name in os.listdir(os.path.join(state, "ca")) if name.endswith(".key")]
        assert len(keys) >= 4
        for key in keys:
            assert stat.S_IMODE(os.stat(os.path.join(state, "ca", key)).st_mode) == 0o600


def cli_up_takes_everything_down_when_it_is_killed(build):
    with k.Commands(build) as commands:
        for number in (signal.SIGTERM, signal.SIGKILL):
            process, _ = start_up(commands, "--workers", "2")
            children = c.descendants(process.pid)
            assert len(children) >= 5, children
            process.send_signal(number)
            assert process.wait(60) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
            are_gone(children)


def cli_up_says_why_a_worker_does_not_start(build):
    with k.Commands(build) as commands:
        k.expect(commands.command("up", "--module", "/nowhere/none.so", "--", "true"), 3, b"",
                 k.one_line(rb"worker 1.*/nowhere/none\.so"))


def cli_up_says_that_the_port_is_in_use(build):
    with k.Commands(build) as commands, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        k.expect(commands.command("up", "--port", str(port), "--module", commands.module(), "--", "true"), 3, b"",
                 k.one_line(rb"broker.*%d.*in use" % port))


def child_of(pid, name):
    for child in c.descendants(pid):
        try:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if os.path.basename(file.read().split(b"\0")[0]) == name:
                    return child
        except OSError:
            pass
    raise AssertionError(f"{name} is not among the descendants of {pid}")


def cli_up_ends_when_its_broker_dies(build):
    with k.Commands(build) as commands:
        process, _ = start_up(commands, "--workers", "2")
        children = c.descendants(process.pid)
        os.kill(child_of(process.pid, b"netpool-broker"), signal.SIGKILL)
        assert process.wait(60) == 3
        assert re.match(rb"netpool: the broker was ended by SIGKILL[^\n]*log: ", process.stderr.read())
        are_gone(children)


def cli_up_passes_signals_to_a_command_that_outlives_the_pool(build):
    script = 'trap "echo told" TERM; trap "exit 7" HUP; echo started; while :; do sleep 0.05; done'
    with k.Commands(build) as commands:
        process = commands.popen("up", "--module", commands.module(), "--", "sh", "-c", script,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == b"started\n"
        children = c.descendants(process.pid)
        os.kill(child_of(process.pid, b"netpool-broker"), signal.SIGKILL)
        assert process.stdout.readline() == b"told\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 3
        are_gone(children)


def cli_broker_gives_no_socket_the_number_of_a_closed_standard_stream(build):
    with k.Commands(build) as commands:
        ready, told = os.pipe()
        broker = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", commands.program("netpool-broker"), "--ipc",
                                   os.path.join(commands.directory, "run", "socket"), "--ready-fd", str(told)],
                                  env=commands.environment(), pass_fds=(told,), preexec_fn=c.die_with_the_test)
        os.close(told)
        try:
            with os.fdopen(ready, "rb") as lines:
                assert lines.readline().startswith(b"listening ipc://")
            held = {os.readlink(f"/proc/{broker.pid}/fd/{fd}") for fd in (0, 1, 2)}
            assert held == {"/dev/null"}, held
        finally:
            broker.terminate()
            assert broker.wait(60) == 0


def cli_status_shows_workers_and_counts(build):
    with k.Commands(build) as commands:
        process, environment = start_up(commands, "--workers", "2", "--slots", "3")
        k.expect(commands.command("map", "factorize", stdin=b"12\nx\n14\n", env=environment), 1, stderr=None)
        status = json.loads(k.expect(commands.command("status", "--json", env=environment), 0).stdout)
        assert status["done"] == 2 and status["failed"] == 1, status
        assert status["queued"] == 0 and status["running"] == 0 and status["slots"] == 6, status
        assert sorted(row["name"] for row in status["workers"]) == ["worker-1", "worker-2"], status
        assert all(row["state"] == "ready" and row["slots"] == 3 and row["held"] == 0 for row in status["workers"])
        table = k.expect(commands.command("status", env=environment), 0).stdout.decode()
        assert "2 done, 1 failed" in table and "worker-1" in table and "worker-2" in table, table
        why = k.expect(commands.command("status", "--why", env=environment), 0).stdout
        assert why == b"what other programs wait for is shown to a certificate of role admin\n", why
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        k.expect(commands.command("status"), 2, b"", k.one_line(rb"NETPOOL_URL"))
        k.expect(commands.command("status", "--url", "local"), 2, b"", k.one_line(rb"lives inside"))


def cli_status_why_names_the_label_that_no_worker_has(build):
    with k.Commands(build) as commands:
        process, environment = start_up(commands, "--label", "gpu=1", "--label", "disk=fast")
        authority = os.path.dirname(environment["NETPOOL_CA"])
        k.expect(commands.command("ca", "issue", authority, "--role", "admin", "--name", "root"), 0, None)
        admin = {**environment, "NETPOOL_CERT": os.path.join(authority, "admin-root.pem"),
                 "NETPOOL_KEY": os.path.join(authority, "admin-root.key")}
        why = k.expect(commands.command("status", "--why", env=admin), 0).stdout
        assert why == b"no task waits for a worker that is not there\n", why
        status = json.loads(k.expect(commands.command("status", "--json", env=environment), 0).stdout)
        assert status["workers"][0]["labels"] == ["disk=fast", "gpu=1"], status
        assert status["waiting"] == [], status
        table = k.expect(commands.command("status", env=environment), 0).stdout.decode()
        assert "LABELS" in table and "disk=fast,gpu=1" in table and "waiting" not in table, table
        k.expect(commands.command("map", "--labels", "gpu", "factorize", stdin=b"12\n", env=environment), 0, b"12: 2 2 3\n")
        waiting = commands.popen("map", "--labels", "gpu=2", "factorize", stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, env=environment)
        waiting.stdin.write(b"12\n")
        waiting.stdin.flush()

        def waits_for():
            return k.expect(commands.command("status", "--why", env=environment), 0).stdout.decode()

        c.until(lambda: "gpu=2" in waits_for(), 20, "the status says what waits for gpu=2")
        assert re.search(r"factorize.*gpu=2", waits_for()), waits_for()
        table = k.expect(commands.command("status", env=environment), 0).stdout.decode()
        assert "see netpool status --why" in table, table
        status = json.loads(k.expect(commands.command("status", "--json", env=environment), 0).stdout)
        assert len(status["waiting"]) == 1 and "gpu=2" in status["waiting"][0], status
        why = k.expect(commands.command("status", "--why", env=admin), 0).stdout.decode()
        assert re.search(r"client: 1 task of factorize.*gpu=2", why), why
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == -signal.SIGTERM
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def cli_ca_says_what_an_option_takes(build):
    issue = ["ca", "issue", "pki", "--name", "x"]
    with k.Commands(build) as commands:
        k.expect(commands.command("ca", "init", "pki"), 0, None)
        k.expect(commands.command("ca", "issue", "pki", "--role", "worker", "--name", "w"), 0, None)
        for pattern, argv in {
                rb"--role 'king' is not one of broker, worker, client and admin": [*issue, "--role", "king"],
                rb"--days '0' is not a number from 1 to 36500": [*issue, "--role", "client", "--days", "0"],
                rb"--serial 'zz' is not a serial number": ["ca", "revoke", "pki", "--serial", "zz"],
        }.items():
            done = k.expect(commands.command(*argv), 2, b"", None)
            assert re.fullmatch(rb"netpool ca [a-z]+: [^\n]*" + pattern + rb"[^\n]*\n", done.stderr), done.stderr
        assert commands.command("ca", "show", "/").stderr == b"netpool ca show: / holds no CA\n"
        revoke = ("ca", "revoke", "pki", "--role", "worker", "--name", "w")
        assert k.expect(commands.command(*revoke), 0).stdout.startswith(b"1 certificate revoked;")
        assert k.expect(commands.command(*revoke), 0).stdout.startswith(b"revoked already;")


def cli_status_b25_refusal_names_the_reason(build):
    with k.Commands(build) as commands:
        process, environment = start_up(commands)
        other = commands.certificate("client", "stranger")  # of another authority
        wrong = {**environment, "NETPOOL_CERT": other["cert"], "NETPOOL_KEY": other["key"]}
        k.expect(commands.command("status", env=wrong), 3, b"", k.one_line(rb"certificate|authority|issuer|CA"))
        wrong = {**environment, "NETPOOL_CA": other["ca"]}
        k.expect(commands.command("status", env=wrong), 3, b"", k.one_line(rb"certificate"))
        wrong = {**environment, "NETPOOL_KEY": other["key"]}
        k.expect(commands.command("status", env=wrong), 3, b"", k.one_line(rb"stranger\.key|client-client"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


TESTS = [value for name, value in list(globals().items()) if name.startswith("cli_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
