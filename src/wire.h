/* The wire: every frame's encode and decode, and every limit, in one place.
 *
 * docs/PROTOCOL.md is the reference; a change here edits it and a byte-exact test in one
 * commit. Control bodies are canonical bencode dictionaries with the one-letter keys
 * named below; unknown keys and frame types are ignored. Decoders hand out views into the
 * caller's bytes (they die with them), never allocate, refuse what is out of bounds, and
 * leave outputs unspecified on failure. Encoders write the payload (what the decoder of
 * the same name takes, without the frame's head) to a struct wr and latch overflow, also
 * for values that no decoder would take.
 *
 * An encoded frame is type(1) ‖ length(2, big-endian) ‖ payload; a link's transport body
 * is a sequence of frames, filled up with zero bytes (type 0 ends it). */
#ifndef LINNET_WIRE_H
#define LINNET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/bencode.h"
#include "base/buf.h"
#include "crypto/blind.h"
#include "crypto/hashtree.h"
#include "crypto/keys.h"
#include "crypto/netkey.h"

enum {
    WIRE_VERSION = 1, /* of the link protocol, in its prologue */

    /* identifiers */
    WIRE_ID = 32,   /* entries, conversations, devices, roots */
    WIRE_GEN = 8,   /* generation of a feed */
    WIRE_MID = 16,  /* a message's own id */
    WIRE_SIGN = 64, /* Ed25519 signature in groups */

    /* text */
    WIRE_NAME_MAX = 64,      /* bytes of a name, UTF-8 */
    WIRE_TEXT_MAX = 32768,   /* bytes of a message's text, UTF-8 */
    WIRE_LINE_MAX = 280,     /* bytes of a stranger's line, UTF-8 */
    WIRE_SKELETON_MAX = 255, /* bytes of a name's skeleton */
    WIRE_EMOJI_MAX = 64,     /* bytes of a reaction, UTF-8 */
    WIRE_STATUS_MAX = 256,   /* bytes of a status text, UTF-8 */

    /* link records */
    WIRE_RECORD1 = 192, /* first record, always: tag ‖ masked message 1 */
    WIRE_RECORD2 = 512, /* second record, always: masked ephemeral ‖ rest */
    WIRE_RECORD3 = 512, /* third record (XX), always */
    WIRE_FRAME_HEAD = 3,
    WIRE_FRAME_MAX = 65519 - 3, /* payload of a frame in a transport body */

    /* beacons */
    WIRE_BEACON = 40,
    WIRE_OPEN = 128,         /* an open beacon */
    WIRE_BEACON_PORT = 7678, /* multicast, receive only */
    WIRE_LINK_PORT = 7679,   /* links and unicast beacons, by default */

    /* feeds */
    WIRE_ENTRY_MAX = 49152, /* header + box + authenticators */
    WIRE_HEADER_MAX = 1024,
    WIRE_BOX_MAX = 46080,
    WIRE_BODY_MAX = 34816, /* plaintext of a box, padded */
    WIRE_PARENTS_MAX = 8,
    WIRE_MEMBERS_MAX = 256,
    WIRE_DEVICES_MAX = 800,    /* that a `keys` entry can address */
    WIRE_GENERATIONS_MAX = 64, /* a device in a conversation */
    WIRE_CHAIN_ENTRIES_MAX = 500,
    WIRE_HAVE_FEEDS_MAX = 256,   /* feeds in one HAVE frame */
    WIRE_DIGESTS_MAX = 512,      /* conversations in one DIGEST frame */
    WIRE_ADDRS_MAX = 16,         /* addresses in one frame */
    WIRE_MEMBERS_FRAME_MAX = 64, /* devices in one MEMBERS frame */
    WIRE_MEMBER_ADDRS_MAX = 4,   /* addresses of one of them */

    /* invites */
    WIRE_CODE_MAX = 200, /* characters of an invite code */
    WIRE_CODE_ADDRS_MAX = 2,

    /* meeting through the DHT */
    WIRE_WHERE_ADDRS_MAX = 8, /* of links, of the UDP socket */
    WIRE_WHERE_RELAYS_MAX = 4,
    WIRE_WHERE_MAX = BLIND_CONTENT_MAX,
    WIRE_ITEM_VALUE = 4 + BLIND_VALUE, /* bencoded: "720:" and the sealed bytes */
    WIRE_ITEM_SIGNED_MAX = 40 + WIRE_ITEM_VALUE,

