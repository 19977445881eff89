# SPDX-License-Identifier: Apache-2.0
"""docs/enforcement.md: the matrix as people read it, and as the next run is compared with.

Each family of clients has a table; a run replaces the tables of the families that it had, and the list of what is open, which
is made of all tables and of reasons.py. The rest of the page is written by hand.
"""

import os
import re
import textwrap

from matrix import ANSWERED, MESSAGE, NONE, OPEN, REFUSED, VARIANTS
from reasons import REASONS, reason_for
from ways import WAYS

PAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../docs/enforcement.md"))
WRITE = os.environ.get("PULLGATE_WRITE_DOCS") == "1"
LETTERS = {"m": MESSAGE, "r": REFUSED, "o": OPEN, "g": ANSWERED}
LETTER = {verdict: letter for letter, verdict in LETTERS.items()}


def cell_text(verdicts):
    if len(set(verdicts)) == 1:
        return f"**{OPEN}**" if verdicts[0] == OPEN else verdicts[0]
    return " ".join(LETTER.get(verdict, "?") for verdict in verdicts)


def cell_verdicts(text):
    words = text.replace("*", "").split()
    return [LETTERS[word] for word in words] if len(words) == len(VARIANTS) else words * len(VARIANTS)


def section(kinds, verdicts):
    """A family's table, and what its columns are."""
    named = [f"- {kind.key}: {kind.title}" for kind in kinds]
    return table([kind.key for kind in kinds], verdicts) + "\n\n" + "\n".join(named)


def table(rows, verdicts):
    """`rows`: keys. `verdicts(row, way)`: one for each variant."""
    lines = ["| Way | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for way in WAYS:
        cells = [cell_text(verdicts(row, way.key)) for row in rows]
        if set(cells) != {NONE}:
            lines.append(f"| {way.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse(text):
    """{(row, way): verdicts} of a table."""
    titles, found, rows = {way.title: way.key for way in WAYS}, {}, []
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip().strip("|").split("|")]
        if fields[0] == "Way":
            rows = fields[1:]
        elif fields[0] in titles:
            found |= {(row, titles[fields[0]]): cell_verdicts(field) for row, field in zip(rows, fields[1:])}
    return found


class Page:
    """`families`: the sections that have a table each."""

    FAMILIES = ("debian", "today")

    def __init__(self):
        with open(PAGE, encoding="utf-8") as file:
            self.text = file.read()

    def section(self, name):
        return re.search(self._pattern(name), self.text, re.S)[2].strip()

    def _pattern(self, name):
        return rf"(<!-- {name}: .*? -->\n)(.*?)(<!-- end of {name} -->)"

    def replaced(self, name, text):
        return re.sub(self._pattern(name), lambda found: f"{found[1]}\n{text}\n\n{found[3]}", self.text, flags=re.S)

    def cells(self):
        return {place: verdicts for family in self.FAMILIES for place, verdicts in parse(self.section(family)).items()}

    def expected(self, row, way):
        return self.cells().get((row, way))

    def with_matrix(self, family, kinds, verdicts):
        """The page's text after this run."""
        after = Page()
        after.text = self.replaced(family, section(kinds, verdicts))
        after.text = after.replaced("open", open_list(after.cells()))
        return after.text


def open_cells(cells):
    """(row, way, variants) of the cells that are open anywhere."""
    for (row, way), verdicts in cells.items():
        variants = [variant for variant, verdict in zip(VARIANTS, verdicts) if verdict == OPEN]
        if variants:
            yield row, way, variants


def count(cells):
    """How many are open in the variant that counts, with the reasons' titles."""
    there = sum(1 for verdicts in cells.values() if verdicts[0] != NONE)
    strict = [reason_for(row, way, variants) for row, way, variants in open_cells(cells) if VARIANTS[0] in variants]
    told = [f"{reason.title[0].lower()}{reason.title[1:]} ({strict.count(reason)})" for reason in REASONS if reason in strict]
    return f"With final denials and the egress rules {len(strict)} of {there} cells are open: {', '.join(told) or 'none'}."


def open_list(cells):
    """What is open, by reason: which ways, in which clients, what doctor says of it, and what closes it."""
    gathered = {}
    for row, way, variants in open_cells(cells):
        gathered.setdefault(reason_for(row, way, variants), []).append((row, way, variants))
    lines = [wrapped(count(cells)), ""]
    for reason in [None, *REASONS]:
        if reason in gathered:
            lines += [f"### {reason.title if reason else 'Without a reason'}", "", *places(reason, gathered[reason]), ""]
            if reason:
                found = " and ".join(f"`{code}`" for code in sorted({reason.finding, *([] if reason.always else ["egress_open"])}))
                lines += [wrapped(reason.why), "", wrapped(f"doctor finds {found}. What closes it: {reason.closes}"), ""]
    return "\n".join(lines).strip()


def places(reason, cells):
    """Ways and clients; for a reason that holds for all ways, its clients."""
    titles, ways = {way.key: way.title for way in WAYS}, {}
    for row, way, variants in cells:
        title = titles[way] if not reason or reason.ways else "every way that they have, but those above"
        rows = ways.setdefault((title, tuple(variants)), [])
        if row not in rows:
            rows.append(row)
    when = {tuple(VARIANTS): "in all four", ("final", "plain"): "without egress rules"}
    return [wrapped(f"- {title}: {', '.join(rows)} ({when.get(variants, ', '.join(variants))})", "  ") for (title, variants), rows in ways.items()]


def wrapped(text, indent=""):
    return textwrap.fill(text, 140, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
