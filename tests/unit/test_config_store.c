// SPDX-License-Identifier: Apache-2.0
//
// "store", "admin" and what registries say about both: errors, defaults, values, what they mean, and reloads.

#include "gateway/config/config.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

/// Who the configuration's default directory believes we are; the C library's is not asked.
static uid_t user = 1000;

uid_t geteuid(void) {
    return user;
}

static const char *const environment[] = {"https_proxy", "HTTPS_PROXY", "http_proxy",      "HTTP_PROXY",     "no_proxy",
                                          "NO_PROXY",    "HOME",        "CACHE_DIRECTORY", "XDG_CACHE_HOME", NULL};

static void clean(void) {
    for (size_t i = 0; environment[i] != NULL; i++)
        unsetenv(environment[i]);
    setenv("HOME", "/home/me", 1);
}

static struct config *parse(const char *text, struct err *err) {
    return config_parse(text, strlen(text), NULL, catalog, err);
}

static struct config *good(const char *text) {
    struct err err = {0};
    struct config *c = parse(text, &err);
    cr_assert_not_null(c, "%s: %s", text, err.text);
    return c;
}

#define STORE(keys) "{\"store\":{" keys "}}"
#define REGISTRY(keys) "{\"registries\":{\"r.example.com\":{" keys "}}}"

// --- errors ---

static const struct {
    const char *why, *text, *error;
} error_rows[] = {
    {"another type", "{\"store\":true}",
     "store: expected { \"directory\", \"max_size\", ... }, or null to keep nothing, found a boolean"},
    {"an unknown key", STORE("\"max-size\":\"1GiB\""), "store.max-size: unknown key; did you mean \"max_size\"?"},
    {"no unit", STORE("\"max_size\":\"50\""),
     "store.max_size: expected a size such as \"50GiB\" or \"1TiB\", found \"50\""},
    {"no room at all", STORE("\"max_size\":\"0B\""),
     "store.max_size: expected at least 16MiB and at most 1024TiB, found \"0B\""},
    {"over what anybody has", STORE("\"max_size\":\"1025TiB\""),
     "store.max_size: expected at least 16MiB and at most 1024TiB, found \"1025TiB\""},
    {"a size that does not fit 64 bits", STORE("\"max_size\":\"42949672950TiB\""), "store.max_size: expected a size"},
    {"all of it free", STORE("\"min_free\":\"100%\""),
     "store.min_free: expected a percentage from \"0%\" to \"99%\", found \"100%\""},
    {"a percentage without its sign", STORE("\"min_free\":\"5\""), "store.min_free: expected a percentage"},
    {"a sign alone", STORE("\"min_free\":\"%\""), "store.min_free: expected a percentage"},
    {"a fraction", STORE("\"min_free\":\"1.5%\""), "store.min_free: expected a percentage"},
    {"below nothing", STORE("\"min_free\":\"-1%\""), "store.min_free: expected a percentage"},
    {"a week and a day", STORE("\"tag_ttl\":\"8d\""),
     "store.tag_ttl: expected at least 0s and at most 7d, found \"8d\""},
    {"only stale_for is unlimited", STORE("\"tag_ttl\":\"unlimited\""),
     "store.tag_ttl: expected a duration such as \"60s\", \"24h\" or \"30d\", found \"unlimited\""},
    {"stale_for of another word", STORE("\"stale_for\":\"forever\""),
     "store.stale_for: expected a duration such as \"24h\" or \"7d\", or \"unlimited\", found \"forever\""},
    {"negative answers for hours", STORE("\"negative_ttl\":\"2h\""),
     "store.negative_ttl: expected at least 0s and at most 1h, found \"2h\""},
    {"nothing learned", STORE("\"learned_for\":\"0s\""), "store.learned_for: expected at least 1s"},
    {"more than all", STORE("\"finish\":\"101%\""),
     "store.finish: expected a percentage such as \"50%\", or \"never\", found \"101%\""},
    {"finish without its sign", STORE("\"finish\":\"50\""), "store.finish: expected a percentage"},
    {"a keep that is no list", STORE("\"keep\":\"**\""), "store.keep: expected a list of patterns, found a string"},
    {"a keep pattern that is none", STORE("\"keep\":[\"docker.io/a/b\",\"alpine\"]"), "store.keep[1]: \"alpine\": "},
    {"a keep pattern of another type", STORE("\"keep\":[1]"),
     "store.keep[0]: expected a pattern such as \"docker.io/library/**\", found a number"},
    {"a digest",
     STORE("\"keep\":[\"docker.io/a/"
           "b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]"),
     "store.keep[0]: expected a repository or a tag: what is kept is not chosen by digest"},
    {"an empty directory", STORE("\"directory\":\"\""), "store.directory: expected a path"},
    {"a registry's tags for months", REGISTRY("\"tag_ttl\":\"60d\""),
     "registries.\"r.example.com\".tag_ttl: expected at least 0s and at most 7d, found \"60d\""},
    {"offline is yes or no", REGISTRY("\"offline\":\"yes\""),
     "registries.\"r.example.com\".offline: expected true or false, found a string"},
    {"offline, and nothing kept", "{\"store\":null,\"registries\":{\"r.example.com\":{\"offline\":true}}}",
     "registries.\"r.example.com\".offline: an offline registry is served from the store only, and \"store\" is null"},
    {"admin without address", "{\"admin\":{}}",
     "admin: \"address\" is missing: expected an IP address and a port such as \"127.0.0.1:5081\""},
    {"admin by name", "{\"admin\":{\"address\":\"gate.example.com:80\"}}",
     "admin.address: expected an IP address and a port"},
    {"admin without port", "{\"admin\":{\"address\":\"127.0.0.1\"}}", "admin.address: expected a port after"},
    {"admin where clients are", "{\"admin\":{\"address\":\"localhost:5080\"}}",
     "admin.address: listeners[0] has the address 127.0.0.1:5080 already"},
    {"admin on the second listener",
     "{\"listeners\":[{\"address\":\"1.2.3.4:5\"},{\"address\":\"[::1]:7\"}],\"admin\":{\"address\":\"[0::1]:7\"}}",
     "admin.address: listeners[1] has the address [::1]:7 already"},
};

