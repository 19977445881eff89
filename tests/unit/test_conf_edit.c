// SPDX-License-Identifier: Apache-2.0
//
// Edits of the clients' files: what they do not touch stays byte for byte, comments included; written twice they change
// nothing; a spot that is not safe is refused and the text is as it was.

#include "gateway/formats/conf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 12 };

struct row {
    const char *why, *path; // '|' between the keys.
    const char *value;      // NULL: remove.
    const char *comment;
    const char *text, *becomes; // NULL: it is refused.
    const char *says;           // Part of the refusal.
};

static char *split(const char *path, const char *keys[KEYS_MAX + 1]) {
    char *copy = strdup(path), *rest = copy;
    size_t n = 0;
    for (char *key; n < KEYS_MAX && (key = strsep(&rest, "|")) != NULL;)
        keys[n++] = key;
    keys[n] = NULL;
    return copy;
}

static enum conf_edit edit(enum conf_format format, const struct row *r, struct buf *text, struct err *err) {
    const char *keys[KEYS_MAX + 1];
    char *copy = split(r->path, keys);
    enum conf_edit result = r->value == NULL ? conf_remove(format, text, keys, err)
                                             : conf_set(format, text, keys, r->value, r->comment, err);
    free(copy);
    return result;
}

static void check(enum conf_format format, const struct row *r) {
    struct err err = {0};
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    buf_adds(&text, r->text);
    enum conf_edit result = edit(format, r, &text, &err);
    const char *becomes = r->becomes == NULL ? r->text : r->becomes;
    enum conf_edit want = r->becomes == NULL ? CONF_UNSAFE : strcmp(becomes, r->text) == 0 ? CONF_SAME : CONF_CHANGED;
    cr_expect_eq(result, want, "%s: %d, %s", r->why, result, err.text);
    cr_expect_str_eq(text.data, becomes, "%s:\n%s", r->why, text.data);
    cr_expect(r->says == NULL || strstr(err.text, r->says) != NULL, "%s: %s", r->why, err.text);
    cr_expect_eq(result == CONF_UNSAFE, err.text[0] != '\0', "%s: %s", r->why, err.text);
    enum conf_edit again = edit(format, r, &text, &err);
    cr_expect_eq(again, result == CONF_UNSAFE ? CONF_UNSAFE : CONF_SAME, "%s, again: %s", r->why, err.text);
    cr_expect_str_eq(text.data, becomes, "%s, again:\n%s", r->why, text.data);
    buf_deinit(&text);
}

static void check_all(enum conf_format format, const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        check(format, &rows[i]);
}

#define ALL(rows) rows, sizeof rows / sizeof *rows

// --- TOML ---

