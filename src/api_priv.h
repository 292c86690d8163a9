/* Shared by the API's files: the table of methods, how people and messages are shown. */
#ifndef LINNET_API_PRIV_H
#define LINNET_API_PRIV_H

#include "api.h"
#include "app.h"
#include "store.h"
#include "store_search.h"

enum { API_PAGE_MAX = 256, API_PAGE_BYTES = 1024 * 1024 /* of text */ };

/* Exit codes of linnet(1). */
enum {
    CODE_ERROR = 1,
    CODE_USAGE = 2,
    CODE_NO_NODE = 3,
    CODE_UNKNOWN = 4,
    CODE_IDENTITY = 5,
    CODE_NOBODY = 6,
    CODE_REFUSED = 7,
    CODE_INTEGRITY = 9,
    CODE_TIMEOUT = 10,
};

typedef void api_method_fn(struct app *a, struct api_req *r, const json_t *params);
struct api_method {
    const char *name;
    api_method_fn *fn;
    bool without_store; /* works while the store is down */
};
/* NULL: there is none such. */
const struct api_method *api_method_find(const char *name);
void api_method_call(struct app *a, struct api_req *r, const struct api_method *m,
                     const json_t *params);

/* api_node.c */
api_method_fn api_status, api_id, api_stop, api_passphrase, api_config_get,
    api_config_set, api_config_path;
/* api_contact.c */
api_method_fn api_invite, api_invite_ls, api_invite_revoke, api_add, api_contacts,
    api_contact_rename, api_contact_block, api_contact_unblock, api_contact_remove,
    api_verify;
/* api_presence.c */
api_method_fn api_away, api_busy, api_online, api_invisible, api_live, api_typing;
/* Members of an object: how we are; how a contact is, live typing and their draft. */
void api_show_presence(struct app *a, struct jout *o);
void api_show_presence_of(struct app *a, struct jout *o, const struct rec_contact *c);
/* A person who uses a front end is there, when the method is one of those that say so. */
void api_note_activity(struct app *a, const char *method, const json_t *params);
/* api_nearby.c */
api_method_fn api_visible, api_nearby, api_requests, api_requests_accept,
    api_requests_deny, api_requests_unblock;
/* `add` of somebody nearby; false: word names nobody there, r has not been answered. */
bool api_add_nearby(struct app *a, struct api_req *r, const char *word, const char *as,
                    const char *line);
/* Members of the event of a request. */
void api_show_received(struct app *a, struct jout *o, const struct rec_event *e);
/* The request that is blocked under that name or beginning of a root, or NULL. */
const struct rec_request *api_blocked_request(struct app *a, const char *name);
/* How many requests wait for our user. */
unsigned api_open_requests(const struct app *a);
/* Members of an object: whether we are visible, and until when. */
void api_show_visible(struct app *a, struct jout *o);
/* Events that are not durable: somebody nearby came or left; our being visible changed.
 */
void api_publish_nearby(struct app *a, const struct node_event *ev);
void api_publish_visible(struct app *a);
/* The contact's user waits for ours to compare a code. */
void api_publish_verify(struct app *a, uint32_t contact);
/* `verify` with code. */
void api_verify_code(struct app *a, struct api_req *r, const struct rec_contact *c);
/* api_talk.c */
api_method_fn api_send, api_read, api_history, api_export, api_message;
/* api_file.c, api_file_send.c */
api_method_fn api_transfers, api_transfers_show, api_transfers_accept,
    api_transfers_cancel, api_transfers_decline, api_transfers_pause, api_transfers_piped,
    api_transfers_resume, api_transfers_limit, api_transfers_spool, api_transfers_spooled,
    api_contact_files;
/* `send` with files. Takes what params say of them into the work of r; false: r has been
 * answered. */
bool api_offer_take(struct app *a, struct api_req *r, uint32_t contact,
                    const json_t *params);
/* A message of that request is stored (mid NULL: there is none yet): it goes into the
 * answer, and the next file is offered. */
