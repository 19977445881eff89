# SPDX-License-Identifier: Apache-2.0
"""A machine is configured by the real `pullgate client`, run on it, as its administrator would: nothing is written by hand."""

import json
import os
import re
import shutil

from bed.gateway import PULLGATE


def configure(row, site):
    """What was said while it was written."""
    if row.site == "windows":
        return distribution(row, site)
    return written(row, site, *row.client, *row.client_options, "--strict") if row.client else ""


def egress(row, site):
    """The rules, as the machine would load them when it starts."""
    written(row, site, "firewall", "--nft")
    with open(row.machine.etc("nftables.d/pullgate.nft"), encoding="utf-8") as file:
        return file.read()


def written(row, site, *argv):
    command = [PULLGATE, "client", *argv, "--config", site.gateway.path, "--ca", site.ca, "--write", "--root", row.folder]
    told = row.run(*command).must_work()
    again = row.run(*command).must_work()
    assert not re.search("^(written|moved aside|LEFT|NOT)", again, re.M), f"written twice, it changes something:\n{again}"
    return told


def distribution(row, site):
    """A WSL2 distribution runs the script that `pullgate client wsl` generates for it, with the authority laid beside it."""
    written(row, site, "wsl")
    scripts = row.machine.etc("pullgate/windows")
    shutil.copy(site.ca, f"{scripts}/ca.crt")
    programs = f"{row.folder}/bin"
    os.makedirs(programs)
    os.symlink(PULLGATE, f"{programs}/pullgate")
    told = row.run("sh", "/etc/pullgate/windows/pullgate-wsl.sh", PATH=f"{programs}:{row.env['PATH']}").output
    assert os.path.exists(row.machine.etc("pullgate/client.json")), told  # its status is doctor's
    return told


def doctor(row, site):
    """The codes of what `pullgate doctor` finds on this machine now about this row's client, the network included."""
    told = row.run(PULLGATE, "doctor", *(row.client if row.has_files else ()), "--offline", "--probe", "--json", *(() if row.client else ("--config", site.gateway.path)))
    start = told.output.find("{")
    assert start >= 0, f"doctor said nothing:\n{told}"
    return {finding["code"] for finding in json.loads(told.output[start:])["findings"] if finding["severity"] != "ok"}