Test(config_store, errors, .init = clean) {
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
        struct err err = {0};
        struct config *c = parse(error_rows[i].text, &err);
        cr_expect_null(c, "%s: was accepted", error_rows[i].why);
        cr_expect_eq(strncmp(err.text, error_rows[i].error, strlen(error_rows[i].error)), 0, "%s: %s",
                     error_rows[i].why, err.text);
        config_unref(c);
    }
}

// --- values ---

Test(config_store, defaults, .init = clean) {
    struct config *c = good("{}");
    cr_expect(c->store.enabled, "on unless the file says null");
    cr_expect_eq(c->store.max_size, (uint64_t)50 << 30);
    cr_expect_eq(c->store.min_free, 5);
    cr_expect_eq(c->store.terms.tag_ttl_s, 60);
    cr_expect_eq(c->store.terms.stale_for_s, 24 * 3600);
    cr_expect_eq(c->store.terms.negative_ttl_s, 10);
    cr_expect_eq(c->store.terms.learned_for_s, 30 * 24 * 3600);
    cr_expect_eq(c->store.terms.finish_percent, 50);
    cr_expect_not(c->store.terms.offline);
    cr_expect_eq(c->store.keep_count, 0);
    cr_expect_not(c->admin.enabled, "no admin listener unless it is written");
    config_unref(c);
}

Test(config_store, everything, .init = clean) {
    struct config *c =
        good("{\"store\":{\"directory\":\"/srv/images\",\"max_size\":\"2TiB\",\"min_free\":\"0%\",\"tag_ttl\":\"0s\","
             "\"stale_for\":\"unlimited\",\"negative_ttl\":\"1m\",\"learned_for\":\"7d\",\"finish\":\"never\","
             "\"keep\":[\"docker.io/library/**\",\"ghcr.io/acme/app:v*\"],\"x-a\":1},"
             "\"admin\":{\"address\":\"localhost:5081\"}}");
    cr_expect_str_eq(c->store.directory, "/srv/images");
    cr_expect_eq(c->store.max_size, (uint64_t)2 << 40);
    cr_expect_eq(c->store.min_free, 0);
    cr_expect_eq(c->store.terms.tag_ttl_s, 0);
    cr_expect_eq(c->store.terms.stale_for_s, -1);
    cr_expect_eq(c->store.terms.negative_ttl_s, 60);
    cr_expect_eq(c->store.terms.learned_for_s, 7 * 24 * 3600);
    cr_expect_gt(c->store.terms.finish_percent, 100, "never");
    cr_expect_eq(c->store.keep_count, 2);
    cr_expect(c->admin.enabled);
    cr_expect_str_eq(c->admin.address, "127.0.0.1:5081");
    cr_expect_eq(c->admin.at.port, 5081);
    config_unref(c);
}