void api_offer_next(struct app *a, struct api_req *r, const uint8_t *mid);
/* Whether nobody holds the lock on a spool, so that nothing more is written into it. */
bool api_spool_left(const char *path);
/* Takes back what was being spooled by somebody who is gone; says when to look again. */
void api_watch_spools(struct app *a, uint64_t now_ms);
/* api_search.c */
api_method_fn api_search;
/* api_change.c */
api_method_fn api_edit, api_react, api_redact;
/* api_recv.c */
api_method_fn api_recv, api_recv_ack;
void api_recv_reset(struct app *a);
/* api_dht.c */
api_method_fn api_dht_announce, api_dht_find, api_dht_get, api_dht_peers, api_dht_ping,
    api_dht_put, api_dht_stats;
/* What the DHT has for who asked with that tag; the name that one gave is looked up. */
void api_dht_told(struct app *a, uint64_t tag, const struct dht_event *e);
void api_dht_resolved(struct app *a, uint64_t tag, const struct addr *v, size_t n);
/* The member `dht`. */
void api_show_dht(struct app *a, struct jout *o);
/* api_event.c */
api_method_fn api_events_since;

/* ---- params ---- */

/* A string that has to be there; false: r has been answered. */
bool api_want_str(struct api_req *r, const json_t *params, const char *key,
                  const char **s, size_t *len);
/* As above; a missing one is NULL. */
bool api_may_str(struct api_req *r, const json_t *params, const char *key, const char **s,
                 size_t *len);
/* A number that may be missing (*v then stays), at most max. */
bool api_may_u64(struct api_req *r, const json_t *params, const char *key, uint64_t max,
                 uint64_t *v);
bool api_may_bool(struct api_req *r, const json_t *params, const char *key, bool *v);
/* The contact of that name; NULL: r has been answered. */
const struct rec_contact *api_find_contact(struct app *a, struct api_req *r,
                                           const char *name);
/* The contact that params name; NULL: r has been answered. */
const struct rec_contact *api_want_contact(struct app *a, struct api_req *r,
                                           const json_t *params, const char *key);

/* Answers with what an error of the node means; name is whom it is about, or NULL. */
void api_fail_err(struct app *a, struct api_req *r, int err, const char *name);
/* A result with nothing to tell. */
api_result_fn api_result_empty;
/* Called when the node did not take a request; otherwise result comes later. */
void api_started(struct app *a, struct api_req *r, int err, const char *name);

/* ---- how things look ---- */

/* A message, from a commit or a query. */
struct msg_view {
    uint64_t n; /* its event's number, 0: none */
    uint64_t row, time_ms, order;
    const uint8_t *mid, *reply; /* reply NULL: none */
    uint32_t conv, author, device;
    uint8_t kind, state;
    uint32_t flags;
    const uint8_t *text;
    size_t text_len;
    bool omitted;                       /* the text, since too much is unread */
    const struct store_msg_file *file;  /* of kind MSG_FILE; NULL: not known */
    const struct search_match *matches; /* of a search; NULL: none */
    size_t n_matches;
    uint64_t edited_ms; /* 0: never */
    const struct store_reaction *reactions;
    size_t n_reactions;
};
void api_view_event(const struct store_event *e, struct msg_view *out);
void api_show_message(struct app *a, struct jout *o, const struct msg_view *m,
                      const char *topic);
void api_show_contact(struct app *a, struct jout *o, const struct rec_contact *c,
                      uint64_t unread);
/* The conversation with a contact; one that does not exist rather than 0 (all). */
uint32_t api_conv_of(const struct app *a, const struct rec_contact *c);
/* A file as `transfers` shows it. end: of ours, how its only recipient ended it (enum
 * file_end), 0 when there are several or none. */
void api_show_transfer(struct app *a, struct jout *o, const struct xfer_view *v,
                       uint8_t end);
