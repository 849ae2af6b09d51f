#!/usr/bin/env python3
"""Doxygen's input filter: makes documentation comments of the public headers' plain ones.

A comment that begins a line documents what follows it; one behind a declaration, what stands before it. The list of
statuses becomes the enumeration that the preprocessor makes of it.
"""
import re
import sys


def expand_statuses(text):
    rows = re.findall(r'X\((\w+), (\d+), +"([^"]*)"\)', text)
    if not rows:
        return text
    values = "".join(f"    NETPOOL_{name} = {number}, /* {words} */\n" for name, number, words in rows)
    text = re.sub(r"/\* X\(name.*?\n\n", "", text, flags=re.S)
    return re.sub(r"#define NETPOOL_STATUS_ENUM.*?#undef NETPOOL_STATUS_ENUM\n", values, text, flags=re.S)


def mark_comments(text):
    text = re.sub(r"/\*(?!\*)", r"/** \\file\n", text, count=1)
    text = re.sub(r"^( *)/\*(?!\*)", r"\1/**", text, flags=re.M)
    return re.sub(r"([;,{\w]) +/\*(?!\*)", r"\1 /**<", text)


with open(sys.argv[1], encoding="utf-8") as header:
    sys.stdout.write(mark_comments(expand_statuses(header.read())))
