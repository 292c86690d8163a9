/* All decoders of frames and bodies. The first byte chooses one; what it takes is
 * encoded, decoded and encoded again, with the same bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Beside the types of frames. */
enum { FUZZ_FRAMES = 0, FUZZ_HEADER = 'h', FUZZ_BODY = 'b', FUZZ_TEXT = 't' };

/* Decodes frames between strangers, and of the live code. */
static bool pass_more(uint8_t which, const uint8_t *p, size_t n, struct wr *w)
{
    union {
        struct wire_request request;
        struct wire_code_frame step;
    } v;
    switch (which) {
    case FRAME_CODE:
        return wire_code_frame_get(p, n, &v.step) && v.step.step != STEP_UNKNOWN &&
               (wire_code_frame_put(w, &v.step), true);
    case FRAME_REQUEST:
        return wire_request_get(p, n, &v.request) &&
               (wire_request_put(w, &v.request), true);
    default:
        return false;
    }
}

/* Decodes; when that succeeds writes it to w again. */
static bool pass(uint8_t which, const uint8_t *p, size_t n, struct wr *w)
{
    static struct wire_have_feed have_feeds[WIRE_HAVE_FEEDS_MAX];
    static struct wire_read_feed read_feeds[WIRE_HAVE_FEEDS_MAX];
    static struct wire_digest digests[WIRE_DIGESTS_MAX];
    static struct wire_member members[WIRE_MEMBERS_FRAME_MAX];
    union {
        unsigned code;
        struct wire_hello hello;
        struct wire_pair pair;
        struct wire_members members;
        struct wire_header header;
        struct wire_entry entry;
        struct wire_have have;
        struct wire_want want;
        struct wire_read read;
        struct wire_presence presence;
        struct wire_typing typing;
        struct wire_live live;
        struct wire_body body;
        size_t count;
    } v;
    switch (which) {
    case FRAME_CLOSE:
        return wire_close_get(p, n, &v.code) && (wire_close_put(w, v.code), true);
    case FRAME_HELLO:
        return wire_hello_get(p, n, &v.hello) && (wire_hello_put(w, &v.hello), true);
    case FRAME_PAIR:
        return wire_pair_get(p, n, &v.pair) && (wire_pair_put(w, &v.pair), true);
    case FRAME_MEMBERS:
        v.members.v = members;
        return wire_members_get(p, n, &v.members) &&
               (wire_members_put(w, &v.members), true);
    case FUZZ_HEADER:
        return wire_header_get(p, n, &v.header) &&
               (wire_header_put(w, &v.header, true), true);
    case FRAME_ENTRY:
        return wire_entry_get(p, n, &v.entry) && (wire_entry_put(w, &v.entry), true);
    case FRAME_DIGEST:
        return wire_digest_get(p, n, digests, WIRE_DIGESTS_MAX, &v.count) &&
               (wire_digest_put(w, digests, v.count), true);
    case FRAME_HAVE:
        v.have.feeds = have_feeds;
        return wire_have_get(p, n, &v.have) && (wire_have_put(w, &v.have), true);
    case FRAME_WANT:
        return wire_want_get(p, n, &v.want) && (wire_want_put(w, &v.want), true);
    case FRAME_READ:
        v.read.feeds = read_feeds;
        return wire_read_get(p, n, &v.read) && (wire_read_put(w, &v.read), true);
    case FRAME_PRESENCE:
        return wire_presence_get(p, n, &v.presence) &&
               (wire_presence_put(w, &v.presence), true);
    case FRAME_TYPING:
        return wire_typing_get(p, n, &v.typing) && (wire_typing_put(w, &v.typing), true);
    case FRAME_LIVE:
        return wire_live_get(p, n, &v.live) && (wire_live_put(w, &v.live), true);
    case FUZZ_BODY:
        if (!wire_body_get(p, n, &v.body) || v.body.kind < BODY_TEXT ||
            v.body.kind > BODY_REDACTION) {
            return false;
        }
        wire_body_put(w, &v.body);
        return true;
    default:
        return pass_more(which, p, n, w);
    }
}

/* The frames of a transport body: written again they are its first bytes. */
static void frames(const uint8_t *p, size_t n)
{
    uint8_t type;
    const uint8_t *payload;
    size_t len;
    uint8_t *out = malloc(n > 0 ? n : 1);
    assert(out != NULL);
    struct wr w = wr_init(out, n);
    struct rd r = rd_init(p, n);
    while (wire_frame_next(&r, &type, &payload, &len)) {
        wire_frame(&w, (enum frame_type)type, payload, len);
        assert(wr_ok(&w) && memcmp(out, p, w.len) == 0);
    }
    assert(!rd_ok(&r) || r.n == 0);
    free(out);
}

static void text(const uint8_t *p, size_t n)
{
    if (wire_name_ok(p, n)) {
        assert(wire_text_ok(p, n) && n > 0 && n <= WIRE_NAME_MAX);
        assert(memchr(p, 0x1b, n) == NULL && memchr(p, '\n', n) == NULL);
    }
    if (wire_emoji_ok(p, n)) {
        assert(wire_text_ok(p, n) && n > 0 && n <= WIRE_EMOJI_MAX);
        assert(memchr(p, 0x1b, n) == NULL && memchr(p, '\n', n) == NULL);
    }
    assert(!wire_name_ok(p, n) || wire_status_ok(p, n));
    if (wire_status_ok(p, n)) {
        assert(wire_text_ok(p, n) && n > 0 && n <= WIRE_STATUS_MAX);
        assert(memchr(p, 0x1b, n) == NULL && memchr(p, '\n', n) == NULL);
    }
    if (wire_text_ok(p, n)) {
        assert(n == 0 || memchr(p, 0, n) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[65536], second[65536];
    if (size == 0) {
        return 0;
    }
    uint8_t which = data[0];
    if (which == FUZZ_FRAMES) {
        frames(data + 1, size - 1);
    } else if (which == FUZZ_TEXT) {
        text(data + 1, size - 1);
    }
    struct wr a = wr_init(first, sizeof first), b = wr_init(second, sizeof second);
    if (pass(which, data + 1, size - 1, &a)) {
        assert(wr_ok(&a));
        bool again = pass(which, first, a.len, &b);
        assert(again && wr_ok(&b) && a.len == b.len && memcmp(first, second, a.len) == 0);
    }
    return 0;
}
