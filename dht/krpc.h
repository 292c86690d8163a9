/* KRPC, the messages of the Mainline DHT (BEP 5, 32, 33, 42, 43, 44, 51): bencoded
 * dictionaries in UDP datagrams.
 *
 * One struct stands for a message in both directions. krpc_decode() fills it without
 * copying: views point into the datagram and live as long as it does. krpc_encode()
 * writes canonical bencode and allocates nothing either.
 *
 * What kind a message is depends on its `y` alone, never on which keys it has: real nodes
 * send an `r` with their errors. The arguments of a query (`a`) and the values of a reply
 * (`r`) share one set of fields, each with a bit in `has` (present and of the right type,
 * size and range) or in `bad` (present, but not so). A reader asks only for bits that it
 * needs; what it doesn't know is ignored. Real nodes are sloppy, so keys may stand in any
 * order, integers may have leading zeros (they are then `bad` where a field wants one),
 * nodes may be 25 or missing, and lists may be empty. What is not forgiven: bytes behind
 * the message, a known key twice, more than BENCODE_LAX_DEPTH_MAX levels.
 *
 * Addresses in nodes, values and ip are hearsay; whoever uses them must judge them. */
#ifndef LINNET_DHT_KRPC_H
#define LINNET_DHT_KRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dht/id.h"

enum {
    KRPC_SEND_MAX = 1400,  /* bytes of a datagram of ours */
    KRPC_RECV_MAX = 4096,  /* a longer one is not read */
    KRPC_TID_MAX = 256,    /* bytes of a transaction id that we echo */
    KRPC_TOKEN_MAX = 64,   /* bytes of a token of somebody else */
    KRPC_VERSION_MAX = 64, /* bytes of a version string */
    KRPC_TEXT_MAX = 256,   /* bytes of an error's text that are kept */
    KRPC_ADDR4_LEN = 6,    /* compact address and port */
    KRPC_ADDR6_LEN = 18,
    KRPC_NODE4_LEN = DHT_ID_LEN + KRPC_ADDR4_LEN, /* compact node */
    KRPC_NODE6_LEN = DHT_ID_LEN + KRPC_ADDR6_LEN,
    KRPC_KEY_LEN = 32,
    KRPC_SIG_LEN = 64,
    KRPC_BLOOM_LEN = 256,        /* BEP 33 */
    KRPC_INTERVAL_MAX_S = 21600, /* BEP 51 */
};

enum krpc_kind { KRPC_QUERY, KRPC_REPLY, KRPC_ERROR };

enum krpc_method {
    KRPC_OTHER, /* a name we don't know, or none; see q */
    KRPC_PING,
    KRPC_FIND_NODE,
    KRPC_GET_PEERS,
    KRPC_ANNOUNCE_PEER,
    KRPC_GET,
    KRPC_PUT,
    KRPC_SAMPLE_INFOHASHES,
};

/* Codes of errors (BEP 5 and 44). */
enum {
    KRPC_E_GENERIC = 201,
    KRPC_E_SERVER = 202,
    KRPC_E_PROTOCOL = 203, /* malformed, bad argument, bad token */
    KRPC_E_METHOD = 204,   /* unknown method */
    KRPC_E_TOO_BIG = 205,  /* v is longer than 1000 bytes */
    KRPC_E_SIGNATURE = 206,
    KRPC_E_SALT = 207, /* salt is longer than 64 bytes */
    KRPC_E_CAS = 301,  /* cas is not the sequence number that is stored */
    KRPC_E_SEQ = 302,  /* seq is lower than what is stored */
};

/* Fields of `a` and `r`, as bits. */
enum {
    KRPC_BFPE = 1 << 0,
    KRPC_BFSD = 1 << 1,
    KRPC_CAS = 1 << 2,
    KRPC_ID = 1 << 3,
    KRPC_IMPLIED_PORT = 1 << 4,
    KRPC_INFO_HASH = 1 << 5,
    KRPC_INTERVAL = 1 << 6,
    KRPC_K = 1 << 7,
    KRPC_NODES = 1 << 8,
    KRPC_NODES6 = 1 << 9,
    KRPC_NOSEED = 1 << 10,
    KRPC_NUM = 1 << 11,
    KRPC_P = 1 << 12,
    KRPC_PORT = 1 << 13,
    KRPC_SALT = 1 << 14,
    KRPC_SAMPLES = 1 << 15,
    KRPC_SCRAPE = 1 << 16,
    KRPC_SEED = 1 << 17,
    KRPC_SEQ = 1 << 18,
    KRPC_SIG = 1 << 19,
    KRPC_TARGET = 1 << 20,
    KRPC_TOKEN = 1 << 21,
    KRPC_V = 1 << 22,
    KRPC_VALUES = 1 << 23,
    KRPC_WANT = 1 << 24,
};

