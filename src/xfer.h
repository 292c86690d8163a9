/* Files: what is offered, accepted, wanted of whom and served to whom (docs/PROTOCOL.md,
 * "Files").
 *
 * What it owns: every file that is not at its end (of ended ones only who offered them),
 * the leaves that are there, requests to and of linked devices, buffers of leaves on
 * their way, the rate limit. It touches no file: what has to be done on disk comes out as
 * a job (XFER_EV_JOB), which the outer layer runs on a worker and answers with
 * xfer_done(). A leaf counts when its job has found the right hash and written it; it is
 * told and stored as ours when a sync behind it is done. What must last is said in feeds
 * (XFER_EV_SAY), the rest in frames.
 *
 * Incoming: OFFERED until the user or the policy accepts; ACTIVE while leaves are
 * missing. The receiver asks (FILE_WANT) for leaves in order, so many that
 * XFER_WINDOW are under way; of several sources each gets its share. Until the offer is
 * sealed only the offering device is asked, and its word for a leaf's hash counts;
 * afterwards hashes come from lists that fit the root, whoever sends them, and who sends
 * a leaf or a list that does not fit is asked no more over that link.
 *
 * Outgoing: leaves are read as they are wanted, at most XFER_AHEAD for a link, links and
 * files in turn; each read also hashes. When every leaf has been hashed the offer is
 * sealed.
 *
 * Limits: XFER_FILES_MAX files that have not ended, XFER_OFFERS_MAX of them undecided
 * ones of one contact, XFER_BUFFERS leaves in memory, in each direction.
 *
 * Files: xfer.c (life), xfer_ask.c (the user's requests, what feeds tell), xfer_link.c
 * (links, jobs, buffers, time), xfer_get.c (asking for what is missing), xfer_take.c
 * (what comes), xfer_part.c (what is made of it on disk), xfer_put.c (serving),
 * xfer_view.c (what front ends see, rates). */
#ifndef LINNET_XFER_H
#define LINNET_XFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "rec.h"
#include "wire.h"

enum {
    XFER_FILES_MAX = 4096,
    XFER_OFFERS_MAX = 256,
    XFER_SHOWN = 256,       /* ended files that are still shown */
    XFER_AUTO_MAX = 1024,   /* of one contact; more are not accepted by themselves */
    XFER_ENDED_MAX = 65536, /* remembered, so that a repeated offer is known */
    XFER_WINDOW = 8,        /* leaves asked for and not here, of one file */
    XFER_STREAM_WINDOW = 4, /* of one whose end is not known */
    XFER_BUFFERS = 8,       /* leaves in memory that come in, and that go out */
    XFER_AHEAD = 4,         /* leaves read ahead for a link */
    XFER_TURN_MS = 15000,   /* a leaf that takes longer makes room when others wait */
    XFER_WANTED_MAX = 256,  /* leaves that one device may have asked for */
    XFER_SERVES_MAX = 64,   /* files, or handles, that it may be asking for */
    XFER_SYNC_LEAVES = 64,  /* after so many leaves, or XFER_SYNC_MS, comes a sync */
    XFER_SYNC_MS = 1000,
    XFER_RETRY_MS = 5000,   /* a disk that failed is tried again */
    XFER_ANSWER_MS = 60000, /* a source that sends nothing of what was asked is asked anew
                             * over a new link */
    XFER_TELL_MS = 1000,    /* progress is told at most so often */
};

struct xfer;

struct xfer *xfer_new(const struct env *env);
void xfer_free(struct xfer *x);

/* Who is in a conversation, our own account (contact 0) included; before its files are
 * loaded or offered. 0, ERR_NOMEM. */
struct xfer_member {
    uint32_t contact;
    uint8_t root[WIRE_ID];
};
int xfer_conv(struct xfer *x, uint32_t conv, const struct xfer_member *v, size_t n);

/* At start: REC_FILE, then its BITS and PEERs; RULEs. Others are ignored. 0, ERR_CORRUPT,
 * ERR_NOMEM. */
