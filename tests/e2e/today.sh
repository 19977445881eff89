#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds today's container clients from their released sources, at these versions, for the stories with PULLGATE_TODAY:
#
#     tests/e2e/today.sh [FOLDER]       # default .cache/clients; about ten minutes the first time
#
# What the folder has at these versions stays. GO names the go command (default: the one in PATH).
# The modules ask for Go 1.26; an older one, from 1.21 on, fetches that by itself unless GOTOOLCHAIN=local.

set -eu

containerd=github.com/containerd/containerd/v2
containerd_version=v2.3.4
moby=github.com/moby/moby/v2
moby_version=v2.0.0-beta.21 # Docker Engine 29.7
buildkit=github.com/moby/buildkit
buildkit_version=v0.32.2
buildx=github.com/docker/buildx
buildx_version=v0.36.1
crane=github.com/google/go-containerregistry
crane_version=v0.22.1
regctl=github.com/regclient/regclient
regctl_version=v0.11.7
go_wanted=26 # Go 1.26, for the modules above

say() {
    printf 'today: %s\n' "$*"
}

die() {
    printf 'today: %s\n' "$*" >&2
    exit 1
}

# is_there PROGRAM MODULE VERSION: go knows what a program was built from.
is_there() {
    "$go" version -m "$folder/$1" 2>/dev/null | awk -v module="$2" -v version="$3" \
        '$1 == "mod" && $2 == module && $3 == version { found = 1 } END { exit !found }'
}

# missing MODULE VERSION PROGRAM...
missing() {
    module=$1
    version=$2
    shift 2
    for program in "$@"; do
        is_there "$program" "$module" "$version" || printf ' %s' "$program"
    done
}

# build MODULE VERSION HOW PROGRAM...: HOW is called with MODULE VERSION PROGRAM... of those that are not there.
build() {
    module=$1
    version=$2
    how=$3
    shift 3
    wanted=$(missing "$module" "$version" "$@")
    if [ -z "$wanted" ]; then
        say "$module $version: there already: $*"
        return
    fi
    say "$module $version: building$wanted"
    began=$(date +%s)
    # shellcheck disable=SC2086 # A list of words.
    "$how" "$module" "$version" $wanted || die "$module $version could not be built"
    wanted=$(missing "$module" "$version" "$@")
    [ -z "$wanted" ] || die "$module $version was built, but these are not of that version:$wanted"
    say "$module $version: built in $(($(date +%s) - began)) s"
}

# install_with TAGS MODULE VERSION PROGRAM...
install_with() {
    tags=$1
    at=$2/cmd
    of=$3
    shift 3
    for program in "$@"; do
        GOBIN=$folder "$go" install -tags "$tags" "$at/$program@$of" || return 1
    done
}

containerd_programs() {
    install_with "no_btrfs no_zfs no_devmapper" "$@"
}

moby_programs() {
    install_with exclude_graphdriver_btrfs "$@"
}

plain_programs() {
    CGO_ENABLED=0 install_with "" "$@"
}

# BuildKit's go.mod has exclude directives, so `go install` refuses it; here it is a dependency of a module of its own.
buildkit_programs() (
    at=$1/cmd
    of=$2
    shift 2
    cd "$scratch"
    printf 'module example.com/clients\n' >go.mod
    for program in "$@"; do
        "$go" get -tool "$at/$program@$of" >get.log 2>&1 || { cat get.log && exit 1; }
        CGO_ENABLED=0 "$go" build -o "$folder/$program" "$at/$program" || exit 1
    done
)

go=$(command -v "${GO:-go}") || die "there is no ${GO:-go} command: install Go 1.21 or newer (https://go.dev/dl), or name it with GO="
release=$("$go" env GOVERSION) || die "$go does not work"
case $release in
"" | go1.? | go1.?.* | go1.1? | go1.1?.* | go1.20 | go1.20.*) die "$go is too old (${release:-before go1.16}): Go 1.21 or newer is needed" ;;
esac
toolchain=$("$go" env GOTOOLCHAIN)
minor=${release#go1.}
minor=${minor%%[!0-9]*}
if [ "$toolchain" = local ] && [ "${minor:-0}" -lt "$go_wanted" ]; then
    die "$go is $release and may fetch no newer one (GOTOOLCHAIN=local): Go 1.$go_wanted or newer is needed"
fi
# dockerd and containerd have C parts.
command -v "${CC:-gcc}" >/dev/null || die "there is no ${CC:-gcc}: a C compiler is needed"

folder=${1:-$(dirname "$0")/../../.cache/clients}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
# This machine's flags, workspace and module mode are of no concern here.
export GOFLAGS=-buildvcs=false GOWORK=off GO111MODULE=on

say "$release, into $folder"
build "$containerd" "$containerd_version" containerd_programs containerd ctr containerd-shim-runc-v2
build "$moby" "$moby_version" moby_programs dockerd docker-proxy
build "$buildkit" "$buildkit_version" buildkit_programs buildkitd buildctl
build "$buildx" "$buildx_version" plain_programs buildx
build "$crane" "$crane_version" plain_programs crane
build "$regctl" "$regctl_version" plain_programs regctl
say "done; use them with PULLGATE_TODAY=$folder"
