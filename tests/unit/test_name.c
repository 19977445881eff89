// SPDX-License-Identifier: Apache-2.0
//
// Names of registries, repositories, tags and whole images.

#include "mirrors/oci/name.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct pair {
    const char *in, *out; // NULL: refused.
};

Test(name, registries_have_one_form) {
    const struct pair rows[] = {
        {"docker.io", "docker.io"},
        {"Docker.IO", "docker.io"},
        {"index.docker.io", "docker.io"},
        {"registry-1.docker.io:443", "docker.io"},
        {"docker.io:443", "docker.io"},
        {"docker.io:8443", "docker.io:8443"},
        {"registry-1.docker.io:8443", "registry-1.docker.io:8443"},
        {"hub.docker.io", "hub.docker.io"},
        {"ghcr.io:443", "ghcr.io"},
        {"ghcr.io:80", "ghcr.io:80"},
        {"LOCALHOST:5000", "localhost:5000"},
        {"[0:0::1]:5000", "[::1]:5000"},
        {"docker.io.", NULL},
        {"", NULL},
        {"a/b", NULL},
        {"u@docker.io", NULL},
        {"docker.io:0443", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[REGISTRY_MAX + 1] = "";
        struct err err = {0};
        bool ok = name_registry(rows[i].in, strlen(rows[i].in), out, &err);
        cr_expect_eq(ok, rows[i].out != NULL, "%s: %s", rows[i].in, err.text);
        cr_expect(!ok || rows[i].out == NULL || strcmp(out, rows[i].out) == 0, "%s: %s", rows[i].in, out);
    }
}

Test(name, what_looks_like_a_registry) {
    const char *yes[] = {"a.b", "a:1", "localhost", "LocalHost", ".", "[::1]"};
    const char *no[] = {"", "library", "localhosts", "local", "my-org"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        cr_expect(name_looks_like_registry(yes[i], strlen(yes[i])), "%s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        cr_expect_not(name_looks_like_registry(no[i], strlen(no[i])), "%s", no[i]);
}

Test(name, repositories) {
    const char *good[] = {"a",      "alpine", "library/alpine", "a.b/c_d/e__f/g-h/i---j", "0/1",
                          "a/v2/b", "v2",     "a/blobs",        "a/manifests/b"};
    const char *bad[] = {"",   "A",      "a/",    "/a",    "a//b",      ".a",   "a.",  "a..b", "a___b",
                         "_a", "a_",     "-a",    "a-",    "a._b",      "a-_b", "a b", "a:b",  "a@b",
                         "..", "a/../b", "a/./b", "a%2fb", "h\xc3\xa9", "a\\b", "a?b", "a-.b", "a/-b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(name_repository_valid(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(name_repository_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
    cr_expect_not(name_repository_valid("a\0b", 3), "a NUL");
    char text[REPOSITORY_MAX + 1];
    memset(text, 'a', sizeof text);
    cr_expect(name_repository_valid(text, REPOSITORY_MAX));
    cr_expect_not(name_repository_valid(text, REPOSITORY_MAX + 1));
}

Test(name, library_is_docker_hubs) {
    char out[REPOSITORY_MAX + 1];
    cr_assert(name_repository("docker.io", "alpine", 6, out));
    cr_expect_str_eq(out, "library/alpine");
    cr_assert(name_repository("docker.io", "org/app", 7, out));
    cr_expect_str_eq(out, "org/app");
    cr_assert(name_repository("ghcr.io", "alpine", 6, out));
    cr_expect_str_eq(out, "alpine");
    char text[REPOSITORY_MAX + 1];
    memset(text, 'a', sizeof text);
    cr_expect(name_repository("ghcr.io", text, REPOSITORY_MAX, out));
    cr_expect(name_repository("docker.io", text, REPOSITORY_MAX - 8, out));
    cr_expect_not(name_repository("docker.io", text, REPOSITORY_MAX - 7, out), "library/ does not fit before it");
}

Test(name, tags) {
    const char *good[] = {"latest", "1.2.3", "_x", "A-b_C.d", "0"};
    const char *bad[] = {"", ".a", "-a", "a/b", "a:b", "a b", "a+b", "h\xc3\xa9", "a@b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(name_tag_valid(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(name_tag_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
    char text[TAG_MAX + 1];
    memset(text, 'a', sizeof text);
    cr_expect(name_tag_valid(text, TAG_MAX));
    cr_expect_not(name_tag_valid(text, TAG_MAX + 1));
}

Test(name, tags_that_refer_to_a_digest) {
    const char *yes[] = {"sha256-" HEX, "sha256-" HEX ".sig", "sha256-" HEX ".att", "sha256-" HEX ".sbom"};
    const char *no[] = {"latest",
                        "sha256-",
                        "sha256-abc",
                        "sha256-" HEX "0",
                        "sha256-" HEX ".exe",
                        "sha256-" HEX ".",
                        "SHA256-" HEX,
                        "sha256_" HEX,
                        "sha256-BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"};
    char out[DIGEST_TEXT_MAX + 1];
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        cr_expect(name_tag_subject(yes[i], out), "%s", yes[i]);
        cr_expect_str_eq(out, "sha256:" HEX);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        cr_expect_not(name_tag_subject(no[i], out), "%s", no[i]);
}

Test(name, images) {
    const struct pair rows[] = {
        {"alpine", "docker.io/library/alpine"},
        {"alpine:3.20", "docker.io/library/alpine:3.20"},
        {"org/app", "docker.io/org/app"},
        {"docker.io/alpine", "docker.io/library/alpine"},
        {"index.docker.io/library/alpine:1", "docker.io/library/alpine:1"},
        {"ghcr.io/org/app:1", "ghcr.io/org/app:1"},
        {"GHCR.io:443/org/app", "ghcr.io/org/app"},
        {"localhost/app", "localhost/app"},
        {"localhost:5000/app", "localhost:5000/app"},
        {"localhost:5000", "docker.io/library/localhost:5000"},
        {"[::1]:5000/app:1", "[::1]:5000/app:1"},
        {"app@sha256:" HEX, "docker.io/library/app@sha256:" HEX},
        {"r.io:1/a/app:T@sha256:" HEX, "r.io:1/a/app:T@sha256:" HEX},
        {"", NULL},
        {"Alpine", NULL},
        {"ghcr.io/Org/app", NULL},
        {"ghcr.io/", NULL},
        {"ghcr.io//a", NULL},
        {"/a", NULL},
        {"alpine:", NULL},
        {"alpine:-a", NULL},
        {"alpine@", NULL},
        {"alpine@sha256:abc", NULL},
        {"alpine@sha384:abc", NULL},
        {"alpine@sha256:" HEX "@sha256:" HEX, NULL},
        {"alpine@sha256:" HEX ":tag", NULL},
        {"https://ghcr.io/a", NULL},
        {"a b", NULL},
        {"a:b:c", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct image_name name;
        struct err err = {0};
        char out[IMAGE_TEXT_MAX + 1] = "";
        bool ok = name_parse(rows[i].in, "docker.io", &name, &err);
        cr_expect_eq(ok, rows[i].out != NULL, "%s: %s", rows[i].in, err.text);
        if (!ok) {
            cr_expect_str_neq(err.text, "", "%s", rows[i].in);
            continue;
        }
        name_format(&name, out);
        cr_expect(rows[i].out != NULL && strcmp(out, rows[i].out) == 0, "%s: %s", rows[i].in, out);
    }
}

Test(name, another_default_registry) {
    struct image_name name;
    cr_assert(name_parse("alpine", "Registry.corp:443", &name, NULL));
    cr_expect_str_eq(name.registry, "registry.corp");
    cr_expect_str_eq(name.repository, "alpine");
    cr_expect_not(name_parse("alpine", "not a host", &name, NULL));
}
