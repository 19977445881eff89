// SPDX-License-Identifier: Apache-2.0
//
// The texts of listings: which tags are shown, which query goes upstream, where the next page is.

#include "gateway/front/listing_text.h"

#include <criterion/criterion.h>
#include <string.h>

enum { OUT_MAX = 64 * 1024 };

// --- tags ---

static bool not_secret(void *ctx, const char *tag) {
    ++*(int *)ctx;
    return strncmp(tag, "secret", 6) != 0;
}

static const struct {
    const char *why, *body, *out; ///< `out` NULL: refused.
} tag_rows[] = {
    {"all", "{\"name\":\"x\",\"tags\":[\"1\",\"2\"]}", "{\"name\":\"team/app\",\"tags\":[\"1\",\"2\"]}"},
    {"the order stays, what is not shown goes", "{\"tags\":[\"secret1\",\"b\",\"secret2\",\"a\"]}",
     "{\"name\":\"team/app\",\"tags\":[\"b\",\"a\"]}"},
    {"none is shown", "{\"tags\":[\"secret\"]}", "{\"name\":\"team/app\",\"tags\":[]}"},
    {"null is how Go spells an empty list", "{\"name\":\"x\",\"tags\":null}", "{\"name\":\"team/app\",\"tags\":[]}"},
    {"no list", "{\"name\":\"x\"}", "{\"name\":\"team/app\",\"tags\":[]}"},
    {"what is no tag is left out", "{\"tags\":[\"a b\",1,null,{},\"\",\"-x\",\"ok\",\"\\u2028\"]}",
     "{\"name\":\"team/app\",\"tags\":[\"ok\"]}"},
    {"other keys do not pass", "{\"tags\":[\"a\"],\"manifest\":{},\"child\":[\"b\"]}",
     "{\"name\":\"team/app\",\"tags\":[\"a\"]}"},
    {"a list", "[\"a\"]", NULL},
    {"a string where a list belongs", "{\"tags\":\"a\"}", NULL},
    {"a NUL hides in a tag", "{\"tags\":[\"a\\u0000b\"]}", NULL},
    {"no JSON", "<html>", NULL},
    {"cut short", "{\"tags\":[\"a\"", NULL},
    {"nothing", "", NULL},
    {"two lists", "{\"tags\":[\"a\"],\"tags\":[\"b\"]}", NULL},
};

Test(listing_text, tags) {
    for (size_t i = 0; i < sizeof(tag_rows) / sizeof(tag_rows[0]); i++) {
        struct buf out;
        struct err err = {""};
        int asked = 0;
        buf_init(&out, OUT_MAX);
        bool ok = listing_tags(tag_rows[i].body, strlen(tag_rows[i].body), "team/app", not_secret, &asked, &out, &err);
        cr_expect_eq(ok, tag_rows[i].out != NULL, "%s: %s", tag_rows[i].why, err.text);
        if (ok && tag_rows[i].out != NULL)
            cr_expect_str_eq(out.data, tag_rows[i].out, "%s", tag_rows[i].why);
        else
            cr_expect(err.text[0] != '\0', "%s: says why", tag_rows[i].why);
        buf_deinit(&out);
    }
}

Test(listing_text, tags_over_the_bound) {
    static const char body[] = "{\"tags\":[\"a-tag-that-does-not-fit\"]}";
    struct buf out;
    struct err err = {""};
    int asked = 0;
    buf_init(&out, 40);
    cr_expect_not(listing_tags(body, strlen(body), "x/y", not_secret, &asked, &out, &err), "cut JSON never leaves");
    buf_deinit(&out);
}

// --- the query ---

static const struct {
    const char *why, *target, *query; ///< `query` NULL: refused.
} query_rows[] = {
    {"none", "/v2/a/tags/list", ""},
    {"empty", "/v2/a/tags/list?", ""},
    {"as it is", "/v2/a/tags/list?n=5&last=1.0", "n=5&last=1.0"},
    {"ns goes, at the start", "/v2/a/tags/list?ns=ghcr.io&n=5", "n=5"},
    {"in the middle", "/v2/a/tags/list?n=5&ns=ghcr.io&last=x", "n=5&last=x"},
    {"at the end", "/v2/a/tags/list?n=5&ns=ghcr.io", "n=5"},
    {"alone", "/v2/a/tags/list?ns=ghcr.io", ""},
    {"without a value", "/v2/a/tags/list?ns&n=5", "n=5"},
    {"twice", "/v2/a/tags/list?ns=a&ns=b&n=5", "n=5"},
    {"only the whole name", "/v2/a/tags/list?nsx=1&xns=2", "nsx=1&xns=2"},
    {"empty pairs go", "/v2/a/tags/list?&&n=5&&", "n=5"},
    {"percent-encoding stays", "/v2/a/referrers/d?artifactType=application%2Fspdx%2Bjson",
     "artifactType=application%2Fspdx%2Bjson"},
    {"a question mark within", "/v2/a/tags/list?last=a?b", "last=a?b"},
    {"a space", "/v2/a/tags/list?last=a b", NULL},
    {"a line break", "/v2/a/tags/list?last=a\r\nX: y", NULL},
    {"a fragment", "/v2/a/tags/list?last=a#b", NULL},
    {"not ASCII", "/v2/a/tags/list?last=\xc3\xa4", NULL},
    {"what would end a Link", "/v2/a/tags/list?last=a>b", NULL},
};

