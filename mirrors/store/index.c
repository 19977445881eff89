// SPDX-License-Identifier: Apache-2.0
//
// Opening and closing the index, and the clean-stop mark.
//
// A file is believed to be an index of this format only if its tables are, to the letter, those that this program
// makes. Whatever else it is, is INDEX_DAMAGED, but for a newer format, which is INDEX_FAILED: that one is to be kept.

#include "mirrors/store/index_inside.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    APPLICATION_ID = 0x70674978, // "pgIx", in the file's head.
    HEAD_BYTES = 100,
    HEAD_VERSIONS_AT = 18,
    HEAD_VERSION_WAL = 2,
    STATEMENT_TEXT_MAX = 160
};

// --- making it ---

static enum index_result run(struct index *i, const char *sql) {
    int rc = sqlite3_exec(i->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? INDEX_OK : index_failed(i, rc);
}

static enum index_result run_number(struct index *i, const char *format, int64_t number) {
    char sql[STATEMENT_TEXT_MAX];
    sqlite3_snprintf(sizeof sql, sql, format, (sqlite3_int64)number);
    return run(i, sql);
}

static enum index_result ask_number(struct index *i, const char *sql, int64_t *out) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(i->db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    enum index_result r = index_step(i, st);
    if (r == INDEX_OK)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return r == INDEX_NOTHING ? index_damaged(i, "it does not say what it is") : r;
}

static enum index_result make_tables(struct index *i) {
    enum index_result r = INDEX_OK;
    for (size_t o = 0; r == INDEX_OK && o < INDEX_SCHEMA_COUNT; o++)
        r = run(i, INDEX_SCHEMA[o].sql);
    if (r == INDEX_OK)
        r = run(i, "INSERT INTO state VALUES(1, 0, 0, 0, 0, 0, seal_of('state', 0, 0, 0, 0))");
    if (r == INDEX_OK)
        r = run_number(i, "PRAGMA application_id = %lld", APPLICATION_ID);
    if (r == INDEX_OK)
        r = run_number(i, "PRAGMA user_version = %lld", INDEX_FORMAT);
    return r;
}

static enum index_result make(struct index *i) {
    enum index_result r = run(i, "BEGIN IMMEDIATE");
    if (r != INDEX_OK)
        return r;
    int64_t version = 0;
    r = ask_number(i, "PRAGMA user_version", &version);
    if (r == INDEX_OK && version == 0)
        r = make_tables(i);
    if (r == INDEX_OK)
        r = run(i, "COMMIT");
    if (r != INDEX_OK)
        sqlite3_exec(i->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

// --- judging it ---

// A head that claims an unknown file version would open as read-only and look like a failing disk.
static enum index_result check_head(struct index *i, bool *empty) {
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    unsigned char head[HEAD_BYTES];
    int rc = sqlite3_file_control(i->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    rc = file->pMethods->xFileSize(file, &size);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    *empty = size == 0;
    if (*empty)
        return INDEX_OK;
    if (size < HEAD_BYTES)
        return index_damaged(i, "it is too short");
    rc = file->pMethods->xRead(file, head, sizeof head, 0);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    if (memcmp(head, "SQLite format 3", 16) != 0)
        return index_damaged(i, "it is not a database");
    if (head[HEAD_VERSIONS_AT] > HEAD_VERSION_WAL || head[HEAD_VERSIONS_AT + 1] > HEAD_VERSION_WAL)
        return index_damaged(i, "its head is not one that SQLite writes");
    return INDEX_OK;
}

static const struct index_object *object_of(const char *name) {
    for (size_t o = 0; o < INDEX_SCHEMA_COUNT; o++)
        if (strcmp(INDEX_SCHEMA[o].name, name) == 0)
            return &INDEX_SCHEMA[o];
    return NULL;
}

static bool is_ours(sqlite3_stmt *st) {
    const char *name = (const char *)sqlite3_column_text(st, 0), *sql = (const char *)sqlite3_column_text(st, 1);
    const struct index_object *o = name == NULL ? NULL : object_of(name);
    return o != NULL && sql != NULL && strcmp(o->sql, sql) == 0;
}

static enum index_result check_tables(struct index *i) {
    static const char SQL[] = "SELECT DISTINCT name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(i->db, SQL, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    size_t ours = 0;
    enum index_result r;
    while ((r = index_step(i, st)) == INDEX_OK && is_ours(st))
        ours++;
    sqlite3_finalize(st);
    if (r == INDEX_OK || (r == INDEX_NOTHING && ours != INDEX_SCHEMA_COUNT))
        return index_damaged(i, "its tables are not those of this format");
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

static enum index_result refuse_newer(struct index *i, int64_t version) {
    err_set(&i->err, "this index is of format %lld, this pullgate knows format %d", (long long)version, INDEX_FORMAT);
    return INDEX_FAILED;
}

static enum index_result check_format(struct index *i) {
    int64_t version = 0, application = 0;
    enum index_result r = ask_number(i, "PRAGMA user_version", &version);
    if (r == INDEX_OK)
        r = ask_number(i, "PRAGMA application_id", &application);
    if (r != INDEX_OK)
        return r;
    if (application != APPLICATION_ID)
        return index_damaged(i, "it is not an index of pullgate");
    if (version > INDEX_FORMAT)
        return refuse_newer(i, version);
    return version == INDEX_FORMAT ? check_tables(i) : index_damaged(i, "it has no format");
}

static enum index_result check_pages(struct index *i) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(i->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    enum index_result r = index_step(i, st);
    if (r == INDEX_OK) {
        const char *verdict = (const char *)sqlite3_column_text(st, 0);
        if (verdict == NULL || strcmp(verdict, "ok") != 0)
            r = index_damaged(i, verdict == NULL ? "quick_check" : verdict);
    }
    sqlite3_finalize(st);
    return r == INDEX_NOTHING ? index_damaged(i, "quick_check") : r;
}

// Nothing was ever written to it: the program ended while it made the file.
static enum index_result is_blank(struct index *i, bool *blank) {
    int64_t version = 0, objects = 0;
    enum index_result r = ask_number(i, "PRAGMA user_version", &version);
    if (r == INDEX_OK)
        r = ask_number(i, "SELECT count(*) FROM sqlite_schema", &objects);
    *blank = r == INDEX_OK && version == 0 && objects == 0;
    return r;
}

// --- opening ---

static enum index_result settle(struct index *i, enum index_mode mode) {
    int rc = sqlite3_create_function(i->db, "seal_of", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                     index_seal_of, NULL, NULL);
    if (rc != SQLITE_OK)
        return index_failed(i, rc);
    sqlite3_extended_result_codes(i->db, 1);
    sqlite3_busy_timeout(i->db, INDEX_BUSY_MS);
    sqlite3_limit(i->db, SQLITE_LIMIT_LENGTH, INDEX_VALUE_MAX);
    sqlite3_db_config(i->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(i->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(i->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    return run(i, mode == INDEX_WRITE ? "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0"
                                      : "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON");
}

static enum index_result settle_log(struct index *i, enum index_mode mode) {
    enum index_result r = INDEX_OK;
    if (mode == INDEX_WRITE)
        r = run(i, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    if (r == INDEX_OK)
        r = run_number(i, "PRAGMA journal_size_limit = %lld", INDEX_WAL_BYTES_MAX);
    if (r == INDEX_OK)
        r = run_number(i, "PRAGMA cache_size = -%lld",
                       mode == INDEX_WRITE ? INDEX_WRITE_CACHE_KIB : INDEX_READ_CACHE_KIB);
    return r;
}

static enum index_result open_database(struct index *i, const char *path, enum index_mode mode) {
    int access = mode == INDEX_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(path, &i->db, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    return rc == SQLITE_OK ? INDEX_OK : index_failed(i, rc);
}

static enum index_result open_checked(struct index *i, const char *path, enum index_mode mode, bool check) {
    bool empty = false, blank = false;
    enum index_result r = open_database(i, path, mode);
    if (r == INDEX_OK)
        r = settle(i, mode);
    if (r == INDEX_OK)
        r = check_head(i, &empty);
    if (r == INDEX_OK && empty && mode == INDEX_READ)
        r = index_damaged(i, "it is empty");
    if (r == INDEX_OK)
        r = settle_log(i, mode);
    if (r == INDEX_OK)
        r = is_blank(i, &blank);
    if (r == INDEX_OK && blank && mode == INDEX_WRITE)
        r = make(i);
    if (r == INDEX_OK)
        r = check_format(i);
    if (r == INDEX_OK && check)
        r = check_pages(i);
    return r;
}

enum index_result index_open(const char *path, enum index_mode mode, bool check, struct index **out, struct err *err) {
    struct index *i = mem_zalloc(1, sizeof *i);
    enum index_result r = open_checked(i, path, mode, check);
    *out = NULL;
    if (r == INDEX_OK) {
        *out = i;
        return r;
    }
    err_set(err, "%s: %s", path, i->err.text);
    index_close(i);
    return r;
}

void index_close(struct index *i) {
    if (i == NULL)
        return;
    for (size_t s = 0; s < SQL_COUNT; s++)
        sqlite3_finalize(i->statements[s]);
    if (i->db != NULL && sqlite3_db_readonly(i->db, "main") == 0)
        sqlite3_wal_checkpoint_v2(i->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_close(i->db);
    free(i);
}

const char *index_error(const struct index *i) {
    return i->err.text;
}

// --- the mark ---

static enum index_result write_unclean(struct index *i, bool unclean) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_SET_UNCLEAN, &st, "n", (int64_t)unclean);
    if (r == INDEX_OK)
        r = index_step(i, st);
    index_end(st);
    if (r == INDEX_NOTHING && sqlite3_changes(i->db) != 1)
        return index_damaged(i, "its state is missing");
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

// The log is synced at every commit while `synchronous` is FULL.
enum index_result index_set_unclean(struct index *i, bool unclean) {
    enum index_result r = run(i, "PRAGMA synchronous = FULL");
    if (r == INDEX_OK)
        r = write_unclean(i, unclean);
    enum index_result after = run(i, "PRAGMA synchronous = NORMAL");
    return r == INDEX_OK ? after : r;
}

bool index_is_unclean(struct index *i) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_UNCLEAN, &st, "");
    if (r == INDEX_OK)
        r = index_step(i, st);
    bool clean = r == INDEX_OK && sqlite3_column_int64(st, 0) == 0;
    index_end(st);
    return !clean;
}