Test(conf_edit, toml_set) {
    static const struct row rows[] = {
        {.why = "a file that is not there yet, a header with dots in a key",
         .path = "host|https://g|ca",
         .value = "\"/etc/pullgate/ca.crt\"",
         .comment = "whom to trust",
         .text = "",
         .becomes = "[host.\"https://g\"]\n# whom to trust\nca = \"/etc/pullgate/ca.crt\"\n"},
        {.why = "the same in another spelling is the same",
         .path = "host|capabilities",
         .value = "[\"pull\", \"r\\u0065solve\"]",
         .text = "[host]\ncapabilities = [ 'pull', # no push\n \"resolve\", ]\n",
         .becomes = "[host]\ncapabilities = [ 'pull', # no push\n \"resolve\", ]\n"},
        {.why = "a value in its place, the comments around it",
         .path = "server",
         .value = "\"https://g\"",
         .comment = "only for new ones",
         .text = "# file\nserver   =  'https://x'  # whose?\n\n[host]\n",
         .becomes = "# file\nserver   =  \"https://g\"  # whose?\n\n[host]\n"},
        {.why = "the outermost table ends before the first header",
         .path = "server",
         .value = "\"x\"",
         .comment = "why",
         .text = "version = 3 # v\n# old = 1\n\n# about host\n[host]\na = 1\n",
         .becomes = "version = 3 # v\n# why\nserver = \"x\"\n# old = 1\n\n# about host\n[host]\na = 1\n"},
        {.why = "before the first header and what is said about it, below what is said about the file",
         .path = "server",
         .value = "\"x\"",
         .text = "# the file\n\n# about host\n[host]\n",
         .becomes = "# the file\n\nserver = \"x\"\n\n# about host\n[host]\n"},
        {.why = "a file of comments",
         .path = "server",
         .value = "\"x\"",
         .text = "# the file\n",
         .becomes = "# the file\nserver = \"x\"\n"},
        {.why = "the end of a table's own lines, in its indentation",
         .path = "plugins|io.containerd.grpc.v1.cri|registry|config_path",
         .value = "\"/etc/containerd/certs.d\"",
         .comment = "where hosts.toml are",
         .text = "[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    x = '''\n[a]\n'''\n\n"
                 "    # of headers\n    [plugins.\"io.containerd.grpc.v1.cri\".registry.headers]\n",
         .becomes = "[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    x = '''\n[a]\n'''\n"
                    "    # where hosts.toml are\n    config_path = \"/etc/containerd/certs.d\"\n\n"
                    "    # of headers\n    [plugins.\"io.containerd.grpc.v1.cri\".registry.headers]\n"},
        {.why = "a comment that is there already is not written again",
         .path = "a|x",
         .value = "1",
         .comment = "why\nand how",
         .text = "[a]\n# why\ny = 2\n",
         .becomes = "[a]\n# why\ny = 2\n# and how\nx = 1\n"},
        {.why = "line ends as they are, and no end at the last line",
         .path = "a|x",
         .value = "1",
         .comment = "why",
         .text = "[a]\r\ny = 2",
         .becomes = "[a]\r\ny = 2\r\n# why\r\nx = 1"},
        {.why = "a byte order mark stays the first",
         .path = "x",
         .value = "1",
         .text = "\xef\xbb\xbf[a]\n",
         .becomes = "\xef\xbb\xbfx = 1\n\n[a]\n"},
        {.why = "a header at the end of a text whose last line has none",
         .path = "b",
         .value = "{}",
         .text = "[a]\ny = 2",
         .becomes = "[a]\ny = 2\n\n[b]"},
        {.why = "an empty table by its header is there already",
         .path = "host",
         .value = "{}",
         .text = "[host] # closes it\n",
         .becomes = "[host] # closes it\n"},
        {.why = "a table that was named on the way only",
         .path = "a|x",
         .value = "1",
         .text = "[a.b]\ny = 2\n",
         .becomes = "[a.b]\ny = 2\n\n[a]\nx = 1\n"},
        {.why = "a table made by dotted keys is added to by one",
         .path = "t|a|b|x",
         .value = "1",
         .text = "[t]\n  a.\"b\".c = 1 # c\n[u]\n",
         .becomes = "[t]\n  a.\"b\".c = 1 # c\n  a.b.x = 1\n[u]\n"},
        {.why = "a table below one made by dotted keys",
         .path = "a|b|x",
         .value = "1",
         .text = "a.c = 1\n",
         .becomes = "a.c = 1\n\n[a.b]\nx = 1\n"},
        {.why = "objects become headers",
         .path = "registry",
         .value = "{\"docker.io\": {\"mirrors\": [\"g\"], \"http\": false}, \"n\": [{\"a\": 1.5}, {}]}",
         .comment = "all of them",
         .text = "x = 1\n",
         .becomes =
             "x = 1\n\n# all of them\n[registry]\n\n[registry.\"docker.io\"]\nmirrors = [\"g\"]\nhttp = false\n\n"
             "[[registry.n]]\na = 1.5\n\n[[registry.n]]\n"},
        {.why = "a list of tables that differs is written anew",
         .path = "registry",
         .value = "[{\"prefix\": \"docker.io\", \"m\": {\"a\": [{\"b\": 1}, 2]}}]",
         .text = "x = 1\n\n# first\n[[registry]]\nprefix = 'a'\n\n[[registry]] # second\n\n[z]\n",
         .becomes = "x = 1\n\n# first\n\n[z]\n\n[[registry]]\nprefix = \"docker.io\"\n\n[registry.m]\n"
                    "a = [{ b = 1 }, 2]\n"},
        {.why = "an inline table as a whole",
         .path = "a",
         .value = "{\"x y\": 1, \"z\": {}}",
         .text = "a = {b = 1} # c\n",
         .becomes = "a = { \"x y\" = 1, z = {} } # c\n"},
        {.why = "escapes that both know",
         .path = "a",
         .value = "\"\\/\\ud83d\\ude00\\u00e9\\u0007\\u0085\\u2028\\\"\\\\\\n\"",
         .text = "",
         .becomes = "a = \"/\xf0\x9f\x98\x80\xc3\xa9\\u0007\\u0085\\u2028\\\"\\\\\\n\"\n"},
    };
    check_all(CONF_TOML, ALL(rows));
}

