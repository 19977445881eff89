// SPDX-License-Identifier: Apache-2.0
//
// What the files of the index share: one connection, its statements, and how a row is asked for and believed.
//
// Every row that says who may read what carries a seal: a checksum over all that it means, names included, which SQLite
// computes by seal_of(). SQLite notices pages that make no sense, but not a page whose numbers became others; a row
// with a broken seal is INDEX_DAMAGED. Damage may hide what was known, never make up what was not. Thread: the index's.

#pragma once

#include "mirrors/oci/name.h"
#include "mirrors/store/index.h"

#include <sqlite3.h>

enum {
    INDEX_DIGEST_MAX = 1 + DIGEST_HEX_MAX / 2, ///< Algorithm byte and raw bytes: how a digest is kept.
    INDEX_DEPTH_MAX = 6,                       ///< Edges from a digest up to a tag; tag to layer is 2.
    INDEX_STEPS_MAX = 20000,                   ///< Digests that a walk upward visits in one repository.
    INDEX_WRITE_CACHE_KIB = 2048,
    INDEX_READ_CACHE_KIB = 1024,
    INDEX_WAL_BYTES_MAX = 8 << 20, ///< The log is cut back to this after it grew.
    INDEX_VALUE_MAX = 64 * 1024    ///< Bytes of one row; more is damage.
};

/// Bytes on the disk of one piece: so that sums stay far from what an integer holds.
static const uint64_t INDEX_BYTES_MAX = UINT64_C(1) << 53;

enum index_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_REPOSITORY,
    SQL_ADD_REPOSITORY,
    SQL_DROP_REPOSITORY,
    SQL_PUT_CONTENT,
    SQL_DROP_CONTENT,
    SQL_PUT_USED,
    SQL_PUT_CONFIRMED,
    SQL_DROP_CONFIRMED,
    SQL_DROP_ALL_CONFIRMED,
    SQL_PUT_DELIVERED,
    SQL_PUT_TAG,
    SQL_DROP_TAG,
    SQL_DROP_ALL_TAGS,
    SQL_PUT_EDGE,
    SQL_DROP_ALL_EDGES,
    SQL_STATE,
    SQL_SEAL_STATE,
    SQL_UNCLEAN,
    SQL_SET_UNCLEAN,
    SQL_CONTENT,
    SQL_CONFIRMED,
    SQL_DELIVERED,
    SQL_TAG,
    SQL_EDGES,
    SQL_OLDEST,
    SQL_HOLDERS,
    SQL_LEADING,
    SQL_CONTENTS,
    SQL_LIST_TAGS,
    SQL_LIST_DIGESTS,
    SQL_PRUNE_CONFIRMED,
    SQL_PRUNE_TAGS,
    SQL_PRUNE_EDGES,
    SQL_PRUNE_REPOSITORIES,
    SQL_PRUNE_DELIVERED,
    SQL_COUNT
};

struct index_object {
    const char *name, *sql;
};

extern const char *const INDEX_SQL[SQL_COUNT];
extern const struct index_object INDEX_SCHEMA[];
extern const size_t INDEX_SCHEMA_COUNT;

struct index {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT]; ///< Made when first asked for.
    struct err err;
};

// --- results ---

/// What SQLite's last failure means; notes its sentence.
enum index_result index_failed(struct index *i, int rc);

/// Something was read that this program cannot have written.
enum index_result index_damaged(struct index *i, const char *what);

// --- statements ---

/// The statement, ready to be stepped, its parameters bound from 1 on as `kinds` says: 't' text (const char *), 'd' a
/// digest's text, 'p' an edge's parent (a digest's text or a tag), 'n' int64_t. The strings live until index_end().
/// INDEX_NOTHING: a digest that is none, so that no row can have it.
enum index_result index_begin(struct index *i, enum index_statement s, sqlite3_stmt **out, const char *kinds, ...);

/// INDEX_OK: there is a row. INDEX_NOTHING: no more.
enum index_result index_step(struct index *i, sqlite3_stmt *st);

/// As index_step(), for rows whose first column says whether their seal is whole: INDEX_DAMAGED where it is not.
enum index_result index_step_sealed(struct index *i, sqlite3_stmt *st);

/// Let go of what the statement read. NULL is allowed.
void index_end(sqlite3_stmt *st);

// --- columns: false where the value is not what this program writes ---

/// The column's own text, which lives until the next step; at most `max` bytes.
bool index_text(sqlite3_stmt *st, int column, size_t max, const char **out);
bool index_copy(sqlite3_stmt *st, int column, size_t max, char *out); ///< `out`: max + 1 bytes.
bool index_digest(sqlite3_stmt *st, int column, char *out);           ///< `out`: DIGEST_TEXT_MAX + 1 bytes.
bool index_parent(sqlite3_stmt *st, int column, char *out); ///< Digest or tag; `out`: DIGEST_TEXT_MAX + 1 bytes.
bool index_count(sqlite3_stmt *st, int column, uint64_t *out);
bool index_time(sqlite3_stmt *st, int column, int64_t *out);

/// The SQL function seal_of(...): 32 bits over the type, length and bytes of each argument.
void index_seal_of(sqlite3_context *context, int count, sqlite3_value **values);
