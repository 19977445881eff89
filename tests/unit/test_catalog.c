// SPDX-License-Identifier: Apache-2.0
//
// The catalogue: what is shipped is complete and honest, and what a site adds is judged as strictly.

#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "mirrors/catalog/catalog.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const shipped_dirs[] = {PULLGATE_CATALOG_SOURCE, NULL};

static struct catalog *shipped(void) {
    struct err err = {0};
    struct catalog *c = catalog_load(shipped_dirs, &err);
    cr_assert_not_null(c, "%s", err.text);
    return c;
}

// --- what is shipped ---

Test(catalog, every_registry_is_there) {
    static const char *const names[] = {"docker.io",
                                        "ghcr.io",
                                        "quay.io",
                                        "registry.k8s.io",
                                        "mcr.microsoft.com",
                                        "public.ecr.aws",
                                        "*.dkr.ecr.*.amazonaws.com",
                                        "gcr.io",
                                        "*.gcr.io",
                                        "*.pkg.dev",
                                        "registry.gitlab.com",
                                        "nvcr.io",
                                        "registry.access.redhat.com",
                                        "registry.redhat.io",
                                        "*.azurecr.io"};
    struct catalog *c = shipped();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct catalog_entry *e = catalog_find(c, names[i]);
        cr_assert_not_null(e, "%s", names[i]);
        cr_expect_str_eq(e->registry, names[i]);
    }
    cr_expect_eq(catalog_count(c), sizeof names / sizeof names[0], "a new entry belongs into this list too");
    catalog_free(c);
}

static void check_hosts(const struct catalog_entry *e, const struct catalog_host *hosts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct err err = {0};
        const char *host = hosts[i].host;
        cr_expect(host_pattern_valid(host, &err), "%s: %s: %s", e->registry, host, err.text);
        cr_expect_gt(strlen(hosts[i].source), 10, "%s: %s: where is it documented?", e->registry, host);
        for (const char *p = host; *p != '\0'; p++)
            cr_expect_not(*p >= 'A' && *p <= 'Z', "%s: %s is not canonical", e->registry, host);
        cr_expect(hosts[i].shared || !host_pattern_is_shared(host, &err), "%s: %s: %s", e->registry, host, err.text);
    }
}

Test(catalog, every_host_is_canonical_sourced_and_marked) {
    struct catalog *c = shipped();
    for (size_t i = 0; i < catalog_count(c); i++) {
        const struct catalog_entry *e = catalog_at(c, i);
        check_hosts(e, e->realm_hosts, e->realm_host_count);
        check_hosts(e, e->redirect_hosts, e->redirect_host_count);
        bool wildcard = strchr(e->registry, '*') != NULL;
        cr_expect_eq(e->endpoint_count, wildcard ? 0 : 1, "%s", e->registry);
    }
    catalog_free(c);
}

struct host_row {
    const char *why, *registry, *host;
    bool realm, listed, shared, third_party;
};

static const struct host_row host_rows[] = {
    {"Hub's token server", "docker.io", "auth.docker.io", true, true, false, false},
    {"Hub's second CDN", "docker.io", "production.cloudfront.docker.com", false, true, false, false},
    {"not every bucket beside Hub's", "docker.io", "evil.r2.cloudflarestorage.com", false, false, false, false},
    {"NVIDIA's tokens come from another domain", "nvcr.io", "authn.nvidia.com", true, true, false, true},
    {"GitLab's too", "registry.gitlab.com", "gitlab.com", true, true, false, true},
    {"Quay's CDN", "quay.io", "cdn03.quay.io", false, true, false, false},
    {"Microsoft's data hosts", "mcr.microsoft.com", "westus.data.mcr.microsoft.com", false, true, false, true},
    {"the data host itself is none", "mcr.microsoft.com", "data.mcr.microsoft.com", false, false, false, false},
    {"Google's buckets are everyone's", "gcr.io", "storage.googleapis.com", false, true, true, true},
    {"a regional name has the same", "eu.gcr.io", "storage.googleapis.com", false, true, true, true},
    {"Azure's accounts are everyone's", "acme.azurecr.io", "x1.blob.core.windows.net", false, true, true, true},
    {"Amazon's layers", "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
     "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com", false, true, true, true},
    {"not every bucket beside Amazon's layers", "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
     "evil.s3.eu-west-1.amazonaws.com", false, false, false, false},
    {"Kubernetes' buckets", "registry.k8s.io", "prod-registry-k8s-io-us-east-1.s3.dualstack.us-east-1.amazonaws.com",
     false, true, true, false},
    {"Kubernetes' Google hosts", "registry.k8s.io", "us-west1-docker.pkg.dev", false, true, true, false},
};

