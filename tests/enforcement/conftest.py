# SPDX-License-Identifier: Apache-2.0
"""The matrix is run here, once, inside of the end-to-end tests' bed."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../e2e")]

from bed import outside  # noqa: E402

NEEDED = ["nft", "nsenter"]


def pytest_configure(config):
    if not outside.why_not(*NEEDED):
        outside.go_inside(config)


def pytest_collection_modifyitems(items):
    reason = outside.why_not(*NEEDED)
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


MATRIX = pytest.StashKey()


@pytest.fixture(scope="session")
def matrix(pytestconfig):
    from bed.world import Bed
    from matrix import Matrix

    made = Matrix(Bed(outside.INSIDE))
    pytestconfig.stash[MATRIX] = made
    made.run()
    return made


def pytest_terminal_summary(terminalreporter, config):
    made = config.stash.get(MATRIX, None)
    if made is None:
        return
    from matrix import VARIANTS
    from page import table

    terminalreporter.section("enforcement matrix")
    terminalreporter.write_line(f"m message, r refused, o open; in this order: {', '.join(VARIANTS)}")
    terminalreporter.write_line(table([kind.key for kind in made.rows], made.verdicts))
    terminalreporter.write_line(", ".join(f"{name} {seconds:.0f} s" for name, seconds in made.times))
