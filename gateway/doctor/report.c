// SPDX-License-Identifier: Apache-2.0
//
// What doctor found, gathered.

#include "gateway/doctor/report_inside.h"

#include "mirrors/base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FINDING_TEXT_MAX = 1024, MACHINE_TEXT_MAX = 300 };

/// Every one is explained in docs/doctor.md.
static const char *const codes[] = {
    // Whether a client uses the gateway, and whether it can leave it.
    "configured",
    "unused",
    "fallback",
    "host_without_server",
    "host_directory",
    "several_hosts",
    "other_mirror",
    "missing_capability",
    "unlisted_registry",
    "no_proxy",
    "proxy_exception",
    "other_proxy",
    "insecure_registry",
    "direct",
    "takeover",
    "hosts_entry",
    // Files that say something else to the client than to their author.
    "unparsable",
    "wrong_type",
    "unknown_capability",
    "unknown_key",
    "unreadable",
    "restart",
    "user_configuration",
    "own_builder",
    "other_daemon",
    "own_options",
    "unbound_client",
    "direct_commands",
    // Certificates.
    "missing_ca",
    "wrong_ca",
    "ca_ends",
    "missing_certificate",
    "certificate_ends",
    // The gateway and the network.
    "gateway_answers",
    "gateway_denies",
    "gateway_down",
    "gateway_plain",
    "gateway_wrong_certificate",
    "gateway_refuses_machine",
    "gateway_does_not_deny",
    "gateway_monitor",
    "site_unknown",
    "site_outdated",
    "egress_open",
    "egress_closed",
    "pull_worked",
    "pull_failed",
    "local_images",
    "no_client",
    "no_version",
    NULL,
};

const char *const *finding_codes(void) {
    return codes;
}

static const char *known_code(const char *code) {
    for (size_t i = 0; codes[i] != NULL; i++)
        if (strcmp(codes[i], code) == 0)
            return codes[i];
    assert(!"a code of the list");
    return "unparsable";
}

struct report *report_new(void) {
    return mem_zalloc(1, sizeof(struct report));
}

static void finding_deinit(struct finding *f) {
    free(f->client);
    free(f->where);
    free(f->what);
    free(f->todo);
    free(f->command);
}

void report_free(struct report *r) {
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->finding_count; i++)
        finding_deinit(&r->findings[i]);
    for (size_t i = 0; i < r->client_count; i++) {
        free(r->clients[i].name);
        free(r->clients[i].version);
    }
    free(r->findings);
    free(r->clients);
    free(r->machine);
    free(r->machine_id);
    free(r->gateway);
    free(r->site);
    free(r->root);
    free(r);
}

// --- texts ---

/// Does a character that a terminal takes for a command, or that turns what follows it around, begin here?
static bool is_command(const char *at, size_t len) {
    const unsigned char *c = (const unsigned char *)at;
    if (len == 1)
        return c[0] < ' ' || c[0] == 127;
    if (len == 2)
        return c[0] == 0xc2 && c[1] < 0xa0; // C1: U+009B is CSI.
    return len == 3 && c[0] == 0xe2 &&
           ((c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6));
}

char *report_clean(char *text, size_t max) {
    if (text == NULL)
        return NULL;
    size_t len = strlen(text), at = 0;
    if (len > max)
        len = max;
    while (at < len) {
        size_t step = buf_utf8_len((const unsigned char *)text + at, len - at);
        if (step == 0 || is_command(text + at, step)) {
            memset(text + at, '?', step != 0 ? step : 1);
            step = 1;
        }
        at += step;
    }
    text[len] = '\0';
    return text;
}

char *report_shell_word(const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,=";
    if (text[0] != '\0' && text[strspn(text, plain)] == '\0')
        return mem_strdup(text);
    size_t len = strlen(text), quotes = 0, at = 0;
    for (const char *c = text; *c != '\0'; c++)
        quotes += *c == '\'' ? 1 : 0;
    char *word = mem_zalloc(1, len + 3 * quotes + 3);
    word[at++] = '\'';
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            at += (size_t)sprintf(word + at, "'\\''");
        else
            word[at++] = *c;
    }
    word[at] = '\'';
    return word;
}

static char *clean(char *text) {
    return report_clean(text, FINDING_TEXT_MAX);
}

static void replace(char **at, const char *value) {
    free(*at);
    *at = report_clean(mem_strdup(value), MACHINE_TEXT_MAX);
}

// --- the whole ---

void report_machine(struct report *r, const char *name, const char *machine_id_hash) {
    replace(&r->machine, name);
    replace(&r->machine_id, machine_id_hash);
}

void report_gateway(struct report *r, const char *url, const char *site_hash) {
    replace(&r->gateway, url);
    replace(&r->site, site_hash);
}

void report_root(struct report *r, const char *root) {
    free(r->root);
    r->root = root != NULL ? report_shell_word(root) : NULL;
}

static struct found_client *find_client(struct report *r, const char *name) {
    for (size_t i = 0; i < r->client_count; i++)
        if (strcmp(r->clients[i].name, name) == 0)
            return &r->clients[i];
    return NULL;
}

struct found_client *report_client(struct report *r, const char *name, const char *version) {
    struct found_client *c = find_client(r, name);
    if (c == NULL) {
        r->clients = mem_resize(r->clients, r->client_count + 1, sizeof *r->clients);
        c = &r->clients[r->client_count++];
        *c = (struct found_client){.name = mem_strdup(name), .uses = TRI_UNKNOWN, .leaves = TRI_UNKNOWN};
    }
    if (version != NULL)
        replace(&c->version, version);
    return c;
}

static void judge_client(struct report *r, const struct finding *f) {
    struct found_client *c = find_client(r, f->client);
    if (c == NULL || f->severity != FINDING_OPEN)
        return;
    if (strcmp(f->code, "unused") == 0)
        c->uses = TRI_NO;
    c->leaves = TRI_YES;
}

/// What is pasted is not to write to, or look at, another machine than the one that was looked at.
static char *whole_command(const struct report *r, const char *command) {
    bool rooted = r->root != NULL && command != NULL &&
                  (strstr(command, " --write") != NULL || strstr(command, "pullgate doctor") != NULL);
    return rooted ? mem_printf("%s --root %s", command, r->root) : mem_strdup(command);
}

void report_add(struct report *r, enum severity severity, const char *code, const char *client, const char *where,
                const char *todo, const char *command, const char *format, ...) {
    struct finding f = {.severity = severity, .code = known_code(code)};
    r->counts[severity]++;
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    f.client = clean(mem_strdup(client));
    f.where = clean(mem_strdup(where));
    f.what = text != NULL ? clean(text) : mem_strdup("");
    f.todo = clean(mem_strdup(todo));
    f.command = clean(whole_command(r, command));
    judge_client(r, &f);
    if (r->finding_count == REPORT_FINDINGS_MAX) {
        finding_deinit(&f);
        return;
    }
    r->findings = mem_resize(r->findings, r->finding_count + 1, sizeof *r->findings);
    r->findings[r->finding_count++] = f;
}

size_t report_count(const struct report *r, enum severity severity) {
    return r->counts[severity];
}

const struct finding *report_findings(const struct report *r, size_t *count) {
    *count = r->finding_count;
    return r->findings;
}

const struct found_client *report_clients(const struct report *r, size_t *count) {
    *count = r->client_count;
    return r->clients;
}

int report_exit_status(const struct report *r) {
    if (r->counts[FINDING_OPEN] > 0)
        return 1;
    return r->counts[FINDING_UNKNOWN] > 0 ? 3 : 0;
}
