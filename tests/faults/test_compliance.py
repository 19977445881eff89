# SPDX-License-Identifier: Apache-2.0
"""Reports of machines: who may send them, what is kept, how the machines stand, and what of it a restart keeps."""

import crypt
import http.client
import json
import subprocess
import threading

import pytest

from bed import SECRETS, configuration
from gateway import ADDRESS, BINARY, SANITIZER, assert_oci_error, free_port, read_answer
from stores import wait_for
from test_admin import Watched
from test_identity import basic

REPORT = "/pullgate/v1/report"
LIMIT = 64 * 1024
PASSWORD = "correct horse"
PER_NAME, PER_ADDRESS = 10, 60  # in a minute


@pytest.fixture
def watched(bed, tmp_path):
    """A gateway with an admin listener, a state directory and, beside the first, a listener that identifies."""
    made = []

    def make(number=0, **more):
        users = tmp_path / "users.htpasswd"
        hashed = crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_SHA512, rounds=5000))
        users.write_text("".join(f"{name}:{hashed}\n" for name in ("web-1", "web-2")))
        users.chmod(0o600)
        port = free_port()
        settings = {**configuration(bed), "state_directory": str(tmp_path / "state"),
                    "identity": {"htpasswd": str(users)}, **more}
        gateway = Watched(tmp_path / f"gateway-{number}", settings,
                          listeners=[{"address": f"{ADDRESS}:{port}", "identify": "required"}])
        gateway.first, gateway.knows = gateway.port, port
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        ended = gateway.process.poll() is not None
        assert gateway.stop() == 0 or ended, gateway.output()


def report(gateway, **keys):
    site = json.loads(gateway.ask("/pullgate/v1/site").body)  # what its hash is of is told by the list
    assert site["format"] == 1
    return {"format": 1, "pullgate": "0.1.0", "machine": "web-1", "machine_id": "11aa", "time": "2026-01-02T03:04:05Z",
            "gateway": site["gateway"], "site": listed(gateway)["site"], "verdict": "closed", "clients": [], "findings": [],
            **keys}


def finding(severity, what="it falls back"):
    return {"client": "docker", "severity": severity, "code": "fallback", "where": "/etc/docker/daemon.json", "what": what,
            "todo": "close it", "command": "pullgate client docker"}