Test(catalog, hosts) {
    struct catalog *c = shipped();
    for (size_t i = 0; i < sizeof host_rows / sizeof host_rows[0]; i++) {
        const struct host_row *row = &host_rows[i];
        const struct catalog_entry *e = catalog_find(c, row->registry);
        cr_assert_not_null(e, "%s", row->why);
        const struct catalog_host *hosts = row->realm ? e->realm_hosts : e->redirect_hosts, *found = NULL;
        size_t count = row->realm ? e->realm_host_count : e->redirect_host_count;
        struct hostport at;
        cr_assert(hostport_parse(row->host, strlen(row->host), &at, NULL));
        for (size_t k = 0; k < count; k++)
            if (host_pattern_match(hosts[k].host, &at, 443))
                found = &hosts[k];
        cr_expect_eq(found != NULL, row->listed, "%s", row->why);
        cr_expect(found == NULL || found->shared == row->shared, "%s: shared", row->why);
        cr_expect(found == NULL || found->third_party == row->third_party, "%s: third party", row->why);
    }
    catalog_free(c);
}

struct find_row {
    const char *why, *asked, *entry; ///< NULL: unknown.
};

static const struct find_row find_rows[] = {
    {"exact before wildcard", "gcr.io", "gcr.io"},
    {"a name below a wildcard", "europe-docker.pkg.dev", "*.pkg.dev"},
    {"a wildcard as written", "*.azurecr.io", "*.azurecr.io"},
    {"a narrower wildcard", "*.eu.azurecr.io", "*.azurecr.io"},
    {"a wildcard in the middle", "*.dkr.ecr.eu-central-1.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"},
    {"a wider wildcard knows nothing", "*.io", NULL},
    {"any registry knows nothing", "*", NULL},
    {"the parent of a wildcard", "azurecr.io", NULL},
    {"unknown", "registry.example.com", NULL},
    {"another port is another registry", "docker.io:5000", NULL},
};

Test(catalog, find) {
    struct catalog *c = shipped();
    for (size_t i = 0; i < sizeof find_rows / sizeof find_rows[0]; i++) {
        const struct find_row *row = &find_rows[i];
        const struct catalog_entry *e = catalog_find(c, row->asked);
        cr_expect_eq(e == NULL, row->entry == NULL, "%s: %s", row->why, e != NULL ? e->registry : "nothing");
        cr_expect(e == NULL || row->entry == NULL || strcmp(e->registry, row->entry) == 0, "%s", row->why);
    }
    catalog_free(c);
}

// --- what a site adds ---

static struct catalog *load_text(const char *text, bool with_shipped, struct err *err) {
    char dir[] = "/tmp/test_catalog.XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    char *path = mem_printf("%s/site.json", dir);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    const char *dirs[] = {with_shipped ? PULLGATE_CATALOG_SOURCE : dir, with_shipped ? dir : NULL, NULL};
    struct catalog *c = catalog_load(dirs, err);
    unlink(path);
    rmdir(dir);
    free(path);
    return c;
}

struct error_row {
    const char *why, *text, *says;
};

#define ENTRY(rest) "{\"registry\":\"r.example.com\",\"source\":\"a site\"," rest "}"

