"""deploy/ on a real Docker engine: images, certificates, a job, scaling up and down, a worker killed during a job.

No registry is asked for anything. The Debian base is made with debootstrap from the mirror that this machine itself
uses, and kept for the next run, as are the stages of deploy/Dockerfile that only install packages (KEPT). Everything else is
removed at the end, whatever happens.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import cluster as c  # noqa: E402

BASE = "netpool-test/debian:bookworm"
KEPT = {"tools": "netpool-test/tools:bookworm", "libraries": "netpool-test/libraries:bookworm"}
LEFT_OUT_OF_BASE = ("dev/*", "proc/*", "sys/*", "tmp/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*",
                    "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*")


def run(*argv, timeout_s=60, check=True, env=None, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout_s, check=False, env=env, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def compose_command():
    if run("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise c.Skip("needs docker compose or docker-compose")


def need_engine():
    if shutil.which("docker") is None:
        raise c.Skip("needs docker")
    if run("docker", "info", check=False).returncode != 0:
        raise c.Skip("no Docker engine is running")


def mirror():
    """The Debian mirror from which this machine installs."""
    done = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages",
               check=False)
    for line in done.stdout.splitlines():
        fields = line.split()
        if fields[1:] == ["bookworm", "main"]:
            return fields[0]
    raise c.Skip("this machine installs from no Debian 12 mirror: no base image can be made")


def need_base():
    if run("docker", "image", "inspect", BASE, check=False).returncode == 0:
        return
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise c.Skip(f"needs root and debootstrap to make the base image {BASE}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="netpool-test-") as directory:
        root = os.path.join(directory, "root")
        run("debootstrap", "--variant=minbase", "bookworm", root, mirror(), timeout_s=400)
        archive = os.path.join(directory, "root.tar")
        run("tar", "-C", root, "-cf", archive, *[f"--exclude=./{path}" for path in LEFT_OUT_OF_BASE], ".")
        run("docker", "import", archive, BASE, timeout_s=120)
    print(f"base image made in {time.monotonic() - started:.0f} s")


class Project:
    """One run of compose.yaml under a name of its own."""

    def __init__(self, source, directory):
        self.source = source
        self.name = f"netpooltest{os.getpid()}"
        self.image = f"{self.name}:test"
        self.build_image = f"{self.name}:build"
        self.numbers = os.path.join(directory, "numbers.txt")
        self.command = compose_command() + ["-f", os.path.join(source, "deploy", "compose.yaml"), "-p", self.name]
        self.env = dict(os.environ, NETPOOL_IMAGE=self.image, NETPOOL_BASE=BASE, NETPOOL_NUMBERS=self.numbers,
                        DOCKER_BUILDKIT="0", COMPOSE_DOCKER_CLI_BUILD="0")

    def __call__(self, *arguments, timeout_s=120, check=True):
        return run(*self.command, *arguments, timeout_s=timeout_s, check=check, env=self.env)

    def remove(self, failed):
        if failed:
            print(self("logs", "--no-color", "--tail=60", check=False).stdout, file=sys.stderr)
        self("--profile", "job", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        run("docker", "image", "rm", "--force", self.image, self.build_image, check=False)

    def build(self):
        """The image of all services. The stages have names, so that none is left behind without one."""
        for stage, image in (*KEPT.items(), ("build", self.build_image)):
            run("docker", "build", "--force-rm", "--target", stage, "--build-arg", f"BASE={BASE}", "--tag", image,
                "--file", os.path.join(self.source, "deploy", "Dockerfile"), self.source, timeout_s=400, env=self.env)
        self("build", "--force-rm", "certificates", timeout_s=400)

    def containers(self, service):
        """Ids of the running ones."""
        return run("docker", "ps", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.name}",
                   "--filter", f"label=com.docker.compose.service={service}",
                   "--filter", "label=com.docker.compose.oneoff=False").stdout.split()

    def inspect(self, container):
        return json.loads(run("docker", "inspect", container).stdout)[0]

    def status(self):
        """What the broker says to its health check's certificate."""
        files = "/certificates/health"
        said = self("exec", "-T", "broker", "netpool", "status", "--json", "--url", "tls://localhost:4747",
                    "--ca", f"{files}/ca.pem", "--cert", f"{files}/cert.pem", "--key", f"{files}/key.pem")
        return json.loads(said.stdout)

    def scale(self, workers):
        self("up", "-d", "--no-recreate", "--scale", f"worker={workers}", timeout_s=180)
        c.until(lambda: [row["state"] for row in self.status()["workers"]] == ["ready"] * workers, 60,
                f"{workers} workers are ready", 0.5)

    def run_job(self, numbers):
        """The factors of the numbers, checked against factor(1)."""
        self.write(numbers)
        self.check(self("run", "--rm", "-T", "job").stdout, numbers)

    def start_job(self):
        return subprocess.Popen(self.command + ["run", "--rm", "-T", "job"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env,
                                preexec_fn=c.die_with_the_test)

    def write(self, numbers):
        with open(self.numbers, "w", encoding="ascii") as file:
            file.writelines(f"{number}\n" for number in numbers)
        os.chmod(self.numbers, 0o644)

    def check(self, output, numbers):
        factors = subprocess.run(["factor"], input="".join(f"{number}\n" for number in numbers), text=True,
                                 capture_output=True, check=True).stdout
        assert output.replace("\r", "") == factors, f"the job's output is not that of factor(1):\n{output[:500]}"


def check_confinement(project):
    expected_files = {"broker": {"/certificates/broker": {"ca.pem", "cert.pem", "key.pem", "crl.pem"},
                                 "/certificates/health": {"ca.pem", "cert.pem", "key.pem"},
                                 "/certificates/authority": set(), "/certificates/worker": set(),
                                 "/certificates/client": set()},
                      "worker": {"/certificates/worker": {"ca.pem", "cert.pem", "key.pem"},
                                 "/certificates/authority": set(), "/certificates/broker": set(),
                                 "/certificates/client": set(), "/certificates/health": set()}}
    for service, directories in expected_files.items():
        container = project.containers(service)[0]
        facts = project.inspect(container)
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], host
        assert "no-new-privileges:true" in host["SecurityOpt"], host["SecurityOpt"]
        assert facts["Config"]["User"] == "10001:10001", facts["Config"]["User"]
        status = run("docker", "exec", container, "cat", "/proc/1/status").stdout
        assert re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^CapBnd:\t0+$", status, re.M), status
        assert re.search(r"^NoNewPrivs:\t1$", status, re.M), status
        for directory, files in directories.items():
            found = set(run("docker", "exec", container, "ls", "-A", directory).stdout.split())
            assert found == files, f"{service} finds {found} in {directory}, expected {files}"
        written = run("docker", "exec", container, "touch", "/written", check=False)
        assert written.returncode != 0 and "Read-only" in written.stderr, written
        written = run("docker", "exec", container, "touch", f"/certificates/{service}/written", check=False)
        assert written.returncode != 0, f"{service} can write to its certificates"