int xfer_load(struct xfer *x, const struct rec *r);
int xfer_start(struct xfer *x, struct txn *t, uint64_t now_ms);

/* ---- policy ---- */
enum xfer_accept { XFER_ACCEPT_ASK, XFER_ACCEPT_CONTACTS, XFER_ACCEPT_VERIFIED };
struct xfer_policy {
    enum xfer_accept accept;
    uint64_t max;   /* bytes of one file that is accepted by itself */
    uint64_t quota; /* bytes of such files in a day; UINT64_MAX: any */
};
void xfer_set_policy(struct xfer *x, const struct xfer_policy *p);
/* What holds for a contact instead; mode DEFAULT without max and quota: nothing. */
int xfer_set_rule(struct xfer *x, struct txn *t, const struct rec_file_rule *r);
void xfer_rule(const struct xfer *x, uint32_t contact, struct rec_file_rule *out);
/* Bytes a second of file data, in each direction; 0: any. */
void xfer_limit(struct xfer *x, uint64_t rate, uint64_t now_ms);

/* ---- the user's requests: 0 or a negative error ---- */

/* Looks at a file or folder (path absolute) or begins a spool (path NULL), then
 * XFER_EV_OFFER with the tag. name NULL: of the path. ERR_LIMIT, ERR_NOMEM. */
struct xfer_source {
    uint32_t conv;
    const char *path, *name;
};
int xfer_scan(struct xfer *x, uint64_t tag, const struct xfer_source *s, uint64_t now_ms);
/* The offer of that event is in the feed (device: our own's row): it stands. Takes what
 * the event named. */
int xfer_offered_by_us(struct xfer *x, struct txn *t, uint64_t tag, uint32_t device,
                       uint32_t *id, uint64_t now_ms);
/* It could not be said: what was kept for it goes. */
void xfer_not_offered(struct xfer *x, uint64_t tag);
/* How far a spool has been written; end: that was all. ERR_NOTFOUND, ERR_STATE. */
int xfer_spooled(struct xfer *x, struct txn *t, uint32_t id, uint64_t size, bool end,
                 uint64_t now_ms);
/* Accepts an offer, or goes on with what was stopped by a full quota. dest: where to,
 * absolute: a folder that exists, or the whole path; NULL: the download folder. pipe: to
 * be read from the home while it comes. ERR_NOTFOUND, ERR_STATE (it is at its end, or
 * ours). */
int xfer_accept(struct xfer *x, struct txn *t, uint32_t id, const char *dest, bool pipe,
                uint64_t now_ms);
int xfer_decline(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms);
int xfer_pause(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms);
int xfer_resume(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms);
/* Takes our offer back, or gives up what comes in. */
int xfer_cancel(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms);
/* The message that offers a file of ours is taken back: so is the offer, if there is one.
 */
int xfer_redacted(struct xfer *x, struct txn *t, const uint8_t mid[WIRE_MID],
                  uint64_t now_ms);
/* A piped file was read to its end: what is kept of it in the home goes. */
int xfer_piped(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms);

/* ---- what feeds tell ---- */
struct xfer_said {
    uint32_t conv, contact, device; /* who says it; contact 0: ours */
    bool taken_back;                /* ours, from a feed that we had lost */
    bool verified;                  /* the contact is */
    const struct wire_body *body;   /* OFFER, SEALED, FILE_END, or REDACTION */
};
int xfer_said(struct xfer *x, struct txn *t, const struct xfer_said *s, uint64_t now_ms);
/* A contact was removed or blocked: nothing is taken from or given to them any more. */
int xfer_contact_gone(struct xfer *x, struct txn *t, uint32_t contact, uint64_t now_ms);

/* ---- links ---- */
int xfer_peer_up(struct xfer *x, struct txn *t, uint32_t device, uint32_t contact,
                 uint64_t now_ms);
