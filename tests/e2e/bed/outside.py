# SPDX-License-Identifier: Apache-2.0
"""From the machine into the bed: pytest starts itself again in new namespaces."""

import os
import shutil
import signal
import subprocess
import sys

INSIDE = os.environ.get("PULLGATE_BED")
NEEDED = ["setpriv", "unshare", "ip", "openssl", "docker-registry", "skopeo", "podman", "buildah", "containerd", "ctr", "runc",
          "/usr/sbin/dockerd", "/usr/bin/docker", "/bin/busybox"]


def why_not(*more):
    """What is missing on this machine, in words; None if nothing is. `more`: what else is needed."""
    if os.geteuid() != 0:
        return "the end-to-end stories need root: they make network, mount and PID namespaces and start container daemons"
    missing = [name for name in [*NEEDED, *more] if not shutil.which(name)]
    return f"the end-to-end stories need {', '.join(missing)}" if missing else None


def go_inside(config):
    """Run the same pytest again in new namespaces."""
    if INSIDE or why_not() or config.option.collectonly:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    sys.stdout.flush()
    # Whoever ends this process, by whatever signal, ends the bed: each parent's death kills its child.
    inside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside.py")
    bed_process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                                    "--mount-proc", "--propagation", "private", sys.executable, inside, *sys.orig_argv])
    signal.signal(signal.SIGTERM, lambda *_: bed_process.kill())
    while True:
        try:
            status = bed_process.wait()
            break
        except KeyboardInterrupt:
            pass  # the pytest inside has had it too, and ends by itself
    os._exit(status if status >= 0 else 128 - status)
