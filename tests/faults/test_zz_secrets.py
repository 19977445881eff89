# SPDX-License-Identifier: Apache-2.0
"""Runs last, over all that the tests before it made the gateway write."""

import base64

from bed import SECRETS


def test_no_secret_was_written(gateway, bed):
    encoded = [base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("robot", "me")
               for secret in SECRETS.values()]
    for path in sorted(bed.directory.glob("*/log")) + sorted(bed.directory.glob("*/stderr")):
        text = path.read_text(errors="replace")
        for word in [*SECRETS.values(), *encoded]:
            assert word not in text, f"{path.name} holds {word}"


def test_every_line_of_the_log_is_json(gateway):
    lines = [line for line in gateway.log_path.read_text(errors="replace").splitlines() if line.strip()]
    assert lines and len(gateway.lines()) >= len(lines) - 1  # the last may be half written
    for line in gateway.lines():
        assert {"v", "time", "event", "gateway"} <= line.keys(), line
