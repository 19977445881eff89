// SPDX-License-Identifier: Apache-2.0
//
// registries.conf and policy.json as containers/image reads them.

#include "gateway/doctor/containers_conf.h"

#include <criterion/criterion.h>
#include <string.h>

static bool add(struct containers_conf *c, const char *file, const char *text) {
    struct err err = {""};
    bool ok = containers_conf_add(c, file, text, strlen(text), &err);
    cr_expect_eq(ok, err.text[0] == '\0', "%s: %s", file, err.text);
    return ok;
}

struct finding_row {
    const char *why;
    const char *texts[3]; ///< Files in the order in which they are read.
    const char *name;
    const char *prefix; ///< Of the registry that decides; NULL: none.
    const char *location;
};

static const struct finding_row rows[] = {
    {"no files", {NULL}, "docker.io/library/a", NULL, NULL},
    {"a location is its own prefix",
     {"[[registry]]\nlocation = \"docker.io\"\n"},
     "docker.io/library/a",
     "docker.io",
     "docker.io"},
    {"remapped",
     {"[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw/docker.io\"\n"},
     "docker.io/library/a",
     "docker.io",
     "gw/docker.io"},
    {"a name that only begins alike",
     {"[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw/docker.io\"\n"},
     "docker.iox/a",
     NULL,
     NULL},
    {"the longer prefix",
     {"[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw/docker.io\"\n[[registry]]\nprefix = "
      "\"docker.io/library\"\nlocation = \"other\"\n"},
     "docker.io/library/a",
     "docker.io/library",
     "other"},
    {"a later file replaces a prefix whole",
     {"[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw/docker.io\"\nblocked = true\n",
      "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n"},
     "docker.io/library/a",
     "docker.io",
     "docker.io"},
    {"a later file with another prefix adds",
     {"[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw/docker.io\"\n", "[[registry]]\nlocation = \"quay.io\"\n"},
     "docker.io/library/a",
     "docker.io",
     "gw/docker.io"},
    {"a wildcard of the end", {"[[registry]]\nprefix = \"*.io\"\nlocation = \"gw\"\n"}, "quay.io/a/b", "*.io", "gw"},
    {"a wildcard over several labels",
     {"[[registry]]\nprefix = \"*.example.com\"\nblocked = true\n"},
     "a.b.example.com/x",
     "*.example.com",
     ""},
    {"a wildcard is not its own parent",
     {"[[registry]]\nprefix = \"*.example.com\"\nblocked = true\n"},
     "example.com/x",
     NULL,
     NULL},
    {"a wildcard with a port",
     {"[[registry]]\nprefix = \"*.io\"\nlocation = \"gw\"\n"},
     "quay.io:8443/a",
     "*.io",
     "gw"},
    {"a name before a wildcard",
     {"[[registry]]\nprefix = \"*.io\"\nlocation = \"gw\"\n[[registry]]\nlocation = \"quay.io\"\n"},
     "quay.io/a",
     "quay.io",
     "quay.io"},
    {"inline tables",
     {"registry = [ { prefix = \"*.io\", location = \"gw/x\", blocked = true } ]\n"},
     "quay.io/a",
     "*.io",
     "gw/x"},
    {"a slash at the end is cut off",
     {"[[registry]]\nprefix = \"docker.io/\"\nlocation = \"gw/docker.io/\"\n"},
     "docker.io/a",
     "docker.io",
     "gw/docker.io"},
};

Test(containers_conf, which_registry_decides) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct finding_row *row = &rows[i];
        struct containers_conf c;
        containers_conf_init(&c);
        for (size_t j = 0; j < 3 && row->texts[j] != NULL; j++)
            cr_assert(add(&c, "f", row->texts[j]), "%s", row->why);
        const struct containers_registry *r = containers_conf_find(&c, row->name);
        cr_expect_eq(r == NULL, row->prefix == NULL, "%s", row->why);
        if (r != NULL && row->prefix != NULL) {
            cr_expect_str_eq(r->prefix, row->prefix, "%s: %s", row->why, r->prefix);
            cr_expect_str_eq(r->location, row->location, "%s: %s", row->why, r->location);
        }
        containers_conf_deinit(&c);
    }
}

