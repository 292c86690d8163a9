/* MEMBERS frames (docs/PROTOCOL.md, "A secret network"). */
#include "wire.h"

#include <string.h>

void wire_members_put(struct wr *w, const struct wire_members *v)
{
    if (v->n > WIRE_MEMBERS_FRAME_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "l");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n; i++) {
        const struct wire_member *m = &v->v[i];
        if (m->n_addrs == 0 || m->n_addrs > WIRE_MEMBER_ADDRS_MAX) {
            w->bad = true;
            return;
        }
        wr_ben_list(w);
        wr_ben_str(w, m->device, sizeof m->device);
        wr_ben_list(w);
        for (size_t k = 0; k < m->n_addrs; k++) {
            uint8_t a[ADDR_WIRE6];
            size_t n = addr_to_wire(&m->addrs[k], a, sizeof a);
            if (n == 0) {
                w->bad = true;
                return;
            }
            wr_ben_str(w, a, n);
        }
        wr_ben_end(w);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_key(w, "m");
    wr_ben_str(w, v->proof, sizeof v->proof);
    wr_ben_end(w);
}

/* Addresses of families that are not known here (a newer program's) are skipped. */
static bool get_addrs(struct ben list, struct wire_member *m)
{
    struct ben_iter it = {0};
    struct ben item;
    size_t seen = 0;
    m->n_addrs = 0;
    while (ben_list_next(list, &it, &item)) {
        const uint8_t *p;
        size_t n;
        if (seen++ == WIRE_MEMBER_ADDRS_MAX || !ben_str(item, &p, &n) || n == 0) {
            return false;
        }
        if (p[0] != 4 && p[0] != 6) {
            continue;
        }
        if (addr_from_wire(p, n, &m->addrs[m->n_addrs]) != 0) {
            return false;
        }
        m->n_addrs++;
    }
    return seen > 0;
}

static bool get_member(struct ben item, struct wire_member *m)
{
    struct ben_iter it = {0};
    struct ben id, addrs, more;
    return ben_is_list(item) && ben_list_next(item, &it, &id) &&
           ben_fixed(id, m->device, sizeof m->device) &&
           ben_list_next(item, &it, &addrs) && ben_is_list(addrs) &&
           !ben_list_next(item, &it, &more) && get_addrs(addrs, m);
}

bool wire_members_get(const uint8_t *p, size_t len, struct wire_members *v)
{
    struct ben d, item, list;
    struct ben_iter it = {0};
    if (!bencode_check(p, len, &d) || !ben_is_dict(d) ||
        !ben_fixed(ben_get(d, "m"), v->proof, sizeof v->proof)) {
        return false;
    }
    list = ben_get(d, "l");
    if (!ben_is_list(list)) {
        return false;
    }
    v->n = 0;
    while (ben_list_next(list, &it, &item)) {
        if (v->n == WIRE_MEMBERS_FRAME_MAX || !get_member(item, &v->v[v->n])) {
            return false;
        }
        /* Without an address that this program knows, there is nothing to tell. */
        v->n += v->v[v->n].n_addrs > 0;
    }
    return true;
}