def post(gateway, body, headers=(), port=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(ADDRESS, port or gateway.first, timeout=20)
    try:
        connection.request("POST", REPORT, body=body, headers=dict(headers))
        answer = read_answer(connection.getresponse(), "POST")
        answer.gateway = gateway
        return answer
    finally:
        connection.close()


def listed(gateway, query=""):
    answer = gateway.admin("/admin/compliance" + query)
    assert answer.status == 200 and answer.complete, answer.body
    return json.loads(answer.body)


def standing(gateway, query=""):
    return [(machine["name"], machine["verified"], machine["status"]) for machine in listed(gateway, query)["machines"]]


def told(answer):
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["kept"]
    return json.loads(answer.body)["status"]


# --- how they stand ---


@pytest.mark.parametrize("keys, status", [
    ({}, "compliant"),
    ({"verdict": "open"}, "non-compliant"),
    ({"findings": [finding("open")]}, "non-compliant"),
    ({"clients": [{"name": "crane", "uses": "no", "leaves": "yes"}], "findings": [finding("warning")]}, "compliant"),
    ({"findings": [finding("warning"), finding("ok")]}, "compliant"),
    ({"verdict": "unknown"}, "unknown"),
    ({"site": None}, "unknown"),
    ({"site": "000000000000"}, "outdated"),
    ({"site": "000000000000", "verdict": "open"}, "non-compliant"),
], ids=lambda value: None if isinstance(value, dict) else value)
def test_each_status(watched, keys, status):
    gateway = watched()
    assert told(post(gateway, report(gateway, **keys))) == status
    assert standing(gateway) == [("127.0.0.1 11aa", False, status)]
    assert gateway.figure(f'pullgate_compliance_machines{{status="{status}"}}') == 1
    assert sum(v for k, v in gateway.figures().items() if k.startswith("pullgate_compliance_machines")) == 1


def test_a_changed_site_makes_reports_outdated(watched):
    gateway = watched()
    assert told(post(gateway, report(gateway))) == "compliant"
    gateway.configure([{"address": f"{ADDRESS}:{gateway.knows}", "identify": "required"}], clients={"direct": ["r.test"]})
    assert "replaces" in gateway.reload()["message"]
    assert standing(gateway) == [("127.0.0.1 11aa", False, "outdated")]
    assert told(post(gateway, report(gateway))) == "compliant"


def test_expected_machines(watched):
    gateway = watched(compliance={"expected": ["user:web-1", "web-2", "web-3"]})
    assert standing(gateway) == [(name, False, "unknown") for name in ("user:web-1", "web-2", "web-3")]
    assert told(post(gateway, report(gateway), [basic("web-1", PASSWORD)], gateway.knows)) == "compliant"
    assert told(post(gateway, report(gateway, machine="web-2"))) == "compliant"
    assert standing(gateway) == [("user:web-1", True, "compliant"), ("127.0.0.1 11aa", False, "compliant"),
                                 ("web-3", False, "unknown")]
    assert listed(gateway)["counts"] == {"compliant": 2, "non-compliant": 0, "outdated": 0, "unknown": 1}


# --- who ---


def test_the_unidentified_are_refused_where_the_listener_demands_it(watched):
    gateway = watched()
    body = report(gateway)
    assert_oci_error(post(gateway, body, port=gateway.knows), 403, "unidentified")
    assert_oci_error(post(gateway, body, [basic("web-1", "wrong " + SECRETS["client"])], gateway.knows), 403, "credential")
    assert standing(gateway) == []


def test_a_name_is_kept_once(watched):
    gateway = watched()
    for machine in ("a", "b"):
        got = post(gateway, report(gateway, machine=machine, machine_id=machine), [basic("web-1", PASSWORD)], gateway.knows)
        assert told(got) == "compliant"
    assert got.line["who"].endswith("web-1") and got.line["route"] == "own"
    (machine,) = listed(gateway)["machines"]
    assert machine["verified"] and machine["machine"] == "b"
    told(post(gateway, report(gateway, machine="web-1")))
    assert [verified for _, verified, _ in standing(gateway)] == [True, False], "nobody unknown replaces it"


def test_the_unknown_are_told_apart_by_address_and_machine(watched):
    gateway = watched()
    for machine_id in ("1", "2", "1"):
        told(post(gateway, report(gateway, machine_id=machine_id)))
    assert sorted(name for name, _, _ in standing(gateway)) == ["127.0.0.1 1", "127.0.0.1 2"]


# --- what is no report ---


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"{}", b'{"format":2}', b"\x00" * 100, b"[" * 60000, b'{"a":' * 10000,
    b'{"format":1,"format":1}', b"\xff\xfe{}", b'{"format":1,"machine":"\\ud800"}',
])
def test_no_report(watched, body):
    gateway = watched()
    answer = post(gateway, body)
    assert_oci_error(answer, 400, "request")
    assert standing(gateway) == []


def test_nothing_is_echoed(watched):
    gateway = watched()
    secret = SECRETS["client"]
    for keys in ({"verdict": secret}, {"machine": [secret]}, {"findings": [{"severity": secret}]}, {"format": secret}):
        answer = post(gateway, report(gateway, **keys))
        assert answer.status == 400 and secret.encode() not in answer.body
        assert secret not in json.dumps(answer.line)


def test_too_long(watched):
    gateway = watched()
    body = json.dumps(report(gateway)).encode()
    assert told(post(gateway, body.ljust(LIMIT))) == "compliant"
    answer = post(gateway, body.ljust(LIMIT + 1))
    assert answer.status == 413
    assert gateway.ask("/v2/").status == 200


def test_what_is_kept_is_bounded_and_printable(watched):
    gateway = watched()
    many = [finding("open", f"{n} \x1b[31m‮ " + "x" * 300) for n in range(100)]
    told(post(gateway, report(gateway, findings=many, machine="a\nb\x07")))
    (machine,) = listed(gateway, "?findings=yes")["machines"]
    assert machine["open"] == 100 and 1 <= len(machine["report"]["findings"]) <= 16
    assert machine["machine"] == "a b?"
    text = json.dumps(machine, ensure_ascii=False)
    assert len(text) < 10000 and "‮" not in text and "\\u001b" not in text
    assert "todo" not in text


# --- too often ---


def test_too_often(watched):
    gateway = watched()
    body = report(gateway)
    for _ in range(PER_NAME):
        told(post(gateway, body, [basic("web-1", PASSWORD)], gateway.knows))
    answer = post(gateway, body, [basic("web-1", PASSWORD)], gateway.knows)
    assert answer.status == 429 and 1 <= int(answer.header("retry-after")) <= 60
    assert told(post(gateway, body, [basic("web-2", PASSWORD)], gateway.knows)) == "compliant"
    for n in range(PER_ADDRESS):
        told(post(gateway, {**body, "machine_id": str(n)}))
    assert post(gateway, b"nonsense").status == 429, "what is no report counts as well"
    assert gateway.ask("/v2/").status == 200, "nothing else is slowed"