    /* files */
    WIRE_FILE_NAME_MAX = 255,      /* bytes of a name: one component, UTF-8 */
    WIRE_FILE_PATH_MAX = 1024,     /* bytes of a path inside a folder */
    WIRE_FILE_DEPTH_MAX = 32,      /* its components */
    WIRE_FILE_ENTRIES_MAX = 65536, /* files and folders in a folder */
    WIRE_MANIFEST_MAX = 4194304,   /* bytes of a manifest */
    WIRE_FILE_CHUNK = 61696,       /* bytes of a leaf in one frame: 17 a leaf */
    WIRE_FILE_RANGES_MAX = 64,     /* ranges of leaves, or lists, in one WANT */
    WIRE_FILE_LIST_MAX = 1024,     /* hashes in one LIST frame */
};
/* Bytes of a file or folder, its manifest included. */
#define WIRE_FILE_SIZE_MAX (UINT64_C(1) << 44)

enum frame_type {
    FRAME_PAD = 0,
    /* 1..15: the link's own */
    FRAME_KEEPALIVE = 1,
    FRAME_CLOSE = 2,
    FRAME_REHS = 3,   /* a handshake message of a KKpsk0 inside the link */
    FRAME_SWITCH = 4, /* the sender's last frame under the old keys */
    /* 16..31: devices */
    FRAME_HELLO = 16,
    FRAME_PAIR = 17,
    FRAME_PAIRED = 18,
    FRAME_MEMBERS = 19, /* of the network that both are in */
    FRAME_CODE = 20,    /* the live code */
    FRAME_REQUEST = 21, /* a stranger's line */
    /* 32..47: feeds */
    FRAME_DIGEST = 32,
    FRAME_HAVE = 33,
    FRAME_WANT = 34,
    FRAME_ENTRY = 35,
    /* 48..63: ephemeral, never logged */
    FRAME_READ = 48,
    FRAME_PRESENCE = 49,
    FRAME_TYPING = 50,
    FRAME_LIVE = 51,
    /* 64..79: files */
    FRAME_FILE_WANT = 64,
    FRAME_FILE_STATE = 65,
    FRAME_FILE_NO = 66,
    FRAME_FILE_LEAF = 67, /* this and what follows: binary, of class BULK */
    FRAME_FILE_DATA = 68,
    FRAME_FILE_LIST = 69,
};

/* Appends one frame (type, length, payload). */
void wire_frame(struct wr *w, enum frame_type type, const uint8_t *payload, size_t len);
/* The same without a copy: begin, write the payload to w (any wire_*_put), end with what
 * begin returned. */
size_t wire_frame_begin(struct wr *w, enum frame_type type);
void wire_frame_end(struct wr *w, size_t begin);
/* Takes the next frame off a transport body. False at its end (padding reached) and, with
 * r->bad, when the body is malformed (a length beyond the end, padding that is not zero).
 */
bool wire_frame_next(struct rd *r, uint8_t *type, const uint8_t **payload, size_t *len);
/* The padded length of a transport body: 256, 1,024, 4,096, 16,384 or 65,519. */
size_t wire_padded(size_t len);

/* CLOSE {c: code} */
enum close_code {
    CLOSE_NORMAL = 0,
    CLOSE_REPLACED = 1, /* a newer link took over */
    CLOSE_PAIRED = 2,   /* pairing is done; meet again as contacts */
    CLOSE_USED = 3,     /* invite: used by somebody else */
    CLOSE_REVOKED = 4,
    CLOSE_EXPIRED = 5,
    CLOSE_PROTOCOL = 6, /* the other side broke the rules */
    CLOSE_SHUTDOWN = 7,
    CLOSE_BUSY = 8,
    CLOSE_IDLE = 9, /* nothing to say, and more links than are needed */
};
void wire_close_put(struct wr *w, unsigned code);
bool wire_close_get(const uint8_t *p, size_t len, unsigned *code);

/* HELLO {a: own listening addresses, k: newest handshake counter seen of you, p:
 * presence} The first frame of each side. */
struct wire_hello {
    struct addr addrs[WIRE_ADDRS_MAX];
    size_t n_addrs;
    uint64_t counter;
    uint64_t presence;
};
void wire_hello_put(struct wr *w, const struct wire_hello *v);
bool wire_hello_get(const uint8_t *p, size_t len, struct wire_hello *v);

/* The *device* dictionary {a: presence point A, b: current box key, c: certificate,
 * n: name, p: presence secret p, t: box key's time (s)}; in PAIR frames and `device`
 * bodies. a and p are absent towards strangers, never one alone. b is canonical; the
 * certificate is the caller's to open. */