Test(conf_edit, toml_remove) {
    static const struct row rows[] = {
        {.why = "nothing there", .path = "a|b", .text = "[a]\n", .becomes = "[a]\n"},
        {.why = "a line with its comment, not the one above",
         .path = "a|x",
         .text = "[a]\n# above\nx = [1, # one\n 2] # two\ny = 1\n",
         .becomes = "[a]\n# above\ny = 1\n"},
        {.why = "a table, its subtables, and the blank line before",
         .path = "a|b",
         .text = "[a]\n\n# of b\n[a.b]\nx = 1\n# in b\n\n[a.b.c]\ny = 1\n\n[d]\n",
         .becomes = "[a]\n\n# of b\n# in b\n\n[d]\n"},
        {.why = "the table that was only on the way goes too",
         .path = "a|b",
         .text = "x = 1\n[a.b]\ny = 1\n",
         .becomes = "x = 1\n"},
        {.why = "what dotted keys made",
         .path = "a|b",
         .text = "a.b.c = 1\nx = 2\na.b.d = 3\na.e = 4\n",
         .becomes = "x = 2\na.e = 4\n"},
        {.why = "elements", .path = "a", .text = "[[a]]\nx = 1\n[a.b]\n[[a]]\n[c]\n", .becomes = "[c]\n"},
        {.why = "the last line without an end", .path = "b", .text = "a = 1\r\nb = 2", .becomes = "a = 1"},
        {.why = "after a byte order mark",
         .path = "a",
         .text = "\xef\xbb\xbf"
                 "a = 1\nb = 2\n",
         .becomes = "\xef\xbb\xbf"
                    "b = 2\n"},
    };
    check_all(CONF_TOML, ALL(rows));
}

Test(conf_edit, toml_unsafe) {
    static const struct row rows[] = {
        {.why = "a text that is none",
         .path = "a",
         .value = "1",
         .text = "a = = 1\n",
         .says = "cannot be read: line 1"},
        {.why = "into an inline table", .path = "a|b", .value = "1", .text = "a = {}\n", .says = "an inline table"},
        {.why = "into one in an inline table",
         .path = "a|b|c",
         .value = "1",
         .text = "a = {b.d = 1}\n",
         .says = "an inline table"},
        {.why = "out of an inline table", .path = "a|b", .text = "a = {b = 1}\n", .says = "an inline table"},
        {.why = "through a value", .path = "a|b", .value = "1", .text = "a = 'x'\n", .says = "\"a\" is not a table"},
        {.why = "through a list", .path = "a|b", .value = "1", .text = "[[a]]\n", .says = "is a list"},
        {.why = "an array with a comment inside",
         .path = "a",
         .value = "[2]",
         .text = "a = [1, # one\n]\n",
         .says = "has comments inside"},
        {.why = "null", .path = "a", .value = "{\"b\": [null]}", .text = "x = 1\n", .says = "TOML has no null"},
        {.why = "a number beyond it",
         .path = "a",
         .value = "9223372036854775808",
         .text = "x = 1\n",
         .says = "64 bits"},
        {.why = "a comment that would be more",
         .path = "a",
         .value = "1",
         .comment = "x\x01",
         .text = "x = 1\n",
         .says = "control character"},
        {.why = "a value that is no JSON", .path = "a", .value = "x", .text = "x = 1\n", .says = "the value to write"},
        {.why = "a path too long", .path = "1|2|3|4|5|6|7|8|9", .value = "1", .text = "x = 1\n", .says = "1 to 8 keys"},
    };
    check_all(CONF_TOML, ALL(rows));
}

