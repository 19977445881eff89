// SPDX-License-Identifier: Apache-2.0
//
// The tables of the index, and every statement that it runs.
//
// Registry and repository are interned; a registry by itself is the repository "". A digest is a BLOB: algorithm and
// raw bytes. `state` has one row; triggers keep its totals, so that nobody counts tables. A change of INDEX_SCHEMA is
// another INDEX_FORMAT. Statements that read sealed rows have the verdict on the seal as their first column.

#include "mirrors/store/index_inside.h"

const struct index_object INDEX_SCHEMA[] = {
    {"repository", "CREATE TABLE repository(id INTEGER PRIMARY KEY, registry TEXT NOT NULL, name TEXT NOT NULL,"
                   " UNIQUE(registry, name)) STRICT"},
    {"content", "CREATE TABLE content(digest BLOB PRIMARY KEY NOT NULL, size INTEGER NOT NULL, disk INTEGER NOT NULL,"
                " used INTEGER NOT NULL, added INTEGER NOT NULL, seal INTEGER NOT NULL) STRICT, WITHOUT ROWID"},
    {"content_by_use", "CREATE INDEX content_by_use ON content(used)"},
    {"confirmed", "CREATE TABLE confirmed(repository INTEGER NOT NULL, digest BLOB NOT NULL, time INTEGER NOT NULL,"
                  " media_type TEXT NOT NULL, seal INTEGER NOT NULL, PRIMARY KEY(repository, digest))"
                  " STRICT, WITHOUT ROWID"},
    {"confirmed_by_digest", "CREATE INDEX confirmed_by_digest ON confirmed(digest)"},
    {"delivered", "CREATE TABLE delivered(registry INTEGER NOT NULL, digest BLOB NOT NULL, seal INTEGER NOT NULL,"
                  " PRIMARY KEY(registry, digest)) STRICT, WITHOUT ROWID"},
    {"tag", "CREATE TABLE tag(repository INTEGER NOT NULL, name TEXT NOT NULL, digest BLOB NOT NULL,"
            " media_type TEXT NOT NULL, etag TEXT NOT NULL, time INTEGER NOT NULL, seal INTEGER NOT NULL,"
            " PRIMARY KEY(repository, name)) STRICT, WITHOUT ROWID"},
    {"tag_by_digest", "CREATE INDEX tag_by_digest ON tag(digest, repository)"},
    {"edge", "CREATE TABLE edge(id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, parent ANY NOT NULL,"
             " child BLOB NOT NULL, flags INTEGER NOT NULL, seal INTEGER NOT NULL,"
             " UNIQUE(child, repository, parent)) STRICT"},
    {"edge_of_repository", "CREATE INDEX edge_of_repository ON edge(repository)"},
    {"state", "CREATE TABLE state(one INTEGER PRIMARY KEY, unclean INTEGER NOT NULL, pieces INTEGER NOT NULL,"
              " disk INTEGER NOT NULL, tags INTEGER NOT NULL, repositories INTEGER NOT NULL, seal INTEGER NOT NULL)"
              " STRICT"},
    {"content_in", "CREATE TRIGGER content_in AFTER INSERT ON content BEGIN"
                   " UPDATE state SET pieces = pieces + 1, disk = disk + NEW.disk; END"},
    {"content_changed", "CREATE TRIGGER content_changed AFTER UPDATE OF disk ON content WHEN NEW.disk <> OLD.disk BEGIN"
                        " UPDATE state SET disk = disk + NEW.disk - OLD.disk; END"},
    {"content_out", "CREATE TRIGGER content_out AFTER DELETE ON content BEGIN"
                    " UPDATE state SET pieces = pieces - 1, disk = disk - OLD.disk; END"},
    {"tag_in", "CREATE TRIGGER tag_in AFTER INSERT ON tag BEGIN UPDATE state SET tags = tags + 1; END"},
    {"tag_out", "CREATE TRIGGER tag_out AFTER DELETE ON tag BEGIN UPDATE state SET tags = tags - 1; END"},
    {"repository_in", "CREATE TRIGGER repository_in AFTER INSERT ON repository WHEN NEW.name <> '' BEGIN"
                      " UPDATE state SET repositories = repositories + 1; END"},
    {"repository_out", "CREATE TRIGGER repository_out AFTER DELETE ON repository WHEN OLD.name <> '' BEGIN"
                       " UPDATE state SET repositories = repositories - 1; END"},
};
const size_t INDEX_SCHEMA_COUNT = sizeof INDEX_SCHEMA / sizeof *INDEX_SCHEMA;