struct wire_device {
    const uint8_t *cert;
    size_t cert_len;
    uint8_t box[KEYS_PUB];
    uint64_t box_time;
    bool has_presence;
    uint8_t presence_p[32], presence_a[32];
    char name[WIRE_NAME_MAX + 1]; /* UTF-8, checked, no control characters */
};
void wire_device_put(struct wr *w, const struct wire_device *v);
bool wire_device_get(struct ben dict, struct wire_device *v);

/* PAIR {d: device dictionary, k: X25519 public of this pairing, n: 32 fresh bytes}
 * (key `m` is reserved for ML-KEM-768). k is canonical. */
struct wire_pair {
    uint8_t dh[32], nonce[32];
    struct wire_device device;
};
void wire_pair_put(struct wr *w, const struct wire_pair *v);
bool wire_pair_get(const uint8_t *p, size_t len, struct wire_pair *v);
/* PAIRED {}: the contact is stored here. */
void wire_paired_put(struct wr *w);

/* MEMBERS {l: [[device id, [address …]] …], m: proof of the network's key}: where the
 * sender knows members of the network to be. Each has 1..WIRE_MEMBER_ADDRS_MAX addresses;
 * those of families that are not known here are skipped. */
struct wire_member {
    uint8_t device[WIRE_ID];
    struct addr addrs[WIRE_MEMBER_ADDRS_MAX];
    size_t n_addrs;
};
struct wire_members {
    uint8_t proof[NETKEY_PROOF];
    struct wire_member *v; /* the caller's, WIRE_MEMBERS_FRAME_MAX on decoding */
    size_t n;
};
void wire_members_put(struct wr *w, const struct wire_members *v);
bool wire_members_get(const uint8_t *p, size_t len, struct wire_members *v);

/* CODE {s: step, v: value}: the live code (verify.h). v is 32 bytes, and absent in READY
 * and STOP. Steps that are not known have no v here and are ignored. */
enum code_step {
    STEP_READY = 0, /* the sender's user wants to compare */
    STEP_COMMIT = 1,
    STEP_NONCE = 2,
    STEP_OPEN = 3,
    STEP_STOP = 4, /* the sender's user waits no more */
    STEP_UNKNOWN,  /* never sent: what a later version may add */
};
struct wire_code_frame {
    enum code_step step;
    uint8_t value[32];
};
void wire_code_frame_put(struct wr *w, const struct wire_code_frame *v);
bool wire_code_frame_get(const uint8_t *p, size_t len, struct wire_code_frame *v);

/* REQUEST {l: link port of the sender, s: a line of text}: before PAIR, from a stranger
 * who dials. s is wire_line_ok(), perhaps empty; l is not 0. */
struct wire_request {
    uint16_t port;
    char line[WIRE_LINE_MAX + 1];
};
void wire_request_put(struct wr *w, const struct wire_request *v);
bool wire_request_get(const uint8_t *p, size_t len, struct wire_request *v);

/* An entry's header, canonical bencode: b hash of the box, c conversation, d device,
 * g generation, k first seq of the chain (`keys` entry), o order, p prev, q seq,
 * r parents [[g, q, id] …] sorted by g, each once. seq starts at 1, prev of seq 1 is 32
 * zeros. A `keys` entry has k == q; k ≤ q ≤ k + WIRE_CHAIN_ENTRIES_MAX. */
struct wire_parent {
    uint8_t gen[WIRE_GEN];
    uint64_t seq;
    uint8_t id[WIRE_ID];
};
struct wire_header {
    uint8_t conv[WIRE_ID], device[WIRE_ID], gen[WIRE_GEN];
    uint64_t seq;
    uint8_t prev[WIRE_ID];
    struct wire_parent parents[WIRE_PARENTS_MAX];
    size_t n_parents;
    uint64_t order;
    uint64_t chain;
    uint8_t box_hash[WIRE_ID];
};
/* with_box false leaves b out: the associated data of the box's AEAD. */
void wire_header_put(struct wr *w, const struct wire_header *v, bool with_box);
bool wire_header_get(const uint8_t *p, size_t len, struct wire_header *v);
/* id = BLAKE2b-256(label, header bytes); box hash likewise under its own label. */
void wire_entry_id(const uint8_t *header, size_t len, uint8_t id[WIRE_ID]);
void wire_box_hash(const uint8_t *box, size_t len, uint8_t hash[WIRE_ID]);