// --- YAML ---

Test(conf_edit, yaml_set) {
    static const struct row rows[] = {
        {.why = "a file that is not there yet",
         .path = "mirrors|*|endpoint",
         .value = "[\"https://g\"]",
         .comment = "all registries",
         .text = "",
         .becomes = "# all registries\nmirrors:\n  \"*\":\n    endpoint:\n      - \"https://g\"\n"},
        {.why = "a file of comments",
         .path = "a",
         .value = "true",
         .text = "---\n# nothing yet",
         .becomes = "---\n# nothing yet\na: true"},
        {.why = "after the last member of the table, in its column, line ends as they are",
         .path = "mirrors|ghcr.io|endpoint",
         .value = "[\"https://g\"]",
         .comment = "why",
         .text = "# \xc3\xa9\r\nmirrors:\r\n    \xc3\xa9:\r\n        endpoint: [a] # c\r\n    # tail\r\n\r\nconfigs: "
                 "{}\r\n",
         .becomes =
             "# \xc3\xa9\r\nmirrors:\r\n    \xc3\xa9:\r\n        endpoint: [a] # c\r\n    # why\r\n    ghcr.io:\r\n"
             "        endpoint:\r\n          - \"https://g\"\r\n    # tail\r\n\r\nconfigs: {}\r\n"},
        {.why = "after a block scalar",
         .path = "b",
         .value = "\"x\"",
         .text = "a: |\n  # text\n  more\n\n",
         .becomes = "a: |\n  # text\n  more\nb: \"x\"\n\n"},
        {.why = "below a key with nothing after it",
         .path = "configs|g:443|tls|ca_file",
         .value = "\"/etc/ca\"",
         .text = "mirrors: {}\nconfigs: # none yet\n\n# end\n",
         .becomes = "mirrors: {}\nconfigs: # none yet\n  \"g:443\":\n    tls:\n      ca_file: \"/etc/ca\"\n\n# end\n"},
        {.why = "a scalar in its place",
         .path = "a|b",
         .value = "\"yes\"",
         .text = "a:\n  b:   no   # c\n  c: 1\n",
         .becomes = "a:\n  b: \"yes\"   # c\n  c: 1\n"},
        {.why = "a scalar becomes a list",
         .path = "a|b",
         .value = "[{\"x\": 1, \"y\": [2]}, [3, {\"z\": null}], {}]",
         .text = "a:\n  b: no\n  c: 1\n",
         .becomes = "a:\n  b:\n    - x: 1\n      \"y\":\n        - 2\n    - [3, {\"z\": null}]\n    - {}\n  c: 1\n"},
        {.why = "a list becomes another, a '#' in its strings",
         .path = "a|b",
         .value = "[\"z\"]",
         .text = "a:\n  b:\n  - \"x # y\"\n  - y#1\n  # tail\n  c: 1\n",
         .becomes = "a:\n  b:\n    - \"z\"\n  # tail\n  c: 1\n"},
        {.why = "a flow list stays one",
         .path = "a",
         .value = "[\"z\", {\"q\": 1}]",
         .text = "a: [x,\n y] # c\n",
         .becomes = "a: [\"z\", {\"q\": 1}] # c\n"},
        {.why = "nothing becomes something",
         .path = "a",
         .value = "1",
         .text = "a:\nb: 2\n",
         .becomes = "a: 1\nb: 2\n"},
        {.why = "the same through an anchor is the same",
         .path = "b|x",
         .value = "1",
         .text = "a: &a {x: 1}\nb: *a\n",
         .becomes = "a: &a {x: 1}\nb: *a\n"},
        {.why = "the same with another spelling",
         .path = "a",
         .value = "{\"y\": [true, 16], \"x\": \"1\"}",
         .text = "a:\n  x: '1' # c\n  \"y\": [yes, 0x10]\n",
         .becomes = "a:\n  x: '1' # c\n  \"y\": [yes, 0x10]\n"},
        {.why = "beside a merge key",
         .path = "b|y",
         .value = "2",
         .text = "a: &a {x: 1}\nb:\n  <<: *a\nc: 1\n",
         .becomes = "a: &a {x: 1}\nb:\n  <<: *a\n  \"y\": 2\nc: 1\n"},
        {.why = "keys that would be something else",
         .path = "a",
         .value = "{\"on\": 1, \"1\": 2, \"<<\": 3, \"a:b\": 4, \"\": 5, \"docker.io\": 6}",
         .text = "b: 1\n",
         .becomes = "b: 1\na:\n  \"on\": 1\n  \"1\": 2\n  \"<<\": 3\n  \"a:b\": 4\n  \"\": 5\n  docker.io: 6\n"},
        {.why = "the first document",
         .path = "b",
         .value = "1",
         .text = "---\na: 1\n...\n---\nb: 2\n",
         .becomes = "---\na: 1\nb: 1\n...\n---\nb: 2\n"},
    };
    check_all(CONF_YAML, ALL(rows));
}