// What each kind of row is sealed over. `names` stand for its registry and repository. What a row was looked for by is
// given as it was asked, not as it stands in the row: in a tree whose order is damaged SQLite finds other rows.
// clang-format off
#define SEAL_CONTENT(digest, size, disk, used, added) \
    "seal_of('content', " digest ", " size ", " disk ", " used ", " added ")"
#define SEAL_CONFIRMED(names, digest, time, type) \
    "seal_of('confirmed', " names ", " digest ", " time ", " type ")"
#define SEAL_DELIVERED(registry, digest) \
    "seal_of('delivered', " registry ", " digest ")"
#define SEAL_TAG(names, tag, digest, type, etag, time) \
    "seal_of('tag', " names ", " tag ", " digest ", " type ", " etag ", " time ")"
#define SEAL_EDGE(names, parent, child, flags) \
    "seal_of('edge', " names ", " parent ", " child ", " flags ")"
#define SEAL_STATE "seal_of('state', pieces, disk, tags, repositories)"

#define CONTENT_IS_SOUND(digest, row) \
    row "seal = " SEAL_CONTENT(digest, row "size", row "disk", row "used", row "added")
#define CONFIRMED_IS_SOUND(names, digest, row) \
    row "seal = " SEAL_CONFIRMED(names, digest, row "time", row "media_type")
#define TAG_IS_SOUND(names, tag, digest, row) \
    row "seal = " SEAL_TAG(names, tag, digest, row "media_type", row "etag", row "time")
#define EDGE_IS_SOUND(names, parent, child, row) \
    row "seal = " SEAL_EDGE(names, parent, child, row "flags")

// No row was joined: a damaged one may have NULL anywhere.
#define NO_CONTENT "coalesce(c.digest, c.size, c.disk, c.used, c.added, c.seal) IS NULL"
#define NO_CONFIRMED "coalesce(f.repository, f.digest, f.time, f.media_type, f.seal) IS NULL"
#define NO_TAG "coalesce(t.repository, t.name, t.digest, t.media_type, t.etag, t.time, t.seal) IS NULL"

#define ASKED "?1, ?2"
#define FOUND "r.registry, r.name"

// What stays of a row that is written again: nothing of one that is not sound.
#define USED_LEFT "iif(" CONTENT_IS_SOUND("?1", "") ", max(used, excluded.used), excluded.used)"
#define ADDED_LEFT "iif(" CONTENT_IS_SOUND("?1", "") ", added, excluded.added)"
#define TYPE_LEFT \
    "iif(excluded.media_type = '' AND " CONFIRMED_IS_SOUND(ASKED, "?4", "") ", media_type, excluded.media_type)"
#define FLAGS_LEFT "iif(" EDGE_IS_SOUND(ASKED, "?4", "?5", "") ", flags | excluded.flags, excluded.flags)"