/* ENTRY {b: box (absent when redacted), h: header, m: self MAC, s: signature} */
struct wire_entry {
    const uint8_t *header, *box; /* box NULL: dropped */
    size_t header_len, box_len;
    bool has_self, has_sig;
    uint8_t self[KEYS_SELF_MAC];
    uint8_t sig[WIRE_SIGN];
};
void wire_entry_put(struct wr *w, const struct wire_entry *v);
bool wire_entry_get(const uint8_t *p, size_t len, struct wire_entry *v);

/* DIGEST {l: [[conversation, digest 32] …]} */
struct wire_digest {
    uint8_t conv[WIRE_ID], hash[32];
};
void wire_digest_put(struct wr *w, const struct wire_digest *v, size_t n);
/* Decodes at most max; false when malformed or more. */
bool wire_digest_get(const uint8_t *p, size_t len, struct wire_digest *v, size_t max,
                     size_t *n);

/* HAVE {c: conversation, e: 1 when all feeds have been told, f: [{d: device, g:
 * generation, i: id of the head, n: head, o: opened, x: first seq that cannot be opened,
 * z: 1 frozen} …]}. e, x and z are absent when 0; i is absent when n is 0. o, x ≤ n. */
struct wire_have_feed {
    uint8_t device[WIRE_ID], gen[WIRE_GEN], id[WIRE_ID];
    uint64_t n, opened, closed;
    bool frozen;
};
struct wire_have {
    uint8_t conv[WIRE_ID];
    bool full_end;
    struct wire_have_feed *feeds; /* the caller's, WIRE_HAVE_FEEDS_MAX on decoding */
    size_t n_feeds;
};
void wire_have_put(struct wr *w, const struct wire_have *v);
bool wire_have_get(const uint8_t *p, size_t len, struct wire_have *v);

/* WANT {c: conversation, d: device, f: first seq, g: generation, t: last seq},
 * 1 ≤ f ≤ t */
struct wire_want {
    uint8_t conv[WIRE_ID], device[WIRE_ID], gen[WIRE_GEN];
    uint64_t from, to;
};
void wire_want_put(struct wr *w, const struct wire_want *v);
bool wire_want_get(const uint8_t *p, size_t len, struct wire_want *v);

/* READ {c: conversation, f: [[device, generation, seq] …]} */
struct wire_read_feed {
    uint8_t device[WIRE_ID], gen[WIRE_GEN];
    uint64_t seq;
};
struct wire_read {
    uint8_t conv[WIRE_ID];
    struct wire_read_feed *feeds; /* the caller's, WIRE_HAVE_FEEDS_MAX on decoding */
    size_t n_feeds;
};
void wire_read_put(struct wr *w, const struct wire_read *v);
bool wire_read_get(const uint8_t *p, size_t len, struct wire_read *v);

/* How somebody is. 4 to 7 are not defined yet and taken as online. */
enum presence_state {
    PRESENCE_ONLINE = 0,
    PRESENCE_AWAY = 1,
    PRESENCE_BUSY = 2,
    PRESENCE_INVISIBLE =
        3, /* shown as offline; not in beacons, which are not sent then */
    PRESENCE_STATE_MAX = 7,
};
/* PRESENCE {p: state, r: revision of the status text, s: status text (absent: none)} */
struct wire_presence {
    uint64_t state, revision;
    const uint8_t *status; /* wire_status_ok(); NULL: none */
    size_t status_len;
};
void wire_presence_put(struct wr *w, const struct wire_presence *v);
bool wire_presence_get(const uint8_t *p, size_t len, struct wire_presence *v);
/* The presence byte of a beacon: bits 0-2 state, bit 3 there is a status text, bits 4-7
 * the low bits of its revision. */
enum {
    BEACON_STATE = 7,
    BEACON_STATUS = 8,
    BEACON_REVISION_SHIFT = 4,
    BEACON_REVISIONS = 16,
};
uint8_t wire_presence_byte(const struct wire_presence *v);

/* TYPING {c: conversation, s: 1 typing, 0 not any more} */
struct wire_typing {
    uint8_t conv[WIRE_ID];
    bool typing;
};
void wire_typing_put(struct wr *w, const struct wire_typing *v);
bool wire_typing_get(const uint8_t *p, size_t len, struct wire_typing *v);

/* LIVE {c: conversation, n: number, growing, o: 1 the sender wants live typing, s: the
 * draft as it stands (absent: none)} */