Test(conf_edit, yaml_remove) {
    static const struct row rows[] = {
        {.why = "nothing there", .path = "a|b", .text = "a: 1\n", .becomes = "a: 1\n"},
        {.why = "a member with its lines, the comments that are lines of their own stay",
         .path = "a|b",
         .text = "a:\n  # above\n  b: # c\n    - x # y\n    # inside\n    - '# no comment'\n  # tail\n  c: 1\n",
         .becomes = "a:\n  # above\n    # inside\n  # tail\n  c: 1\n"},
        {.why = "a block scalar's lines are no comments",
         .path = "a",
         .text = "a: |\n  # text\n  x\n# tail\nb: 1\n",
         .becomes = "# tail\nb: 1\n"},
        {.why = "the only member leaves an empty table",
         .path = "a|b",
         .text = "a: # c\n  b: 1\nc: 2\n",
         .becomes = "a: {} # c\nc: 2\n"},
        {.why = "the only one of all", .path = "a", .text = "# f\na: 1\n# g\n", .becomes = "# f\n# g\n"},
        {.why = "nothing after the key", .path = "a", .text = "a:\nb: 1", .becomes = "b: 1"},
    };
    check_all(CONF_YAML, ALL(rows));
}

Test(conf_edit, yaml_unsafe) {
    static const struct row rows[] = {
        {.why = "a text that is none", .path = "a", .value = "1", .text = "a: [\n", .says = "cannot be read: line "},
        {.why = "into braces", .path = "a|b", .value = "1", .text = "a: {}\n", .says = "written in braces"},
        {.why = "all in braces",
         .path = "b",
         .value = "1",
         .text = "{a: 1}\n",
         .says = "the outermost value is written"},
        {.why = "out of braces", .path = "a|b", .text = "a: {b: 1}\n", .says = "written in braces"},
        {.why = "into what has an anchor", .path = "a|c", .value = "1", .text = "a: &x\n  b: 1\n", .says = "an anchor"},
        {.why = "through an alias",
         .path = "b|c",
         .value = "1",
         .text = "a: &x\n  b: 1\nb: *x\n",
         .says = "an anchor, an alias"},
        {.why = "a value with an anchor", .path = "a", .value = "1", .text = "a: &x 2\n", .says = "an anchor"},
        {.why = "what a merge key brought",
         .path = "b|x",
         .text = "a: &x {x: 1}\nb:\n  <<: *x\n",
         .says = "a merge key"},
        {.why = "behind it another would appear",
         .path = "b|x",
         .text = "a: &x {x: 1}\nb:\n  <<: *x\n  x: 2\n",
         .says = "without changing something else"},
        {.why = "what others refer to",
         .path = "a",
         .text = "a:\n  c: &x 1\nb: *x\n",
         .says = "the result would not be read"},
        {.why = "a list with a comment inside",
         .path = "a",
         .value = "[2]",
         .text = "a:\n  - 1 # one\n  - 2\n",
         .says = "has comments inside"},
        {.why = "through a list", .path = "a|b", .value = "1", .text = "a:\n  - b: 1\n", .says = "is a list"},
        {.why = "a list as the outermost",
         .path = "a",
         .value = "1",
         .text = "- 1\n",
         .says = "the outermost value is a list"},
        {.why = "a key in an unusual place", .path = "a", .value = "1", .text = "? a\n: 2\n", .says = "unusual"},
        {.why = "a line end that would count",
         .path = "b",
         .value = "1",
         .text = "a: |\n  x",
         .says = "without changing something else"},
        {.why = "line ends that count",
         .path = "b",
         .value = "1",
         .text = "a: |+\n  x\n\n\n",
         .says = "without changing something else"},
    };
    check_all(CONF_YAML, ALL(rows));
}

