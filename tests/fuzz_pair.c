/* The pairing frames of a peer who holds a good invite: first byte 0 or 1 for the role,
 * then frames of type(1) ‖ length(2) ‖ payload. Whatever they are, a contact comes to be
 * only by the very certificate that the handshake proved. */
#include <assert.h>
#include <string.h>

#include "contact_make.h"

enum { CONN = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side a, b;
    char code[WIRE_CODE_MAX + 1];
    uint32_t invite, slot;
    uint8_t hash[64] = {7}, type;
    const uint8_t *payload;
    size_t len;
    struct rd r = rd_init(data, size);
    bool dialler = (rd_u8(&r) & 1) != 0;
    side_init_bare(&a, 1, "alice");
    side_init_bare(&b, 2, "bob");
    assert(contacts_invite(b.c, &b.txn, 60, NULL, 0, code, &invite) == 0);
    assert(contacts_add(a.c, &a.txn, code, strlen(code), NULL, &slot) == 0);
    struct side *me = dialler ? &a : &b, *peer = dialler ? &b : &a;
    assert(contacts_pair_up(me->c, CONN, dialler, dialler ? slot : invite, &peer->cert,
                            peer->cert_bytes, peer->cert_len, hash) == 0);
    while (wire_frame_next(&r, &type, &payload, &len)) {
        if (contacts_pair_recv(me->c, &me->txn, CONN, type, payload, len) != 0) {
            break;
        }
    }
    const struct rec_contact *k = side_contact(me, peer);
    size_t pos = 0;
    const struct rec_contact *any = contacts_next(me->c, &pos);
    assert(any == k && contacts_next(me->c, &pos) == NULL);
    if (!dialler) {
        assert(contacts_invite_get(b.c, invite)->used == (k != NULL));
    } else {
        assert(k != NULL || side_adding_count(&a) == 1);
    }
    side_commit(&a);
    side_commit(&b);
    side_release(&a);
    side_release(&b);
    return 0;
}
