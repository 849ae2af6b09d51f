#!/usr/bin/env python3
"""Makes a man page of what a program prints for --help, so that the two cannot differ.

    page_of_help.py PAGE NAME SECTION DATE TITLE COMMAND...   writes the file PAGE

COMMAND... is run with --help. A line at the margin is a heading when what follows it is indented, and else text. An indented line of `term`, two spaces or more, and text is an item of a list, its text going on in the lines that
are indented further; a term may stand alone on its line. What is indented otherwise is kept as it is.
"""
import re
import subprocess
import sys

TERM = re.compile(r"(?P<indent> +)(?P<term>(?:-|[A-Z0-9]|[a-z][\w, :/\[\]-]*?)\S*(?: \S+)*?)(?: {2,}(?P<text>\S.*))?$")


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def indent_of(line):
    return len(line) - len(line.lstrip())


class Page:
    def __init__(self):
        self.out = []
        self.mode = None  # None: between things, "text", "item", "literal"
        self.text_indent = 0

    def end(self):
        if self.mode == "literal":
            self.out.append(".fi")
        self.mode = None

    def heading(self, text):
        """Begins a section and returns its name."""
        self.end()
        title, _, remark = text.rstrip(":").partition(" (")
        self.out.append(f".SH {escaped(title).upper()}")
        if remark:
            self.text(remark[0].upper() + remark[1:].rstrip(")") + ".")
            self.end()
        return title.upper()

    def paragraph(self, *macros):
        """Begins one; right behind a heading that takes no macro."""
        self.end()
        self.out += [] if self.out and self.out[-1].startswith(".SH") else [".PP"]
        self.out += macros

    def item(self, line, match):
        self.end()
        self.out += [".TP", f".B {escaped(match['term'])}"]
        self.mode = "item"
        self.text_indent = match.start("text") if match["text"] else indent_of(line) + 4
        if match["text"]:
            self.out.append(escaped(match["text"]))

    def literal(self, line):
        if self.mode != "literal":
            self.paragraph(".nf")
            self.mode = "literal"
        self.out.append(escaped(line.strip()) if indent_of(line) <= 4 else "    " + escaped(line.strip()))

    def text(self, line):
        if self.mode != "text":
            self.paragraph()
        self.mode = "text"
        self.out.append(escaped(line.strip()))

    def line(self, line, keeps):
        """keeps: sections whose lines are not filled."""
        match = TERM.fullmatch(line)
        if self.mode == "item" and indent_of(line) >= self.text_indent:
            self.out.append(escaped(line.strip()))
        elif keeps:
            self.literal(line)
        elif match and (match["text"] or re.match(r" +-", line)):
            self.item(line, match)
        else:
            self.text(line)


KEPT = ("SYNOPSIS", "EXAMPLES", "EXAMPLE")  # sections whose lines are not filled


def body_of(help_text, name, title):
    page = Page()
    help_text = help_text.replace(f"    {name.replace('-', ' ')} - ", f"    {name} - ", 1)
    lines = help_text.rstrip("\n").split("\n")
    if not help_text.startswith("NAME"):  # the short form, without this section
        page.out += [".SH NAME", escaped(f"{name} - {title}")]
        lines = [line for line in lines if line != f"{name.replace('-', ' ')} - {title}"]
    section = ""
    for line, following in zip(lines, [*lines[1:], ""]):
        usage = re.fullmatch(r"Usage:\s*(.*)", line)
        inline = re.fullmatch(r"([A-Z]\w+(?: status)?): (.+)", line)
        if not line:
            page.end()
        elif line.startswith(" "):
            page.line(line, section in KEPT)
        elif usage:
            section = page.heading("SYNOPSIS")
            if usage[1]:
                page.literal("    " + usage[1])
        elif inline and page.mode is None:
            section = page.heading(inline[1])
            page.text(inline[2])
        elif page.mode is None and following.startswith(" ") and not line.endswith("."):
            section = page.heading(line)
        else:
            if section in ("", "SYNOPSIS"):
                section = page.heading("DESCRIPTION")
            page.text(line)
    page.end()
    return "\n".join(page.out)


def main():
    path, name, section, date, title, *command = sys.argv[1:]
    said = subprocess.run([*command, "--help"], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    with open(path, "w", encoding="utf-8") as page:
        page.write(f'.TH "{name.upper()}" {section} {date} netpool "netpool"\n{body_of(said, name, title)}\n')


if __name__ == "__main__":
    main()
