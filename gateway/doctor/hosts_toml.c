// SPDX-License-Identifier: Apache-2.0
//
// A hosts.toml as containerd reads it (parseHostsFile and parseHostConfig of its remotes/docker/config).

#include "gateway/doctor/hosts_toml.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const known_keys[] = {"capabilities",  "ca",           "client", "skip_verify", "header",
                                         "override_path", "dial_timeout", NULL};

static const char byte_order_mark[] = "\xef\xbb\xbf"; // Editors on Windows write it, and containerd 1.x skips it.

// --- refusing ---

__attribute__((format(printf, 3, 4))) static bool refuse(struct hosts_file *f, enum hosts_problem problem,
                                                         const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    f->problem = problem;
    return err_set(&f->why, "%s", text);
}

static bool wrong_type(struct hosts_file *f, const struct conf *value, const char *key, const char *wanted) {
    return refuse(f, HOSTS_WRONG_TYPE, "line %u: %s: expected %s, found %s", value->line, key, wanted,
                  conf_type_words(value->type));
}

// --- members ---

static char *absolute(const char *folder, const char *path) {
    return path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", folder, path);
}

static bool read_capabilities(struct hosts_file *f, enum hosts_reader reader, const struct conf *value,
                              struct hosts_entry *e) {
    e->capabilities = HOSTS_ALL;
    if (value == NULL)
        return true;
    if (value->type != CONF_LIST)
        return wrong_type(f, value, "capabilities", "a list of strings");
    unsigned found = 0;
    for (const struct conf *at = value->child; at != NULL; at = at->next) {
        if (at->type != CONF_STRING)
            return wrong_type(f, at, "capabilities", "a list of strings");
        if (strcasecmp(at->string, "pull") == 0)
            found |= HOSTS_PULL;
        else if (strcasecmp(at->string, "resolve") == 0)
            found |= HOSTS_RESOLVE;
        else if (strcasecmp(at->string, "push") == 0)
            found |= HOSTS_PUSH;
        else if (reader == HOSTS_CONTAINERD_2_2 && strcasecmp(at->string, "referrers") == 0)
            continue; // Signatures and the like: no image comes by it.
        else
            return refuse(f, HOSTS_UNKNOWN_CAPABILITY, "line %u: unknown capability \"%s\"", at->line, at->string);
    }
    if (value->child != NULL)
        e->capabilities = found;
    return true;
}

static void add_file(struct names *files, const char *folder, const char *path) {
    char *whole = absolute(folder, path);
    names_add(files, whole);
    free(whole);
}

static bool read_ca(struct hosts_file *f, const struct conf *value, const char *folder, struct hosts_entry *e) {
    if (value == NULL)
        return true;
    if (value->type == CONF_STRING) {
        add_file(&e->ca, folder, value->string);
        return true;
    }
    if (value->type != CONF_LIST)
        return wrong_type(f, value, "ca", "a string or a list of strings");
    for (const struct conf *at = value->child; at != NULL; at = at->next) {
        if (at->type != CONF_STRING)
            return wrong_type(f, at, "ca", "a string or a list of strings");
        add_file(&e->ca, folder, at->string);
    }
    return true;
}

static void add_pair(struct hosts_entry *e, const char *folder, const char *certificate, const char *key) {
    add_file(&e->keys, folder, certificate);
    if (key != NULL)
        add_file(&e->keys, folder, key);
    else
        names_add(&e->keys, "");
}

static bool read_client(struct hosts_file *f, const struct conf *value, const char *folder, struct hosts_entry *e) {
    static const char wanted[] = "a file, or a list of files or of pairs of files";
    if (value == NULL)
        return true;
    if (value->type == CONF_STRING) {
        add_pair(e, folder, value->string, NULL);
        return true;
    }
    if (value->type != CONF_LIST)
        return wrong_type(f, value, "client", wanted);
    for (const struct conf *at = value->child; at != NULL; at = at->next) {
        if (at->type == CONF_STRING) {
            add_pair(e, folder, at->string, NULL);
            continue;
        }
        if (at->type != CONF_LIST || at->count != 2 || at->child->type != CONF_STRING ||
            at->child->next->type != CONF_STRING)
            return wrong_type(f, at, "client", wanted);
        add_pair(e, folder, at->child->string, at->child->next->string);
    }
    return true;
}

