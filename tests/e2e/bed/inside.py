# SPDX-License-Identifier: Apache-2.0
"""Process 1 of the bed: makes its corner of the machine and runs pytest in it.

Started by conftest.py through unshare(1) with new mount, network and PID namespaces. Whatever happens, when this process
ends the kernel ends every process in the bed and takes its mounts and network with it; nothing needs to be undone.
"""

import glob
import os
import subprocess
import sys

ROOT = "/run/bed"


def run(*argv):
    subprocess.run(argv, check=True)


def make_file_system():
    """A fresh /run and a writable copy-on-write /etc; nothing of it reaches the machine's own."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("bed", "lock", "etc-upper", "etc-work"):
        os.makedirs(f"/run/{name}")
    run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc,upperdir=/run/etc-upper,workdir=/run/etc-work", "/etc")
    for path in ("/var/lib/containers", "/var/tmp"):
        if os.path.isdir(path):
            run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", path)
    for path in ("/etc/docker", "/etc/containers"):
        os.makedirs(path, exist_ok=True)


def make_network():
    from names import HOSTS, hosts_file

    run("ip", "link", "set", "lo", "up")
    for address in HOSTS:
        run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    for path, text in (("/etc/hosts", hosts_file()), ("/etc/resolv.conf", "")):
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)


def run_and_reap(argv):
    """Run pytest; as process 1, also collect the orphans that daemons leave."""
    environment = dict(os.environ, PULLGATE_BED=ROOT, PYTHONDONTWRITEBYTECODE="1")
    child = os.posix_spawnp(argv[0], argv, environment)
    while True:
        try:
            pid, status = os.wait()
        except KeyboardInterrupt:
            continue  # pytest has had it too, and ends by itself
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def cgroups():
    return set(glob.glob("/sys/fs/cgroup/*/*")) | set(glob.glob("/sys/fs/cgroup/*/*/*"))


def remove_new_cgroups(before):
    """cgroups outlive their makers; rmdir takes only those that no process is in, here and of an earlier run that was killed."""
    for top in sorted((cgroups() - before) | set(glob.glob("/sys/fs/cgroup/*/pullgate-e2e")), reverse=True):
        if os.path.isdir(top):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass


def main():
    before = cgroups()
    make_file_system()
    make_network()
    status = run_and_reap(sys.argv[1:])
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                os.kill(int(entry), 9)  # only the bed's own: this is its PID namespace
            except OSError:
                pass
    while True:
        try:
            os.wait()
        except OSError:
            break
    remove_new_cgroups(before)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
