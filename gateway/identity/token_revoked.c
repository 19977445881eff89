// SPDX-License-Identifier: Apache-2.0
//
// What is good no more, and its file. An entry is left out once every token that it could speak of has ended.

#include "gateway/identity/token_files.h"

#include "certs/state.h"
#include "gateway/identity/credential.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *what; ///< A name with its kind ("user:alice"), or an id.
    bool is_name;
    int64_t at;
};

struct token_revoked {
    atomic_int refs;
    struct entry *entries; ///< Sorted, each once.
    size_t count;
};

static int by_what(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return x->is_name != y->is_name ? (int)x->is_name - (int)y->is_name : strcmp(x->what, y->what);
}

static const struct entry *find(const struct token_revoked *r, const char *what, bool is_name) {
    struct entry wanted = {.what = (char *)what, .is_name = is_name};
    return r->count == 0 ? NULL : bsearch(&wanted, r->entries, r->count, sizeof *r->entries, by_what);
}

static bool read_entry(const struct json *object, struct entry *out) {
    const struct json *id = json_get(object, "id"), *name = json_get(object, "name"), *at = json_get(object, "at");
    const struct json *what = id != NULL ? id : name;
    if ((id == NULL) == (name == NULL) || what->type != JSON_STRING || what->string_len == 0 || at == NULL ||
        !at->is_integer || at->integer < 0)
        return false;
    *out = (struct entry){mem_strdup(what->string), name != NULL, at->integer};
    return true;
}

/// Of a name that is there twice the later revocation counts.
static void fold(struct token_revoked *r) {
    if (r->count > 1)
        qsort(r->entries, r->count, sizeof *r->entries, by_what);
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (n > 0 && by_what(&r->entries[n - 1], &r->entries[i]) == 0) {
            if (r->entries[n - 1].at < r->entries[i].at)
                r->entries[n - 1].at = r->entries[i].at;
            free(r->entries[i].what);
        } else {
            r->entries[n++] = r->entries[i];
        }
    }
    r->count = n;
}

static bool read_list(const struct json *list, struct token_revoked *r, struct err *err) {
    r->entries = mem_zalloc(list->count + 1, sizeof *r->entries);
    for (const struct json *one = list->child; one != NULL; one = one->next)
        if (!read_entry(one, &r->entries[r->count++]))
            return err_set(err, "entry %zu is not an id or a name with a time", r->count);
    fold(r);
    return true;
}

struct token_revoked *token_revoked_parse(const char *text, size_t len, struct err *err) {
    struct token_revoked *r = mem_zalloc(1, sizeof *r);
    atomic_init(&r->refs, 1);
    if (text == NULL)
        return r;
    struct json *root = json_parse(text, len, JSON_STRICT, err);
    const struct json *list = json_get(root, "revoked"), *format = json_get(root, "format");
    bool ok = root != NULL;
    if (ok && (format == NULL || !format->is_integer || format->integer != 1 || list == NULL ||
               list->type != JSON_ARRAY || list->count > TOKEN_REVOCATIONS_MAX))
        ok = err_set(err, "no list of at most %d revocations of format 1", TOKEN_REVOCATIONS_MAX);
    ok = ok && read_list(list, r, err);
    json_free(root);
    if (ok)
        return r;
    token_revoked_unref(r);
    return NULL;
}

struct token_revoked *token_revoked_ref(struct token_revoked *r) {
    if (r != NULL)
        atomic_fetch_add(&r->refs, 1);
    return r;
}

void token_revoked_unref(struct token_revoked *r) {
    if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->entries[i].what);
    free(r->entries);
    free(r);
}

struct token_revoked *token_revoked_load(const char *directory, struct err *err) {
    char *text = NULL;
    size_t len = 0;
    enum state_result result = state_read(directory, TOKEN_REVOCATIONS_FILE, true, &text, &len, err);
    if (result == STATE_FAILED)
        return NULL;
    struct token_revoked *r = token_revoked_parse(text, len, err);
    if (r == NULL)
        err_prefix(err, "%s/%s: ", directory, TOKEN_REVOCATIONS_FILE);
    if (result == STATE_OK)
        state_free(text, len);
    return r;
}

bool token_is_revoked(const struct token_revoked *r, const char *id, const char *name, int64_t iat) {
    if (id != NULL && find(r, id, false) != NULL)
        return true;
    const struct entry *e = find(r, name, true);
    return e != NULL && iat <= e->at;
}

// --- revoking ---

bool token_is_id(const char *s) {
    return strlen(s) == TOKEN_ID_LEN && strspn(s, "0123456789abcdef") == TOKEN_ID_LEN;
}

static char *revoked_name(const char *name, struct err *err) {
    if (strncmp(name, "cert:", 5) != 0)
        return token_name(name, err);
    if (name_fits(name + 5, strlen(name + 5)))
        return mem_strdup(name);
    err_set(err, "\"%s\" is no name", name);
    return NULL;
}

static void write_entry(struct buf *out, bool first, const char *what, bool is_name, int64_t at) {
    buf_addf(out, "%s\n{\"%s\":", first ? "" : ",", is_name ? "name" : "id");
    buf_add_json(out, what, strlen(what));
    buf_addf(out, ",\"at\":%" PRId64 "}", at);
}

static bool write_all(const char *directory, const struct token_revoked *r, const char *what, bool is_name, int64_t now,
                      struct err *err) {
    struct buf text;
    size_t kept = 0;
    buf_init(&text, STATE_FILE_MAX);
    buf_adds(&text, "{\"format\":1,\"revoked\":[");
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].at + TOKEN_ISSUED_MAX_S + JWT_LEEWAY_S > now)
            write_entry(&text, kept++ == 0, r->entries[i].what, r->entries[i].is_name, r->entries[i].at);
    write_entry(&text, kept++ == 0, what, is_name, now);
    buf_adds(&text, "]}\n");
    bool ok;
    if (kept > TOKEN_REVOCATIONS_MAX || text.overflow)
        ok = err_set(err, "there are %d revocations already: `pullgate token rotate`, and issue anew what is needed",
                     TOKEN_REVOCATIONS_MAX);
    else
        ok = state_write(directory, TOKEN_REVOCATIONS_FILE, text.data, text.len, true, true, err) == STATE_OK;
    buf_deinit(&text);
    return ok;
}

bool token_revoke(const char *directory, const char *id_or_name, int64_t now, struct err *err) {
    bool is_name = !token_is_id(id_or_name);
    char *what = is_name ? revoked_name(id_or_name, err) : mem_strdup(id_or_name);
    int lock = what == NULL ? -1 : token_lock(directory, true, err);
    struct token_revoked *r = lock < 0 ? NULL : token_revoked_load(directory, err);
    bool ok = r != NULL && write_all(directory, r, what, is_name, now, err);
    token_revoked_unref(r);
    if (lock >= 0)
        token_unlock(lock);
    free(what);
    return ok;
}