static bool read_header(struct hosts_file *f, const struct conf *value, struct hosts_entry *e) {
    if (value == NULL)
        return true;
    if (value->type != CONF_TABLE)
        return wrong_type(f, value, "header", "a table");
    for (const struct conf *at = value->child; at != NULL; at = at->next) {
        if (at->type != CONF_STRING && at->type != CONF_LIST)
            return wrong_type(f, at, "header", "strings or lists of strings");
        for (const struct conf *one = at->type == CONF_LIST ? at->child : NULL; one != NULL; one = one->next)
            if (one->type != CONF_STRING)
                return wrong_type(f, one, "header", "strings or lists of strings");
        e->headers++;
    }
    return true;
}

/// What Go takes for a duration: "30s", "1m30s", "1.5h"; "30" is none.
static bool is_duration(const char *text) {
    static const char *const units[] = {"ns", "us", "\xc2\xb5s", "\xce\xbcs", "ms", "s", "m", "h"};
    text += *text == '-' || *text == '+' ? 1 : 0;
    if (strcmp(text, "0") == 0)
        return true;
    do {
        size_t number = strspn(text, "0123456789."), unit = 0;
        if (number == 0 || strspn(text, ".") == number || memchr(text, '.', number) != memrchr(text, '.', number))
            return false;
        text += number;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strncmp(text, units[i], strlen(units[i])) == 0 && strlen(units[i]) > unit)
                unit = strlen(units[i]);
        if (unit == 0)
            return false;
        text += unit;
    } while (*text != '\0');
    return true;
}

static bool read_flags(struct hosts_file *f, const struct conf *table, struct hosts_entry *e) {
    const struct conf *skip = conf_get(table, "skip_verify"), *override = conf_get(table, "override_path");
    const struct conf *dial = conf_get(table, "dial_timeout");
    if (skip != NULL && skip->type != CONF_BOOL)
        return wrong_type(f, skip, "skip_verify", "true or false");
    if (override != NULL && override->type != CONF_BOOL)
        return wrong_type(f, override, "override_path", "true or false");
    if (dial != NULL && dial->type != CONF_STRING)
        return wrong_type(f, dial, "dial_timeout", "a string");
    if (dial != NULL && dial->string[0] != '\0' && !is_duration(dial->string))
        return refuse(f, HOSTS_WRONG_TYPE, "line %u: dial_timeout: \"%s\" is no duration (\"30s\")", dial->line,
                      dial->string);
    e->skip_verify = skip != NULL && skip->boolean;
    return true;
}

// --- a host ---

bool hosts_split(const char *server, bool *plain, char **host, char **path) {
    *plain = false;
    *host = *path = NULL;
    const char *at = server;
    // As the client does: what begins with "http" has a scheme, all else gets https.
    if (strncmp(server, "http", 4) == 0) {
        const char *colon = strstr(server, "://");
        if (colon == NULL)
            return false;
        *plain = (size_t)(colon - server) == 4;
        at = colon + 3;
    }
    size_t len = strcspn(at, "/?#");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)at[i] <= ' ' || strchr("<>\"{}|\\^`%", at[i]) != NULL)
            return false;
    const char *user = memchr(at, '@', len);
    if (user != NULL) {
        len -= (size_t)(user + 1 - at);
        at = user + 1;
    }
    *host = mem_strndup(at, len);
    *path = mem_strdup(at[len] == '/' ? at + len : "");
    return true;
}

static bool ends_with_v2(const char *path) {
    size_t len = strlen(path);
    return len >= 3 && strcmp(path + len - 3, "/v2") == 0;
}

static char *whole_path(char *path, bool override) {
    size_t len = strcspn(path, "?#");
    while (len > 0 && path[len - 1] == '/')
        len--;
    path[len] = '\0';
    if (override || ends_with_v2(path))
        return path;
    char *whole = mem_printf("%s/v2", path);
    free(path);
    return whole;
}

static bool read_url(struct hosts_file *f, const char *server, const struct conf *table, struct hosts_entry *e) {
    e->itself = true;
    if (server[0] == '\0')
        return true;
    if (!hosts_split(server, &e->plain, &e->host, &e->path))
        return refuse(f, HOSTS_BAD_URL, "line %u: \"%s\" is no URL", e->line, server);
    const struct conf *override = conf_get(table, "override_path");
    e->path = whole_path(e->path, override != NULL && override->boolean);
    e->itself = e->host[0] == '\0';
    return true;
}

/// Of the last entry only: a host without a name is the registry itself.
static struct hosts_entry *add_entry(struct hosts_file *f) {
    f->entries = mem_resize(f->entries, f->count + 1, sizeof *f->entries);
    struct hosts_entry *e = &f->entries[f->count++];
    *e = (struct hosts_entry){.capabilities = HOSTS_ALL};
    return e;
}