// --- JSON ---

Test(conf_edit, json) {
    static const struct row rows[] = {
        {.why = "a file that is not there yet",
         .path = "proxies|no-proxy",
         .value = "\"g\"",
         .comment = "JSON has none",
         .text = "",
         .becomes = "{\n  \"proxies\": {\n    \"no-proxy\": \"g\"\n  }\n}\n"},
        {.why = "after the last, in the same indentation and line ends",
         .path = "registry-mirrors",
         .value = "[\"https://g\"]",
         .text = "{\r\n\t\"a\": {\"b\": 1}\r\n}",
         .becomes = "{\r\n\t\"a\": {\"b\": 1},\r\n\t\"registry-mirrors\": [\"https://g\"]\r\n}"},
        {.why = "on one line what is on one line",
         .path = "b|c",
         .value = "{\"d\": [1]}",
         .text = "{\"a\":1}",
         .becomes = "{\"a\":1, \"b\": {\"c\": {\"d\": [1]}}}"},
        {.why = "an empty object in the middle",
         .path = "a|b|c",
         .value = "{\"d\": null}",
         .text = "{\n    \"a\": { },\n    \"z\": 1\n}\n",
         .becomes =
             "{\n    \"a\": {\n        \"b\": {\n            \"c\": {\n                \"d\": null\n            }\n"
             "        }\n    },\n    \"z\": 1\n}\n"},
        {.why = "a value in its place",
         .path = "a",
         .value = "{\"b\": true}",
         .text = "{\n  \"a\" :  [1,\n 2] ,\n  \"z\": 1e2\n}\n",
         .becomes = "{\n  \"a\" :  {\n    \"b\": true\n  } ,\n  \"z\": 1e2\n}\n"},
        {.why = "the same in another order",
         .path = "a",
         .value = "{\"c\":2,\"b\":\"\\u0041\"}",
         .text = "{\"a\": {\"b\": \"A\", \"c\": 2}}",
         .becomes = "{\"a\": {\"b\": \"A\", \"c\": 2}}"},
        {.why = "remove the first",
         .path = "a",
         .text = "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
         .becomes = "{\n  \"b\": 2\n}\n"},
        {.why = "remove the last",
         .path = "b",
         .text = "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
         .becomes = "{\n  \"a\": 1\n}\n"},
        {.why = "remove the only one", .path = "a|b", .text = "{\"a\": { \"b\": [1] }}", .becomes = "{\"a\": {}}"},
        {.why = "remove what is not there", .path = "a|c", .text = "{\"a\": {}}", .becomes = "{\"a\": {}}"},
        {.why = "through a string",
         .path = "a|b",
         .value = "1",
         .text = "{\"a\": \"x\"}",
         .says = "\"a\" is not a table"},
        {.why = "a comment in it", .path = "a", .value = "1", .text = "{} // x", .says = "cannot be read: line 1"},
        {.why = "a list as the outermost", .path = "a", .value = "1", .text = "[]", .says = "is a list"},
    };
    check_all(CONF_JSON, ALL(rows));
}

