"""The systemd units load, name programs that exist, and stay closed."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import cluster as c  # noqa: E402

EXPOSURE_MAX = 2.0  # of 10, as systemd-analyze rates it


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, (done.stdout + done.stderr).strip()


def deploy_systemd_units_are_valid(source):
    if shutil.which("systemd-analyze") is None:
        raise c.Skip("needs systemd-analyze")
    units = sorted(glob.glob(os.path.join(source, "deploy", "systemd", "*.service")))
    assert len(units) == 2, units
    with tempfile.TemporaryDirectory(prefix="netpool-test-") as directory:
        for unit in units:
            with open(unit, encoding="utf-8") as file:
                text = file.read()
            name = os.path.basename(unit)[:-len(".service")]
            assert f"ExecStart=/usr/local/bin/{name} " in text, f"{unit} does not start {name}"
            # The programs are not installed where tests run: something executable stands in for them.
            text = re.sub(r"/usr/local/bin/netpool-\w+", "/bin/true", text)
            copy = os.path.join(directory, os.path.basename(unit))
            with open(copy, "w", encoding="utf-8") as file:
                file.write(text)
            code, said = analyze("verify", "--man=no", copy)
            assert code == 0 and said == "", f"{unit}: {said}"
            code, said = analyze("security", "--offline=true", "--threshold=" + str(int(EXPOSURE_MAX * 10)), copy)
            if "unrecognized option" in said:
                print("this systemd does not rate units offline")
            else:
                assert code == 0, said
                print(said.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(c.main([deploy_systemd_units_are_valid]))
