# SPDX-License-Identifier: Apache-2.0
"""Daemons and commands of the bed, and waiting for what they do. Waits poll; their bounds are generous, never asserted."""

import atexit
import os
import signal
import subprocess
import time

PATIENCE = 60.0  # seconds until something that must become true is given up


def until(what, condition, patience=PATIENCE):
    """Poll until `condition()` is true (anything but None and False), and return it."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value is not None and value is not False:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: still not so after {patience:.0f} s")
        time.sleep(0.02)


def base_environment(**more):
    """An environment without the machine's own CA settings and proxies."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().endswith(("_PROXY", "_CA_BUNDLE", "_CERT_FILE", "_CERT_DIR"))}
    return {**kept, **more}


class Daemon:
    """A process in its own process group whose output goes to a file."""

    def __init__(self, argv, log, env=None, cwd=None, stdout=None):
        self.argv, self.log = argv, log
        with open(log, "ab") as err, open(stdout or log, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env or base_environment(),
                                            cwd=cwd, start_new_session=True)
        atexit.register(self.stop)

    def alive(self):
        return self.process.poll() is None

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_ready(self, condition):
        def ready():
            assert self.alive(), f"{self.argv[0]} ended ({self.process.returncode}) before it was ready:\n{self.text()[-4000:]}"
            return condition()

        until(f"{self.argv[0]} is ready; its log:\n{self.log}", ready)
        return self

    def stop(self, patience=20):
        """End it, its group too; return its exit status."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        atexit.unregister(self.stop)
        return self.process.wait()


class Result:
    """What a command printed, both streams as a terminal shows them, and its exit status."""

    def __init__(self, argv, status, output):
        self.argv, self.status, self.output = argv, status, output

    @property
    def ok(self):
        return self.status == 0

    def must_work(self):
        if not self.ok:
            raise AssertionError(f"this had to work:\n{self}")
        return self.output

    def must_fail(self):
        if self.ok:
            raise AssertionError(f"this had to fail:\n{self}")
        return self.output

    def __str__(self):
        return f"$ {' '.join(self.argv)}\n{self.output}[exit status {self.status}]"


def command(argv, env=None, cwd=None, patience=150):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env or base_environment(),
                              cwd=cwd, timeout=patience, start_new_session=True)
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode("utf-8", "replace")
        raise AssertionError(f"$ {' '.join(argv)}\n{output}[still running after {patience} s]") from None
    return Result(argv, done.returncode, done.stdout.decode("utf-8", "replace"))
