"""The API reference is made from the headers without a warning, and has every function in it."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

HEADERS = ("client/netpool.h", "client/netpool_struct.h", "client/netpool_protobuf.h", "worker/netpool_function.h",
           "common/netpool_status.h")


def declared():
    """Names of the functions that the headers declare for users."""
    names = set()
    for header in HEADERS:
        with open(os.path.join(k.SOURCE, header), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        names |= set(re.findall(r"NETPOOL_API[^;#]*?\b(netpool_\w+)\(", text))
    return names


def reference_is_made_without_warnings(build):
    if shutil.which("doxygen") is None:
        raise c.Skip("doxygen is not installed")
    with k.Commands(build) as commands:
        done = subprocess.run(["doxygen", "docs/reference/Doxyfile"], cwd=k.SOURCE, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={**os.environ, "NETPOOL_REFERENCE": commands.directory})
        assert done.returncode == 0 and done.stdout == b"", done.stdout.decode()
        with open(os.path.join(commands.directory, "html", "globals_func.html"), encoding="utf-8") as file:
            listed = file.read()
        missing = [name for name in sorted(declared()) if name not in listed]
        assert len(declared()) > 40 and not missing, missing


TESTS = [reference_is_made_without_warnings]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
