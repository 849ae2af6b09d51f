"""Each row of the contract is in the documentation, with tests that exist."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

ROWS = [f"A{i}" for i in range(1, 26)] + [f"B{i}" for i in range(1, 43)]
DOCS = os.path.join(k.SOURCE, "docs")


def page():
    with open(os.path.join(DOCS, "contract.md"), encoding="utf-8") as file:
        return file.read()


def sources():
    """(path, text) of the files that tests are made of."""
    for directory, _, names in os.walk(os.path.join(k.SOURCE, "tests")):
        for name in names:
            if name.endswith((".c", ".py", ".cmake", ".txt")):
                path = os.path.join(directory, name)
                with open(path, encoding="utf-8") as file:
                    yield path, file.read()


def registered():
    """Tests that are run: cases of cmocka programs, and functions of Python programs that CMake knows."""
    names = set()
    functions = set()
    listed = set()
    for path, text in sources():
        if path.endswith(".c"):
            cases = set(re.findall(r"^static void (\w+)\(void \*\*state\)", text, re.M))
            names |= cases & set(re.findall(r"\b\w+\(\s*(\w+)[,)]", text))  # in the list of cases
        elif path.endswith(".py"):
            functions |= set(re.findall(r"^def (\w+)\(build\)", text, re.M))
        else:
            listed |= set(re.findall(r"^\s+(\w+)\)?$", text, re.M))
    return names | (functions & listed)


def contract_is_tested(build):
    rows = re.findall(r"^\| ([AB]\d+) \|(.*)\|$", page(), re.M)
    assert [name for name, _ in rows] == ROWS, "each row once, in their order"
    known = registered()
    for row, text in rows:
        *words, tests = [cell.strip() for cell in text.split("|")]
        names = re.findall(r"`(\w+)`", tests)
        assert all(words), f"{row}: an empty cell"
        assert names, f"{row} has no test"
        for name in names:
            assert name in known, f"{row}: there is no test {name}"
            assert re.search(rf"(^|_){row.lower()}_", name), f"{row}: {name} does not carry its number"


def contract_links_lead_somewhere(build):
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", page())
    assert len(links) >= len(ROWS)
    for target, anchor in set(links):
        path = os.path.join(DOCS, target)
        assert os.path.exists(path), target
        if anchor:
            with open(path, encoding="utf-8") as file:
                titles = re.findall(r"^#+ (.*)$", file.read(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{target}#{anchor}"


def contract_names_where_a_pool_cannot(build):
    table = page().partition("### Where a kind of pool cannot")[2].partition("## Faults")[0]
    rows = re.findall(r"^\| `.*\|$", table, re.M)
    known = registered()
    assert len(rows) >= 4
    for row in rows:
        name = re.findall(r"`(\w+)` \|$", row)
        assert name and name[0] in known, row


TESTS = [contract_is_tested, contract_links_lead_somewhere, contract_names_where_a_pool_cannot]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
