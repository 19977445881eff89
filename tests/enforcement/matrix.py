# SPDX-License-Identifier: Apache-2.0
"""The run: every client on machines of its own, all ways on each, and what came of it.

A lane is a row in one variant: a machine, a client, a configuration. Lanes know nothing of each other, so they run at once; what
is wrong with the gateway is wrong for all of them.
"""

import concurrent.futures
import time
import traceback

from bed import names
from bed.images import unique

import configure
import kinds
from ground import MARK, Ground
from machines import Machine, Witness
from ways import CONTROL, WAYS

VARIANTS = ["final+egress", "final", "plain+egress", "plain"]
UNCONFIGURED = "unconfigured"
MESSAGE, REFUSED, OPEN, ANSWERED, NONE, BROKEN = "message", "refused", "open", "gateway", "-", "broken"
WORKERS = 6
HOSTS_FILE_SECONDS = 5.5  # until a Go program that runs has seen that a hosts file is another
HANG_PATIENCE = 45  # seconds: longer than any client here waits before it turns elsewhere, if it does


class Outcome:
    """What a cell came to, and from what."""

    def __init__(self, verdict, result, asked, seconds=0.0):
        self.verdict, self.result, self.asked, self.seconds = verdict, result, asked, seconds
        self.found = set()  # by doctor, where the cell is open

    def __str__(self):
        asked = f"past the gateway, it asked: {', '.join(sorted(self.asked))}" if self.asked else "nobody but the gateway was asked"
        return f"{self.verdict}; {asked}\n{self.result}"


def judge(way, result, asked, seconds):
    if asked or (result.ok and way.gives_content):
        verdict = OPEN
    elif result.ok:
        verdict = ANSWERED
    else:
        verdict = MESSAGE if MARK in result.output else REFUSED
    return Outcome(verdict, result, asked, seconds)


class Lane:
    def __init__(self, ground, witness, kind, variant):
        self.ground, self.witness, self.kind, self.variant = ground, witness, kind, variant
        self.outcomes, self.broken = {}, {}
        self.reaches = None
        self.told = ""

    def start(self):
        folder = f"{self.ground.bed.folder}/{unique('lane')}"
        self.machine = Machine(folder, "wsl0" if self.kind.site == "windows" else "br0")
        self.row = self.kind(self.ground, self.machine)
        self.row.gateway = self.site = self.ground.sites[self.kind.site, "plain" if self.variant.startswith("plain") else "final"]
        self.row.prepare()
        if self.row.stocked_first:
            self.row.fill()
        if self.variant != UNCONFIGURED:
            self.told = configure.configure(self.row, self.site)
            if self.variant.endswith("+egress"):
                self.machine.rules(configure.egress(self.row, self.site))
        self.reaches = self.machine.reaches(names.HUB)
        self.row.start()
        if not self.row.stocked_first:
            self.row.fill()
        self.witness.take(self.machine)

    def go(self, way):
        if not way.exists_for(self.kind):
            return
        began = time.monotonic()
        try:
            self.row.patience = HANG_PATIENCE if way.state == "hanging" else kinds.PATIENCE
            result = way.do(self.ground, self.row)
            self.row.must_live()
            outcome = judge(way, result, self.witness.take(self.machine), time.monotonic() - began)
            self.outcomes[way.key] = outcome
            if outcome.verdict == OPEN and self.variant != UNCONFIGURED and way is not CONTROL:
                outcome.found = configure.doctor(self.row, self.site)
                self.witness.take(self.machine)  # doctor's own attempts
        except Exception:
            self.broken[way.key] = traceback.format_exc()
            self.witness.take(self.machine)
        finally:
            self.row.restore()

    def go_all(self):
        try:
            self.start()
        except Exception:
            self.broken["start"] = traceback.format_exc()
            return
        for way in [CONTROL] + [way for way in WAYS if not way.state and not way.before]:
            self.go(way)

    def stop(self):
        if "start" not in self.broken:
            self.row.stop()
        self.machine.stop()


class Matrix:
    def __init__(self, bed):
        self.witness = Witness()
        self.ground = Ground(bed, self.witness)
        self.rows = kinds.ROWS
        self.lanes = {(kind.key, variant): Lane(self.ground, self.witness, kind, variant) for kind in self.rows for variant in [*VARIANTS, UNCONFIGURED]}
        self.times = []

    def run(self):
        self._phase("ways", lambda lane: lane.go_all(), WORKERS)
        for way in WAYS:
            if way.before:
                lanes = [lane for lane in self.lanes.values() if "start" not in lane.broken and way.exists_for(lane.kind)]
                for lane in lanes:
                    way.before(lane.row)
                time.sleep(HOSTS_FILE_SECONDS)
                self._phase(way.key, lambda lane, way=way: "start" in lane.broken or lane.go(way), WORKERS)
                time.sleep(HOSTS_FILE_SECONDS)
            if way.state:
                for site in self.ground.sites.values():
                    site.go_wrong(way.state)
                workers = len(self.lanes) if way.state == "hanging" else WORKERS
                self._phase(way.key, lambda lane, way=way: "start" in lane.broken or lane.go(way), workers)
                for site in self.ground.sites.values():
                    site.go_right(way.state)
        self._phase("stop", lambda lane: lane.stop(), WORKERS)
        self.ground.stop()

    def _phase(self, name, do, workers):
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(do, self.lanes.values()))
        self.times.append((name, time.monotonic() - began))

    def lane(self, row, variant):
        lane = self.lanes[row, variant]
        assert "start" not in lane.broken, lane.broken["start"]
        return lane

    def outcome(self, row, way, variant):
        lane = self.lane(row, variant)
        assert way not in lane.broken, lane.broken[way]
        return lane.outcomes[way]

    def verdicts(self, row, way):
        """One for each variant."""
        return [self.verdict(row, way, variant) for variant in VARIANTS]

    def verdict(self, row, way, variant):
        lane = self.lanes[row, variant]
        if "start" in lane.broken or way in lane.broken:
            return BROKEN
        return lane.outcomes[way].verdict if way in lane.outcomes else NONE
