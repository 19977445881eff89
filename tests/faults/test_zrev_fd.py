import os, threading, time, collections, socket
from stores import *
from upstream import blob, error, answer, head, raw
def test_fd(own_gateway, up, repo):
    gateway = own_gateway(store={})
    gate = threading.Event()
    small = [sample(f"{repo} s{n}", 70_000) for n in range(300)]
    for c in small: up.at(blob_path(repo, c), blob(c))
    for c in small: pull_right(gateway, repo, c)
    print("open after 300 pieces", len(os.listdir(f"/proc/{gateway.process.pid}/fd")))
    contents = [sample(f"{repo} {n}", 700_000) for n in range(200)]
    for c in contents: up.at(blob_path(repo, c), gated(c, 100_000, gate))
    readers = []
    for c in contents: readers.append(Reader(gateway, repo, c))
    time.sleep(4)
    n = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    t0=os.times(); 
    cpu = lambda: sum(map(int, open(f"/proc/{gateway.process.pid}/stat").read().split()[13:15]))
    c0=cpu(); time.sleep(1); c1=cpu()
    gate.set()
    got = collections.Counter()
    for r, c in zip(readers, contents):
        try:
            body = r.drain(30)
            got[(r.status, body == c)] += 1
        except AssertionError as e: got["hang"] += 1
    print("fds", n, "cpu ticks/s", c1-c0, got)
    print(gateway.output()[-700:])