Test(config_store, null_keeps_nothing, .init = clean) {
    struct config *c = good("{\"store\":null,\"admin\":null}");
    cr_expect_not(c->store.enabled);
    cr_expect_null(c->store.directory);
    cr_expect_not(c->admin.enabled);
    config_unref(c);
}

Test(config_store, a_relative_directory_counts_from_the_file, .init = clean) {
    static const char text[] = STORE("\"directory\":\"images\"");
    struct config *c = config_parse(text, sizeof text - 1, "/etc/pullgate", catalog, NULL);
    cr_assert_not_null(c);
    cr_expect_str_eq(c->store.directory, "/etc/pullgate/images");
    config_unref(c);
}

static const struct {
    const char *why;
    uid_t user;
    const char *unit, *cache, *home, *directory; ///< `directory` NULL: an error.
} directory_rows[] = {
    {"a user", 1000, NULL, NULL, "/home/me", "/home/me/.cache/pullgate"},
    {"a user with a place for caches", 1000, NULL, "/fast", "/home/me", "/fast/pullgate"},
    {"a relative place is none", 1000, NULL, "fast", "/home/me", "/home/me/.cache/pullgate"},
    {"an empty place is none", 1000, NULL, "", "/home/me", "/home/me/.cache/pullgate"},
    {"root", 0, NULL, NULL, "/root", "/var/cache/pullgate"},
    {"root's home does not count", 0, NULL, "/fast", NULL, "/var/cache/pullgate"},
    {"systemd's word goes first", 1000, "/var/cache/gate", "/fast", "/home/me", "/var/cache/gate"},
    {"for root too", 0, "/var/cache/gate", NULL, NULL, "/var/cache/gate"},
    {"the first of systemd's", 1000, "/var/cache/a:/var/cache/b", NULL, NULL, "/var/cache/a"},
    {"nowhere", 1000, NULL, NULL, NULL, NULL},
    {"a relative home", 1000, NULL, NULL, "me", NULL},
};

