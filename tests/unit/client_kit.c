// SPDX-License-Identifier: Apache-2.0
//
// What the tests of client configuration share; see client_kit.h.

#include "client_kit.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KIT_TEXT_MAX = 1024 * 1024, FTW_OPEN = 16 };

char *kit_root(void) {
    char *root = mem_strdup("/tmp/pullgate-client-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    return root;
}

static int drop_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    return remove(path);
}

void kit_drop(char *root) {
    nftw(root, drop_one, FTW_OPEN, FTW_DEPTH | FTW_PHYS);
    free(root);
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        cr_assert(mkdir(path, 0755) == 0 || errno == EEXIST, "%s", path);
        *slash = '/';
    }
}

void kit_put(const char *root, const char *path, const char *text) {
    char *at = mem_printf("%s%s%s", root, path, text == NULL ? "/" : "");
    make_folders(at);
    FILE *f = text != NULL ? fopen(at, "w") : NULL;
    cr_assert(text == NULL || f != NULL, "%s", at);
    if (f != NULL) {
        fputs(text, f);
        fclose(f);
    }
    free(at);
}

char *kit_get(const char *root, const char *path) {
    char *at = mem_printf("%s%s", root, path), *text = mem_zalloc(KIT_TEXT_MAX, 1);
    FILE *f = fopen(at, "r");
    free(at);
    if (f == NULL)
        return text;
    text[fread(text, 1, KIT_TEXT_MAX - 1, f)] = '\0';
    fclose(f);
    return text;
}

bool kit_is(const char *root, const char *path) {
    struct stat st;
    char *at = mem_printf("%s%s", root, path);
    bool is = lstat(at, &st) == 0;
    free(at);
    return is;
}

static const char *counted_word;
static size_t counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    counted += strstr(path + at->base, counted_word) != NULL;
    return 0;
}

size_t kit_count(const char *root, const char *word) {
    counted_word = word;
    counted = 0;
    nftw(root, count_one, FTW_OPEN, FTW_PHYS);
    return counted;
}

struct client_site *kit_site(bool proxy, bool own) {
    struct err err = {""};
    char *text = mem_printf("{\"format\":1,\"gateway\":\"https://gw.test:5443\",\"registries\":["
                            "{\"name\":\"docker.io\",\"hosts\":[\"registry-1.docker.io\",\"auth.docker.io\","
                            "\"production.cloudflare.docker.com\"]},{\"name\":\"ghcr.io\",\"hosts\":[\"ghcr.io\"]},"
                            "{\"name\":\"*.azurecr.io\",\"hosts\":[\"*.azurecr.io\"]}],"
                            "\"direct\":[\"registry.corp.example.com\"],\"no_proxy\":[\"git.corp.example.com\"],"
                            "\"ca\":\"/etc/pullgate/ca.crt\"%s%s}",
                            proxy ? ",\"proxy\":\"http://gw.test:3128\"" : "",
                            own ? ",\"certificate\":\"/etc/pullgate/m.crt\",\"key\":\"/etc/pullgate/m.key\","
                                  "\"headers\":{\"X-Team\":\"blue\"}"
                                : "");
    struct client_site *site = client_site_parse(text, strlen(text), &err);
    cr_assert_not_null(site, "%s", err.text);
    free(text);
    return site;
}

static struct client_options options_of(const struct client_options *given, const char *root, bool look) {
    struct client_options o = given != NULL ? *given : (struct client_options){0};
    o.root = root;
    o.look = look;
    return o;
}

struct kit_run kit_write(plan_fn plan, const struct client_site *site, const struct client_options *options,
                         const char *root, bool strict) {
    struct kit_run r = {0};
    struct client_options o = options_of(options, root, true);
    struct client_plan *p = plan_new();
    size_t len;
    FILE *out = open_memstream(&r.out, &len);
    cr_assert(plan(site, &o, p, &r.err), "%s", r.err.text);
    r.ok = plan_write(p, root, strict, out, &r.result, &r.err);
    plan_print_rest(p, out);
    fclose(out);
    plan_free(p);
    return r;
}

char *kit_print(plan_fn plan, const struct client_site *site, const struct client_options *options) {
    struct client_options o = options_of(options, "", false);
    struct client_plan *p = plan_new();
    struct err err = {""};
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    cr_assert(plan(site, &o, p, &err), "%s", err.text);
    plan_print(p, out);
    fclose(out);
    plan_free(p);
    return text;
}

void kit_done(struct kit_run *r) {
    free(r->out);
    r->out = NULL;
}
