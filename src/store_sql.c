/* The schema and every statement of the store.
 *
 * Entries and what carries which message are keyed by feed << 40 | seq, so that appending
 * to a feed and walking a range of it stay in few pages. A message has two indices: by
 * id, which also makes it unique, and by place in the conversation's history. An event of
 * a message or of a state is a reference, no copy. */
#include "store_priv.h"

const char *const store_steps[STORE_SCHEMA] = {
    "PRAGMA application_id = 1280201777;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE probe(id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;"
    "CREATE TABLE boxkey(pub BLOB PRIMARY KEY, sec BLOB NOT NULL,"
    "  created_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE contact(id INTEGER PRIMARY KEY, root BLOB NOT NULL, name TEXT NOT NULL,"
    "  announced TEXT NOT NULL, pair BLOB NOT NULL, flags INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE device(id INTEGER PRIMARY KEY, contact INTEGER NOT NULL,"
    "  device BLOB NOT NULL, stat BLOB NOT NULL, cert BLOB NOT NULL, box BLOB NOT NULL,"
    "  box_time INTEGER NOT NULL, presence_p BLOB, presence_a BLOB,"
    "  counter_tx INTEGER NOT NULL, counter_rx INTEGER NOT NULL, addrs BLOB NOT NULL)"
    "  STRICT;"
    "CREATE TABLE invite(id INTEGER PRIMARY KEY, secret BLOB NOT NULL,"
    "  created_s INTEGER NOT NULL, expiry_s INTEGER NOT NULL, ended_s INTEGER NOT NULL,"
    "  used INTEGER NOT NULL, revoked INTEGER NOT NULL, used_by BLOB NOT NULL) STRICT;"
    "CREATE TABLE adding(secret BLOB PRIMARY KEY, root BLOB NOT NULL, code BLOB NOT NULL,"
    "  name TEXT NOT NULL, started_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE conv(id INTEGER PRIMARY KEY, cid BLOB NOT NULL, kind INTEGER NOT NULL,"
    "  contact INTEGER NOT NULL, members BLOB NOT NULL, created_ms INTEGER NOT NULL) "
    "STRICT;"
    "CREATE TABLE feed(id INTEGER PRIMARY KEY, conv INTEGER NOT NULL,"
    "  device INTEGER NOT NULL, gen BLOB NOT NULL, flags INTEGER NOT NULL,"
    "  head INTEGER NOT NULL, head_order INTEGER NOT NULL, head_id BLOB NOT NULL,"
    "  opened INTEGER NOT NULL, opened_order INTEGER NOT NULL, opened_id BLOB NOT NULL,"
    "  closed_from INTEGER NOT NULL, chain_start INTEGER NOT NULL,"
    "  chain_n INTEGER NOT NULL, chain_secret BLOB NOT NULL,"
    "  chain_created_s INTEGER NOT NULL, sign_pub BLOB NOT NULL, sign_sec BLOB NOT NULL,"
    "  read INTEGER NOT NULL) STRICT;"
    "CREATE TABLE have(device INTEGER, feed INTEGER, n INTEGER NOT NULL,"
    "  opened INTEGER NOT NULL, read INTEGER NOT NULL, PRIMARY KEY(device, feed))"
    "  STRICT, WITHOUT ROWID;"
    "CREATE TABLE entry(k INTEGER PRIMARY KEY, id BLOB NOT NULL, header BLOB NOT NULL,"
    "  box BLOB NOT NULL, self BLOB, sig BLOB, mid BLOB) STRICT;"
    "CREATE TABLE carries(k INTEGER PRIMARY KEY, msg INTEGER NOT NULL) STRICT;"
    "CREATE TABLE fork(k INTEGER PRIMARY KEY, header_a BLOB NOT NULL,"
    "  header_b BLOB NOT NULL) STRICT;"
    "CREATE TABLE msg(row INTEGER PRIMARY KEY, mid BLOB NOT NULL, conv INTEGER NOT NULL,"
    "  author INTEGER NOT NULL, word INTEGER NOT NULL, device INTEGER NOT NULL,"
    "  rank INTEGER NOT NULL, feed INTEGER NOT NULL, seq INTEGER NOT NULL,"
    "  kind INTEGER NOT NULL, flags INTEGER NOT NULL, reply BLOB,"
    "  time_ms INTEGER NOT NULL, ord INTEGER NOT NULL, text TEXT NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX msg_mid ON msg(conv, author, mid);"
    "CREATE INDEX msg_arrival ON msg(conv) WHERE author <> 0;"
    "CREATE INDEX msg_history ON msg(conv, ord, rank);"
    "CREATE TABLE unread(conv INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;"
    "CREATE TABLE event(n INTEGER PRIMARY KEY, topic INTEGER NOT NULL,"
    "  what INTEGER NOT NULL, row INTEGER, contact INTEGER, conv INTEGER, value INTEGER,"
    "  text TEXT) STRICT;",

    /* 2: the index of words (store_index.c); it is filled in the background */
    "CREATE VIRTUAL TABLE words USING fts5(text, tags, content = '', columnsize = 0,"
    "  tokenize = 'linnet');"
    "INSERT INTO words(words, rank) VALUES('automerge', 0);"
    "INSERT INTO words(words, rank) VALUES('crisismerge', 1024);"
    "INSERT INTO words(words, rank) VALUES('usermerge', 16);"
    "CREATE TABLE indexed(id INTEGER PRIMARY KEY, row INTEGER NOT NULL,"
    "  unicode TEXT NOT NULL) STRICT;"
    "INSERT INTO indexed VALUES(1, 0, '');"
    "CREATE TABLE zone(n INTEGER PRIMARY KEY, first_ms INTEGER NOT NULL,"
    "  last_ms INTEGER NOT NULL) STRICT;"
    /* and the secret network that a contact came through */
    "ALTER TABLE contact ADD COLUMN network TEXT NOT NULL DEFAULT '';"
    /* strangers who ask, or must not any more */
    "CREATE TABLE request(id INTEGER PRIMARY KEY, state INTEGER NOT NULL,"
    "  root BLOB NOT NULL, device BLOB NOT NULL, stat BLOB NOT NULL, cert BLOB NOT NULL,"
    "  box BLOB NOT NULL, box_time INTEGER NOT NULL, pair BLOB NOT NULL,"
    "  name TEXT NOT NULL, text BLOB NOT NULL, addr BLOB NOT NULL,"
    "  time_ms INTEGER NOT NULL) STRICT;"
    /* and changes of messages (store_change.c); also: the entries of messages that more
     * than one carries; edited_by: those that carry an edit. */
    "CREATE TABLE also(k INTEGER PRIMARY KEY, msg INTEGER NOT NULL) STRICT;"
    "CREATE INDEX also_msg ON also(msg);"
    "INSERT INTO also SELECT k, msg FROM carries WHERE msg IN"
    "  (SELECT msg FROM carries GROUP BY msg HAVING count(*) > 1);"
    "CREATE TABLE edit(msg INTEGER PRIMARY KEY, ord INTEGER NOT NULL,"
    "  rank INTEGER NOT NULL, mid BLOB NOT NULL, time_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE edited_by(k INTEGER PRIMARY KEY, conv INTEGER NOT NULL,"
    "  author INTEGER NOT NULL, mid BLOB NOT NULL) STRICT;"
    "CREATE INDEX edited_by_mid ON edited_by(conv, author, mid);"
    "CREATE TABLE reaction(msg INTEGER, author INTEGER, ord INTEGER NOT NULL,"
    "  rank INTEGER NOT NULL, mid BLOB NOT NULL, emoji TEXT NOT NULL,"
    "  PRIMARY KEY(msg, author)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE pending(n INTEGER PRIMARY KEY, conv INTEGER NOT NULL,"
    "  target_author INTEGER NOT NULL, target BLOB NOT NULL, kind INTEGER NOT NULL,"
    "  author INTEGER NOT NULL, device INTEGER NOT NULL, ord INTEGER NOT NULL,"
    "  rank INTEGER NOT NULL, mid BLOB NOT NULL, time_ms INTEGER NOT NULL,"
    "  text TEXT NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX pending_slot ON"
    "  pending(conv, target_author, target, kind, author);"
    "CREATE INDEX pending_author ON pending(conv, author);",

    /* 3: files (store_files.c); few of them have not ended, so those have their index */
    "CREATE TABLE file(id INTEGER PRIMARY KEY, conv INTEGER NOT NULL,"
    "  author INTEGER NOT NULL, device INTEGER NOT NULL, mid BLOB NOT NULL,"
    "  kind INTEGER NOT NULL, state INTEGER NOT NULL, flags INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, head INTEGER NOT NULL, count INTEGER NOT NULL,"
    "  root BLOB NOT NULL, name BLOB NOT NULL, path BLOB NOT NULL, dest BLOB NOT NULL,"
    "  created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX file_mid ON file(conv, author, mid);"
    "CREATE INDEX file_open ON file(id) WHERE state <= 2;"
    "CREATE INDEX file_auto ON file(created_ms) WHERE flags & 16;"
    "CREATE TABLE file_bits(file INTEGER, block INTEGER, bits BLOB NOT NULL,"
    "  PRIMARY KEY(file, block)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE file_peer(file INTEGER, contact INTEGER, end INTEGER NOT NULL,"
    "  leaves INTEGER NOT NULL, PRIMARY KEY(file, contact)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE file_rule(contact INTEGER PRIMARY KEY, mode INTEGER NOT NULL,"
    "  max INTEGER, quota INTEGER) STRICT;",
};

