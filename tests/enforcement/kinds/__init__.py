# SPDX-License-Identifier: Apache-2.0
"""The clients of the matrix: its rows. Each has a machine of its own, and does there what a way asks for; a way that asks for
something that a client does not have ("push" of a builder) does not exist for it.

With PULLGATE_TODAY the rows are today's clients, else Debian's. Two of Debian's are WSL2's distributions, which share a gateway
on the interface to their host; "takeover" are those that a hosts file leads to the gateway.
"""

import os

from bed.clients import TODAY, today

from .base import PATIENCE
from .buildkit import BuildctlPolicy, Buildkitd
from .containerd import Cri, Cri2, Ctr, Ctr2
from .containers import Buildah, Podman, Skopeo, WslPodman
from .docker import (Docker29Build, Docker29Buildx, Docker29GraphBuild, Docker29GraphPull, Docker29Pull, Docker29Takeover, DockerBuildkit,
                     DockerClassic, DockerPull, DockerTakeover, WslDocker)
from .unbound import Crane, CraneTakeover, Regctl, RegctlTakeover

DEBIANS = [DockerPull, DockerClassic, DockerBuildkit, DockerTakeover, Ctr, Cri, Podman, Buildah, Skopeo, WslDocker, WslPodman]
TODAYS = [(Docker29Pull, "dockerd"), (Docker29Build, "dockerd"), (Docker29Buildx, "buildx"), (Docker29GraphPull, "dockerd"), (Docker29GraphBuild, "dockerd"),
          (Docker29Takeover, "dockerd"), (Ctr2, "ctr"), (Cri2, "containerd"), (Buildkitd, "buildkitd"), (BuildctlPolicy, "buildkitd"),
          (Crane, "crane"), (CraneTakeover, "crane"), (Regctl, "regctl"), (RegctlTakeover, "regctl")]
ONLY = os.environ.get("ENFORCEMENT_ROWS")
ROWS = [row for row in ([row for row, program in TODAYS if today(program)] if TODAY else DEBIANS) if not ONLY or row.key in ONLY.split(",")]
