"""Running the project's programs as a person does, and looking at what they say."""

import os
import re
import subprocess

import cluster as c

SOURCE = os.environ.get("NETPOOL_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NUMBERS = os.path.join(SOURCE, "examples", "data", "numbers.txt")
SANITIZED = bool(os.environ.get("NETPOOL_SANITIZE"))


class Commands(c.Cluster):
    """A cluster whose programs are run in the foreground."""

    def module(self, name="primes"):
        return self.support(f"{name}.so")

    def environment(self, extra=None):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NETPOOL_")}
        environment["XDG_STATE_HOME"] = os.path.join(self.directory, "state-home")
        environment.update(extra or {})
        return environment

    def command(self, *argv, stdin=b"", env=None, timeout_s=120, program="netpool", **more):
        """The finished process; outputs are bytes."""
        if isinstance(stdin, bytes):
            more["input"] = stdin
        else:
            more["stdin"] = stdin
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.run([self.program(program), *argv], env=self.environment(env), cwd=self.directory, check=False,
                              timeout=timeout_s, preexec_fn=c.die_with_the_test, **more)

    def map(self, *argv, **more):
        return self.command("map", "--module", self.module(), *argv, **more)

    def popen(self, *argv, env=None, program="netpool", **more):
        process = subprocess.Popen([self.program(program), *argv], env=self.environment(env), cwd=self.directory,
                                   preexec_fn=c.die_with_the_test, **more)
        self.cleanups.append(lambda: process.poll() is None and (process.kill(), process.wait()))
        return process


def factor(numbers):
    """What coreutils prints for these lines."""
    return subprocess.run(["factor"], input=numbers, stdout=subprocess.PIPE, check=True).stdout


def expect(done, status, stdout=None, stderr=b""):
    """stdout: exact bytes. stderr: exact bytes, or a compiled pattern that must match the whole of it."""
    what = f"{done.args}: exit {done.returncode}\nout: {(done.stdout or b'')[:500]}\nerr: {(done.stderr or b'')[:3000]}"
    assert done.returncode == status, what
    if stdout is not None:
        assert done.stdout == stdout, what
    if isinstance(stderr, re.Pattern):
        assert stderr.fullmatch(done.stderr), f"does not match {stderr.pattern}\n{what}"
    elif stderr is not None:
        assert done.stderr == stderr, what
    return done


def one_line(pattern):
    """One line on standard error that begins with the program's name and has this in it."""
    return re.compile(rb"netpool: [^\n]*(?:" + pattern + rb")[^\n]*\n")
