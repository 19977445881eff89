# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/clients: parts of them stand between marks and hold what a command printed. Such a part is compared, or
written where PULLGATE_WRITE_DOCS=1 asks for that. What differs from run to run is made the same first."""

import difflib
import os
import re

FOLDER = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../../docs/clients"))
WRITE = os.environ.get("PULLGATE_WRITE_DOCS") == "1"

# Progress comes in as many lines as there was time for, and steps of a build in any order.
PROGRESS = [
    r"^[0-9a-f]{12}: (Pulling fs layer|Waiting|Verifying Checksum|Download complete|Downloading|Extracting)",
    r"\|[-+]{8,}\||\telapsed: |^elapsed: |^\S+ *\t(fetching image content|saved)|^application/vnd\.\S+ sha256:",
    r"^#[0-9]+ (sha256:|transferring |resolve |extracting |DONE|CACHED|\[internal\] load (build definition|\.dockerignore))",
    r"DEPRECATION: The support for cgroup v1",  # of this machine, not of the client
]
SETTLED = [
    (r"sha256:[0-9a-f]{64}", "sha256:…"),
    (r"\b[0-9a-f]{64}\b", "…"),
    (r"\bid=[0-9a-f]{16}\b", "id=0123456789abcdef"),
    (r'time="[^"]*"', 'time="…"'),
    (r"^[0-9a-f]{12}: ", "…: "),
    (r"^#[0-9]+ ", "#… "),
    (r"\b[0-9]+(\.[0-9]+)? ?[kKMG]?i?B\b", "… kB"),
    (r"\b[0-9]+(\.[0-9]+)?(ms|s)\b", "…s"),
    (r"[ \t]+$", ""),
    (r"\n{2,}", "\n"),
]


# One line for each top-level domain.
ENDINGS = re.compile(r'((?: +\{ prefix = "\*\..*\n){2})(?: +\{ prefix = "\*\..*\n){2,}')


def settled(text, printed=False):
    """The same for each run. `printed`: by pullgate, whose empty lines and numbers stay."""
    if printed:
        return ENDINGS.sub(r"\1    …\n", text).strip("\n") + "\n"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    text = "".join(line for line in text.splitlines(True) if not any(re.search(pattern, line) for pattern in PROGRESS))
    for pattern, instead in SETTLED:
        text = re.sub(pattern, instead, text, flags=re.M)
    text = text.strip("\n")
    return text + "\n" if text else ""


def path(name):
    return f"{FOLDER}/{name}.md"


def marks(part):
    return f"<!-- {part}: written by tests/e2e/test_pages.py -->\n", f"<!-- end of {part} -->\n"


class Page:
    def __init__(self, name):
        self.name = name
        with open(path(name), encoding="utf-8") as file:
            self.text = file.read()

    def has(self, part):
        return marks(part)[0] in self.text

    def holds(self, part, text, language="text"):
        """That the part says this; or write it."""
        begin, end = marks(part)
        assert begin in self.text and end in self.text, f"docs/clients/{self.name}.md has no part {part!r}: write its marks\n{begin}{end}"
        before, rest = self.text.split(begin, 1)
        old, after = rest.split(end, 1)
        new = f"\n```{language}\n{text}```\n\n"
        if old == new:
            return
        if WRITE:
            self.text = before + begin + new + end + after
            with open(path(self.name), "w", encoding="utf-8") as file:
                file.write(self.text)
            return
        difference = "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "the page says", "this was seen"))
        raise AssertionError(f"docs/clients/{self.name}.md, {part} (PULLGATE_WRITE_DOCS=1 writes it):\n{difference}")