def semiprimes(count):
    """Numbers whose factors take a while to find: enough of them for a job during which things happen."""
    rng = random.Random(c.seed())
    return [(rng.randrange(3 << 29, 1 << 31) | 1) * (rng.randrange(3 << 29, 1 << 31) | 1) for _ in range(count)]


def kill_a_worker_during_a_job(project):
    numbers = semiprimes(120000)
    project.write(numbers)
    done_before = project.status()["done"]
    job = project.start_job()
    try:
        c.until(lambda: project.status()["running"] > 0 or project.status()["done"] > done_before, 60,
                "the job is under way", 0.1)
        victim = project.containers("worker")[0]
        run("docker", "kill", "--signal", "KILL", victim)
        assert job.poll() is None, "the job was over before the worker was killed: give it more numbers"
        output, errors = job.communicate(timeout=200)
        assert job.returncode == 0, f"job ended with {job.returncode}: {errors[-2000:]}"
    finally:
        if job.poll() is None:
            job.kill()
            job.communicate()
    project.check(output, numbers)
    print(f"a worker was killed during a job of {len(numbers)} numbers: {project.status()}")


def sections(project, source):
    started = time.monotonic()

    def passed(what):
        print(f"{time.monotonic() - started:5.0f} s  {what}", flush=True)

    with open(os.path.join(source, "examples", "data", "numbers.txt"), encoding="ascii") as file:
        numbers = [int(line) for line in file]
    project.write(numbers)
    project.build()
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", project.image).stdout)
    base_size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", BASE).stdout)
    passed(f"image built: {size >> 20} MiB, {(size - base_size) >> 20} MiB on top of its base")
    project("up", "-d", timeout_s=180)
    project.scale(1)
    passed("broker is healthy, one worker is ready")
    check_confinement(project)
    passed("services have no rights, and their own files only")
    project.run_job(numbers)
    passed(f"job of {len(numbers)} numbers is right")
    project.scale(3)
    passed("three workers")
    kill_a_worker_during_a_job(project)
    passed("job is right in spite of a killed worker")
    project.scale(1)
    project.run_job(numbers)
    passed("one worker again, and the job is right")
    broker = project.containers("broker")[0]
    for number, health in (("STOP", "unhealthy"), ("CONT", "healthy")):
        # The container's first process is an init; the broker is its child.
        run("docker", "exec", broker, "sh", "-c", f"kill -{number} $(cat /proc/1/task/1/children)")
        c.until(lambda: project.inspect(broker)["State"]["Health"]["Status"] == health, 60, f"broker is {health}", 0.5)
    passed("the health check tells a broker that answers from one that does not")


def deploy_compose_runs_scales_and_survives_a_killed_worker(source):
    need_engine()
    compose_command()
    need_base()
    with tempfile.TemporaryDirectory(prefix="netpool-test-") as directory:
        os.chmod(directory, 0o755)
        project = Project(os.path.abspath(source), directory)
        failed = True
        try:
            sections(project, source)
            failed = False
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # first everything is removed
            project.remove(failed)


if __name__ == "__main__":
    sys.exit(c.main([deploy_compose_runs_scales_and_survives_a_killed_worker]))
