"""The examples on real input, on each kind of pool, compared with independent tools.

Each example runs as its README says; under a sanitizer the inputs are smaller."""

import gzip
import hashlib
import math
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k


def on_every_pool(commands, example, *argv, **more):
    """[(pool, finished process)...]: the program on each place where tasks can run."""
    done = []
    for url in ("local:1", "local:3", "threads:4"):
        done.append((url, commands.command("--url", url, *argv, program=example, **more)))
    up = ("up", "--workers", "2", "--module", commands.module(example), "--", commands.program(example))
    done.append(("tls", commands.command(*up, *argv, **more)))
    return done


def folder_digest(folder):
    """Names and contents."""
    digest = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def size_of(path):
    """Width and height, of a PNG from its header (RFC 2083), of a JPEG from its frame (ITU T.81)."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return struct.unpack(">II", data[16:24])
    assert data.startswith(b"\xff\xd8"), path
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height


def example_images_resizes_a_folder_alike_on_every_pool(build):
    count = 20 if k.SANITIZED else 100
    with k.Commands(build) as commands:
        pictures = os.path.join(commands.directory, "pictures")
        k.expect(commands.command("--generate", str(count), pictures, program="images"), 0,
                 f"{count} pictures, 0 failed\n".encode())
        assert len(os.listdir(pictures)) == count
        for number, filter_name in enumerate(("sharpen", "edges")):
            digests = set()
            for pool in ("local", "threads", "tls"):
                small = os.path.join(commands.directory, f"small-{number}-{pool}")
                argv = ("--size", "160", "--filter", filter_name, pictures, small)
                if pool == "tls":
                    up = ("up", "--workers", "2", "--module", commands.module("images"), "--")
                    done = commands.command(*up, commands.program("images"), *argv)
                else:
                    done = commands.command("--url", f"{pool}:2", *argv, program="images")
                k.expect(done, 0, f"{count} pictures, 0 failed\n".encode())
                digests.add(folder_digest(small))
                assert {size_of(os.path.join(small, name)) for name in os.listdir(small)} == {(160, 105)}
            assert len(digests) == 1, digests


def example_images_reports_what_is_no_picture_and_does_the_rest(build):
    with k.Commands(build) as commands:
        pictures = os.path.join(commands.directory, "pictures")
        small = os.path.join(commands.directory, "small")
        k.expect(commands.command("--generate", "4", pictures, program="images"), 0)
        with open(os.path.join(pictures, "broken.png"), "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n and then nothing of the kind")
        done = commands.command(pictures, small, program="images")
        assert done.returncode == 1 and done.stdout == b"5 pictures, 1 failed\n", done
        assert b"images: broken.png: resize: neither a PNG nor a JPEG picture\n" in done.stderr, done.stderr
        assert len(os.listdir(small)) == 4


def text_of(commands, megabytes):
    path = os.path.join(commands.directory, "text.txt")
    k.expect(commands.command("--generate", str(megabytes), path, program="word_count"), 0, b"")
    with open(path, "rb") as file:
        text = file.read()
    assert len(text) >= megabytes * 1000 * 1000
    return path, text


def example_pipeline_is_a_gzip_on_every_pool(build):
    with k.Commands(build) as commands:
        _, text = text_of(commands, 5 if k.SANITIZED else 50)
        outputs = set()
        for pool, done in on_every_pool(commands, "pipeline", stdin=text):
            k.expect(done, 0, None, re.compile(rb"\d+ blocks, \d+ bytes written\n"))
            outputs.add(done.stdout)
            assert len(outputs) == 1, pool
        (output,) = outputs
        assert len(output) < len(text) / 2
        assert gzip.decompress(output) == text
        assert subprocess.run(["gzip", "-d"], input=output, stdout=subprocess.PIPE, check=True).stdout == text
        k.expect(commands.command(program="pipeline", stdin=b""), 0, b"", b"0 blocks, 0 bytes written\n")


def example_word_count_is_that_of_sort_and_uniq_on_every_pool(build):
    with k.Commands(build) as commands:
        path, _ = text_of(commands, 5 if k.SANITIZED else 50)
        script = "tr -cs 'A-Za-z' '\\n' <\"$1\" | LC_ALL=C sort | uniq -c | awk 'NF == 2 { print $2, $1 }'"
        expected = subprocess.run(["sh", "-c", script, "sh", path], stdout=subprocess.PIPE, check=True).stdout
        assert expected.count(b"\n") > 1000
        for pool, done in on_every_pool(commands, "word_count", path):
            k.expect(done, 0)
            assert done.stdout == expected, pool


def example_parallel_sum_has_the_same_bits_on_every_pool(build):
    count = 1_000_000 if k.SANITIZED else 100_000_000
    with k.Commands(build) as commands:
        said = re.compile(rb"pool +[0-9.]+ s\nloop +[0-9.]+ s, differs by [0-9.e+-]+ [^\n]*\n")
        runs = [(url, commands.command("--url", url, "--count", str(count), program="parallel_sum"))
                for url in ("local", "threads:2")]
        results = set()
        for _, done in runs + on_every_pool(commands, "parallel_sum", "--count", str(count // 10)):
            k.expect(done, 0, None, said)
            results.add(done.stdout)
        assert len(results) == 2, results  # one for each count
        for line in results:
            assert abs(float(line.split()[1]) - math.pi ** 2 / 6) < 11 / count, line


def example_arguments_prints_what_its_readme_says_on_every_pool(build):
    with open(os.path.join(k.SOURCE, "examples", "arguments", "README.md"), encoding="utf-8") as file:
        (expected,) = re.findall(r"Both print\n\n((?:    .*\n)+)", file.read())
    expected = re.sub(r"^    ", "", expected, flags=re.M).encode()
    with k.Commands(build) as commands:
        for _, done in on_every_pool(commands, "arguments"):
            k.expect(done, 0, expected)


def example_arguments_of_a_wrong_type_do_not_compile(build):
    program = """
#include "examples/arguments/arguments.h"
int use(netpool *pool, netpool_future **out, %s *argument);
int use(netpool *pool, netpool_future **out, %s *argument)
{
    return (int)%s_submit(pool, argument, NULL, out);
}
"""
    cases = (("price", "Demo__Order", True), ("price", "Demo__Quote", False),
             ("measure", "struct triangle", True), ("measure", "struct measures", False))
    folders = [f"-I{os.path.join(k.SOURCE, part)}" for part in (".", "client", "worker", "common")]
    folders += ["-isystem", os.path.join(build, "examples", "generated")]
    with k.Commands(build) as commands:
        for language, compiler in (("c", [os.environ.get("NETPOOL_CC", "cc"), "-std=c11"]), ("c++", ["c++", "-std=c++11"])):
            for function, argument, is_right in cases:
                source = os.path.join(commands.directory, "typed.c")
                with open(source, "w", encoding="utf-8") as file:
                    file.write(program % (argument, argument, function))
                done = subprocess.run([*compiler, "-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow",
                                       "-Werror", "-fsyntax-only", *folders, source],
                                      stderr=subprocess.PIPE, check=False, timeout=60)
                assert (done.returncode == 0) == is_right, (language, function, argument, done.stderr.decode())


TESTS = [value for name, value in list(globals().items()) if name.startswith("example_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