const char *const INDEX_SQL[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",

    // --- the state ---
    [SQL_STATE] =
        "SELECT seal = " SEAL_STATE ", pieces, disk, tags, repositories FROM state WHERE one = 1",
    [SQL_SEAL_STATE] =
        "UPDATE state SET seal = " SEAL_STATE " WHERE one = 1",
    [SQL_UNCLEAN] =
        "SELECT unclean FROM state WHERE one = 1",
    [SQL_SET_UNCLEAN] =
        "UPDATE state SET unclean = ?1 WHERE one = 1",

    // --- writing content: ?1 digest ---
    [SQL_PUT_CONTENT] =
        "INSERT INTO content VALUES(?1, ?2, ?3, ?4, ?4, " SEAL_CONTENT("?1", "?2", "?3", "?4", "?4") ")"
        " ON CONFLICT(digest) DO UPDATE SET size = excluded.size, disk = excluded.disk,"
        " used = " USED_LEFT ", added = " ADDED_LEFT ","
        " seal = " SEAL_CONTENT("?1", "excluded.size", "excluded.disk", USED_LEFT, ADDED_LEFT),
    [SQL_DROP_CONTENT] =
        "DELETE FROM content WHERE digest = ?1",
    [SQL_PUT_USED] =
        "UPDATE content SET used = ?2, seal = " SEAL_CONTENT("?1", "size", "disk", "?2", "added")
        " WHERE digest = ?1 AND used < ?2 AND " CONTENT_IS_SOUND("?1", ""),

    // --- writing what a repository learns: ?1 registry, ?2 repository, ?3 its id ---
    [SQL_REPOSITORY] =
        "SELECT id FROM repository WHERE registry = ?1 AND name = ?2",
    [SQL_ADD_REPOSITORY] =
        "INSERT INTO repository(registry, name) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [SQL_PUT_CONFIRMED] =
        "INSERT INTO confirmed VALUES(?3, ?4, ?5, ?6, " SEAL_CONFIRMED(ASKED, "?4", "?5", "?6") ")"
        " ON CONFLICT(repository, digest) DO UPDATE SET time = excluded.time, media_type = " TYPE_LEFT ","
        " seal = " SEAL_CONFIRMED(ASKED, "?4", "excluded.time", TYPE_LEFT),
    [SQL_PUT_DELIVERED] =
        "INSERT INTO delivered VALUES(?3, ?4, " SEAL_DELIVERED("?1", "?4") ")"
        " ON CONFLICT DO UPDATE SET seal = excluded.seal WHERE seal <> excluded.seal",
    [SQL_PUT_TAG] =
        "INSERT INTO tag VALUES(?3, ?4, ?5, ?6, ?7, ?8, " SEAL_TAG(ASKED, "?4", "?5", "?6", "?7", "?8") ")"
        " ON CONFLICT(repository, name) DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,"
        " etag = excluded.etag, time = excluded.time, seal = excluded.seal",
    [SQL_PUT_EDGE] =
        "INSERT INTO edge(repository, parent, child, flags, seal)"
        " VALUES(?3, ?4, ?5, ?6, " SEAL_EDGE(ASKED, "?4", "?5", "?6") ")"
        " ON CONFLICT(child, repository, parent) DO UPDATE SET flags = " FLAGS_LEFT ","
        " seal = " SEAL_EDGE(ASKED, "?4", "?5", FLAGS_LEFT)
        " WHERE flags | excluded.flags <> flags OR NOT (" EDGE_IS_SOUND(ASKED, "?4", "?5", "") ")",

    // --- writing what it loses: ?1 its id ---
    [SQL_DROP_CONFIRMED] =
        "DELETE FROM confirmed WHERE repository = ?1 AND digest = ?2",
    [SQL_DROP_TAG] =
        "DELETE FROM tag WHERE repository = ?1 AND name = ?2",
    [SQL_DROP_ALL_CONFIRMED] =
        "DELETE FROM confirmed WHERE repository = ?1",
    [SQL_DROP_ALL_TAGS] =
        "DELETE FROM tag WHERE repository = ?1",
    [SQL_DROP_ALL_EDGES] =
        "DELETE FROM edge WHERE repository = ?1",
    [SQL_DROP_REPOSITORY] =
        "DELETE FROM repository WHERE id = ?1",

    // --- looking up ---
    [SQL_CONTENT] =
        "SELECT " CONTENT_IS_SOUND("?1", "") ", size, disk, used, added FROM content WHERE digest = ?1",
    [SQL_CONFIRMED] =
        "SELECT " CONFIRMED_IS_SOUND(ASKED, "?3", "f.") ", f.time, f.media_type"
        " FROM repository r CROSS JOIN confirmed f ON f.repository = r.id AND f.digest = ?3"
        " WHERE r.registry = ?1 AND r.name = ?2",
    [SQL_DELIVERED] =
        "SELECT d.seal = " SEAL_DELIVERED("?1", "?2")
        " FROM repository r CROSS JOIN delivered d ON d.registry = r.id AND d.digest = ?2"
        " WHERE r.registry = ?1 AND r.name = ''",
    [SQL_TAG] =
        "SELECT " TAG_IS_SOUND(ASKED, "?3", "t.digest", "t.") ", t.digest, t.media_type, t.etag, t.time"
        " FROM repository r CROSS JOIN tag t ON t.repository = r.id AND t.name = ?3"
        " WHERE r.registry = ?1 AND r.name = ?2",

    // --- walking ---
    [SQL_EDGES] =
        "SELECT " EDGE_IS_SOUND(ASKED, "e.parent", "e.child", "e.") ", e.parent, e.child, e.flags"
        " FROM repository r CROSS JOIN edge e ON e.repository = r.id"
        " WHERE r.registry = ?1 AND r.name = ?2 ORDER BY e.id",
    [SQL_OLDEST] =
        "SELECT " CONTENT_IS_SOUND("digest", "") ", digest, disk, used"
        " FROM content ORDER BY used, digest LIMIT ?1 OFFSET ?2",
    [SQL_CONTENTS] =
        "SELECT " CONTENT_IS_SOUND("digest", "") ", digest, size, disk, used, added"
        " FROM content WHERE digest > ?1 ORDER BY digest",
    [SQL_HOLDERS] =
        "SELECT " CONFIRMED_IS_SOUND(FOUND, "?1", "f.") ", r.id, r.registry, r.name"
        " FROM confirmed f CROSS JOIN repository r ON r.id = f.repository WHERE f.digest = ?1"
        " UNION SELECT " TAG_IS_SOUND(FOUND, "t.name", "?1", "t.") ", r.id, r.registry, r.name"
        " FROM tag t CROSS JOIN repository r ON r.id = t.repository WHERE t.digest = ?1",
    // ?3 the repository's id, ?4 the digest, ?5 and ?6 how far.
    [SQL_LEADING] =
        "WITH RECURSIVE up(sound, digest, depth) AS (VALUES(1, ?4, 0)"
        " UNION SELECT up.sound AND " EDGE_IS_SOUND(ASKED, "e.parent", "up.digest", "e.") ", e.parent, up.depth + 1"
        " FROM up CROSS JOIN edge e ON e.child = up.digest AND e.repository = ?3"
        " WHERE up.depth < ?5 AND typeof(e.parent) = 'blob' LIMIT ?6)"
        " SELECT DISTINCT up.sound AND " TAG_IS_SOUND(ASKED, "t.name", "up.digest", "t.") ", t.name"
        " FROM up CROSS JOIN tag t ON t.digest = up.digest AND t.repository = ?3",
    [SQL_LIST_TAGS] =
        "SELECT " TAG_IS_SOUND(FOUND, "t.name", "t.digest", "t.")
        " AND (" NO_CONTENT " OR " CONTENT_IS_SOUND("t.digest", "c.") "),"
        " t.digest, coalesce(c.size, -1), coalesce(c.disk, 0), coalesce(c.used, 0), coalesce(c.added, 0),"
        " r.registry, r.name, t.name, t.media_type"
        " FROM repository r CROSS JOIN tag t ON t.repository = r.id LEFT JOIN content c ON c.digest = t.digest"
        " ORDER BY r.registry, r.name, t.name",
    [SQL_LIST_DIGESTS] =
        "SELECT " CONTENT_IS_SOUND("c.digest", "c.")
        " AND (" NO_CONFIRMED " OR " CONFIRMED_IS_SOUND(FOUND, "c.digest", "f.") ")"
        " AND (" NO_TAG " OR " TAG_IS_SOUND(FOUND, "t.name", "c.digest", "t.") "),"
        " c.digest, c.size, c.disk, c.used, c.added, coalesce(r.registry, ''), coalesce(r.name, ''),"
        " coalesce(t.name, ''), coalesce(f.media_type, '')"
        " FROM content c LEFT JOIN confirmed f ON f.digest = c.digest LEFT JOIN repository r ON r.id = f.repository"
        " LEFT JOIN tag t INDEXED BY tag_by_digest ON t.digest = c.digest AND t.repository = f.repository"
        " ORDER BY c.digest",

    // --- forgetting: ?1 how many rows at most, ?2 confirmed before ---
    [SQL_PRUNE_CONFIRMED] =
        "DELETE FROM confirmed WHERE (repository, digest) IN (SELECT f.repository, f.digest FROM confirmed f"
        " WHERE f.time < ?2 AND NOT EXISTS (SELECT 1 FROM content c WHERE c.digest = f.digest) LIMIT ?1)",
    [SQL_PRUNE_TAGS] =
        "DELETE FROM tag WHERE (repository, name) IN (SELECT t.repository, t.name FROM tag t"
        " WHERE t.time < ?2 AND NOT EXISTS (SELECT 1 FROM content c WHERE c.digest = t.digest) LIMIT ?1)",
    [SQL_PRUNE_EDGES] =
        "DELETE FROM edge WHERE id IN (SELECT e.id FROM repository r CROSS JOIN edge e ON e.repository = r.id"
        " WHERE NOT EXISTS (SELECT 1 FROM confirmed f WHERE f.repository = r.id)"
        " AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = r.id) LIMIT ?1)",
    [SQL_PRUNE_REPOSITORIES] =
        "DELETE FROM repository WHERE id IN (SELECT r.id FROM repository r"
        " WHERE NOT EXISTS (SELECT 1 FROM confirmed f WHERE f.repository = r.id)"
        " AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = r.id)"
        " AND NOT EXISTS (SELECT 1 FROM edge e WHERE e.repository = r.id)"
        " AND NOT EXISTS (SELECT 1 FROM delivered d WHERE d.registry = r.id) LIMIT ?1)",
    [SQL_PRUNE_DELIVERED] =
        "DELETE FROM delivered WHERE (registry, digest) IN (SELECT d.registry, d.digest FROM delivered d"
        " WHERE NOT EXISTS (SELECT 1 FROM content c WHERE c.digest = d.digest)"
        " AND NOT EXISTS (SELECT 1 FROM confirmed f WHERE f.digest = d.digest) LIMIT ?1)",
};
// clang-format on