Test(listing_text, query) {
    for (size_t i = 0; i < sizeof(query_rows) / sizeof(query_rows[0]); i++) {
        char out[LISTING_QUERY_MAX + 1];
        bool ok = listing_query(query_rows[i].target, strlen(query_rows[i].target), out);
        cr_expect_eq(ok, query_rows[i].query != NULL, "%s", query_rows[i].why);
        if (ok && query_rows[i].query != NULL)
            cr_expect_str_eq(out, query_rows[i].query, "%s", query_rows[i].why);
    }
}

Test(listing_text, query_over_the_bound) {
    char target[LISTING_QUERY_MAX + 64] = "/v2/a/tags/list?last=", out[LISTING_QUERY_MAX + 1];
    size_t used = strlen(target);
    memset(target + used, 'x', sizeof(target) - used);
    cr_expect_not(listing_query(target, sizeof(target), out));
    size_t mark = strlen("/v2/a/tags/list?");
    cr_expect(listing_query(target, mark + LISTING_QUERY_MAX - 1, out), "just within it");
    cr_expect_eq(strlen(out), (size_t)LISTING_QUERY_MAX - 1);
}

// --- Link ---

#define PATH "/v2/ghcr.io/org/app/tags/list"

static const struct {
    const char *why, *link, *ns, *out;
} link_rows[] = {
    {"no next page", "", NULL, ""},
    {"relative", "</v2/org/app/tags/list?last=b&n=2>; rel=\"next\"", NULL, "<" PATH "?last=b&n=2>; rel=\"next\""},
    {"with ns", "</v2/org/app/tags/list?last=b&n=2>; rel=\"next\"", "ghcr.io",
     "<" PATH "?last=b&n=2&ns=ghcr.io>; rel=\"next\""},
    {"a port in ns", "</v2/org/app/tags/list?last=b>; rel=\"next\"", "127.0.0.1:5000",
     "<" PATH "?last=b&ns=127.0.0.1%3A5000>; rel=\"next\""},
    {"the upstream's own ns does not come back", "</v2/x/tags/list?ns=evil.test&last=b>; rel=\"next\"", "ghcr.io",
     "<" PATH "?last=b&ns=ghcr.io>; rel=\"next\""},
    {"relative to the path", "<list?last=b>; rel=\"next\"", NULL, "<" PATH "?last=b>; rel=\"next\""},
    {"absolute, the same host", "<https://ghcr.io/v2/org/app/tags/list?last=b>; rel=\"next\"", NULL,
     "<" PATH "?last=b>; rel=\"next\""},
    {"with its default port", "<https://GHCR.io:443/v2/org/app/tags/list?last=b>; rel=\"next\"", NULL,
     "<" PATH "?last=b>; rel=\"next\""},
    {"another host is dropped", "<https://evil.test/v2/org/app/tags/list?last=b>; rel=\"next\"", NULL, ""},
    {"another host without a scheme", "<//evil.test/v2/org/app/tags/list?last=b>; rel=\"next\"", NULL, ""},
    {"a host that begins alike", "<https://ghcr.io.evil.test/v2/?last=b>; rel=\"next\"", NULL, ""},
    {"user information", "<https://ghcr.io@evil.test/v2/?last=b>; rel=\"next\"", NULL, ""},
    {"another port", "<https://ghcr.io:8443/v2/?last=b>; rel=\"next\"", NULL, ""},
    {"not the next page", "</v2/x/tags/list?last=b>; rel=\"prev\"", NULL, ""},
    {"the second of two", "</v2/x/tags/list?last=a>; rel=\"prev\", </v2/x/tags/list?last=b>; rel=\"next\"", NULL,
     "<" PATH "?last=b>; rel=\"next\""},
    {"the first of two", "</v2/x/tags/list?last=b>; rel=\"next\", </v2/x/tags/list?last=z>; rel=\"last\"", NULL,
     "<" PATH "?last=b>; rel=\"next\""},
    {"a comma in quotes ends nothing", "</v2/x/tags/list?last=b>; title=\"a, b\"; rel=\"next\"", NULL,
     "<" PATH "?last=b>; rel=\"next\""},
    {"a comma in the target", "</v2/x/tags/list?last=a,b>; rel=\"next\"", NULL, "<" PATH "?last=a,b>; rel=\"next\""},
    {"without quotes", "</v2/x/tags/list?last=b>; rel=next", NULL, "<" PATH "?last=b>; rel=\"next\""},
    {"no query leads nowhere new", "</v2/x/tags/list>; rel=\"next\"", NULL, ""},
    {"not closed", "</v2/x/tags/list?last=b; rel=\"next\"", NULL, ""},
    {"a space in the target", "</v2/x/tags/list?last=a b>; rel=\"next\"", NULL, ""},
    {"a fragment", "</v2/x/tags/list?last=b#x>; rel=\"next\"", NULL, ""},
};

Test(listing_text, link) {
    for (size_t i = 0; i < sizeof(link_rows) / sizeof(link_rows[0]); i++) {
        char out[LISTING_LINK_MAX + 1];
        listing_link(link_rows[i].link, "ghcr.io", PATH, link_rows[i].ns, out);
        cr_expect_str_eq(out, link_rows[i].out, "%s: %s", link_rows[i].why, out);
    }
}

Test(listing_text, link_of_an_upstream_with_a_port) {
    char out[LISTING_LINK_MAX + 1];
    listing_link("<https://10.1.2.3:5000/v2/a/tags/list?last=b>; rel=\"next\"", "10.1.2.3:5000", "/v2/a/tags/list",
                 NULL, out);
    cr_expect_str_eq(out, "</v2/a/tags/list?last=b>; rel=\"next\"");
    listing_link("<https://10.1.2.3/v2/a/tags/list?last=b>; rel=\"next\"", "10.1.2.3:5000", "/v2/a/tags/list", NULL,
                 out);
    cr_expect_str_eq(out, "", "another port is another host");
}
