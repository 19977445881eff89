# SPDX-License-Identifier: Apache-2.0
"""The enforcement matrix: no client gets past the gateway by any way but those that docs/enforcement.md names."""

import difflib
import os

import pytest

import kinds
from matrix import OPEN, UNCONFIGURED, VARIANTS
from page import PAGE, WRITE, Page, open_cells
from reasons import REASONS, reason_for
from ways import BY_KEY, CONTROL, HUB, WAYS

FAMILY = "today" if kinds.TODAY else "debian"
ROWS = {kind.key: kind for kind in kinds.ROWS}
CELLS = [(row, way.key) for row, kind in ROWS.items() for way in WAYS if way.exists_for(kind)]


@pytest.fixture(scope="module")
def page():
    return Page()


# --- controls ---


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("row", ROWS)
def test_an_allowed_image_comes_through_the_gateway(row, variant, matrix):
    outcome = matrix.outcome(row, CONTROL.key, variant)
    assert outcome.result.ok and not outcome.asked, outcome


@pytest.mark.parametrize("variant", [*VARIANTS, UNCONFIGURED])
@pytest.mark.parametrize("row", ROWS)
def test_the_registries_can_be_reached_unless_egress_rules_are_loaded(row, variant, matrix):
    assert matrix.lane(row, variant).reaches == (not variant.endswith("+egress"))


@pytest.mark.parametrize("row, way", CELLS)
def test_a_client_that_nobody_configured_gets_around(row, way, matrix):
    """Otherwise a refusal of this way would show nothing."""
    outcome, bites = matrix.outcome(row, way, UNCONFIGURED), BY_KEY[way].bites
    if way == "hosts-file" and ROWS[row].keeps_connections:
        bites = bites | {HUB}
    if way in ROWS[row].harmless:
        assert not outcome.asked & BY_KEY[way].bites and not (outcome.result.ok and not outcome.asked), f"it is not harmless:\n{outcome}"
        return
    assert outcome.verdict == OPEN, outcome
    assert not bites or outcome.asked & bites, f"it did not go where this way leads, {bites}:\n{outcome}"


# --- the matrix ---


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("row, way", CELLS)
def test_a_way_around(row, way, variant, matrix, page):
    outcome, expected = matrix.outcome(row, way, variant), page.expected(row, way)
    if not WRITE:
        assert expected, f"{PAGE} has no such cell"
        assert outcome.verdict == expected[VARIANTS.index(variant)], outcome
    if outcome.verdict == OPEN:
        reason = reason_for(row, way, [variant])
        assert reason, f"this is open, and nothing says why:\n{outcome}"
        assert reason.findings(variant) <= outcome.found, f"doctor found {sorted(outcome.found)}, not {sorted(reason.findings(variant))}"


@pytest.mark.skipif(bool(kinds.ONLY), reason="only some clients")
def test_the_page_is_of_this_run(matrix, page):
    after = page.with_matrix(FAMILY, kinds.ROWS, matrix.verdicts)
    if WRITE:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(after)
    else:
        assert page.text == after, "\n".join(difflib.unified_diff(page.text.splitlines(), after.splitlines(), "the page", "this run", lineterm="", n=0))


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.title)
def test_doctor_knows_the_finding(reason):
    with open(os.path.join(os.path.dirname(PAGE), "doctor.md"), encoding="utf-8") as file:
        assert f"`{reason.finding}`" in file.read()


def test_every_reason_is_needed():
    """Of both families: the page has the tables of the one that did not run."""
    needed = {reason_for(*place) for place in open_cells(Page().cells())}
    assert None not in needed
    assert not [reason.title for reason in REASONS if reason not in needed]