void xfer_peer_down(struct xfer *x, uint32_t device, uint64_t now_ms);
/* A frame of type 64..79. 0; ERR_FORMAT: the peer broke the rules; ERR_NOMEM. */
int xfer_recv(struct xfer *x, struct txn *t, uint32_t device, uint8_t type,
              const uint8_t *p, size_t len, uint64_t now_ms);
/* True when there is file data for the device now. */
bool xfer_has_data(const struct xfer *x, uint32_t device, uint64_t now_ms);
/* Writes frames with file data into w, as many as fit in max bytes of it: the body of a
 * transport frame. False: nothing for now. */
bool xfer_fill(struct xfer *x, uint32_t device, struct wr *w, uint64_t now_ms);
/* A control frame for a device. */
struct xfer_out {
    uint32_t device;
    enum frame_type type;
    const uint8_t *payload; /* dies with the next call */
    size_t len;
};
bool xfer_next_out(struct xfer *x, struct xfer_out *out);

int xfer_tick(struct xfer *x, struct txn *t, uint64_t now_ms);
uint64_t xfer_deadline(const struct xfer *x);

/* ---- work on disk ---- */
enum xfer_job_kind {
    XFER_JOB_SCAN,  /* look at the source: kind, size, manifest; keep its identity. With
                     * path NULL make a spool. Gives name, size, head, count, exec, path */
    XFER_JOB_CHECK, /* after a start: is the source still the same? Gives bits of leaves
                     * whose hashes are kept */
    XFER_JOB_READ,  /* read a leaf into buf, hash it, keep the hash. Gives len, hash */
    XFER_JOB_SEAL,  /* all leaves are hashed: compare the source's identity, give root */
    XFER_JOB_LIST,  /* kept hashes: list as in FILE_WANT, into buf. Gives len */
    XFER_JOB_OPEN,  /* incoming: make the part, or open it again and check leaves that are
                     * kept as written and not in bits. Gives path and bits (all that are
                     * right) */
    XFER_JOB_WRITE, /* hash len bytes of buf, compare with hash, write as leaf, keep hash.
                     * ERR_AUTH: another hash */
    XFER_JOB_SYNC,  /* what was written before is durable */
    XFER_JOB_TREE,  /* folder: the manifest is there: check it, make what it names. Gives
                     * size of all; ERR_FORMAT */
    XFER_JOB_ROOT,  /* incoming: all is there: the root of the kept hashes; ERR_AUTH when
                     * it is not hash */
    XFER_JOB_KEEP, /* incoming: buf holds verified hashes of leaves (list - 1) * FANOUT …:
                    * which kept ones differ? Gives bits of the block with the right ones
                    */
    XFER_JOB_FINISH, /* incoming: sync, modes, rename to where it belongs, never over
                      * something. Gives path */
    XFER_JOB_DROP,   /* remove the part (incoming), the spool, and what is kept */
    XFER_JOB_FORGET, /* remove what is kept beside it: hashes, identity, manifest, spool
                      */
};
/* Borrowed from the event: what is to be used later is copied. buf stays where it is
 * until the job is done and is the job's alone until then. */
struct xfer_job {
    uint64_t id;
    enum xfer_job_kind kind;
    bool incoming;
    uint8_t file_kind;              /* enum file_kind */
    uint8_t key[WIRE_MID];          /* names what is kept in the home (xfer_key) */
    const char *path, *name, *dest; /* as in rec_file; NULL: none */
    bool exec, pipe;
    bool sized;
    uint64_t size, head;
    uint32_t count; /* OPEN, TREE: entries, as offered */
    uint32_t leaf;  /* READ, WRITE */
    uint32_t list;  /* LIST, KEEP */
    uint8_t *buf;   /* HASHTREE_LEAF bytes */
    size_t len;     /* WRITE, KEEP; of a stream's READ: that many are spooled */
    uint8_t hash[HASHTREE_HASH]; /* WRITE, ROOT */
    const uint8_t *bits; /* OPEN: leaves known as written, (leaves + 7) / 8 bytes */
    size_t n_bits;
};
/* err 0; ERR_NOTFOUND (source or part is gone), ERR_STALE (the source has changed),
 * ERR_FULL, ERR_IO, ERR_AUTH, ERR_FORMAT, ERR_LIMIT (too large, too many entries),
 * ERR_REFUSED (no right to read or write there), ERR_ARG (no file, no name). why: a
 * sentence for the user, or NULL. */
