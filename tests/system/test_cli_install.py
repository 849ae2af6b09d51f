"""What is installed serves a project outside the tree, by CMake and by make."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

SQUARES = b"332833500\n"  # sum of the squares of 0 .. 999


def install_serves_a_cmake_project_and_a_makefile_outside_the_tree(build):
    if k.SANITIZED:
        raise c.Skip("an installed library is not a sanitized one")
    with k.Commands(build) as commands:
        prefix = os.path.join(commands.directory, "prefix")
        project = os.path.join(commands.directory, "project")
        commands.run("cmake", "--install", build, "--prefix", prefix, timeout_s=120)
        shutil.copytree(os.path.join(k.SOURCE, "examples", "installed"), project)
        built = os.path.join(project, "built")
        commands.run("cmake", "-S", project, "-B", built, f"-DCMAKE_PREFIX_PATH={prefix}", timeout_s=120)
        commands.run("cmake", "--build", built, timeout_s=120)
        (packages,) = [root for root, _, files in os.walk(prefix) if "netpool.pc" in files]
        libraries = os.path.dirname(packages)
        environment = commands.environment({"PKG_CONFIG_PATH": packages, "LD_LIBRARY_PATH": libraries})
        subprocess.run(["make", "-C", project], env=environment, stdout=subprocess.DEVNULL, timeout=120, check=True)
        flags = subprocess.run(["pkg-config", "--static", "--cflags", "--libs", "netpool"], env=environment,
                               stdout=subprocess.PIPE, timeout=120, check=True, text=True).stdout.split()
        flags = [f"{libraries}/libnetpool.a" if flag == "-lnetpool" else flag for flag in flags]
        subprocess.run(["cc", f"{project}/squares.c", f"{project}/squares_functions.c",
                        "-o", f"{project}/squares_static", *flags], timeout=120, check=True)
        for program in (f"{built}/squares", f"{built}/squares_static", f"{project}/squares",
                        f"{project}/squares_static"):
            said = subprocess.run([program], env=environment, stdout=subprocess.PIPE, timeout=120, check=True).stdout
            assert said == SQUARES, (program, said)
        for module in (f"{built}/squares.so", f"{project}/squares.so"):
            said = subprocess.run([f"{prefix}/bin/netpool", "up", "--module", module, "--", f"{built}/squares"],
                                  env=environment, stdout=subprocess.PIPE, timeout=120, check=True).stdout
            assert said == SQUARES, (module, said)


if __name__ == "__main__":
    sys.exit(c.main([install_serves_a_cmake_project_and_a_makefile_outside_the_tree]))
