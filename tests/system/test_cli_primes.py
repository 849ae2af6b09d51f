"""The main job prints the same bytes on every kind of pool, and they are those of an independent tool."""

import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k


def numbers():
    with open(k.NUMBERS, "rb") as file:
        return file.read()


def are_those_of_factor(build, url):
    with k.Commands(build) as commands:
        k.expect(commands.command("--url", url, k.NUMBERS, program="primes"), 0, k.factor(numbers()))
        largest = b"".join(line.split()[-1] + b"\n" for line in k.factor(numbers()).splitlines())
        k.expect(commands.command("--largest", "--url", url, program="primes", stdin=numbers()), 0, largest)


def primes_on_local_are_those_of_factor(build):
    are_those_of_factor(build, "local")


def primes_on_one_process_are_those_of_factor(build):
    are_those_of_factor(build, "local:1")


def primes_on_eight_processes_are_those_of_factor(build):
    are_those_of_factor(build, "local:8")


def primes_on_threads_are_those_of_factor(build):
    are_those_of_factor(build, "threads:4")


def primes_on_ipc_are_those_of_factor(build):
    with k.Commands(build) as commands:
        url = f"ipc://{commands.directory}/broker/socket"
        commands.broker(url)
        argv = [commands.program("netpool-worker"), "--url", url, "--slots", "2", "--module", commands.module()]
        _, said = commands._start_and_wait_ready("worker", argv, None, 20)
        assert said == "\n", said
        k.expect(commands.command("--url", url, k.NUMBERS, program="primes"), 0, k.factor(numbers()))
        k.expect(commands.command("map", "--url", url, "factorize", k.NUMBERS), 0, k.factor(numbers()))


def primes_on_tls_are_those_of_factor(build):
    with k.Commands(build) as commands:
        up = ("up", "--workers", "2", "--module", commands.module(), "--")
        k.expect(commands.command(*up, commands.program("primes"), k.NUMBERS), 0, k.factor(numbers()))
        k.expect(commands.command(*up, commands.program("netpool"), "map", "factorize", k.NUMBERS), 0,
                 k.factor(numbers()))


def primes_of_64_bit_numbers_are_those_of_factor(build):
    chosen = random.Random(c.seed())
    semiprimes = [4294967291 * 4294967279, 999999937 * 999999929, 2147483647 * 2147483629, 4294967291 ** 2]
    special = [0, 1, 2, 3, 4, 2 ** 63, 2 ** 64 - 1, 18446744073709551557, 3825123056546413051, *semiprimes]
    text = "".join(f"{n}\n" for n in special + [chosen.randrange(2 ** 64) for _ in range(2000)]).encode()
    with k.Commands(build) as commands:
        k.expect(commands.command("--url", "local:2", program="primes", stdin=text), 0, k.factor(text))


def primes_refuses_what_is_no_number(build):
    with k.Commands(build) as commands:
        for text in (b"x", b"12x", b"-1", b"18446744073709551616", b"1" * 10000, b"1.5", b"\0"):
            k.expect(commands.command("--url", "threads:1", program="primes", stdin=b"12\n" + text + b"\n"), 1, b"",
                     re.compile(rb"primes: [^\n]*item 1\b[^\n]*is not a decimal number[^\n]*\n"))
        k.expect(commands.command("--largest", program="primes", stdin=b"1\n"), 1, b"",
                 re.compile(rb"primes: [^\n]*1 has no prime factor[^\n]*\n"))
        k.expect(commands.command("/nowhere/n", program="primes"), 2, b"",
                 re.compile(rb"primes: /nowhere/n: No such file or directory\n"))


def primes_readme_example_compiles_and_runs(build):
    with k.Commands(build) as commands:
        with open(os.path.join(k.SOURCE, "README.md"), encoding="utf-8") as file:
            (example,) = re.findall(r"```c\n(.*?)```", file.read(), re.S)
        source = os.path.join(commands.directory, "example.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(example)
        program = os.path.join(commands.directory, "example")
        flags = {"address": ["-fsanitize=address,undefined"], "thread": ["-fsanitize=thread"]}
        library = os.path.join(commands.build, "lib")
        commands.run(os.environ.get("NETPOOL_CC", "cc"), "-Wall", "-Wextra", "-Werror", "-o", program, source,
                     *(f"-I{os.path.join(k.SOURCE, part)}" for part in ("client", "worker", "common")),
                     *flags.get(os.environ.get("NETPOOL_SANITIZE"), []), f"-L{library}", f"-Wl,-rpath,{library}", "-lnetpool")
        said = subprocess.run([program], env=commands.environment(), stdout=subprocess.PIPE, timeout=120, check=True).stdout
        assert said == b"1 4 9 16\n", said


TESTS = [value for name, value in list(globals().items()) if name.startswith("primes_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