static bool read_entry(struct hosts_file *f, enum hosts_reader reader, const char *server, unsigned line,
                       const struct conf *table, const char *folder) {
    struct hosts_entry *e = add_entry(f);
    e->line = line;
    return read_flags(f, table, e) && read_url(f, server, table, e) &&
           read_capabilities(f, reader, conf_get(table, "capabilities"), e) &&
           read_ca(f, conf_get(table, "ca"), folder, e) && read_client(f, conf_get(table, "client"), folder, e) &&
           read_header(f, conf_get(table, "header"), e);
}

// --- the whole ---

static bool is_known(const char *key) {
    for (size_t i = 0; known_keys[i] != NULL; i++)
        if (strcmp(known_keys[i], key) == 0)
            return true;
    return false;
}

static void note_unknown(struct hosts_file *f, const struct conf *table, bool top) {
    for (const struct conf *at = table->child; at != NULL; at = at->next) {
        if (is_known(at->key) || (top && (strcmp(at->key, "server") == 0 || strcmp(at->key, "host") == 0)))
            continue;
        char *text = mem_printf("%s (line %u)", at->key, at->line);
        names_add(&f->unknown, text);
        free(text);
    }
}

/// Has this table, or one below it, a header? 2.x sees no other hosts.
static bool has_header(const struct conf *table, const char *text) {
    size_t line = table->begin;
    while (line > 0 && text[line - 1] != '\n')
        line--;
    line += strspn(text + line, " \t");
    return !table->flow && text[line] == '[';
}

static bool read_hosts(struct hosts_file *f, enum hosts_reader reader, const struct conf *hosts, const char *text,
                       const char *folder) {
    for (const struct conf *at = hosts != NULL ? hosts->child : NULL; at != NULL; at = at->next) {
        if (at->type != CONF_TABLE)
            return wrong_type(f, at, "host", "a table for each host");
        note_unknown(f, at, false);
        if (reader != HOSTS_CONTAINERD_1 && !has_header(at, text)) {
            names_add(&f->unseen, at->key);
            continue;
        }
        if (!read_entry(f, reader, at->key, at->line, at, folder))
            return false;
    }
    return true;
}

static bool read_root(struct hosts_file *f, enum hosts_reader reader, const struct conf *root, const char *text,
                      const char *folder) {
    const struct conf *hosts = conf_get(root, "host"), *server = conf_get(root, "server");
    if (reader == HOSTS_CONTAINERD_1 && (hosts == NULL || hosts->type != CONF_TABLE))
        return refuse(f, HOSTS_NO_HOST_TABLE,
                      "there is no [host] table, without which containerd 1.x ignores the file");
    if (hosts != NULL && hosts->type != CONF_TABLE)
        return wrong_type(f, hosts, "host", "a table");
    if (server != NULL && server->type != CONF_STRING)
        return wrong_type(f, server, "server", "a string");
    note_unknown(f, root, true);
    f->has_server = server != NULL && server->string[0] != '\0';
    return read_hosts(f, reader, hosts, text, folder) &&
           read_entry(f, reader, server != NULL ? server->string : "", server != NULL ? server->line : 0, root, folder);
}

static void deinit_entries(struct hosts_file *f) {
    for (size_t i = 0; i < f->count; i++) {
        free(f->entries[i].host);
        free(f->entries[i].path);
        names_deinit(&f->entries[i].ca);
        names_deinit(&f->entries[i].keys);
    }
    free(f->entries);
    f->entries = NULL;
    f->count = 0;
}

static void only_itself(struct hosts_file *f) {
    deinit_entries(f);
    f->has_server = false;
    add_entry(f)->itself = true;
}

void hosts_read(enum hosts_reader reader, const char *text, size_t len, const char *folder, struct hosts_file *out) {
    *out = (struct hosts_file){0};
    if (len == 0) {
        refuse(out, HOSTS_EMPTY, "the file is empty");
        only_itself(out);
        return;
    }
    struct err err = {0};
    bool marked = len >= strlen(byte_order_mark) && memcmp(text, byte_order_mark, strlen(byte_order_mark)) == 0;
    struct conf_document *d = marked ? NULL : conf_parse(CONF_TOML, text, len, &err);
    if (marked)
        refuse(out, HOSTS_UNPARSABLE, "line 1: a byte order mark, which containerd 2.x does not take");
    else if (d == NULL)
        refuse(out, HOSTS_UNPARSABLE, "%s", err.text);
    bool usable = d != NULL && read_root(out, reader, conf_root(d), text, folder);
    if (!usable)
        only_itself(out);
    conf_free(d);
}

void hosts_deinit(struct hosts_file *f) {
    deinit_entries(f);
    names_deinit(&f->unknown);
    names_deinit(&f->unseen);
    *f = (struct hosts_file){0};
}