// --- the text's bound ---

Test(conf_edit, a_text_that_would_be_too_long_is_left) {
    const char *const path[] = {"a", NULL};
    struct err err = {0};
    struct buf text;
    buf_init(&text, 12);
    buf_adds(&text, "x = 1\n");
    cr_expect_eq(conf_set(CONF_TOML, &text, path, "\"longer than that\"", NULL, &err), CONF_UNSAFE);
    cr_expect_str_eq(text.data, "x = 1\n");
    cr_expect(strstr(err.text, "longer than 12 bytes") != NULL, "%s", err.text);
    cr_expect_eq(conf_set(CONF_TOML, &text, path, "1", NULL, &err), CONF_CHANGED);
    cr_expect_str_eq(text.data, "x = 1\na = 1\n");
    buf_deinit(&text);
}

Test(conf_edit, no_path_is_refused) {
    const char *const path[] = {NULL};
    struct buf text;
    buf_init(&text, 100);
    cr_expect_eq(conf_set(CONF_JSON, &text, path, "1", NULL, NULL), CONF_UNSAFE);
    cr_expect_eq(conf_remove(CONF_JSON, &text, path, NULL), CONF_UNSAFE);
    buf_deinit(&text);
}

// Every edit of a whole containerd configuration, one after the other, and all of them again.
Test(conf_edit, many_edits) {
    static const struct row rows[] = {
        {.path = "plugins|io.containerd.cri.v1.images|registry|config_path", .value = "\"/etc/containerd/certs.d\""},
        {.path = "plugins|io.containerd.cri.v1.images|registry|mirrors"},
        {.path = "plugins|io.containerd.transfer.v1.local|config_path", .value = "\"/etc/containerd/certs.d\""},
        {.path = "version", .value = "3"},
    };
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    buf_adds(&text, "imports = ['/etc/containerd/conf.d/*.toml'] # drop-ins\n\n[plugins]\n"
                    "  [plugins.'io.containerd.cri.v1.images']\n    snapshotter = 'overlayfs'\n\n"
                    "    [plugins.'io.containerd.cri.v1.images'.registry]\n      # not used\n      config_path = ''\n\n"
                    "      [plugins.'io.containerd.cri.v1.images'.registry.mirrors.'docker.io']\n"
                    "        endpoint = ['x']\n\n  [plugins.'io.containerd.transfer.v1.local']\n    max = 3\n");
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct err err = {0};
            enum conf_edit result = edit(CONF_TOML, &rows[i], &text, &err);
            cr_expect_eq(result, pass == 0 ? CONF_CHANGED : CONF_SAME, "%s: %s", rows[i].path, err.text);
        }
    cr_expect_str_eq(text.data, "imports = ['/etc/containerd/conf.d/*.toml'] # drop-ins\nversion = 3\n\n[plugins]\n"
                                "  [plugins.'io.containerd.cri.v1.images']\n    snapshotter = 'overlayfs'\n\n"
                                "    [plugins.'io.containerd.cri.v1.images'.registry]\n      # not used\n"
                                "      config_path = \"/etc/containerd/certs.d\"\n\n"
                                "  [plugins.'io.containerd.transfer.v1.local']\n    max = 3\n"
                                "    config_path = \"/etc/containerd/certs.d\"\n");
    buf_deinit(&text);
}
