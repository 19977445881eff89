// SPDX-License-Identifier: Apache-2.0
//
// `pullgate compliance`: how the client machines stand, asked of the running gateway at its admin address.

#include "gateway/commands/commands.h"

#include "gateway/compliance/listing.h"
#include "gateway/config/config.h"
#include "gateway/denial/text.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_SECONDS = 30, STATUS_OK = 200, CELL_MAX = 256, NAME_COLUMN_MAX = 48 };

static const char help[] =
    "Usage: pullgate compliance [--config FILE] [--status STATUS] [--name NAME] [--findings] [--json]\n"
    "\n"
    "List the client machines that `pullgate doctor --report` told the gateway of, and how they stand: compliant,\n"
    "non-compliant, outdated or unknown. The running gateway is asked at the \"admin\" address of its configuration.\n"
    "\n"
    "  --config FILE     the configuration that the gateway runs with\n"
    "  --status STATUS   only machines that stand so\n"
    "  --name NAME       only this machine\n"
    "  --findings        with what was found there\n"
    "  --json            as JSON, as the gateway gives it\n"
    "\n"
    "Exit status: 0 every machine that is listed is compliant, 1 some are not or the one that is named is nowhere, 2\n"
    "the gateway could not be asked.\n"
    "\n"
    "Examples:\n"
    "  pullgate compliance --config /etc/pullgate/pullgate.json\n"
    "  pullgate compliance --config pullgate.json --status non-compliant --findings\n";

struct options {
    const char *config, *status, *name;
    bool findings, json;
};

// --- asking ---

static size_t take(char *data, size_t size, size_t count, void *into) {
    return buf_add(into, data, size * count) ? size * count : 0;
}

/// Where this machine reaches an address that is every address.
static char *admin_url(const struct config *c) {
    struct hostport at = c->admin.at;
    char text[HOSTPORT_TEXT_MAX + 1];
    if (strcmp(at.host, "0.0.0.0") == 0)
        strcpy(at.host, "127.0.0.1");
    if (strcmp(at.host, "::") == 0)
        strcpy(at.host, "::1");
    hostport_format(&at, text);
    return mem_printf("http://%s/admin/compliance", text);
}

static void add_parameter(struct buf *url, CURL *e, const char *key, const char *value) {
    char *escaped = value != NULL ? curl_easy_escape(e, value, 0) : NULL;
    if (escaped != NULL)
        buf_addf(url, "%c%s=%s", strchr(url->data, '?') != NULL ? '&' : '?', key, escaped);
    curl_free(escaped);
}

static void add_query(struct buf *url, CURL *e, const struct options *o) {
    add_parameter(url, e, "status", o->status);
    add_parameter(url, e, "name", o->name);
    add_parameter(url, e, "findings", o->findings ? "yes" : NULL);
}

static bool get(CURL *e, const char *url, struct buf *body, struct err *err) {
    char error[CURL_ERROR_SIZE] = "";
    long status = 0;
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)ASK_SECONDS);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, body);
    if (curl_easy_perform(e) != CURLE_OK)
        return err_set(err, "no gateway answers at %s: %s", url, error);
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    const char *says = body->data != NULL ? body->data : "no answer";
    return status == STATUS_OK || err_set(err, "%s: %.*s", url, (int)strcspn(says, "\r\n"), says);
}

static bool ask(const struct config *c, const struct options *o, struct buf *body, struct err *err) {
    if (!c->admin.enabled)
        return err_set(err, "the configuration has no \"admin\" address, which is where machines are read");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *e = curl_easy_init();
    struct buf url;
    char *base = admin_url(c);
    buf_init(&url, 2 * LISTING_NAME_MAX * 3);
    buf_adds(&url, base);
    if (e != NULL)
        add_query(&url, e, o);
    bool ok = e != NULL && get(e, url.data, body, err);
    curl_easy_cleanup(e);
    buf_deinit(&url);
    free(base);
    return ok;
}

// --- printing ---

/// A text of the answer, as a terminal may show it.
static const char *cell(const struct json *object, const char *key, char out[CELL_MAX]) {
    const char *text = json_get_string(object, key);
    text_copy(text != NULL ? text : "", out, CELL_MAX, NULL);
    return out;
}

static const char *title(const char *word) {
    for (int i = 0; i < COMPLIANCE_COUNT; i++)
        if (strcmp(word, compliance_word((enum compliance)i)) == 0)
            return compliance_title((enum compliance)i);
    return word;
}

