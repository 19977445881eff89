// SPDX-License-Identifier: Apache-2.0
//
// Any text as a client's configuration that is already there: daemon.json, config.toml, hosts.toml, registries.yaml.
// The first byte says which. What is merged says what was asked for, and merging again changes nothing; what is refused
// stays byte for byte.

#include "gateway/clients/plan_inside.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static struct plan_file *daemon_json(struct client_plan *p) {
    struct plan_file *f = plan_file(p, "/daemon.json", CONF_JSON);
    plan_set(f, "mirror", "[\"https://gw.test\"]", (const char *const[]){"registry-mirrors", NULL});
    plan_set(f, "proxy", "\"http://gw.test:3128\"", (const char *const[]){"proxies", "http-proxy", NULL});
    plan_unset(f, "open", true, (const char *const[]){"insecure-registries", NULL});
    return f;
}

static struct plan_file *config_toml(struct client_plan *p) {
    static const char cri[] = "io.containerd.grpc.v1.cri";
    struct plan_file *f = plan_file(p, "/config.toml", CONF_TOML);
    plan_unset(f, "conflict", true, (const char *const[]){"plugins", cri, "registry", "mirrors", NULL});
    plan_set(f, "folder", "\"/etc/containerd/certs.d\"",
             (const char *const[]){"plugins", cri, "registry", "config_path", NULL});
    return f;
}

static struct plan_file *hosts_toml(struct client_plan *p) {
    struct plan_file *f = plan_file(p, "/hosts.toml", CONF_TOML);
    plan_set(f, "the one server", "\"https://gw.test\"", (const char *const[]){"server", NULL});
    plan_set(f, "no pushes", "[\"pull\",\"resolve\"]", (const char *const[]){"capabilities", NULL});
    plan_set(f, "no host", "{}", (const char *const[]){"host", NULL});
    return f;
}

static struct plan_file *registries_yaml(struct client_plan *p) {
    struct plan_file *f = plan_file(p, "/registries.yaml", CONF_YAML);
    plan_set(f, "all", "[\"https://gw.test\"]", (const char *const[]){"mirrors", "*", "endpoint", NULL});
    plan_set(f, "CA", "\"/ca.crt\"", (const char *const[]){"configs", "gw.test:5443", "tls", "ca_file", NULL});
    plan_unset(f, "own entry", true, (const char *const[]){"mirrors", "docker.io", NULL});
    return f;
}

/// What was merged is what was asked for.
static void check_said(const struct plan_file *f, const struct buf *text) {
    struct err err = {""};
    struct conf_document *d = conf_parse(f->format, text->data != NULL ? text->data : "", text->len, &err);
    require(d != NULL);
    for (size_t i = 0; i < f->count; i++) {
        const struct conf *at = conf_at(conf_root(d), (const char *const *)f->settings[i].path);
        require((at != NULL) == (f->settings[i].value != NULL));
    }
    conf_free(d);
}

static void merge(const struct plan_file *f, bool strict, const char *data, size_t size) {
    struct buf text, again, left;
    struct err err = {""};
    buf_init(&text, CONF_TEXT_MAX);
    buf_init(&again, CONF_TEXT_MAX);
    buf_init(&left, CONF_TEXT_MAX);
    buf_add(&text, data, size);
    enum conf_edit result = plan_merge(f, strict, &text, &left, &err);
    if (result != CONF_CHANGED)
        require(text.len == size && (size == 0 || memcmp(text.data, data, size) == 0));
    require((result == CONF_UNSAFE) == (err.text[0] != '\0'));
    if (result != CONF_UNSAFE && strict)
        check_said(f, &text);
    if (result != CONF_UNSAFE) {
        buf_add(&again, text.data != NULL ? text.data : "", text.len);
        require(plan_merge(f, strict, &again, &left, &err) == CONF_SAME);
    }
    buf_deinit(&text);
    buf_deinit(&again);
    buf_deinit(&left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct plan_file *(*const files[])(struct client_plan *) = {daemon_json, config_toml, hosts_toml,
                                                                       registries_yaml};
    if (size == 0)
        return 0;
    struct client_plan *p = plan_new();
    const struct plan_file *f = files[(data[0] & 3)](p);
    merge(f, (data[0] & 4) != 0, (const char *)data + 1, size - 1);
    struct buf text;
    struct err err = {""};
    buf_init(&text, CONF_TEXT_MAX);
    buf_add(&text, data + 1, size - 1);
    plan_merge_block("1.2.3.4 a\n", &text, &err);
    buf_deinit(&text);
    plan_free(p);
    return 0;
}
