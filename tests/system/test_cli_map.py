"""`netpool map` as a filter: what it prints, how it fails, how it ends."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

ECHO = "echo_bytes"  # of the module cli.so: returns its input


def lines(count, first=1):
    return "".join(f"{number}\n" for number in range(first, first + count)).encode()


def cli_map_prints_results_in_input_order(build):
    numbers = lines(20000)
    with k.Commands(build) as commands:
        k.expect(commands.map("factorize", stdin=numbers), 0, k.factor(numbers))


def cli_map_unordered_prints_every_result_once(build):
    numbers = lines(20000)
    with k.Commands(build) as commands:
        done = k.expect(commands.map("--unordered", "--procs", "3", "factorize", stdin=numbers), 0)
        assert sorted(done.stdout.splitlines()) == sorted(k.factor(numbers).splitlines())


def cli_map_of_empty_input_prints_nothing(build):
    with k.Commands(build) as commands:
        k.expect(commands.map("factorize", stdin=b""), 0, b"")
        k.expect(commands.map("factorize", "/dev/null"), 0, b"")


def cli_map_of_a_million_lines_is_right(build):
    count = 100_000 if k.SANITIZED else 1_000_000
    with k.Commands(build) as commands:
        path = os.path.join(commands.directory, "million")
        with open(path, "wb") as file:
            file.write(lines(count))
        done = k.expect(commands.map("factorize", path, timeout_s=250), 0)
        assert done.stdout == k.factor(lines(count)), "the results are not those of factor"


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1))


def cli_map_keeps_memory_constant_on_endless_input(build):
    with k.Commands(build) as commands:
        process = commands.popen("map", "--url", "threads:2", "--module", commands.module("cli"), ECHO,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 env={"ASAN_OPTIONS": "quarantine_size_mb=8"})  # what was freed is not memory it holds
        chunk = (b"x" * 999 + b"\n") * 1000
        rounds = 20 if k.SANITIZED else 100
        written = 0
        seen = -1

        def write():
            nonlocal written
            for _ in range(2 * rounds):
                process.stdin.write(chunk)
                written += 1
            process.stdin.close()

        def is_held_back():
            nonlocal seen
            last, seen = seen, written
            return seen == last

        threading.Thread(target=write, daemon=True).start()
        # Nobody reads yet: it holds as much as it ever will, and not only when the machine happens to stop the reader.
        c.until(is_held_back, 60, "the writer is held back", 0.3)
        for _ in range(rounds):
            assert process.stdout.read(len(chunk)) == chunk
        half_way = peak_kib(process.pid)
        for _ in range(rounds - 1):
            assert process.stdout.read(len(chunk)) == chunk
        end = peak_kib(process.pid)
        assert process.stdout.read(len(chunk)) == chunk
        assert process.wait(60) == 0
        # as much again went through: it may not need more than some buffers that happened to be full
        assert end - half_way < (40_000 if k.SANITIZED else 8_000), f"{half_way} KiB, then {end} KiB"


def cli_map_prints_each_result_before_the_next_line_comes(build):
    with k.Commands(build) as commands:
        process = commands.popen("map", "--module", commands.module(), "factorize", stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        for number in range(2, 50):
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            assert process.stdout.readline() == k.factor(b"%d" % number)
        process.stdin.close()
        assert process.wait(60) == 0


def cli_map_takes_lines_of_10_mb(build):
    long_line = b"0123456789" * 1_000_000
    text = b"short\n" + long_line + b"\nend\n"
    with k.Commands(build) as commands:
        k.expect(commands.command("map", "-m", commands.module("cli"), ECHO, stdin=text), 0, text)
        k.expect(commands.command("map", "-m", commands.module("cli"), "--url", "threads:2", ECHO, stdin=text), 0, text)


def cli_map_keeps_carriage_returns_and_empty_lines_and_a_last_line_without_newline(build):
    text = b"a\r\n\n\0\xff\nlast"
    with k.Commands(build) as commands:
        k.expect(commands.command("map", "-m", commands.module("cli"), ECHO, stdin=text), 0, text + b"\n")


def cli_map_chunks_give_the_same_bytes(build):
    numbers = lines(10_007)
    with k.Commands(build) as commands:
        for chunk in ("1", "7", "5000", "100000"):
            k.expect(commands.map("--chunk", chunk, "factorize", stdin=numbers), 0, k.factor(numbers))


def cli_map_reports_failures_with_their_line_numbers(build):
    with k.Commands(build) as commands:
        done = k.expect(commands.map("factorize", stdin=b"12\nx\n13\n\n14"), 1, k.factor(b"12\n13\n14"), stderr=None)
        assert done.stderr.count(b"\n") == 2, done.stderr
        assert re.search(rb"^netpool: line 2: factorize: FAILED: 'x' is not", done.stderr, re.M), done.stderr
        assert re.search(rb"^netpool: line 4: factorize: FAILED: '' is not", done.stderr, re.M), done.stderr


def cli_map_b24_line_over_the_limit_fails_alone_and_names_line_and_limit(build):
    too_long = b"y" * (64 * 1024 * 1024 + 1)
    with k.Commands(build) as commands:
        for chunk in ("0", "3"):
            k.expect(commands.map("--chunk", chunk, "factorize", stdin=b"12\n" + too_long + b"\n14\nx\n"), 1,
                     k.factor(b"12\n14"),
                     re.compile(rb"netpool: line 2: factorize: TOO_LARGE: 67108865 bytes are over the limit of 67108864 "
                                rb"bytes\nnetpool: line 4: factorize: FAILED: [^\n]*\n"))


def cli_map_b32_unknown_function_is_said_once(build):
    with k.Commands(build) as commands:
        k.expect(commands.map("factorise", stdin=lines(1000)), 1, b"", k.one_line(rb"factorise.*function"))
        k.expect(commands.map("--url", "threads:2", "factorise", stdin=lines(1000)), 1, b"",
                 k.one_line(rb"factorise.*function"))


def cli_map_b32_module_that_does_not_load_is_one_clear_line(build):
    with k.Commands(build) as commands:
        for url in ("local", "threads:2"):
            k.expect(commands.command("map", "--url", url, "-m", "/nowhere/none.so", "f"), 2, b"",
                     k.one_line(rb"/nowhere/none\.so"))
            k.expect(commands.command("map", "--url", url, "-m", k.NUMBERS, "f"), 2, b"", k.one_line(rb"numbers\.txt"))


def cli_map_wrong_usage_is_one_clear_line_and_status_2(build):
    module = ["--module", "x.so"]
    cases = {
        rb"FUNCTION is missing": ["map"],
        rb"unknown option '--bogus'": ["map", "--bogus", "f"],
        rb"unknown option '-z'": ["map", "-z", "f"],
        rb"option '--procs' needs a value": ["map", "--procs"],
        rb"'0' is not a number": ["map", "--procs", "0", "f"],
        rb"'-3' is not a number": ["map", "--chunk=-3", "f"],
        rb"--priority 'high' is not a number": ["map", "--priority", "high", "f"],
        rb"--max-attempts '65' is not a number from 1 to 64": ["map", "--max-attempts", "65", "f"],
        rb"--timeout-ms '0' is not a number": ["map", "--timeout-ms", "0", "f"],
        rb"--procs 2 means": ["map", "--procs", "2", "--url", "local:3", "f"],
        rb"'nowhere'": ["map", *module, "--url", "nowhere", "f"],
        rb"tls://": ["map", *module, "--url", "tls://", "f"],
        rb"too many": ["map", *module, "f", "a", "b"],
        rb"FUNCTION '' is not a name": ["map", *module, ""],
        rb"FUNCTION 'xxx[x]*' is not a name of 1 to 128": ["map", *module, "x" * 129],
        rb"without --module": ["map", "f"],
        rb"have theirs": ["map", *module, "--url", "tls://127.0.0.1:1", "f"],
        rb"'frob' is not a command": ["frob"],
        rb"a command is missing": [],
        rb"unknown option '--frob'": ["--frob"],
    }
    with k.Commands(build) as commands:
        for pattern, argv in cases.items():
            k.expect(commands.command(*argv), 2, b"", k.one_line(pattern))
        k.expect(commands.map("factorize", "/nowhere/numbers"), 2, b"", k.one_line(rb"/nowhere/numbers: No such file"))
        k.expect(commands.map("factorize", "/"), 2, b"", k.one_line(rb"/: Is a directory"))


def cli_map_closed_standard_streams_are_said(build):
    with k.Commands(build) as commands:
        for redirection, stdin, status, output, complaint in (
                ("<&-", b"", 1, b"", k.one_line(rb"standard input: Bad file descriptor")),
                (">&-", b"1\n2\n", 1, b"", k.one_line(rb"writing the results: Bad file descriptor")),
                ("2>&-", b"1\nx\n", 1, b"1:\n", b""),
                ("<&- >&- 2>&-", b"", 1, b"", b"")):
            script = f'exec "$@" {redirection}'
            done = subprocess.run(["sh", "-c", script, "sh", commands.program("netpool"), "map", "--module",
                                   commands.module(), "factorize"], input=stdin, env=commands.environment(),
                                  capture_output=True, check=False, timeout=60)
            k.expect(done, status, output, complaint)


def cli_map_unreachable_pool_is_one_clear_line_and_status_3(build):
    with k.Commands(build) as commands:
        files = commands.certificate("client", "client")
        options = commands.credential_options(files)
        k.expect(commands.command("map", "--url", "tls://127.0.0.1:1", *options, "f"), 3, b"",
                 k.one_line(rb"127\.0\.0\.1:1.*refused"))
        k.expect(commands.command("map", "--url", f"ipc://{commands.directory}/none", "f"), 3, b"",
                 k.one_line(rb"/none"))
        k.expect(commands.command("map", "--url", "tls://127.0.0.1:1", "f"), 3, b"", k.one_line(rb"NETPOOL_CA"))


def assert_children_end(pids):
    """Processes that are no longer there, or only wait to be reaped."""
    def left():
        found = set()
        for children in c.children_by_parent().values():
            found.update(children)
        return not found.intersection(pids)

    c.until(left, 40, f"the pool's processes {pids} end")


def cli_map_dies_silently_of_a_reader_that_leaves(build):
    with k.Commands(build) as commands:
        for url in ("local:2", "threads:2"):
            with open("/dev/zero", "rb"):
                yes = subprocess.Popen(["yes", "12"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       preexec_fn=c.die_with_the_test)
            process = commands.popen("map", "--url", url, "--module", commands.module(), "factorize", stdin=yes.stdout,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            yes.stdout.close()
            assert process.stdout.readline() == b"12: 2 2 3\n"
            children = c.descendants(process.pid)
            process.stdout.close()
            assert process.wait(60) == -signal.SIGPIPE
            assert process.stderr.read() == b""
            yes.wait(60)
            assert_children_end(children)


def cli_map_ctrl_c_takes_the_pool_down(build):
    with k.Commands(build) as commands:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = commands.popen("map", "--module", commands.module(), "factorize", stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdin.write(b"12\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"12: 2 2 3\n"
            children = c.descendants(process.pid)
            assert len(children) >= 2, children
            process.send_signal(number)
            assert process.wait(60) == -number
            assert process.stderr.read() == b""
            assert_children_end(children)


def cli_map_full_disk_is_said_once(build):
    with k.Commands(build) as commands, open("/dev/full", "wb") as full:
        k.expect(commands.map("factorize", stdin=lines(10000), stdout=full), 1, None,
                 k.one_line(rb"writing the results: No space left"))


def cli_map_a25_profile_says_where_the_time_went_and_what_to_do(build):
    with k.Commands(build) as commands:
        done = k.expect(commands.map("--profile", "--procs", "2", "factorize", stdin=lines(5000)), 0,
                        k.factor(lines(5000)), None)
        said = done.stderr.decode()
        assert re.search(r"^profile: 5000 tasks \(0 failed\) in [\d.]+ m?s on [12] executors?$", said, re.M), said
        shares = [float(share) for share in re.findall(r"^ +(?:serialization|transfer|queue|compute) .* ([\d.]+) %$", said, re.M)]
        assert len(shares) == 4 and abs(sum(shares) - 100) < 0.5, said
        assert re.search(r"^ +lines a task +1\b", said, re.M), said
        assert said.rstrip().endswith("."), said
        assert b"profile" not in k.expect(commands.map("factorize", stdin=b"12\n"), 0).stderr
        few = k.expect(commands.map("--profile", "factorize", stdin=b""), 0, b"", None)
        assert few.stderr.startswith(b"profile: 0 tasks"), few.stderr


def cli_map_a16_a17_labels_attempts_deadlines_and_priorities_reach_the_tasks(build):
    with k.Commands(build) as commands:
        crash = ("map", "--module", commands.module("cli"), "--priority", "-2", "--max-attempts", "2", "end_executor")
        done = k.expect(commands.command(*crash, stdin=b"3\n"), 1, b"", None)
        assert re.search(rb"netpool: line 1: end_executor: (POISON|CRASHED): ", done.stderr), done.stderr
        slow = ("map", "--module", commands.module("cli"), "--timeout-ms", "100", "never_ends")
        done = k.expect(commands.command(*slow, stdin=b"x\n"), 1, b"", None)
        assert re.search(rb"netpool: line 1: never_ends: DEADLINE: ", done.stderr), done.stderr
        k.expect(commands.map("--labels", "two words", "factorize", stdin=b"1\n"), 2, b"", k.one_line(rb"labels.*two words"))
        local = k.expect(commands.map("--labels", "", "factorize", stdin=b"12\n"), 0)
        assert local.stdout == b"12: 2 2 3\n"


def read_terminal(master):
    text = b""
    while True:
        try:
            got = os.read(master, 65536)
        except OSError:  # the last one at the other end has closed it
            got = b""
        if not got:
            return text
        text += got


def cli_map_draws_progress_on_a_terminal_only(build):
    count = 20_000 if k.SANITIZED else 200_000
    with k.Commands(build) as commands, open(os.path.join(commands.directory, "out"), "wb") as out:
        path = os.path.join(commands.directory, "numbers")
        with open(path, "wb") as file:
            file.write(b"x\n" + lines(count))
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = commands.popen("map", "--module", commands.module(), "factorize", path, stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=terminal)
        os.close(terminal)
        text = read_terminal(master)
        assert process.wait(60) == 1
        assert re.search(rb"\[#*\.*\] +\d+ %  \d+ of ~?\d+ lines", text), text[-300:]
        assert b"1 failed" in text and b"netpool: line 1: factorize: FAILED" in text, text[-300:]
        assert text.rstrip().endswith(b"\x1b[K"), "the bar is not taken off the screen at the end"
        assert all(len(line) < 105 for line in text.split(b"\r")), "a line of the bar is wider than the terminal"


def cli_map_a13_crash_is_told_with_its_stack(build):
    with k.Commands(build) as commands:
        done = commands.map("--module", os.path.join(build, "tests", "cli.so"), "crash", stdin=b"1\n")
        assert done.returncode == 1, done
        assert re.search(rb"^netpool: line 1: crash: (POISON|CRASHED): [^\n]*\n(    [^\n]+\n)*    crash at cli.c:[0-9]+\n",
                         done.stderr, re.M), done.stderr


def cli_map_a24_progress_counts_the_parts_of_running_tasks(build):
    with k.Commands(build) as commands:
        fifo = os.path.join(commands.directory, "fifo")
        numbers = os.path.join(commands.directory, "lines")
        os.mkfifo(fifo)
        with open(numbers, "w", encoding="utf-8") as file:
            file.write(fifo + "\n")
        writer = os.open(fifo, os.O_RDWR)
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        with open(os.path.join(commands.directory, "out"), "wb") as out:
            process = commands.popen("map", "--module", commands.module("cli"), "half_done", numbers,
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=terminal)
        os.close(terminal)
        text = b""
        while b"] " not in text or b" 50 %" not in text:
            got = os.read(master, 4096)  # until the time limit of the test
            assert got
            text += got
        os.write(writer, b"!")
        read_terminal(master)
        assert process.wait(60) == 0
        os.close(writer)


TESTS = [value for name, value in list(globals().items()) if name.startswith("cli_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