static const struct {
    const char *why, *text;
} broken[] = {
    {"a typing error", "[[registry]\n"},
    {"nothing that says which", "[[registry]]\nblocked = true\n"},
    {"a name without a location", "[[registry]]\nprefix = \"docker.io\"\nblocked = true\n"},
    {"a wildcard in the middle",
     "[[registry]]\nprefix = \"a.*.io\"\nlocation = \"*a\"\n[[registry]]\nprefix = \"*a\"\n"},
    {"blocked that is no boolean", "[[registry]]\nlocation = \"a\"\nblocked = \"yes\"\n"},
    {"a table in the place of a list", "[registry]\nlocation = \"a\"\n"},
    {"a mirror without a location", "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\ninsecure = true\n"},
    {"both forms in one file", "[registries.search]\nregistries = [\"a\"]\n[[registry]]\nlocation = \"a\"\n"},
};

Test(containers_conf, broken_files_change_nothing) {
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct containers_conf c;
        containers_conf_init(&c);
        cr_assert(add(&c, "good", "[[registry]]\nlocation = \"docker.io\"\n"));
        cr_expect_not(add(&c, "bad", broken[i].text), "%s", broken[i].why);
        cr_expect_eq(c.count, 1, "%s", broken[i].why);
        containers_conf_deinit(&c);
    }
}

Test(containers_conf, mirrors_and_search) {
    struct containers_conf c;
    containers_conf_init(&c);
    cr_assert(add(&c, "a",
                  "unqualified-search-registries = [\"a\", \"b\"]\nshort-name-mode = \"enforcing\"\n"
                  "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n"
                  "[[registry.mirror]]\nlocation = \"gw\"\ninsecure = true\n"
                  "[[registry.mirror]]\nlocation = \"gw2\"\npull-from-mirror = \"digest-only\"\n"));
    cr_assert(add(&c, "b", "unqualified-search-registries = []\n"));
    cr_expect_eq(c.search.count, 0, "an empty list replaces the one before");
    cr_expect_str_eq(c.short_name_mode, "enforcing", "it stays where a later file does not say");
    const struct containers_registry *r = containers_conf_find(&c, "docker.io/library/a");
    cr_assert_eq(r->mirror_count, 2);
    cr_expect(r->blocked);
    cr_expect(r->mirrors[0].insecure);
    cr_expect_not(r->mirrors[0].partial);
    cr_expect(r->mirrors[1].partial);
    cr_expect_str_eq(r->file, "a");
    containers_conf_deinit(&c);
}

// --- policy.json ---

#define ACCEPT "[{\"type\":\"insecureAcceptAnything\"}]"
#define REJECT "[{\"type\":\"reject\"}]"

static const struct {
    const char *why, *text, *name;
    bool accepts;
} policies[] = {
    {"accepts all by default", "{\"default\":" ACCEPT "}", "quay.io/a", true},
    {"rejects all by default", "{\"default\":" REJECT "}", "quay.io/a", false},
    {"rejects every registry", "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"\":" REJECT "}}}", "quay.io/a",
     false},
    {"but one", "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"\":" REJECT ",\"quay.io\":" ACCEPT "}}}",
     "quay.io/a", true},
    {"a repository before its registry",
     "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"quay.io\":" ACCEPT ",\"quay.io/a\":" REJECT "}}}",
     "quay.io/a/b", false},
    {"a wildcard",
     "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"\":" REJECT ",\"*.example.com\":" ACCEPT "}}}",
     "a.b.example.com/x", true},
    {"a wildcard is not its own parent",
     "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"\":" REJECT ",\"*.example.com\":" ACCEPT "}}}",
     "example.com/x", false},
    {"all requirements must agree", "{\"default\":[{\"type\":\"insecureAcceptAnything\"},{\"type\":\"reject\"}]}",
     "quay.io/a", false},
    {"signatures are a matter of their own", "{\"default\":[{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\"}]}",
     "quay.io/a", true},
    {"other transports do not matter", "{\"default\":" ACCEPT ",\"transports\":{\"dir\":{\"\":" REJECT "}}}",
     "quay.io/a", true},
};

Test(containers_policy, scopes) {
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct err err = {""};
        struct containers_policy *p = containers_policy_read(policies[i].text, strlen(policies[i].text), &err);
        cr_assert_not_null(p, "%s: %s", policies[i].why, err.text);
        cr_expect_eq(containers_policy_accepts(p, policies[i].name), policies[i].accepts, "%s", policies[i].why);
        containers_policy_free(p);
    }
}

Test(containers_policy, broken) {
    static const char *const texts[] = {
        "", "{}", "[]", "{\"default\":[]}", "{\"default\":\"reject\"}", "{\"default\":" ACCEPT ",\"transports\":[]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err err = {""};
        cr_expect_null(containers_policy_read(texts[i], strlen(texts[i]), &err), "%s", texts[i]);
        cr_expect(err.text[0] != '\0', "%s", texts[i]);
    }
}
