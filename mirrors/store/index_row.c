// SPDX-License-Identifier: Apache-2.0
//
// How the index asks SQLite and what it believes of the answer: results, parameters, columns, seals.
//
// Nothing that comes out of the file is used before its type and length are those that this program writes.

#include "mirrors/store/index_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *prefix;
    size_t bytes;
} ALGORITHMS[] = {
    [DIGEST_SHA256] = {"sha256:", 32},
    [DIGEST_SHA512] = {"sha512:", 64},
};

// --- results ---

// What the machine did, rather than the file.
static bool is_of_the_machine(int rc) {
    switch (rc & 0xff) {
    case SQLITE_PERM:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_NOLFS:
    case SQLITE_AUTH:
    case SQLITE_MISUSE:
        return true;
    default:
        return false;
    }
}

enum index_result index_failed(struct index *i, int rc) {
    err_set(&i->err, "%s", i->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(i->db));
    return is_of_the_machine(rc) ? INDEX_FAILED : INDEX_DAMAGED;
}

enum index_result index_damaged(struct index *i, const char *what) {
    err_set(&i->err, "%s", what);
    return INDEX_DAMAGED;
}

// --- digests as they are kept ---

static unsigned nibble(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static bool pack_digest(const char *text, unsigned char *out, size_t *len) {
    enum digest_algorithm algorithm = DIGEST_SHA256;
    if (digest_check(text, strlen(text), &algorithm) != DIGEST_OK)
        return false;
    const char *hex = text + strlen(ALGORITHMS[algorithm].prefix);
    size_t bytes = ALGORITHMS[algorithm].bytes;
    out[0] = (unsigned char)algorithm;
    for (size_t b = 0; b < bytes; b++)
        out[1 + b] = (unsigned char)(nibble(hex[2 * b]) << 4 | nibble(hex[2 * b + 1]));
    *len = 1 + bytes;
    return true;
}

static bool unpack_digest(const unsigned char *kept, size_t len, char *out) {
    static const char HEX[] = "0123456789abcdef";
    if (len == 0 || kept[0] >= sizeof ALGORITHMS / sizeof *ALGORITHMS || len != 1 + ALGORITHMS[kept[0]].bytes)
        return false;
    char *at = stpcpy(out, ALGORITHMS[kept[0]].prefix);
    for (size_t b = 1; b < len; b++) {
        *at++ = HEX[kept[b] >> 4];
        *at++ = HEX[kept[b] & 15];
    }
    *at = '\0';
    return true;
}

// --- statements ---

static int bind_digest(sqlite3_stmt *st, int at, const char *text) {
    unsigned char kept[INDEX_DIGEST_MAX];
    size_t len = 0;
    if (!pack_digest(text, kept, &len))
        return SQLITE_NOTFOUND;
    return sqlite3_bind_blob(st, at, kept, (int)len, SQLITE_TRANSIENT);
}

// A tag has no colon, a digest always has one.
static int bind_parent(sqlite3_stmt *st, int at, const char *text) {
    return strchr(text, ':') != NULL ? bind_digest(st, at, text) : sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

static int bind_all(sqlite3_stmt *st, const char *kinds, va_list values) {
    int rc = SQLITE_OK;
    for (int at = 1; rc == SQLITE_OK && kinds[at - 1] != '\0'; at++) {
        char kind = kinds[at - 1];
        if (kind == 'n')
            rc = sqlite3_bind_int64(st, at, va_arg(values, int64_t));
        else if (kind == 'd')
            rc = bind_digest(st, at, va_arg(values, const char *));
        else if (kind == 'p')
            rc = bind_parent(st, at, va_arg(values, const char *));
        else
            rc = sqlite3_bind_text(st, at, va_arg(values, const char *), -1, SQLITE_STATIC);
    }
    return rc;
}

static enum index_result prepare(struct index *i, enum index_statement s) {
    if (i->statements[s] != NULL)
        return INDEX_OK;
    int rc = sqlite3_prepare_v3(i->db, INDEX_SQL[s], -1, SQLITE_PREPARE_PERSISTENT, &i->statements[s], NULL);
    return rc == SQLITE_OK ? INDEX_OK : index_failed(i, rc);
}

enum index_result index_begin(struct index *i, enum index_statement s, sqlite3_stmt **out, const char *kinds, ...) {
    *out = NULL;
    enum index_result r = prepare(i, s);
    if (r != INDEX_OK)
        return r;
    va_list values;
    va_start(values, kinds);
    int rc = bind_all(i->statements[s], kinds, values);
    va_end(values);
    *out = i->statements[s];
    if (rc == SQLITE_NOTFOUND)
        return INDEX_NOTHING;
    return rc == SQLITE_OK ? INDEX_OK : index_failed(i, rc);
}

enum index_result index_step(struct index *i, sqlite3_stmt *st) {
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return INDEX_OK;
    return rc == SQLITE_DONE ? INDEX_NOTHING : index_failed(i, rc);
}

enum index_result index_step_sealed(struct index *i, sqlite3_stmt *st) {
    enum index_result r = index_step(i, st);
    if (r == INDEX_OK && sqlite3_column_int(st, 0) != 1)
        return index_damaged(i, "a row is not as it was written");
    return r;
}

void index_end(sqlite3_stmt *st) {
    if (st == NULL)
        return;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

// --- columns ---

bool index_text(sqlite3_stmt *st, int column, size_t max, const char **out) {
    if (sqlite3_column_type(st, column) != SQLITE_TEXT)
        return false;
    const char *text = (const char *)sqlite3_column_text(st, column);
    size_t len = (size_t)sqlite3_column_bytes(st, column);
    *out = text;
    return text != NULL && len <= max && memchr(text, '\0', len) == NULL;
}

bool index_copy(sqlite3_stmt *st, int column, size_t max, char *out) {
    const char *text = NULL;
    if (!index_text(st, column, max, &text))
        return false;
    stpcpy(out, text);
    return true;
}

bool index_digest(sqlite3_stmt *st, int column, char *out) {
    if (sqlite3_column_type(st, column) != SQLITE_BLOB)
        return false;
    const unsigned char *kept = sqlite3_column_blob(st, column);
    return kept != NULL && unpack_digest(kept, (size_t)sqlite3_column_bytes(st, column), out);
}

bool index_parent(sqlite3_stmt *st, int column, char *out) {
    _Static_assert((int)TAG_MAX <= (int)DIGEST_TEXT_MAX, "a tag fits where a digest does");
    return sqlite3_column_type(st, column) == SQLITE_BLOB ? index_digest(st, column, out)
                                                          : index_copy(st, column, TAG_MAX, out);
}

bool index_time(sqlite3_stmt *st, int column, int64_t *out) {
    *out = sqlite3_column_int64(st, column);
    return sqlite3_column_type(st, column) == SQLITE_INTEGER && *out >= 0;
}

bool index_count(sqlite3_stmt *st, int column, uint64_t *out) {
    int64_t value = 0;
    bool ok = index_time(st, column, &value);
    *out = (uint64_t)value;
    return ok;
}

// --- seals ---

// FNV-1a: it is kept in files, so it must stay what it is.
static uint64_t mix(uint64_t hash, const void *data, size_t len) {
    const unsigned char *at = data;
    for (size_t n = 0; n < len; n++)
        hash = (hash ^ at[n]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t mix_number(uint64_t hash, uint64_t number) {
    for (unsigned shift = 0; shift < 64; shift += 8)
        hash = (hash ^ (number >> shift & 0xff)) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t mix_value(uint64_t hash, sqlite3_value *value) {
    int type = sqlite3_value_type(value);
    hash = mix_number(hash, (uint64_t)type);
    if (type == SQLITE_INTEGER)
        return mix_number(hash, (uint64_t)sqlite3_value_int64(value));
    const void *data = sqlite3_value_blob(value);
    size_t len = (size_t)sqlite3_value_bytes(value);
    hash = mix_number(hash, len);
    return data == NULL ? hash : mix(hash, data, len);
}

void index_seal_of(sqlite3_context *context, int count, sqlite3_value **values) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int v = 0; v < count; v++)
        hash = mix_value(hash, values[v]);
    sqlite3_result_int64(context, (sqlite3_int64)((hash ^ hash >> 32) & UINT32_MAX));
}