static const struct error_row error_rows[] = {
    {"no object", "[]", "expected an object"},
    {"no JSON", "{", "line 1"},
    {"no registry", "{\"source\":\"s\"}", "registry: expected"},
    {"no source", "{\"registry\":\"r.example.com\"}", "source: expected"},
    {"not canonical", "{\"registry\":\"Index.docker.io\",\"source\":\"s\"}", "which is \"docker.io\""},
    {"an unknown key", ENTRY("\"realms\":[]"), "\"realms\" is no key"},
    {"a host without source", ENTRY("\"realm_hosts\":[{\"host\":\"a.example.com\"}]"),
     "realm_hosts[0].source: expected"},
    {"a host that is none", ENTRY("\"realm_hosts\":[{\"host\":\"https://a/\",\"source\":\"s\"}]"),
     "realm_hosts[0].host: "},
    {"a shared host that does not say so",
     ENTRY("\"redirect_hosts\":[{\"host\":\"*.cloudfront.net\",\"source\":\"s\"}]"),
     "redirect_hosts[0].host: not marked"},
    {"a flag of another type", ENTRY("\"redirect_hosts\":[{\"host\":\"a.example.com\",\"source\":\"s\",\"shared\":1}]"),
     "shared: expected true or false"},
    {"a plain endpoint", ENTRY("\"endpoints\":[\"http://r.example.com\"]"), "endpoints[0]: expected https://HOST"},
    {"an endpoint with a path", ENTRY("\"endpoints\":[\"https://r.example.com/v2\"]"),
     "endpoints[0]: expected https://HOST"},
    {"a wildcard's endpoint",
     "{\"registry\":\"*.x.example.com\",\"source\":\"s\",\"endpoints\":[\"https://a.example.com\"]}",
     "a wildcard has none"},
};

Test(catalog, errors_name_the_file) {
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
        struct err err = {0};
        cr_expect_null(load_text(error_rows[i].text, false, &err), "%s: was accepted", error_rows[i].why);
        cr_expect_not_null(strstr(err.text, error_rows[i].says), "%s: %s", error_rows[i].why, err.text);
        cr_expect_not_null(strstr(err.text, "/site.json: "), "%s: %s", error_rows[i].why, err.text);
    }
}

Test(catalog, a_later_folder_replaces) {
    struct err err = {0};
    struct catalog *c = load_text("{ // ours\n\"registry\":\"docker.io\",\"source\":\"our firewall\",\"endpoints\":"
                                  "[\"https://hub.example.com\"],\"x-note\":1}",
                                  true, &err);
    cr_assert_not_null(c, "%s", err.text);
    const struct catalog_entry *e = catalog_find(c, "docker.io");
    cr_expect_str_eq(e->endpoints[0], "https://hub.example.com");
    cr_expect_eq(e->realm_host_count, 0, "the whole entry, not a part of it");
    cr_expect_not_null(catalog_find(c, "ghcr.io"));
    catalog_free(c);
}

Test(catalog, folders_that_do_not_exist) {
    static const char *const last[] = {PULLGATE_CATALOG_SOURCE, "/nonexistent", NULL};
    static const char *const first[] = {"/nonexistent", PULLGATE_CATALOG_SOURCE, NULL};
    struct err err = {0};
    struct catalog *c = catalog_load(last, &err);
    cr_expect_not_null(c, "the site's own folder need not be there");
    catalog_free(c);
    cr_expect_null(catalog_load(first, &err));
    cr_expect_not_null(strstr(err.text, "/nonexistent"), "%s", err.text);
    setenv("PULLGATE_CATALOG", "/nonexistent", 1);
    cr_expect_null(catalog_load(NULL, &err), "what is named has to be there");
    setenv("PULLGATE_CATALOG", PULLGATE_CATALOG_SOURCE, 1);
    c = catalog_load(NULL, &err);
    cr_assert_not_null(c, "%s", err.text);
    cr_expect_not_null(catalog_find(c, "quay.io"));
    catalog_free(c);
}