/* As above, of one that is in memory. False: it is not, and nothing was written. */
bool api_show_transfer_n(struct app *a, struct jout *o, uint32_t n);
/* The word for how a file is. */
const char *api_transfer_state(const struct xfer_view *v, uint8_t end);
/* end, of one that is in memory. */
uint8_t api_transfer_end(const struct app *a, uint32_t id);
/* The member `file` of a message. */
void api_show_msg_file(struct app *a, struct jout *o, const struct msg_view *m);
/* The members of a durable event of a file. */
void api_show_file_event(struct app *a, struct jout *o, const struct rec_event *e);
/* How many files have not ended. */
unsigned api_open_transfers(const struct app *a);
/* Somebody else who claims the name of a contact in conflict, or NULL. */
const struct rec_contact *api_rival(const struct app *a, const struct rec_contact *c);
const char *api_conv_name(const struct app *a, uint32_t conv);
const char *api_contact_name(const struct app *a, uint32_t contact);

/* ---- events ---- */

void api_publish_event(struct app *a, const struct store_event *e);
/* The progress of a file; not durable. */
void api_publish_transfer(struct app *a, uint32_t id);
/* Of a contact, or of us (contact 0). */
void api_publish_presence(struct app *a, uint32_t contact, enum node_presence_what what);
/* store_full, store_ok or stopping. */
void api_publish_node(struct app *a, const char *what, const char *error);
void api_welcome(struct app *a);

/* ---- rows that a query has copied ---- */

struct row {
    struct store_msg m; /* text and reactions are the row's own */
};
struct rows {
    struct row *v;
    size_t n, cap, bytes;
};
/* 0, or ERR_NOMEM. */
int api_rows_add(struct rows *rows, const struct store_msg *m);
void api_rows_release(struct rows *rows);
/* Whether another one would be more than a page. */
bool api_rows_full(const struct rows *rows, size_t limit);
void api_show_row(struct app *a, struct jout *o, const struct store_msg *m);
/* The same with the places that a search found. */
void api_show_found(struct app *a, struct jout *o, const struct store_msg *m,
                    const struct search_match *v, size_t n);

/* ---- one message by its id (api_talk.c) ---- */

enum { API_ID_DIGITS = 2 * WIRE_MID, API_ID_DIGITS_MIN = 8 };
struct find {
    struct app *app;
    uint64_t tag;
    char prefix[API_ID_DIGITS + 1];
    struct rows rows;
    /* an answer's recipient, the kind of a change; their text */
    uint32_t contact;
    uint8_t change;
    char *text;
    size_t text_len;
};
/* Looks up the id that params give (8 to 32 digits), then calls done with q; what q holds
 * beside the id is copied, but for text, which is taken over (also on failure). */
void api_find_message(struct app *a, struct api_req *r, const json_t *params,
                      const struct find *q, void (*done)(void *ctx, int rc));
/* The same for a whole id. */
void api_find_mid(struct app *a, struct api_req *r, const uint8_t mid[WIRE_MID],
                  void (*done)(void *ctx, int rc));
/* Exactly one was found; otherwise r has been answered. */
bool api_found_one(struct app *a, struct api_req *r, const struct find *q, int rc);
/* Answers with the message that was found. */
void api_found_show(void *ctx, int rc);
void api_find_free(struct find *q);
/* True when the text can be sent or edited to; otherwise r has been answered. */
bool api_text_ok(struct api_req *r, const char *text, size_t len);

/* Numbers of unread messages: of one contact, or of all (contact 0), then done. */
struct unread {
    uint64_t sum;
    size_t n;
    struct {
        uint32_t contact, conv;
        uint64_t unread;
    } v[];
};
typedef void api_unread_fn(struct app *a, struct api_req *r, const struct unread *u);
/* Shows a contact as `add` does. */
api_unread_fn api_show_added;
void api_with_unread(struct app *a, struct api_req *r, uint32_t contact,
                     api_unread_fn *done);

#endif
