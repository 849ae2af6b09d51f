#!/usr/bin/env python3
"""./dev bench as its users meet it: what is on stdout, what it refuses, what it leaves behind. Nothing is measured.

It runs in a copy of the tree's bench/ and docs/, with a cmake that only says something.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.append(os.path.join(HERE, "..", "..", "bench"))
import cluster as c
import measures

SOURCE = os.path.dirname(os.path.dirname(HERE))
STUB = "#!/bin/sh\necho $(basename $0) says something\n"
INSTALLED = "#!/bin/sh\necho install ok installed\n"
SLEEPER = "#!/bin/sh\nmktemp >/dev/null\nsleep 1000 &\necho $! >{0}.new\nmv {0}.new {0}\nwait\n"


class Tree:
    """A tree in which ./dev bench builds nothing, and where it keeps its temporary files."""

    def __init__(self, build):
        self.root = tempfile.mkdtemp(prefix="netpool-test-")
        self.temporary = self.path("tmp")
        self.build = os.path.abspath(build)
        shutil.copy(os.path.join(SOURCE, "dev"), self.root)
        for folder in ("bench", "docs"):
            shutil.copytree(os.path.join(SOURCE, folder), self.path(folder))
        os.makedirs(self.temporary)
        os.makedirs(self.path("bin"))
        self.program("bin/cmake", STUB)
        self.program("bin/dpkg-query", INSTALLED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)

    def path(self, name):
        return os.path.join(self.root, name)

    def program(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(self.path(name), 0o755)

    def start(self, *argv):
        environment = {**os.environ, "PATH": self.path("bin") + os.pathsep + os.environ["PATH"], "TMPDIR": self.temporary}
        return subprocess.Popen([self.path("dev"), "bench", *argv], env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run(self, *argv):
        """(exit status, stdout, stderr)"""
        with self.start(*argv) as process:
            output, errors = process.communicate(timeout=60)
            return process.returncode, output, errors

    def write_result(self, pairs):
        """An earlier run's JSON with these cases."""
        contender = {"kind": "netpool", "median": 2.0, "min": 1.0, "max": 3.0, "values": [1.0, 2.0, 3.0]}
        entries = {}
        for measure, name in pairs:
            entry = entries.setdefault(measure.name, {"name": measure.name, "title": measure.title, "unit": measure.unit,
                                                      "higher_is_better": True, "baseline": None, "contenders": []})
            entry["contenders"].append({**contender, "name": name})
        machine = {"cpu": "none", "cores": 1, "memory_gib": 1, "kernel": "1", "architecture": "none", "versions": {}}
        path = self.path("result.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"date": "today", "machine": machine, "rounds": 3, "seconds": 1, "took_s": 1,
                       "measures": list(entries.values()), "goals": []}, file)
        return path


def all_pairs():
    return [(measure, contender.name) for measure in measures.MEASURES for contender in measure.contenders]


def bench_prints_json_alone(build):
    with Tree(build) as tree:
        status, output, errors = tree.run("--json", "--from", tree.write_result(all_pairs()[:1]))
        assert status == 0, errors
        assert json.loads(output)["rounds"] == 3
        assert "cmake says something" in errors and "median" in errors, errors


def bench_refuses_cases_it_does_not_have(build):
    with Tree(build) as tree:
        status, output, errors = tree.run("no_such_case")
        assert status == 2 and output == "", (status, output)
        assert "no case 'no_such_case'; there are: " in errors and "round_trip" in errors, errors


def bench_writes_the_page_only_with_all_cases(build):
    with Tree(build) as tree:
        page = tree.path("docs/performance.md")
        before = open(page, encoding="utf-8").read()
        status, _, errors = tree.run("--markdown", "rate_16")
        assert status == 2 and "only with all cases" in errors, errors
        status, _, errors = tree.run("--markdown", "--from", tree.write_result(all_pairs()[1:]))
        assert status == 1 and "nothing was written" in errors, errors
        assert open(page, encoding="utf-8").read() == before
        status, _, errors = tree.run("--markdown", "--from", tree.write_result(all_pairs()))
        assert status == 0, errors
        after = open(page, encoding="utf-8").read()
        assert "today, 3 rounds" in after and after.partition("## Where the time goes")[2] in before
        assert "netpool" in open(tree.path("docs/performance.svg"), encoding="utf-8").read()


def bench_that_is_interrupted_leaves_nothing(build):
    with Tree(build) as tree:
        started = tree.path("started")
        os.makedirs(tree.path("build/bench"))
        os.symlink(os.path.join(tree.build, "bin"), tree.path("build/bin"))
        os.symlink(os.path.join(tree.build, "tests/pool_functions.so"), tree.path("build/bench/bench_functions.so"))
        tree.program("build/bench/bench_netpool", SLEEPER.format(started))
        for number in (signal.SIGINT, signal.SIGTERM):
            with tree.start("--build", tree.path("build"), "tls") as process:
                c.until(lambda: os.path.exists(started), 60, "the first case runs")
                sleeper = int(open(started, encoding="ascii").read())
                pids = [sleeper, *c.descendants(process.pid)]
                assert len(pids) >= 4 and os.listdir(tree.temporary), pids
                os.killpg(process.pid, number)
                process.communicate(timeout=60)
                assert process.returncode == 128 + number, process.returncode
            assert not os.listdir(tree.temporary), os.listdir(tree.temporary)
            c.until(lambda: not set(pids) & {pid for below in c.children_by_parent().values() for pid in below}, 60,
                    "all processes end")
            os.remove(started)


TESTS = [value for name, value in list(globals().items()) if name.startswith("bench_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
