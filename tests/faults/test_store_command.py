# SPDX-License-Identifier: Apache-2.0
"""`pullgate store`, beside a running gateway and without one."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile

import pytest

from gateway import BINARY, assert_denied, assert_whole
from images import OCI_INDEX, OCI_MANIFEST, encode, script_manifest
from stores import (MIB, Image, PLACE, Reader, asked, blob_path, described, gets, hold, hold_blob, is_held, path_of, pull_manifest, pull_right,
                    sample, store, wait_for, wait_held)
from upstream import blob, digest, error


@pytest.fixture(params=["beside", "alone"])
def at(request):
    """Call it with a gateway before a command: with "alone" the gateway has ended by then."""

    def prepare(gateway):
        if request.param == "alone" and gateway.process.poll() is None:
            assert gateway.stop() == 0
        return gateway

    return prepare


@pytest.fixture
def keeping(own_gateway):
    return own_gateway(store={})


@pytest.fixture
def reopened(own_gateway):
    """The gateway that goes on with the store: the same one if it still runs."""

    def reopen(gateway):
        running = gateway.process.poll() is None
        return gateway if running else own_gateway(**{"store": gateway.settings["store"]})

    return reopen


def away(up, image):
    """From now on the registry fails for everything of the image."""
    for path in [image.by_tag, image.by_digest, *[blob_path(image.repo, content) for content in image.blobs]]:
        up.at(path, error(500, "UNKNOWN", "away"))


def test_ls(keeping, at, up, repo):
    one, two = hold(keeping, up, Image(f"{repo}/one", tag="v1")), hold(keeping, up, Image(f"{repo}/two", tag="v2"))
    gateway = at(keeping)
    seen = store(gateway, "ls", "--json")
    assert seen.status == 0 and seen.end["ok"] is True, seen
    found = {(item["registry"], item["repository"], item["tag"]): item for item in seen.lines("item")}
    assert set(found) == {(PLACE, one.repo, "v1"), (PLACE, two.repo, "v2")}
    item = found[PLACE, one.repo, "v1"]
    assert (item["digest"], item["held"], item["media_type"], item["size"]) == (one.digest, True, OCI_MANIFEST, len(one.body))
    assert item["disk"] >= item["size"] and item["used"] > 0 and item["added"] > 0
    for pattern, tags in [(f"{PLACE}/{one.repo}", ["v1"]), (f"{PLACE}/{repo}/*:v2", ["v2"]), (f"{PLACE}/{repo}/**", ["v1", "v2"]),
                          ("elsewhere.test/**", [])]:
        assert sorted(i["tag"] for i in store(gateway, "ls", "--json", pattern).lines("item")) == tags, pattern
    text = store(gateway, "ls")
    assert f"{PLACE}/{one.repo}:v1" in text.out and one.digest[:19] in text.out


def test_ls_digests(keeping, at, up, repo):
    image = hold(keeping, up, Image(repo))
    seen = store(at(keeping), "ls", "--digests", "--json", f"{PLACE}/{repo}")
    assert {item["digest"] for item in seen.lines("item")} == {digest(content) for content in [image.body, *image.blobs]}
    assert {item["size"] for item in seen.lines("item")} == {len(content) for content in [image.body, *image.blobs]}


def test_a_pattern_that_is_none(keeping, at):
    seen = store(at(keeping), "ls", "docker.io/UPPER:*:")
    assert seen.status != 0 and "UPPER" in seen.err, seen


def test_stat(keeping, at, up, repo):
    image = hold(keeping, up, Image(repo))
    gateway = at(keeping)

    def counted():
        seen = store(gateway, "stat", "--json")
        assert seen.status == 0, seen
        stat = seen.lines("stat")[0]
        return stat if stat["pieces"] else None

    stat = wait_for(counted, 20, "a gateway may be some seconds behind, but not for ever")
    assert stat["directory"] == str(keeping.store) and stat["writable"] is True
    assert (stat["pieces"], stat["tags"], stat["repositories"]) == (1 + len(image.blobs), 1, 1)
    assert stat["bytes"] >= sum(map(len, image.blobs)) and stat["max_size"] == 50 * 1024**3
    assert str(keeping.store) in store(keeping, "stat").out


def test_verify(keeping, at, up, repo):
    image = hold(keeping, up, Image(repo, sizes=(5000, 2 * MIB)))
    gateway = at(keeping)
    assert store(gateway, "verify").status == 0
    assert store(gateway, "verify", "--rate", "100MiB", "--json").end["ok"] is True
    path = path_of(gateway, image.layers[1])
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"altered")
    seen = store(gateway, "verify", "--json")
    assert seen.status == 1 and [bad["digest"] for bad in seen.lines("bad")] == [digest(image.layers[1])], seen
    assert seen.lines("progress")[-1]["done"] > 0
    assert not path.exists()
    assert store(gateway, "verify").status == 0


def test_what_was_verified_away_is_fetched_again(keeping, at, reopened, up, repo):
    image = hold(keeping, up, Image(repo, sizes=(2 * MIB,)))
    gateway = at(keeping)
    with path_of(gateway, image.layers[0]).open("r+b") as file:
        file.write(b"altered")
    assert store(gateway, "verify").status == 1
    gateway = reopened(gateway)
    image.pull(gateway)
    assert len(gets(up, repo, image.layers[0])) == 2


def test_rm_a_tag_and_a_repository(keeping, at, reopened, up, repo):
    one, two = hold(keeping, up, Image(f"{repo}/one")), hold(keeping, up, Image(f"{repo}/two"))
    gateway = at(keeping)
    dry = store(gateway, "rm", "--dry-run", f"{PLACE}/{one.repo}", "--json")
    assert dry.status == 0 and [r["repository"] for r in dry.lines("removed")] == [one.repo], dry
    assert "freed" not in dry.lines("removed")[0], "nobody knows before"
    assert len(store(gateway, "ls", "--json").lines("item")) == 2
    assert store(gateway, "rm", f"{PLACE}/{two.repo}:1").status == 0
    assert [item["repository"] for item in store(gateway, "ls", "--json").lines("item")] == [one.repo]
    seen = store(gateway, "rm", f"{PLACE}/{one.repo}", "--json")
    assert seen.status == 0 and seen.lines("removed")[0]["freed"] > 0, seen
    wait_for(lambda: not any(is_held(gateway, content) for content in [one.body, *one.blobs]), 10, "its content stays")
    gateway = reopened(gateway)
    one.pull(gateway)
    assert len(gets(up, one.repo, one.layers[0])) == 2


def test_rm_leaves_what_others_hold(keeping, at, reopened, up, repo):
    one, two = hold(keeping, up, Image(f"{repo}/one", repo)), hold(keeping, up, Image(f"{repo}/two", repo))
    gateway = at(keeping)
    assert store(gateway, "rm", f"{PLACE}/{one.repo}").status == 0
    gateway = reopened(gateway)
    before = asked(up, two.repo)
    two.pull(gateway)
    assert asked(up, two.repo) == before


def test_rm_while_it_is_read(keeping, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 6 * MIB))
    reader = Reader(keeping, repo, content, room=16 * 1024).read_to(10_000)
    assert store(keeping, "rm", f"{PLACE}/{repo}").status == 0
    wait_for(lambda: not is_held(keeping, content), 10)
    assert reader.drain(60) == content


@pytest.mark.parametrize("words", [["rm"], ["rm", "a@sha256:" + "0" * 64], ["ls", "["], ["warm"], ["stat", "x"], ["verify", "x"],
                                   ["verify", "--rate", "much"], ["export", "x"], ["import"], ["lss"], ["ls", "--nothing"]])
def test_what_cannot_be_used_is_told_as_that(keeping, at, words):
    seen = store(at(keeping), *words)
    assert seen.status == 2, seen


# --- warm ---


def multi(up, repo):
    """An index of two platforms; (its bytes, the images)."""
    parts = {"amd64": Image(repo, f"{repo} amd64").script(up), "arm64": Image(repo, f"{repo} arm64").script(up)}
    entries = [described(image.body, OCI_MANIFEST, platform={"os": "linux", "architecture": name, **({"variant": "v8"} if name == "arm64" else {})})
               for name, image in parts.items()]
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    script_manifest(up, repo, index, OCI_INDEX)
    return index, parts


def test_warm(keeping, at, reopened, up, repo):
    index, parts = multi(up, repo)
    gateway = at(keeping)
    seen = store(gateway, "warm", "--json", f"{PLACE}/{repo}:1")
    assert seen.status == 0, seen
    result = seen.lines("image")[0]
    assert result["ok"] is True and result["fetched"] == sum(len(b) for image in parts.values() for b in image.blobs)
    gateway = reopened(gateway)
    before = asked(up, repo)
    assert_whole(pull_manifest(gateway, repo), index)
    for image in parts.values():
        assert_whole(pull_manifest(gateway, repo, image.digest), image.body)
        for content in image.blobs:
            pull_right(gateway, repo, content)
    assert asked(up, repo) == before, "all of it was to be held"
    assert store(at(gateway), "warm", "--json", f"{PLACE}/{repo}:1").lines("image")[0]["fetched"] == 0


@pytest.mark.parametrize("platform,wanted", [("linux/amd64", ["amd64"]), ("linux/arm64", ["arm64"]), ("linux/arm64/v8", ["arm64"]),
                                             ("linux/amd64,linux/arm64", ["amd64", "arm64"])])
def test_warm_for_platforms(keeping, at, up, repo, platform, wanted):
    _, parts = multi(up, repo)
    gateway = at(keeping)
    assert store(gateway, "warm", "--platform", platform, f"{PLACE}/{repo}:1").status == 0
    for name, image in parts.items():
        assert all(is_held(gateway, content) == (name in wanted) for content in image.blobs), name


def test_warm_for_a_platform_that_is_not_there(keeping, at, up, repo):
    multi(up, repo)
    seen = store(at(keeping), "warm", "--platform", "windows/amd64", f"{PLACE}/{repo}:1")
    assert seen.status == 1 and "platform" in seen.out + seen.err, seen


def test_warm_many_from_standard_input(keeping, at, up, repo):
    images = [Image(f"{repo}/{n}").script(up) for n in range(3)]
    names = "".join(f"{PLACE}/{image.repo}:1\n" for image in images) + f"\n{PLACE}/{repo}/missing:1\n"
    seen = store(at(keeping), "warm", "--json", "-", input=names)
    assert seen.status == 1, "one of them is not there"
    assert [result["ok"] for result in seen.lines("image")] == [True, True, True, False]
    assert all(is_held(keeping, content) for image in images for content in image.blobs)


def test_warm_what_is_denied(own_gateway, at, up, repo):
    gateway = own_gateway(store={}, rules=[{"name": "no-way", "deny": [f"{PLACE}/{repo}/no"]}, {"allow": [f"{PLACE}/{repo}/**"]}])
    image = Image(f"{repo}/no").script(up)
    seen = store(at(gateway), "warm", "--json", f"{PLACE}/{image.repo}:1")
    assert seen.status == 1 and seen.lines("image")[0]["ok"] is False and "no-way" in seen.out, seen
    assert not asked(up, image.repo) and not is_held(gateway, image.body)
    unlisted = store(gateway, "warm", "--json", "unlisted.test/x:1")
    assert unlisted.status == 1 and "unlisted.test" in unlisted.out, unlisted


def test_warm_a_digest_that_its_rules_deny(own_gateway, at, up, repo):
    """The tag is allowed, what it is is not."""
    image = Image(repo).script(up)
    gateway = own_gateway(store={}, rules=[{"deny": [f"{PLACE}/{repo}@{image.digest}"]}, {"allow": ["**"]}])
    assert store(at(gateway), "warm", f"{PLACE}/{repo}:1").status == 1
    assert not any(is_held(gateway, content) for content in image.blobs)


def test_warm_an_upstream_with_wrong_content(keeping, at, up, repo):
    image = Image(repo).script(up)
    up.at(blob_path(repo, image.layers[1]), blob(b"x" * len(image.layers[1])))
    seen = store(at(keeping), "warm", "--json", f"{PLACE}/{repo}:1")
    assert seen.status == 1 and seen.lines("image")[0]["message"], seen
    assert not is_held(keeping, image.layers[1])


# --- export, import ---


def members(path):
    with tarfile.open(path) as tar:
        return {member.name.removeprefix("./"): tar.extractfile(member).read() for member in tar if member.isfile()}


def test_export_is_an_oci_layout(keeping, at, up, repo, tmp_path):
    image = hold(keeping, up, Image(repo))
    target = tmp_path / "image.tar"
    seen = store(at(keeping), "export", f"{PLACE}/{repo}:1", target)
    assert seen.status == 0, seen
    found = members(target)
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entry, = json.loads(found["index.json"])["manifests"]
    assert (entry["digest"], entry["size"], entry["mediaType"]) == (image.digest, len(image.body), OCI_MANIFEST)
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1"
    blobs = {name: data for name, data in found.items() if name.startswith("blobs/")}
    assert set(blobs) == {f"blobs/sha256/{digest(content).split(':')[1]}" for content in [image.body, *image.blobs]}
    assert all(hashlib.sha256(data).hexdigest() == name.rpartition("/")[2] for name, data in blobs.items())
    if shutil.which("skopeo"):
        done = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{target}"], capture_output=True, check=True)
        assert done.stdout == image.body


def test_export_what_is_not_held(keeping, at, up, repo, tmp_path):
    image = hold(keeping, up, Image(repo))
    gateway = at(keeping)
    assert store(gateway, "export", f"{PLACE}/{repo}:2", tmp_path / "a.tar").status == 1
    seen = store(gateway, "export", f"{PLACE}/elsewhere:1", tmp_path / "b.tar")
    assert seen.status == 1 and "not held" in seen.err, seen
    assert image


def test_export_and_import(own_gateway, keeping, at, up, repo, tmp_path):
    """On another machine, which cannot reach the registry."""
    image = hold(keeping, up, Image(repo))
    target = tmp_path / "image.tar"
    assert store(at(keeping), "export", f"{PLACE}/{repo}:1", target).status == 0
    away(up, image)
    other = at(own_gateway(store={}))
    seen = store(other, "import", target)
    assert seen.status == 0, seen
    if other.process.poll() is not None:
        other = own_gateway(store=other.settings["store"])
    before = asked(up, repo)
    for got in image.pull(other):
        assert got.line["source"] == "hit"
    assert asked(up, repo) == before


def test_import_under_another_name(own_gateway, keeping, up, repo, tmp_path):
    image = hold(keeping, up, Image(repo))
    target = tmp_path / "image.tar"
    assert store(keeping, "export", f"{PLACE}/{repo}:1", target).status == 0
    other = own_gateway(store={})
    assert store(other, "import", "--as", f"{PLACE}/{repo}/renamed", target).status == 0
    away(up, image)
    assert_whole(pull_manifest(other, f"{repo}/renamed"), image.body)
    assert pull_manifest(other, repo).status >= 500
    pull_right(other, f"{repo}/renamed", image.layers[0])


def test_an_import_is_still_under_the_rules(own_gateway, keeping, up, repo, tmp_path):
    image = hold(keeping, up, Image(repo))
    target = tmp_path / "image.tar"
    assert store(keeping, "export", f"{PLACE}/{repo}:1", target).status == 0
    other = own_gateway(store={}, rules=[{"deny": [f"{PLACE}/{repo}"]}])
    store(other, "import", target)
    assert_denied(pull_manifest(other, repo), reason="rule")
    assert image


def write_layout(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def tampered(files, image, how):
    layer = f"blobs/sha256/{digest(image.layers[1]).split(':')[1]}"
    body = f"blobs/sha256/{image.digest.split(':')[1]}"
    index = json.loads(files["index.json"])
    if how == "a layer":
        return {**files, layer: files[layer][:-1] + b"\0"}
    if how == "a layer that is longer":
        return {**files, layer: files[layer] + b"x"}
    if how == "the manifest":
        return {**files, body: files[body].replace(b"2", b"3", 1)}
    if how == "a missing layer":
        return {name: data for name, data in files.items() if name != layer}
    if how == "a missing manifest":
        return {name: data for name, data in files.items() if name != body}
    if how == "no index":
        return {name: data for name, data in files.items() if name != "index.json"}
    if how == "an index that is no JSON":
        return {**files, "index.json": b"{"}
    index["manifests"][0]["digest"] = "sha256:../../../etc/passwd"
    return {**files, "index.json": json.dumps(index).encode()}


@pytest.mark.parametrize("how", ["a layer", "a layer that is longer", "the manifest", "a missing layer", "a missing manifest", "no index",
                                 "an index that is no JSON", "a strange digest"])
def test_import_of_a_tampered_layout(own_gateway, keeping, up, repo, tmp_path, how):
    image = hold(keeping, up, Image(repo))
    target = tmp_path / "image.tar"
    assert store(keeping, "export", f"{PLACE}/{repo}:1", target).status == 0
    write_layout(target, tampered(members(target), image, how))
    other = own_gateway(store={})
    seen = store(other, "import", target)
    assert seen.status == 1 and seen.err, seen
    away(up, image)
    assert pull_manifest(other, repo).status >= 500, "it can be pulled by its tag all the same"
    for path in (path for path in (other.store / "blobs").rglob("*") if path.is_file()):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    wait_for(lambda: not list((other.store / "tmp").iterdir()), 10, "something is left in tmp/")


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, b"\x1f\x8b" + b"x" * 1000])
def test_import_of_no_layout(keeping, at, tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    seen = store(at(keeping), "import", tmp_path / "x")
    assert seen.status == 1 and seen.err, seen


# --- the command itself ---


def test_what_cannot_be_used(keeping, tmp_path):
    for arguments in ([], ["dance"], ["verify", "--rate", "fast"], ["import", tmp_path / "missing"], ["export", "x"], ["ls", "--never"]):
        seen = store(keeping, *arguments)
        assert seen.status == 2 and seen.err, (arguments, seen)


def test_without_a_store(own_gateway):
    seen = store(own_gateway(), "ls")
    assert seen.status == 2 and "null" in seen.err, seen


def test_help(keeping):
    seen = store(keeping, "--help")
    assert seen.status == 0
    for word in ("ls", "stat", "verify", "rm", "warm", "export", "import", "--platform", "--json"):
        assert word in seen.out


def test_its_socket_is_nobody_elses(keeping, up, repo):
    hold(keeping, up, Image(repo))
    sockets = [path for path in keeping.store.iterdir() if path.is_socket()]
    assert sockets, "there is none"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in sockets)


def test_a_command_that_is_killed_leaves_the_gateway_alone(keeping, up, repo):
    for n in range(3):
        hold(keeping, up, Image(f"{repo}/{n}", sizes=(4 * MIB,)))
    running = subprocess.Popen([str(BINARY), "store", "verify", "--rate", "1MiB", "--config", str(keeping.config)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_for(lambda: running.poll() is None, 5)
    running.kill()
    running.wait()
    Image(f"{repo}/after").script(up).pull(keeping)
    assert store(keeping, "stat").status == 0
    wait_held(keeping, *Image(f"{repo}/after").blobs)