#define MSG_COLS                                                                         \
    "m.row, m.mid, m.conv, m.author, m.word, m.device, m.feed, m.seq, m.kind, m.flags, " \
    "m.reply, m.time_ms, m.ord, m.text"

const char *const store_sql[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_PROBE] = "INSERT INTO probe VALUES(1, 1) ON CONFLICT DO UPDATE SET n = n + 1",
    [ST_META_PUT] = "REPLACE INTO meta VALUES(?, ?)",
    [ST_META_DEL] = "DELETE FROM meta WHERE key = ?",
    [ST_BOXKEY_PUT] = "REPLACE INTO boxkey VALUES(?, ?, ?)",
    [ST_BOXKEY_DEL] = "DELETE FROM boxkey WHERE pub = ?",
    [ST_CONTACT_PUT] = "REPLACE INTO contact VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_CONTACT_DEL] = "DELETE FROM contact WHERE id = ?",
    [ST_DEVICE_PUT] = "REPLACE INTO device VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_DEVICE_DEL] = "DELETE FROM device WHERE id = ?",
    [ST_INVITE_PUT] = "REPLACE INTO invite VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_INVITE_DEL] = "DELETE FROM invite WHERE id = ?",
    [ST_ADDING_PUT] = "REPLACE INTO adding VALUES(?, ?, ?, ?, ?)",
    [ST_ADDING_DEL] = "DELETE FROM adding WHERE secret = ?",
    [ST_REQUEST_PUT] =
        "REPLACE INTO request VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_REQUEST_DEL] = "DELETE FROM request WHERE id = ?",
    [ST_CONV_PUT] = "REPLACE INTO conv VALUES(?, ?, ?, ?, ?, ?)",
    [ST_CONV_DEL] = "DELETE FROM conv WHERE id = ?",
    [ST_FEED_PUT] =
        "REPLACE INTO feed VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " ?, ?, ?, ?)",
    [ST_FEED_DEL] = "DELETE FROM feed WHERE id = ?",
    [ST_HAVE_PUT] = "REPLACE INTO have VALUES(?, ?, ?, ?, ?)",
    [ST_HAVE_DEL] = "DELETE FROM have WHERE device = ? AND feed = ?",
    [ST_ENTRY_PUT] = "REPLACE INTO entry VALUES(?, ?, ?, ?, ?, ?, ?)",
    [ST_ENTRY_DEL] = "DELETE FROM entry WHERE k BETWEEN ? AND ?",
    [ST_CARRIES_PUT] = "REPLACE INTO carries VALUES(?, ?)",
    [ST_CARRIES_DEL] = "DELETE FROM carries WHERE k BETWEEN ? AND ?",
    [ST_ALSO_PUT] = "REPLACE INTO also VALUES(?, ?)",
    [ST_ALSO_DEL] = "DELETE FROM also WHERE k BETWEEN ? AND ?",
    [ST_ENTRY_DROP] = "UPDATE entry SET box = x'' WHERE k = ?",
    /* An entry may have given way to another one since. */
    [ST_ENTRY_DROP_MSG] = "UPDATE entry SET box = x'' WHERE k IN"
                          " (SELECT feed << 40 | seq FROM msg WHERE row = ?1"
                          "  UNION SELECT k FROM also WHERE msg = ?1)"
                          " AND (SELECT msg FROM carries WHERE carries.k = entry.k) = ?1",
    [ST_ENTRY_DROP_EDITS] =
        "UPDATE entry SET box = x'' WHERE k IN"
        " (SELECT k FROM edited_by WHERE conv = ? AND author = ? AND mid = ?)",
    [ST_EDITED_BY_PUT] = "REPLACE INTO edited_by VALUES(?, ?, ?, ?)",
    [ST_EDITED_BY_DEL] =
        "DELETE FROM edited_by WHERE conv = ? AND author = ? AND mid = ?",
    [ST_EDITED_BY_CUT] = "DELETE FROM edited_by WHERE k BETWEEN ? AND ?",
    [ST_EDIT_GET] = "SELECT ord, rank, mid FROM edit WHERE msg = ?",
    [ST_EDIT_PUT] = "REPLACE INTO edit VALUES(?, ?, ?, ?, ?)",
    [ST_EDIT_DEL] = "DELETE FROM edit WHERE msg = ?",
    [ST_EDIT_TIME] = "SELECT time_ms FROM edit WHERE msg = ?",
    [ST_REACTION_GET] =
        "SELECT ord, rank, mid FROM reaction WHERE msg = ? AND author = ?",
    [ST_REACTION_PUT] = "REPLACE INTO reaction VALUES(?, ?, ?, ?, ?, ?)",
    [ST_REACTION_DEL] = "DELETE FROM reaction WHERE msg = ?",
    [ST_REACTION_NOW] = "SELECT emoji FROM reaction WHERE msg = ? AND author = ?",
    [ST_REACTIONS] = "SELECT author, emoji FROM reaction WHERE msg = ? AND emoji <> ''"
                     " ORDER BY ord, rank, mid",
    [ST_PENDING_GET] = "SELECT ord, rank, mid FROM pending WHERE conv = ? AND"
                       " target_author = ? AND target = ? AND kind = ? AND author = ?",
    [ST_PENDING_PUT] =
        "INSERT INTO pending(conv, target_author, target, kind, author, device, ord,"
        " rank, mid, time_ms, text) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_PENDING_DEL] = "DELETE FROM pending WHERE conv = ? AND target_author = ?"
                       " AND target = ? AND kind = ? AND author = ?",
    [ST_PENDING_DEL_EDIT] = "DELETE FROM pending WHERE conv = ?1 AND target_author = ?2"
                            " AND target = ?3 AND kind = 1",
    [ST_PENDING_DEL_N] = "DELETE FROM pending WHERE n = ?",
    [ST_PENDING_COUNT] = "SELECT count(*) FROM pending WHERE conv = ? AND author = ?",
    [ST_PENDING_OLDEST] = "DELETE FROM pending WHERE n ="
                          " (SELECT min(n) FROM pending WHERE conv = ? AND author = ?)",
    [ST_PENDING_NEXT] =
        "SELECT n, kind, author, device, ord, rank, mid, time_ms, text FROM pending"
        " WHERE conv = ? AND target_author = ? AND target = ? LIMIT 1",
    [ST_MSG_TARGET] = "SELECT row, flags, kind FROM msg WHERE conv = ? AND author = ?"
                      " AND mid = ?",
    [ST_MSG_FLAGS] = "UPDATE msg SET flags = ? WHERE row = ?",
    [ST_MSG_TEXT] = "UPDATE msg SET flags = ?, text = ? WHERE row = ?",
    [ST_FILE_PUT] = "REPLACE INTO file VALUES"
                    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_FILE_DEL] = "DELETE FROM file WHERE id = ?",
    [ST_FILE_UNNAME] = "UPDATE file SET name = x'' WHERE conv = ? AND author = ?"
                       " AND mid = ?",
    [ST_FILE_OF] = "SELECT id, kind, state, flags, size, head, count FROM file"
                   " WHERE conv = ? AND author = ? AND mid = ?",
    [ST_FILE_GET] = "SELECT * FROM file WHERE id = ?",
    [ST_FILES] = "SELECT * FROM file WHERE id > ? ORDER BY id LIMIT ?",
    /* sum() would fail on what has no room in 64 bits. */
    [ST_FILES_AUTO] = "SELECT CAST(total(size) AS INTEGER) FROM file WHERE flags & 16"
                      " AND created_ms >= ?1 AND (?2 = 0 OR author = ?2)",
    [ST_FILE_BITS_PUT] = "REPLACE INTO file_bits VALUES(?, ?, ?)",
    [ST_FILE_BITS_DEL] = "DELETE FROM file_bits WHERE file = ? AND block = ?",
    [ST_FILE_BITS_CLEAR] = "DELETE FROM file_bits WHERE file = ?",
    [ST_FILE_PEER_PUT] = "REPLACE INTO file_peer VALUES(?, ?, ?, ?)",
    [ST_FILE_PEER_DEL] = "DELETE FROM file_peer WHERE file = ? AND contact = ?",
    [ST_FILE_PEERS_CLEAR] = "DELETE FROM file_peer WHERE file = ?",
    [ST_FILE_PEERS] = "SELECT * FROM file_peer WHERE file = ? ORDER BY contact",
    [ST_FILE_RULE_PUT] = "REPLACE INTO file_rule VALUES(?, ?, ?, ?)",
    [ST_FILE_RULE_DEL] = "DELETE FROM file_rule WHERE contact = ?",
    [ST_FORK_PUT] = "INSERT OR IGNORE INTO fork VALUES(?, ?, ?)",
    [ST_FORK_DEL] = "DELETE FROM fork WHERE k = ?",
    [ST_MSG_PUT] = "INSERT INTO msg VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                   " ON CONFLICT(conv, author, mid) DO NOTHING",
    [ST_MSG_SAME] = "SELECT row, feed, seq, flags FROM msg WHERE mid = ? AND conv = ? AND"
                    " author = ?",
    [ST_MSG_MOVE] = "UPDATE msg SET feed = ?, seq = ? WHERE row = ?",
    [ST_MSG_RISE] =
        "SELECT c.k, " MSG_COLS " FROM carries c CROSS JOIN msg m ON m.row = c.msg"
        " WHERE c.k BETWEEN ?1 AND ?2 AND m.author = 0 AND m.word < ?3"
        " ORDER BY c.k LIMIT ?4",
    [ST_MSG_READ] =
        "SELECT c.k, " MSG_COLS " FROM carries c CROSS JOIN msg m ON m.row = c.msg"
        " WHERE c.k BETWEEN ?1 AND ?2 AND m.author <> 0 AND m.word = ?3"
        " ORDER BY c.k LIMIT ?4",
    [ST_MSG_WORD] = "UPDATE msg SET word = ? WHERE row = ?",
    [ST_UNREAD_ADD] = "INSERT INTO unread VALUES(?, ?)"
                      " ON CONFLICT DO UPDATE SET n = n + excluded.n",
    [ST_UNREAD_GET] = "SELECT n FROM unread WHERE conv = ?",
    [ST_UNREAD_ALL] = "SELECT conv, n FROM unread WHERE n <> 0 ORDER BY conv",
    [ST_EVENT_PUT] = "INSERT INTO event VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_EVENTS] = "SELECT " MSG_COLS
                  ", e.n, e.topic, e.what, e.row, e.contact, e.conv, e.value, e.text"
                  " FROM event e LEFT JOIN msg m ON m.row = e.row"
                  " WHERE e.n > ? ORDER BY e.n LIMIT ?",
    [ST_DEVICE_ID] = "SELECT device FROM device WHERE id = ?",
    [ST_ENTRIES] = "SELECT k, id, header, box, self, sig, mid FROM entry"
                   " WHERE k BETWEEN ? AND ? ORDER BY k LIMIT ?",
    [ST_HISTORY_UP] = "SELECT " MSG_COLS " FROM msg m WHERE m.conv = ?1"
                      " AND (m.ord, m.rank, m.row) > (?2, ?3, ?4) AND m.time_ms >= ?5"
                      " ORDER BY m.ord, m.rank, m.row LIMIT ?6",
    [ST_HISTORY_DOWN] = "SELECT " MSG_COLS " FROM msg m WHERE m.conv = ?1"
                        " AND (m.ord, m.rank, m.row) < (?2, ?3, ?4)"
                        " AND m.ord >= ?5 AND m.time_ms >= ?5"
                        " ORDER BY m.ord DESC, m.rank DESC, m.row DESC LIMIT ?6",
    [ST_NEXT_UP] = "SELECT ord, rank, row FROM msg WHERE conv = ?1"
                   " AND (ord, rank, row) > (?2, ?3, ?4)"
                   " ORDER BY ord, rank, row LIMIT 1",
    [ST_NEXT_DOWN] = "SELECT ord, rank, row FROM msg WHERE conv = ?1"
                     " AND (ord, rank, row) < (?2, ?3, ?4)"
                     " ORDER BY ord DESC, rank DESC, row DESC LIMIT 1",
    [ST_CONVS] = "WITH RECURSIVE c(v) AS (SELECT min(conv) FROM msg UNION ALL"
                 " SELECT (SELECT min(conv) FROM msg WHERE conv > v) FROM c"
                 " WHERE v IS NOT NULL) SELECT v FROM c WHERE v IS NOT NULL",
    [ST_MSG_ROW] = "SELECT " MSG_COLS " FROM msg m WHERE m.row = ?",
    [ST_ARRIVALS] = "SELECT " MSG_COLS " FROM msg m WHERE m.row > ?1 AND m.author <> 0"
                    " ORDER BY m.row LIMIT ?2",
    [ST_ARRIVALS_CONV] = "SELECT " MSG_COLS " FROM msg m INDEXED BY msg_arrival"
                         " WHERE m.conv = ?3 AND m.row > ?1 AND m.author <> 0"
                         " ORDER BY m.row LIMIT ?2",
    [ST_AUTHOR_NEXT] = "SELECT conv, author FROM msg WHERE conv = ?1 AND author > ?2"
                       " ORDER BY author LIMIT 1",
    [ST_AUTHOR_FIRST] = "SELECT conv, author FROM msg WHERE conv > ?1"
                        " ORDER BY conv, author LIMIT 1",
    [ST_FIND] = "SELECT " MSG_COLS " FROM msg m WHERE m.conv = ? AND m.author = ?"
                " AND m.mid BETWEEN ? AND ? ORDER BY m.mid LIMIT ?",
    [ST_INDEXED_GET] = "SELECT row, unicode FROM indexed WHERE id = 1",
    [ST_INDEXED_PUT] = "UPDATE indexed SET row = ?, unicode = ? WHERE id = 1",
    [ST_INDEX_ROW] = "SELECT row, text, conv, author FROM msg WHERE row = ?",
    [ST_INDEX_NEXT] = "SELECT row, text, conv, author, time_ms FROM msg WHERE row > ?"
                      " ORDER BY row LIMIT ?",
    [ST_WORDS_PUT] = "INSERT INTO words(rowid, text, tags) VALUES(?, ?, ?)",
    [ST_WORDS_DEL] = "INSERT INTO words(words, rowid, text, tags)"
                     " VALUES('delete', ?, ?, ?)",
    [ST_WORDS_CLEAR] = "INSERT INTO words(words) VALUES('delete-all')",
    [ST_WORDS_MERGE] = "INSERT INTO words(words, rank) VALUES('merge', ?)",
    [ST_ZONE_PUT] = "INSERT INTO zone VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " first_ms = min(first_ms, excluded.first_ms),"
                    " last_ms = max(last_ms, excluded.last_ms)",
    [ST_ZONE_CLEAR] = "DELETE FROM zone",
    [ST_ZONES] = "SELECT n, first_ms, last_ms FROM zone WHERE n <= ? ORDER BY n DESC",
    [ST_SEARCH] = "SELECT " MSG_COLS " FROM words w CROSS JOIN msg m ON m.row = w.rowid"
                  " WHERE w.words MATCH ?1 AND w.rowid BETWEEN ?2 AND ?3"
                  " ORDER BY w.rowid DESC",
    [ST_SEARCH_ALL] = "SELECT " MSG_COLS " FROM msg m WHERE m.row BETWEEN ?1 AND ?2"
                      " ORDER BY m.row DESC",
};
