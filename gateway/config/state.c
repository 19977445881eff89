// SPDX-License-Identifier: Apache-2.0
//
// "state_directory" and "ca": where what must not be lost is kept, and whose authority issues the certificates.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool read_state_directory(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_path(r, value, &c->state_directory);
}

// --- ca ---

static bool read_name_constraints(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    c->ca_name_constraints = value->boolean;
    return true;
}

static bool read_ca_certificate(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_path(r, value, &c->ca_certificate) && read_check_file(r, c->ca_certificate, FILE_CERTIFICATES);
}

static bool read_ca_key(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_path(r, value, &c->ca_key) && read_check_file(r, c->ca_key, FILE_SECRET);
}

const struct read_key ca_keys[] = {
    {.name = "name_constraints", .takes = TAKES_BOOL, .expected = "true or false", .read = read_name_constraints},
    {.name = "certificate", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = read_ca_certificate},
    {.name = "key", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = read_ca_key},
    {.name = NULL},
};

bool read_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    if (!read_object(r, value, ca_keys, c))
        return false;
    if ((c->ca_certificate != NULL) != (c->ca_key != NULL))
        return read_fail(r, "expected both \"certificate\" and \"key\" (an authority of yours), or neither (the "
                            "gateway makes one)");
    if (c->ca_certificate != NULL && c->ca_name_constraints)
        return read_fail(r, "name_constraints: they are those of the authority that the gateway makes, and "
                            "\"certificate\" names one of yours");
    return true;
}

// --- defaults ---

static const char *absolute_from_environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' && strlen(value) < PATH_MAX ? value : NULL;
}

/// systemd's StateDirectory= (the first of a list), else the system's or the user's place for state; NULL: none known.
static char *default_directory(void) {
    const char *of_unit = absolute_from_environment("STATE_DIRECTORY");
    if (of_unit != NULL)
        return mem_strndup(of_unit, strcspn(of_unit, ":"));
    if (geteuid() == 0)
        return mem_strdup("/var/lib/pullgate");
    const char *state = absolute_from_environment("XDG_STATE_HOME"), *home = absolute_from_environment("HOME");
    if (state != NULL)
        return mem_printf("%s/pullgate", state);
    return home != NULL ? mem_printf("%s/.local/state/pullgate", home) : NULL;
}

bool config_needs_authority(const struct config *c) {
    bool needs = false;
    for (size_t i = 0; i < c->listener_count; i++)
        needs = needs || c->listeners[i].tls_auto || c->listeners[i].takeover ||
                c->listeners[i].connect == CONNECT_TAKEOVER;
    return needs;
}

bool config_identifies(const struct config *c) {
    bool identifies = false;
    for (size_t i = 0; i < c->listener_count; i++)
        identifies = identifies || c->listeners[i].identify != IDENTIFY_NONE;
    return identifies;
}

bool state_complete(struct reader *r, struct config *c) {
    bool needed = c->identity_written || (config_needs_authority(c) && c->ca_certificate == NULL);
    if (c->state_directory == NULL)
        c->state_directory = default_directory();
    c->identity.state_directory = c->identity_written ? c->state_directory : NULL;
    return c->state_directory != NULL || !needed ||
           read_fail(r, "state_directory: there is no default here, as neither XDG_STATE_HOME nor HOME is an absolute "
                        "path: write the directory");
}