struct wire_live {
    uint8_t conv[WIRE_ID];
    uint64_t n;
    bool on;
    const uint8_t *text; /* wire_text_ok(), 1..WIRE_TEXT_MAX bytes; NULL: none */
    size_t text_len;
};
void wire_live_put(struct wr *w, const struct wire_live *v);
bool wire_live_get(const uint8_t *p, size_t len, struct wire_live *v);

/* Files. A file (docs/PROTOCOL.md, "Files") is named by the root of who offered it and
 * the id of the message that offers it. Handles are numbers that who wants the file
 * gives, for one link and direction; what answers carries them. Leaves count from 0. */

/* FILE_WANT {a: root of the author, b: [list …] (absent: none; 0 the hashes of all
 * blocks, n + 1 those of the leaves in block n), h: handle, i: id of the offer, l:
 * [[first leaf, count] …]}: send these, beside what was wanted before. 1 ≤ count; first +
 * count ≤ HASHTREE_LEAVES_MAX. */
struct wire_file_range {
    uint32_t first, count;
};
struct wire_file_want {
    uint8_t author[WIRE_ID], mid[WIRE_MID];
    uint32_t handle;
    struct wire_file_range ranges[WIRE_FILE_RANGES_MAX];
    uint32_t lists[WIRE_FILE_RANGES_MAX];
    size_t n_ranges, n_lists;
};
void wire_file_want_put(struct wr *w, const struct wire_file_want *v);
bool wire_file_want_get(const uint8_t *p, size_t len, struct wire_file_want *v);

/* FILE_STATE {a: root of the author, i: id of the offer, n: leaves that the sender of
 * this frame has, s: state}: how the file is at the sender of this frame. */
enum file_word {
    FILE_WORD_UNKNOWN = 0, /* there is no such file, or not any more */
    FILE_WORD_ASKS = 1,    /* its user has not decided */
    FILE_WORD_ACTIVE = 2,  /* is taken in, or can be had as far as it is there */
    FILE_WORD_PAUSED = 3,  /* nothing is sent, or wanted, until the next FILE_STATE */
    FILE_WORD_STUCK = 4,   /* its disk does not take or give more: it is tried again */
    FILE_WORD_WHOLE = 5,   /* all of it is there, and can be had */
    FILE_WORD_MAX = 15,    /* 6 to 15 are taken as ACTIVE */
};
struct wire_file_state {
    uint8_t author[WIRE_ID], mid[WIRE_MID];
    uint64_t leaves;
    uint64_t state;
};
void wire_file_state_put(struct wr *w, const struct wire_file_state *v);
bool wire_file_state_get(const uint8_t *p, size_t len, struct wire_file_state *v);

/* FILE_NO {h: handle, r: reason}: nothing of what was wanted under the handle will come.
 * Unknown reasons are as FAILED. */
enum file_no {
    FILE_NO_GONE = 1,   /* no such file here */
    FILE_NO_PAUSED = 2, /* FILE_STATE follows when that ends */
    FILE_NO_FAILED = 3, /* it cannot be read at the moment */
    FILE_NO_BUSY = 4,   /* more is wanted than can be queued */
};
struct wire_file_no {
    uint32_t handle;
    uint64_t reason;
};
void wire_file_no_put(struct wr *w, const struct wire_file_no *v);
bool wire_file_no_get(const uint8_t *p, size_t len, struct wire_file_no *v);

/* FILE_LEAF: handle 4 ‖ leaf 4 ‖ bytes of it 4 (1..HASHTREE_LEAF) ‖ its hash 32. Its data
 * follow, in order, in FILE_DATA: handle 4 ‖ leaf 4 ‖ offset in the leaf 4 ‖ 1 or more
 * bytes; offset + bytes ≤ HASHTREE_LEAF. */
enum { WIRE_FILE_LEAF = 44, WIRE_FILE_DATA_HEAD = 12, WIRE_FILE_LIST_HEAD = 12 };
struct wire_file_leaf {
    uint32_t handle, leaf, len;
    uint8_t hash[HASHTREE_HASH];
};
void wire_file_leaf_put(struct wr *w, const struct wire_file_leaf *v);
bool wire_file_leaf_get(const uint8_t *p, size_t len, struct wire_file_leaf *v);
struct wire_file_data {
    uint32_t handle, leaf, offset;
    const uint8_t *data;
    size_t len;
};
void wire_file_data_put(struct wr *w, const struct wire_file_data *v);
bool wire_file_data_get(const uint8_t *p, size_t len, struct wire_file_data *v);
/* FILE_LIST: handle 4 ‖ list 4 (as in FILE_WANT) ‖ number of the first hash in it 4 ‖
 * 1..WIRE_FILE_LIST_MAX hashes of 32 bytes. */