struct xfer_result {
    uint64_t id;
    int err;
    const char *why;
    uint8_t file_kind;
    bool exec;
    uint64_t size, head;
    uint32_t count;
    const char *name, *path;
    size_t len;
    uint8_t hash[HASHTREE_HASH]; /* READ, SEAL: of the leaf, the root */
    const uint8_t *bits;
    size_t n_bits;
};
/* ERR_NOMEM, or 0. */
int xfer_done(struct xfer *x, struct txn *t, const struct xfer_result *r,
              uint64_t now_ms);
/* What is kept in the home for the file of a message is named so: by the message's id
 * when the file is ours (author NULL), else by a hash of its author's root and the id,
 * which the author chose and others can repeat. */
void xfer_key(const uint8_t author[WIRE_ID], const uint8_t mid[WIRE_MID],
              uint8_t key[WIRE_MID]);
/* Whether what is kept in the home under that name is still needed. */
bool xfer_needs(const struct xfer *x, const uint8_t key[WIRE_MID]);

/* ---- events ---- */
enum xfer_event_kind {
    XFER_EV_JOB,
    XFER_EV_OFFER, /* a scan is done, err or not: say offer in conv, then
                    * xfer_offered_by_us(); why: a sentence or NULL */
    XFER_EV_SAY,   /* say body (SEALED or FILE_END; for FILE_END author is a contact) */
    XFER_EV_WAITS, /* a link to the device is wanted, or not any more */
    XFER_EV_TELL,  /* progress or a word of a file: for front ends, not durable */
};
struct xfer_event {
    enum xfer_event_kind kind;
    const struct xfer_job *job; /* JOB; dies with the next call */
    uint64_t tag;               /* OFFER */
    int err;
    const char *why;
    uint32_t conv, author;
    struct wire_body body;    /* OFFER, SAY; borrows until the next call */
    uint32_t device, contact; /* WAITS: all devices of a contact when device is 0 */
    bool waits;
    uint32_t file; /* TELL */
};
bool xfer_next_event(struct xfer *x, struct xfer_event *ev);

/* ---- what front ends see ---- */
enum xfer_phase {
    XFER_PHASE_OFFERED, /* nobody has decided */
    XFER_PHASE_WAITING, /* accepted (or ours); the other side is not linked */
    XFER_PHASE_ACTIVE,
    XFER_PHASE_PAUSED, /* by us */
    XFER_PHASE_HELD,   /* by the other side: paused, or its disk is stuck */
    XFER_PHASE_STUCK,  /* our disk: why */
    XFER_PHASE_ENDED,  /* rec_file.state tells how */
};
struct xfer_view {
    const struct rec_file *r;
    enum xfer_phase phase;
    const char *why; /* STUCK, HELD; or NULL */
    uint64_t done;   /* bytes: incoming, verified here; ours, at contact of the least */
    uint64_t rate_down, rate_up; /* bytes a second of late */
    uint64_t eta_s;              /* UINT64_MAX: unknown */
    uint64_t prefix;             /* incoming: bytes from the start without a gap */
    uint32_t contact;            /* the other side of a conversation of two, 0: group */
    uint64_t resent;             /* leaves that came although they were here (tests) */
    uint64_t received;           /* leaves that came since the start of the node */
};
/* Files that have not ended, and those that ended since the start, by id; false: no more.
 */
bool xfer_next(const struct xfer *x, uint32_t after, struct xfer_view *v);
bool xfer_get(const struct xfer *x, uint32_t id, struct xfer_view *v);
/* How the k-th contact of an outgoing file has it. */
bool xfer_peer(const struct xfer *x, uint32_t id, size_t k, struct rec_file_peer *out);

#endif