static void set(const char *name, const char *value) {
    if (value != NULL)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

Test(config_store, default_directory, .init = clean) {
    for (size_t i = 0; i < sizeof directory_rows / sizeof directory_rows[0]; i++) {
        struct err err = {0};
        user = directory_rows[i].user;
        set("CACHE_DIRECTORY", directory_rows[i].unit);
        set("XDG_CACHE_HOME", directory_rows[i].cache);
        set("HOME", directory_rows[i].home);
        struct config *c = parse("{}", &err);
        if (directory_rows[i].directory == NULL) {
            cr_expect_null(c, "%s: was accepted", directory_rows[i].why);
            cr_expect_eq(strncmp(err.text, "store.directory: ", 17), 0, "%s: %s", directory_rows[i].why, err.text);
            c = good("{\"store\":null}");
            config_unref(c);
            c = good(STORE("\"directory\":\"/a\""));
            cr_expect_str_eq(c->store.directory, "/a", "what is written needs no default");
        } else {
            cr_assert_not_null(c, "%s: %s", directory_rows[i].why, err.text);
            cr_expect_str_eq(c->store.directory, directory_rows[i].directory, "%s", directory_rows[i].why);
        }
        config_unref(c);
    }
}

// --- what it means ---

Test(config_store, terms_of_a_registry, .init = clean) {
    struct config *c = good("{\"store\":{\"tag_ttl\":\"5m\",\"stale_for\":\"1h\"},\"registries\":{\"a.example.com\":{},"
                            "\"b.example.com\":{\"tag_ttl\":\"0s\"},\"*\":{\"offline\":true,\"tag_ttl\":\"1d\"}}}");
    static const struct {
        const char *why, *registry;
        unsigned tag_ttl_s;
        bool offline;
    } rows[] = {
        {"the store's", "a.example.com", 300, false},
        {"its own, and 0 is one", "b.example.com", 0, false},
        {"a wildcard's", "c.example.com", 24 * 3600, true},
        {"what the catalogue adds under it", "docker.io", 24 * 3600, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct content_terms t;
        config_terms(c, config_registry(c, rows[i].registry), &t);
        cr_expect_eq(t.tag_ttl_s, rows[i].tag_ttl_s, "%s: %u", rows[i].why, t.tag_ttl_s);
        cr_expect_eq(t.offline, rows[i].offline, "%s", rows[i].why);
        cr_expect_eq(t.stale_for_s, 3600, "%s", rows[i].why);
        cr_expect_eq(t.learned_for_s, 30 * 24 * 3600, "%s", rows[i].why);
    }
    config_unref(c);
}

Test(config_store, keeps, .init = clean) {
    struct config *c = good(STORE("\"keep\":[\"docker.io/library/**\",\"ghcr.io/acme/app:v*\",\"*.azurecr.io/b/*\"]"));
    static const struct {
        const char *why, *registry, *repository, *tag;
        bool keeps;
    } rows[] = {
        {"a whole repository, by tag", "docker.io", "library/alpine", "3", true},
        {"and where no tag is named", "docker.io", "library/alpine", NULL, true},
        {"another repository", "docker.io", "acme/alpine", "3", false},
        {"another registry", "quay.io", "library/alpine", "3", false},
        {"its tag", "ghcr.io", "acme/app", "v1", true},
        {"another tag", "ghcr.io", "acme/app", "latest", false},
        {"a pattern with a tag does not cover the rest", "ghcr.io", "acme/app", NULL, false},
        {"the same, said otherwise", "ghcr.io", "acme/app", "", false},
        {"a wildcard", "x.azurecr.io", "b/c", "", true},
        {"one component only", "x.azurecr.io", "b/c/d", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(config_store_keeps(c, rows[i].registry, rows[i].repository, rows[i].tag), rows[i].keeps, "%s",
                     rows[i].why);
    config_unref(c);
    c = good("{}");
    cr_expect_not(config_store_keeps(c, "docker.io", "library/alpine", "3"), "nothing is kept unless written");
    config_unref(c);
}

// --- reloads ---

static const struct {
    const char *why, *before, *after, *names; ///< NULL: may be reloaded.
} reload_rows[] = {
    {"sizes, times and what is kept", STORE(""),
     STORE("\"max_size\":\"1GiB\",\"min_free\":\"9%\",\"tag_ttl\":\"1s\",\"stale_for\":\"0s\",\"finish\":\"0%\","
           "\"keep\":[\"**\"]"),
     NULL},
    {"a registry's own", REGISTRY("\"offline\":true"), REGISTRY("\"tag_ttl\":\"1s\""), NULL},
    {"the directory", STORE("\"directory\":\"/a\""), STORE("\"directory\":\"/b\""), "changes store.directory;"},
    {"the directory that was the default", STORE("\"directory\":\"/home/me/.cache/pullgate\""), "{}", NULL},
    {"switched off", STORE("\"directory\":\"/a\""), "{\"store\":null}", "changes store;"},
    {"switched on", "{\"store\":null}", "{}", "changes store;"},
    {"the admin address", "{\"admin\":{\"address\":\"127.0.0.1:1\"}}", "{\"admin\":{\"address\":\"127.0.0.1:2\"}}",
     "changes admin.address;"},
    {"an admin listener more", "{}", "{\"admin\":{\"address\":\"127.0.0.1:1\"}}", "changes admin.address;"},
};

Test(config_store, reloadable, .init = clean) {
    for (size_t i = 0; i < sizeof reload_rows / sizeof reload_rows[0]; i++) {
        struct config *before = good(reload_rows[i].before), *after = good(reload_rows[i].after);
        struct err err = {0};
        bool ok = config_reloadable(before, after, &err);
        cr_expect_eq(ok, reload_rows[i].names == NULL, "%s: %s", reload_rows[i].why, err.text);
        cr_expect(ok || strstr(err.text, reload_rows[i].names) != NULL, "%s: %s", reload_rows[i].why, err.text);
        config_unref(before);
        config_unref(after);
    }
}