struct wire_file_list {
    uint32_t handle, list, first;
    const uint8_t *hashes;
    size_t n;
};
void wire_file_list_put(struct wr *w, const struct wire_file_list *v);
bool wire_file_list_get(const uint8_t *p, size_t len, struct wire_file_list *v);

/* A name of a file or folder: UTF-8, 1..WIRE_FILE_NAME_MAX bytes, not "." or "..", no "/"
 * or "\\", no control, bidi, line-break or tag characters, not blank, no blank or dot at
 * the end, no blank in front, and not the name of a DOS device (CON, NUL, COM1 …, with
 * any ending). */
bool wire_file_name_ok(const uint8_t *p, size_t len);
/* The nearest name that is: what cannot stay becomes "_", what is too long is cut before
 * its ending. name is any bytes. */
void wire_file_name_fix(const char *name, char out[WIRE_FILE_NAME_MAX + 1]);

/* A manifest: the files of a folder, in the order in which their contents follow it. Each
 * entry is flags 1 ‖ size 8 ‖ length of the path 2 ‖ path. A path is components with "/"
 * between them, each wire_file_name_ok(), at most WIRE_FILE_DEPTH_MAX. Entries are in
 * the order of their paths, compared component by component as bytes, each once; a folder
 * stands before what is in it, and everything but the top lies in a folder that stands
 * there. Folders have size 0. */
enum manifest_flag {
    MANIFEST_FOLDER = 1,
    MANIFEST_EXEC = 2, /* of files */
};
struct wire_manifest_entry {
    uint8_t flags;
    uint64_t size;
    const uint8_t *path;
    size_t path_len;
};
void wire_manifest_put(struct wr *w, const struct wire_manifest_entry *v);
/* Takes the next entry off a manifest and checks it against what came before; at must be
 * zeroed at first and borrows from the manifest. False at the end, and with r->bad when
 * it is malformed (then nothing of it is to be believed). */
struct wire_manifest_at {
    const uint8_t *path; /* of the entry before */
    size_t path_len;
    bool folder;
    uint32_t n;     /* entries so far */
    uint64_t total; /* bytes of their contents */
};
bool wire_manifest_next(struct rd *r, struct wire_manifest_at *at,
                        struct wire_manifest_entry *v);

/* Bodies, the plaintext of boxes: a bencode dictionary followed by zeros up to a padded
 * length (wire_body_padded). Keys: k kind, then by kind
 *   text       i message id, o original order (repeats only), r reply to, s text, t time
 *              ms
 *   device     v device dictionary
 *   edit       i id of the edit, m id of the text that it changes, o, s new text, t
 *   reaction   a root of the author of the text, i, m, o, s what one reacts with (absent:
 *              taken back), t
 *   redaction  i, m id of the text that is taken back, o, t
 *   offer      c entries of the manifest, i, m length of the manifest (both absent: not a
 *              folder), n name, o, s bytes of all, manifest included (absent: not known
 *              yet), t, x 1 may be executed (absent: not)
 *   sealed     h root of the hash tree, i, m id of the offer, o, s bytes of all, t
 *   file end   a root of the author of the offer, e how (enum file_end), i, m id of the
 *              offer, o, t
 * A `keys` entry's box is no body but: ephemeral 32 ‖ signing key 32 (zeros between two)
 * ‖ n × CHAIN_SEAL. */
enum body_kind {
    BODY_TEXT = 1,
    BODY_DEVICE = 2,
    BODY_EDIT = 3,
    BODY_REACTION = 4,
    BODY_REDACTION = 5,
    BODY_OFFER = 6,
    BODY_SEALED = 7,
    BODY_FILE_END = 8,
    /* membership, profile: not yet sent; unknown kinds are kept, counted as opened and
     * not shown */
};
/* How a file ended for who says so: the author of the offer the first two, others the
 * rest. Unknown ones are as STOPPED. */