static void print_findings(const struct json *machine) {
    const struct json *list = json_get(json_get(machine, "report"), "findings");
    char severity[CELL_MAX], client[CELL_MAX], where[CELL_MAX], what[CELL_MAX];
    for (const struct json *f = list != NULL ? list->child : NULL; f != NULL; f = f->next) {
        cell(f, "where", where);
        printf("    %s: %s: %s%s%s\n", cell(f, "severity", severity), cell(f, "client", client), where,
               where[0] != '\0' ? ": " : "", cell(f, "what", what));
    }
}

static void print_machine(const struct json *m, int width) {
    char status[CELL_MAX], name[CELL_MAX], machine[CELL_MAX], received[CELL_MAX], why[CELL_MAX];
    const struct json *verified = json_get(m, "verified");
    cell(m, "name", name);
    cell(m, "machine", machine);
    cell(m, "received", received);
    bool other = machine[0] != '\0' && strcmp(machine, name) != 0, unsure = verified == NULL || !verified->boolean;
    printf("%-13s  %-*s  %-20s  %s%s%s%s\n", title(cell(m, "status", status)), width, name,
           received[0] != '\0' ? received : "never", cell(m, "why", why), other ? "; calls itself " : "",
           other ? machine : "", received[0] != '\0' && unsure ? "; unverified" : "");
    print_findings(m);
}

static int width_of(const struct json *list) {
    char name[CELL_MAX];
    size_t width = sizeof "MACHINE" - 1;
    for (const struct json *m = list->child; m != NULL; m = m->next) {
        size_t len = strlen(cell(m, "name", name));
        width = len > width ? len : width;
    }
    return (int)(width < NAME_COLUMN_MAX ? width : NAME_COLUMN_MAX);
}

static void print_counts(const struct json *root) {
    const struct json *counts = json_get(root, "counts");
    for (int i = 0; i < COMPLIANCE_COUNT; i++) {
        const struct json *n = json_get(counts, compliance_word((enum compliance)i));
        printf("%s%s: %lld", i > 0 ? ", " : "", compliance_title((enum compliance)i),
               n != NULL && n->is_integer ? (long long)n->integer : 0);
    }
    printf("\n");
}

static bool all_compliant(const struct json *list) {
    for (const struct json *m = list->child; m != NULL; m = m->next) {
        const char *status = json_get_string(m, "status");
        if (status == NULL || strcmp(status, compliance_word(COMPLIANCE_COMPLIANT)) != 0)
            return false;
    }
    return true;
}

static int print(const struct buf *body, const struct options *o) {
    struct err err;
    struct json *root = json_parse(body->data != NULL ? body->data : "", body->len, JSON_STRICT, &err);
    const struct json *list = json_get(root, "machines");
    if (list == NULL || list->type != JSON_ARRAY) {
        fprintf(stderr, "pullgate compliance: the answer cannot be read%s%s\n", root == NULL ? ": " : "",
                root == NULL ? err.text : "");
        json_free(root);
        return EXIT_UNUSABLE;
    }
    int width = width_of(list);
    if (!o->json && list->count > 0)
        printf("%-13s  %-*s  %-20s  %s\n", "STATUS", width, "MACHINE", "REPORTED", "WHY");
    for (const struct json *m = list->child; !o->json && m != NULL; m = m->next)
        print_machine(m, width);
    if (o->json)
        fwrite(body->data, 1, body->len, stdout);
    else
        print_counts(root);
    bool missing = o->name != NULL && o->status == NULL && list->count == 0;
    if (missing)
        fprintf(stderr, "pullgate compliance: no machine of that name reported, or is expected\n");
    bool fine = !missing && all_compliant(list);
    json_free(root);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(const struct options *o) {
    struct err err = {""};
    struct buf body;
    struct config *c = config_load(o->config, NULL, &err);
    buf_init(&body, LISTING_TEXT_MAX);
    bool ok = c != NULL && ask(c, o, &body, &err);
    if (!ok)
        fprintf(stderr, "pullgate compliance: %s\n", err.text);
    int status = ok ? print(&body, o) : EXIT_UNUSABLE;
    buf_deinit(&body);
    config_unref(c);
    return status;
}

int command_compliance(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"status", required_argument, NULL, 's'},
                                          {"name", required_argument, NULL, 'n'},
                                          {"findings", no_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        switch (option) {
        case 'c':
            o.config = optarg;
            break;
        case 's':
            o.status = optarg;
            break;
        case 'n':
            o.name = optarg;
            break;
        case 'f':
            o.findings = true;
            break;
        case 'j':
            o.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        default:
            return command_usage("compliance");
        }
    }
    return optind == argc ? run(&o) : command_usage("compliance");
}
