// SPDX-License-Identifier: Apache-2.0
//
// The other files that doctor reads: daemon.json, buildkitd.toml, containerd's config.toml, those of k3s, systemd's
// units. The first byte says which.

#include "gateway/doctor/buildkitd.h"
#include "gateway/doctor/containerd_toml.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/daemon_json.h"
#include "gateway/doctor/k3s.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_daemon(const char *text, size_t len) {
    struct daemon_json d;
    daemon_json_read(text, len, &d);
    if (d.usable != (d.why.text[0] == '\0'))
        abort();
    daemon_json_deinit(&d);
}

static void read_buildkitd(const char *text, size_t len) {
    struct buildkitd b;
    buildkitd_read(text, len, &b);
    buildkitd_registry(&b, "docker.io");
    buildkitd_deinit(&b);
}

static void read_containerd(const char *text, size_t len) {
    struct containerd_toml t, again;
    containerd_toml_read(text, len, &t);
    containerd_toml_read(text, len, &again);
    containerd_toml_merge(&t, &again, len % 2 == 0);
    containerd_toml_deinit(&t);
    containerd_toml_deinit(&again);
}

static void read_k3s(const char *text, size_t len) {
    struct k3s_registries k;
    k3s_registries_read(text, len, &k);
    k3s_mirror(&k, "*");
    k3s_registries_deinit(&k);
    k3s_default_endpoint_disabled(text, len, NULL);
}

static void read_env(const char *text, size_t len) {
    struct daemon_env env = {.prefix = "CONTAINERD_"};
    struct names files = {0};
    daemon_env_unit(text, len, "unit", &env, &files);
    daemon_env_file(text, len, "file", &env);
    daemon_env_process(text, len, &env);
    names_deinit(&files);
    daemon_env_deinit(&env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const readers[])(const char *, size_t) = {read_daemon, read_buildkitd, read_containerd, read_k3s,
                                                            read_env};
    if (size > 0)
        readers[data[0] % (sizeof readers / sizeof *readers)]((const char *)data + 1, size - 1);
    return 0;
}