enum file_end {
    FILE_END_CANCELLED = 1, /* the author took the offer back */
    FILE_END_CHANGED = 2,   /* the file changed while it was being sent, or is gone */
    FILE_END_DECLINED = 3,
    FILE_END_RECEIVED = 4, /* all of it is on disk there, and its root is right */
    FILE_END_STOPPED = 5,  /* accepted, then given up */
    FILE_END_BROKEN = 6,   /* what came does not fit the root */
};
struct wire_body {
    uint64_t kind; /* may be unknown */
    uint8_t mid[WIRE_MID];
    bool has_order, has_reply;
    uint64_t order;
    uint8_t reply[WIRE_MID];
    /* text, edit: wire_text_ok(), 1..WIRE_TEXT_MAX bytes; reaction: wire_emoji_ok(), or
     * none when it is taken back */
    const uint8_t *text;
    size_t text_len;
    uint64_t time_ms;
    /* edit, reaction, redaction, sealed, file end; reaction, file end */
    uint8_t target[WIRE_MID], author[WIRE_ID];
    struct wire_device device;
    /* offer: the name is in text (wire_file_name_ok()); sealed: size and root */
    bool has_size, folder, exec;
    uint64_t size;     /* ≤ WIRE_FILE_SIZE_MAX */
    uint64_t manifest; /* ≤ WIRE_MANIFEST_MAX, and ≤ size */
    uint64_t count;    /* ≤ WIRE_FILE_ENTRIES_MAX */
    uint8_t hash[HASHTREE_HASH];
    uint64_t end; /* file end */
};
/* Encodes and pads. */
void wire_body_put(struct wr *w, const struct wire_body *v);
/* Unknown kinds: true, only kind is set. */
bool wire_body_get(const uint8_t *p, size_t len, struct wire_body *v);
/* 128 doubled until it fits, in the end WIRE_BODY_MAX; 0 when len is more. */
size_t wire_body_padded(size_t len);

/* UTF-8 that may be stored and shown: well-formed, no NUL (of any length, also none); for
 * names also no control, bidi, line-break or tag characters, not blank, no space at
 * either end, at most WIRE_NAME_MAX bytes. A status text is like a name, of at most
 * WIRE_STATUS_MAX bytes. */
bool wire_text_ok(const uint8_t *p, size_t len);
bool wire_name_ok(const uint8_t *p, size_t len);
/* One line of text from somebody who is no contact: as a name, but it may be empty, and
 * as long as WIRE_LINE_MAX. */
bool wire_line_ok(const uint8_t *p, size_t len);
/* What is left of a name when everything is taken away that two names can differ in and
 * still look the same to a reader: case, accents, width, spaces and punctuation, and
 * letters of other scripts that look like Latin ones. Two names look alike when their
 * skeletons are equal and not empty. name is UTF-8, as of wire_name_ok(). False: out of
 * memory, or nothing is left. */
bool wire_name_skeleton(const char *name, char out[WIRE_SKELETON_MAX + 1]);
/* One thing to see (a grapheme cluster), 1..WIRE_EMOJI_MAX bytes of UTF-8, with nothing
 * that a name may not have. */
bool wire_emoji_ok(const uint8_t *p, size_t len);
bool wire_status_ok(const uint8_t *p, size_t len);

/* A beacon, WIRE_BEACON bytes: nonce 16 ‖ masked {link port 2, presence 1, flags 1,
 * member 4} ‖ tag 16. Mask: XOR with BLAKE2b(key, "mask" label, nonce); tag:
 * BLAKE2b-128(key, tag label, nonce ‖ source ip with family ‖ source port ‖ the 8 clear
 * bytes). */
enum {
    BEACON_FLAG_ADD = 1,   /* under an invite's key: I hold the code */
    BEACON_FLAG_REPLY = 2, /* under an invite's key: the inviter's answer */
    BEACON_FLAG_LEAVE = 4, /* under a presence or pair key: I am going */
    BEACON_FLAG_ALONE = 8, /* to one address, not by multicast */
    BEACON_FLAG_DEAF = 16, /* with it: I do not hear you by multicast */
};
struct wire_beacon {
    uint8_t nonce[16];
    uint16_t port;
    uint8_t presence, flags;
    uint8_t member[NETKEY_MEMBER]; /* under a network's key: the sender; else zeros */
};
void wire_beacon_put(uint8_t out[WIRE_BEACON], const uint8_t key[32],
                     const struct addr *source, const struct wire_beacon *v);
/* True when the beacon is under this key and from this source. */
bool wire_beacon_get(const uint8_t *p, size_t len, const uint8_t key[32],
                     const struct addr *source, struct wire_beacon *v);
/* Keys of beacons: of a presence secret p, of a pair's secret (by sending device), of an
 * invite's secret. */
