# SPDX-License-Identifier: Apache-2.0
"""What the documents point to must be there: files and headings that they link to, and tests that they name as
`tests/e2e/test_NAME.py::test_NAME` or `tests/unit/test_NAME.c::SUITE/NAME`."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
TEST = re.compile(r"`(tests/[\w/]+\.(?:py|c|sh))(?:::([\w/]+))?`")
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
INDENTED = re.compile(r"^(?: {4}|\t).*$", re.M)


def documents():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "build")) and name != "node_modules")
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".md"))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def without_code(text):
    return INDENTED.sub("", FENCED.sub("", text))


def anchors(path):
    """The names that a heading can be linked to by, as GitHub makes them."""
    found, seen = set(), {}
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_code(read(path)), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return found


def wrong_links(path, text):
    for target in LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(there):
            yield f"links to {target}: no such file"
        elif anchor and anchor not in anchors(there):
            yield f"links to {target}: no such heading"


def wrong_tests(text):
    for file, name in TEST.findall(text):
        if "NAME" in file:
            continue  # any file of that form is meant
        path = os.path.join(ROOT, file)
        if not os.path.exists(path):
            yield f"names {file}: no such file"
        elif name and not has_test(read(path), file, name):
            yield f"names {file}::{name}: no such test"


def has_test(source, file, name):
    if file.endswith(".c"):
        suite, _, test = name.partition("/")
        return re.search(rf"^(?:Parameterized)?Test\({suite}, {test}\b", source, re.M) is not None
    return re.search(rf"^def {name}\(", source, re.M) is not None


def main():
    wrong = 0
    for path in documents():
        text = read(path)
        for what in [*wrong_links(path, text), *wrong_tests(text)]:
            print(f"{os.path.relpath(path, ROOT)} {what}")
            wrong += 1
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