def test_many_at_once(watched):
    gateway = watched()
    body, statuses = report(gateway), []

    def send(number):
        for n in range(10):
            statuses.append(post(gateway, {**body, "machine_id": f"{number}-{n}"}).status)
            listed(gateway, "?findings=yes")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(statuses)) == [200, 429] and statuses.count(200) == PER_ADDRESS
    assert len(standing(gateway)) == PER_ADDRESS


# --- over a restart ---


def test_a_restart_keeps_them(watched, tmp_path):
    gateway = watched()
    told(post(gateway, report(gateway, findings=[finding("open")]), [basic("web-1", PASSWORD)], gateway.knows))
    told(post(gateway, report(gateway)))
    before = listed(gateway, "?findings=yes")["machines"]
    assert gateway.stop() == 0
    file = tmp_path / "state" / "compliance.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open("a") as f:
        f.write("nonsense\n")
    again = watched(1)
    after = listed(again, "?findings=yes")["machines"]
    assert [(m["name"], m["received"], m["report"]) for m in after] == [(m["name"], m["received"], m["report"]) for m in before]
    assert again.stop() == 0
    assert "1 of its lines" in again.events("compliance")[0]["message"]


def test_a_state_that_cannot_be_written(watched, tmp_path):
    state = tmp_path / "state"
    gateway = watched()
    state.mkdir(mode=0o700, exist_ok=True)
    state.chmod(0o755)  # others may look in: not a place for state
    assert told(post(gateway, report(gateway))) == "compliant"
    assert gateway.stop() == 0
    assert "others may look" in gateway.events("compliance")[0]["message"]
    state.chmod(0o700)


def test_what_could_not_be_written_is_written_later(watched, tmp_path):
    """A disk that is full for a while: nobody has to report again."""
    state = tmp_path / "state"
    gateway = watched()
    state.mkdir(mode=0o700, exist_ok=True)
    state.chmod(0o755)
    told(post(gateway, report(gateway)))
    wait_for(lambda: gateway.events("compliance"), 30, "it is not told")
    state.chmod(0o700)
    wait_for(lambda: (state / "compliance.jsonl").exists(), 30, "it is not tried again")
    wait_for(lambda: len(gateway.events("compliance")) == 2, 5)
    assert "written again" in gateway.events("compliance")[1]["message"]
    assert [file.name for file in state.iterdir() if "compliance" in file.name] == ["compliance.jsonl"]


# --- reading ---


@pytest.mark.parametrize("query", ["?status=open", "?nonsense=1", "?name=%zz", "?findings=perhaps"])
def test_filters_that_are_none(watched, query):
    assert watched().admin("/admin/compliance" + query).status == 400


def test_only_on_the_admin_listener(watched):
    gateway = watched()
    assert gateway.ask("/admin/compliance").status == 404
    assert gateway.ask(REPORT).status == 405
    assert gateway.admin(REPORT, "POST", b"{}").status == 405


def test_the_command(watched):
    gateway = watched(compliance={"expected": ["web-9"]})
    told(post(gateway, report(gateway, findings=[finding("open", "it \x1b[2J falls back")])))
    gateway.port = gateway.first

    def run(*options):
        done = subprocess.run([str(BINARY), "compliance", "--config", str(gateway.config), *options], capture_output=True,
                              text=True, timeout=30)
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    table = run("--findings")
    assert table.returncode == 1, table.stderr
    assert "Non-compliant  127.0.0.1 11aa" in table.stdout and "unverified" in table.stdout
    assert "Unknown        web-9" in table.stdout and "never" in table.stdout
    assert "it ?[2J falls back" in table.stdout
    assert table.stdout.splitlines()[-1] == "Compliant: 0, Non-compliant: 1, Outdated: 0, Unknown: 1"
    assert json.loads(run("--json", "--status", "unknown").stdout)["machines"][0]["name"] == "web-9"
    told(post(gateway, report(gateway)))
    assert run("--name", "127.0.0.1 11aa").returncode == 0
    nowhere = run("--name", "web-10")
    assert nowhere.returncode == 1 and "no machine of that name" in nowhere.stderr
    assert run("--name", "web-10", "--status", "outdated").returncode == 0  # of that status there is none
    assert run("--status", "open").returncode == 2
    gateway.stop()
    assert "no gateway answers" in run().stderr