void wire_beacon_key_presence(const uint8_t p[32], uint8_t key[32]);
void wire_beacon_key_pair(const uint8_t pair[32], const uint8_t sender[WIRE_ID],
                          uint8_t key[32]);
void wire_beacon_key_invite(const uint8_t secret[32], uint8_t key[32]);
void wire_beacon_key_network(const uint8_t network[NETKEY], uint8_t key[32]);

/* An open beacon, WIRE_OPEN bytes, in the clear: "linnet" ‖ version 1 ‖ flags 1 ‖ nonce
 * 16 ‖ link port 2 ‖ presence 1 ‖ name's length 1 ‖ hash of the certificate 32 ‖ name,
 * zeros up to 64 ‖ zeros 4. Nothing in it is proved. */
enum {
    OPEN_FLAG_ASK = 1,   /* I have just begun: tell me who you are, if you are visible */
    OPEN_FLAG_LEAVE = 2, /* I am visible no more */
};
struct wire_open {
    uint8_t nonce[16], cert[32];
    uint16_t port;
    uint8_t presence, flags;
    char name[WIRE_NAME_MAX + 1]; /* wire_name_ok() */
};
void wire_open_put(uint8_t out[WIRE_OPEN], const struct wire_open *v);
/* False: another size, version or magic, no port, a name that cannot be shown. */
bool wire_open_get(const uint8_t *p, size_t len, struct wire_open *v);

/* An invite code: bech32m (BIP 350), prefix "linnet", over version 1 ‖ flags 0 ‖ root 32
 * ‖ secret 32 ‖ expiry 4 (s since 1970) ‖ addresses (7 or 19 bytes each). */
struct wire_code {
    uint8_t root[KEYS_ROOT], secret[32];
    uint32_t expiry_s;
    struct addr addrs[WIRE_CODE_ADDRS_MAX];
    size_t n_addrs;
};
/* NUL-terminated, lower case, into out. 0, ERR_LIMIT (addresses) or ERR_ARG (one that
 * cannot be dialled). */
int wire_code_put(const struct wire_code *v, char out[WIRE_CODE_MAX + 1]);
/* Surrounding blanks are dropped. ERR_FORMAT (mistyped: checksum, characters, mixed case,
 * padding, trailing data), ERR_NEWER (version or flags). */
int wire_code_get(const char *s, size_t len, struct wire_code *v);

/* Where a device is: the content of whereabouts and of a knock, sealed with blind_seal().
 * {l: [address …] where it takes links, n: what stands between it and the Internet, p: p
 * and A of its presence secret (only for one contact), r: [[tag, address] …] its relays,
 * t: when it was written, ms (absent: 0; knocks have it), u: [address …] of its UDP
 * socket as others see it}. Decoding leaves out addresses that cannot be dialled and
 * those of families that are not known here. */
enum wire_nat {
    WIRE_NAT_UNKNOWN = 0,
    WIRE_NAT_NONE = 1, /* who dials comes through */
    WIRE_NAT_EASY = 2, /* one outer port, whoever is sent to: can be punched */
    WIRE_NAT_HARD = 3, /* another one for each destination */
    WIRE_NAT_MAX = 7,  /* 4 to 7 are taken as unknown */
};
struct wire_relay {
    uint8_t tag[BLIND_RELAY_TAG]; /* blind_relay_tag() */
    struct addr addr;
};
struct wire_where {
    struct addr links[WIRE_WHERE_ADDRS_MAX], udp[WIRE_WHERE_ADDRS_MAX];
    size_t n_links, n_udp;
    struct wire_relay relays[WIRE_WHERE_RELAYS_MAX];
    size_t n_relays;
    uint64_t nat; /* enum wire_nat */
    uint64_t time_ms;
    bool has_presence;
    uint8_t presence_p[32], presence_a[32];
};
void wire_where_put(struct wr *w, const struct wire_where *v);
bool wire_where_get(const uint8_t *p, size_t len, struct wire_where *v);
/* A sealed value as a DHT item has it: a bencoded string. */
void wire_item_put(struct wr *w, const uint8_t value[BLIND_VALUE]);
/* The sealed bytes in it, or NULL when it is none of ours. */
const uint8_t *wire_item_get(const uint8_t *p, size_t len);
/* What is signed of a mutable item without salt (BEP 44); v is the bencoded value. */
void wire_item_signed(struct wr *w, uint64_t seq, const uint8_t *v, size_t len);

#endif