enum { KRPC_N4 = 1, KRPC_N6 = 2 }; /* bits of want */

/* Borrowed bytes; p NULL: none. */
struct krpc_view {
    const uint8_t *p;
    size_t n;
};

struct krpc_msg {
    enum krpc_kind kind;
    struct krpc_view t;       /* transaction id, ≤ KRPC_TID_MAX; may be empty */
    struct krpc_view version; /* top-level v, ≤ KRPC_VERSION_MAX; often absent */
    struct addr ip;           /* BEP 42: whom the sender answers; family 0: not told */
    bool ro;                  /* BEP 43: the asker answers nothing */

    enum krpc_method method; /* queries */
    struct krpc_view q;

    int64_t code; /* errors; 0 when it could not be read */
    struct krpc_view text;

    uint32_t has, bad; /* fields of the dictionary; a member without its bit is zero */
    struct dht_id id, target, info_hash;
    int64_t cas;                                /* a negative one is that of no item */
    int64_t implied_port, noseed, scrape, seed; /* flags: not 0 is true */
    int64_t interval, num, seq;                 /* 0 .. */
    uint16_t p, port;                           /* 0 .. 65535 */
    uint8_t want;                         /* of KRPC_N4 and KRPC_N6; 0: no known one */
    const uint8_t *bfpe, *bfsd, *k, *sig; /* KRPC_BLOOM_LEN, _KEY_LEN, _SIG_LEN */
    struct krpc_view nodes, nodes6;       /* whole entries; krpc_node_next() */
    struct krpc_view samples;             /* whole ids */
    struct krpc_view salt;                /* of any length: see item.h */
    struct krpc_view token;               /* 1 .. KRPC_TOKEN_MAX */
    struct krpc_view v;      /* the value's own bencoding, exactly as it came */
    struct krpc_view values; /* a bencoded list; krpc_peer_next() */
};

/* Reads one datagram of anybody. 0, or ERR_FORMAT for what can't be a message (no reply
 * is due then): not a dictionary, no y, no t or one too long, a reply without r. A query
 * without a readable `a` decodes, with all its fields missing. out points into buf. */
int krpc_decode(const uint8_t *buf, size_t len, struct krpc_msg *out);

/* Writes m in canonical bencode to out, at most cap bytes. When it doesn't fit, entries
 * are left out from the ends of nodes6 and nodes, the longer one first. Returns the
 * length, 0 when it doesn't fit even so, or when m is unusable (a kind or field out of
 * range). Fields whose bit in has is not set are not written. */
size_t krpc_encode(const struct krpc_msg *m, uint8_t *out, size_t cap);

/* A query of ours: method (not KRPC_OTHER), transaction id and our id are set; the caller
 * adds fields with their bits, and ro. tid is borrowed. */
void krpc_query_init(struct krpc_msg *m, enum krpc_method method, const void *tid,
                     size_t tid_len, const struct dht_id *id);
/* A reply to query, which came from `from`: t is echoed, ip is set (BEP 42). Borrows
 * query's bytes. */
void krpc_reply_init(struct krpc_msg *m, const struct krpc_msg *query,
                     const struct addr *from, const struct dht_id *id);
/* An error to query; text is a string of ours. */
void krpc_error_init(struct krpc_msg *m, const struct krpc_msg *query,
                     const struct addr *from, int code, const char *text);
/* The name of a method, "ping"; NULL for KRPC_OTHER. */
const char *krpc_method_name(enum krpc_method method);

struct krpc_node {
    struct dht_id id;
    struct addr addr;
};

/* The compact form of an address: its length, 6 or 18, or 0 when it has no family. */
size_t krpc_pack_addr(const struct addr *a, uint8_t out[KRPC_ADDR6_LEN]);
/* False for other lengths and for IPv4-mapped IPv6 addresses. */
bool krpc_unpack_addr(const uint8_t *p, size_t n, struct addr *out);
/* The compact form of a node: its length, 26 or 38, or 0. */
size_t krpc_pack_node(const struct krpc_node *node, uint8_t out[KRPC_NODE6_LEN]);
/* Takes the next node from the front of a view of nodes (family 4) or nodes6 (family 6);
 * false at the end. Entries that hold no address (IPv4-mapped) are passed over; any
 * other, port 0 and all, is given as it is. */
bool krpc_node_next(struct krpc_view *nodes, unsigned family, struct krpc_node *out);
/* Takes the next peer from values: start with *pos = 0. Elements of other lengths are
 * passed over. */
bool krpc_peer_next(const struct krpc_view *values, size_t *pos, struct addr *out);

#endif
