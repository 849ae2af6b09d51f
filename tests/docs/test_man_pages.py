"""Each program and each function of the API has a man page, and all of them are well-formed."""

import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k
import test_reference


def pages_of(build):
    folder = os.path.join(build, "docs", "man")
    return sorted(glob.glob(os.path.join(folder, "*.[138]"))) + sorted(glob.glob(os.path.join(k.SOURCE, "docs/man/*.3")))


def shown(page):
    done = subprocess.run(["mandoc", "-Tascii", "-Owidth=400", page], stdout=subprocess.PIPE, check=True)
    return re.sub(r".\x08", "", done.stdout.decode())


def need_mandoc():
    if shutil.which("mandoc") is None:
        raise c.Skip("mandoc is not installed")


def man_pages_are_well_formed(build):
    need_mandoc()
    pages = [page for page in pages_of(build) if not open(page, encoding="utf-8").read().startswith(".so ")]
    assert len(pages) >= 19, pages
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *pages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    assert done.returncode == 0 and done.stdout == b"", done.stdout.decode()


def man_pages_of_the_programs_have_every_option(build):
    need_mandoc()
    with k.Commands(build) as commands:
        for page, argv in (("netpool-map.1", ("netpool", "map")), ("netpool-up.1", ("netpool", "up")),
                           ("netpool-status.1", ("netpool", "status")), ("netpool-ca-issue.1", ("netpool", "ca", "issue")),
                           ("netpool-broker.8", ("netpool-broker",)), ("netpool-worker.8", ("netpool-worker",))):
            said = commands.command(*argv[1:], "--help", program=argv[0]).stdout.decode()
            text = shown(os.path.join(build, "docs", "man", page))
            words = set(said.split())
            options = {word.rstrip(",.;)]") for word in words if re.match(r"--[a-z]", word)}
            missing = sorted(option for option in options if option not in text)
            assert len(options) >= 4 and not missing, (page, missing)
            assert len(text.split()) >= len(said.split()), page


def man_pages_of_the_library_have_every_function(build):
    names = {os.path.basename(page)[:-2] for page in pages_of(build) if page.endswith(".3")}
    missing = sorted(test_reference.declared() - names)
    assert not missing, missing
    assert "netpool_submit" in names and "netpool_wait" in names


TESTS = [value for name, value in list(globals().items()) if name.startswith("man_pages_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
