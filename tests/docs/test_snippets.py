"""The C snippets of docs/coming-from-python.md compile without warnings, run, and print what they say they print."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

PROLOGUE = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netpool.h>
"""

MAIN = """
__attribute__((unused)) static void check(netpool_status status)
{
    if (status != NETPOOL_OK) {
        fprintf(stderr, "%s: %s\\n", netpool_status_name(status), netpool_last_error());
        exit(1);
    }
}
"""


def page():
    with open(os.path.join(k.SOURCE, "docs", "coming-from-python.md"), encoding="utf-8") as file:
        return file.read()


def snippet_function(number, text):
    body = re.sub(r"^(?=.)", "    ", text, flags=re.M)
    return f"static void snippet_{number}(netpool *pool)\n{{\n    (void)pool;\n{body}    netpool_close(&pool);\n}}\n"


def program_of(functions, snippets, module):
    """One program that runs the snippet whose number is its argument."""
    parts = [PROLOGUE, f'#define MODULE "{module}"\n', *functions, MAIN]
    parts += [snippet_function(number, text) for number, text in enumerate(snippets)]
    uses_pool = ", ".join("true" if re.search(r"\(pool[,)]|&pool\b", text) else "false" for text in snippets)
    calls = ", ".join(f"snippet_{number}" for number in range(len(snippets)))
    parts.append(f"""
int main(int argc, char **argv)
{{
    static void (*const snippets[])(netpool *) = {{{calls}}};
    static const bool uses_pool[] = {{{uses_pool}}};
    netpool *pool = NULL;
    netpool_error error;
    netpool_init(&argc, &argv);
    if (uses_pool[atoi(argv[1])] && netpool_open(&pool, NULL, NULL, &error) != NETPOOL_OK) {{
        fprintf(stderr, "%s\\n", error.message);
        return 3;
    }}
    snippets[atoi(argv[1])](pool);
    return 0;
}}
""")
    return "".join(parts)


def compile_with(commands, source, output, *options):
    flags = {"address": ["-fsanitize=address,undefined"], "thread": ["-fsanitize=thread"]}
    library = os.path.join(commands.build, "lib")
    commands.run(os.environ.get("NETPOOL_CC", "cc"), "-std=gnu17", "-g", "-Wall", "-Wextra", "-Werror", "-o", output, source,
                 *(f"-I{os.path.join(k.SOURCE, part)}" for part in ("client", "worker", "common")),
                 *flags.get(os.environ.get("NETPOOL_SANITIZE"), []), f"-L{library}", f"-Wl,-rpath,{library}", "-lnetpool",
                 "-lm", *options)


def build_snippets(commands):
    """(path of the program, path of the module, what each snippet prints)"""
    functions = re.findall(r"^```c functions\n(.*?)^```", page(), re.S | re.M)
    snippets = re.findall(r"^```c\n(.*?)^```", page(), re.S | re.M)
    assert len(functions) == 2 and len(snippets) == 23, (len(functions), len(snippets))
    program = os.path.join(commands.directory, "snippets")
    module = os.path.join(commands.directory, "python.so")
    with open(program + ".c", "w", encoding="utf-8") as file:
        file.write(program_of(functions, snippets, module))
    with open(module + ".c", "w", encoding="utf-8") as file:
        file.write(PROLOGUE + functions[0])
    compile_with(commands, program + ".c", program)
    compile_with(commands, module + ".c", module, "-shared", "-fPIC")
    prints = ["".join(f"{line}\n" for line in re.findall(r"// prints: (.*)$", text, re.M)) for text in snippets]
    assert all(prints), [text for text, said in zip(snippets, prints) if not said]
    return program, module, prints


def say_what_they_print(build, url):
    with k.Commands(build) as commands:
        program, module, prints = build_snippets(commands)
        environment = commands.environment({"NETPOOL_URL": url})
        if url == "tls":
            del environment["NETPOOL_URL"]
        for number, expected in enumerate(prints):
            argv = [program, str(number)]
            if url == "tls":
                argv = [commands.program("netpool"), "up", "--workers", "2", "--module", module, "--", *argv]
            done = subprocess.run(argv, env=environment, cwd=commands.directory, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=60, check=False)
            said = "".join(f"{line.rstrip()}\n" for line in done.stdout.decode().splitlines())
            assert done.returncode == 0 and said == expected, f"snippet {number} on {url}: {done}"


def python_snippets_on_local_print_what_they_say(build):
    say_what_they_print(build, "local:2")


def python_snippets_on_threads_print_what_they_say(build):
    say_what_they_print(build, "threads:2")


def python_snippets_on_tls_print_what_they_say(build):
    say_what_they_print(build, "tls")


TESTS = [value for name, value in list(globals().items()) if name.startswith("python_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
