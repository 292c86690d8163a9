/* Who claims which name: renaming, and settling that two claim the same one
 * (contact_priv.h). */
#include <string.h>

#include "base/err.h"
#include "contact_priv.h"

/* Whether somebody is, or calls themselves, what a contact is or was called. */
static bool claims(const struct contact *o, const char *base, const char *name)
{
    char own[WIRE_NAME_MAX + 1];
    contacts_base_name(&o->r, own);
    return strcmp(own, base) == 0 || strcmp(own, name) == 0 ||
           strcmp(o->r.name, base) == 0;
}

const struct rec_contact *contacts_rival(const struct contacts *c, uint32_t id)
{
    const struct contact *k = contacts_row(c, id), *rival = NULL;
    char base[WIRE_NAME_MAX + 1];
    if (k == NULL) {
        return NULL;
    }
    contacts_base_name(&k->r, base);
    for (size_t i = 0; i < c->n; i++) {
        const struct contact *o = c->v[i];
        if (o == k || (o->r.flags & CONTACT_REMOVED) != 0 ||
            !claims(o, base, k->r.name)) {
            continue;
        }
        bool open = (o->r.flags & CONTACT_CONFLICT) != 0;
        if (rival == NULL || (open && (rival->r.flags & CONTACT_CONFLICT) == 0)) {
            rival = o;
        }
    }
    return rival == NULL ? NULL : &rival->r;
}

int contacts_settle(struct contacts *c, struct txn *t, const struct contact *k,
                    const char *name)
{
    char base[WIRE_NAME_MAX + 1];
    struct contact *left = NULL;
    contacts_base_name(&k->r, base);
    for (size_t i = 0; i < c->n; i++) {
        struct contact *o = c->v[i];
        bool open = (o->r.flags & CONTACT_CONFLICT) != 0 &&
                    (o->r.flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) == 0;
        if (o == k || !open || !claims(o, base, name)) {
            continue;
        }
        if (left != NULL) {
            return 0; /* they are still to be told apart */
        }
        left = o;
    }
    if (left == NULL) {
        return 0;
    }
    left->r.flags &= ~(uint32_t)CONTACT_CONFLICT;
    contacts_event_add(c,
                       (struct contacts_event){CONTACTS_EV_CHANGED, left->r.id, 0, 0, 0});
    int err = contacts_put(c, t, left);
    return err != 0 ? err
                    : contacts_tell(t, EVENT_CONTACT_CHANGED, left->r.id, left->r.flags,
                                    left->r.name);
}

int contacts_rename(struct contacts *c, struct txn *t, uint32_t id, const char *name)
{
    struct contact *k = contacts_row(c, id);
    char old[WIRE_NAME_MAX + 1];
    if (k == NULL || (k->r.flags & CONTACT_REMOVED) != 0) {
        return ERR_NOTFOUND;
    }
    size_t len = strlen(name);
    if (len > WIRE_NAME_MAX || !wire_name_ok((const uint8_t *)name, len)) {
        return ERR_ARG;
    }
    if (strcmp(k->r.name, name) == 0) {
        return 0;
    }
    if (contacts_named(c, name, k) != NULL) {
        return ERR_EXISTS;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    bool conflict = (k->r.flags & CONTACT_CONFLICT) != 0;
    memcpy(old, k->r.name, sizeof old);
    memset(k->r.name, 0, sizeof k->r.name);
    memcpy(k->r.name, name, len);
    k->r.flags &= ~(uint32_t)CONTACT_CONFLICT;
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_CHANGED, id, 0, 0, 0});
    int err = contacts_put(c, t, k);
    if (err == 0) {
        err = contacts_tell(t, EVENT_CONTACT_CHANGED, id, 0, name);
    }
    return err == 0 && conflict ? contacts_settle(c, t, k, old) : err;
}
