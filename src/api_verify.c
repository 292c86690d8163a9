/* The method `verify` with the live code, and the event that asks for it. */
#include "api_priv.h"
#include "base/err.h"

static void fail_code(struct app *a, struct api_req *r, int err, const char *name)
{
    switch (err) {
    case ERR_NOTFOUND:
        api_fail(r, CODE_NOBODY, "%s is not there. Both of you have to be, at one time.",
                 name);
        break;
    case ERR_TIMEOUT:
        api_fail(
            r, CODE_TIMEOUT,
            "%s is there, but did not ask for a code within two minutes. Both of you "
            "have to: linnet verify NAME --code",
            name);
        break;
    case ERR_REFUSED:
        api_fail(r, CODE_REFUSED, "%s has stopped comparing. Try again, both of you.",
                 name);
        break;
    case ERR_IO:
        api_fail(
            r, CODE_ERROR,
            "The link to %s was lost before there was a code. Try again, both of you.",
            name);
        break;
    case ERR_AUTH:
        api_fail(
            r, CODE_INTEGRITY,
            "What came from %s does not fit together: there is no code, and nobody is "
            "verified by it. Compare safety numbers another way.",
            name);
        break;
    default:
        api_fail_err(a, r, err, name);
        break;
    }
}

static void compared(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    if (ev->err != 0 || c == NULL) {
        fail_code(a, r, ev->err != 0 ? ev->err : ERR_NOTFOUND, c == NULL ? "" : c->name);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    jout_kstr(o, "code", ev->code);
    jout_kbool(o, "verified", (c->flags & CONTACT_VERIFIED) != 0);
    jout_kbool(o, "conflict", (c->flags & CONTACT_CONFLICT) != 0);
    jout_close(o, '}');
    api_end(r);
}

void api_verify_code(struct app *a, struct api_req *r, const struct rec_contact *c)
{
    r->result = compared;
    r->contact = c->id;
    api_started(a, r, node_verify_code(a->node, r->tag, c->id, env_mono_ms()), c->name);
}

void api_publish_verify(struct app *a, uint32_t contact)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), contact);
    if (c == NULL || !api_wanted(a->api, "request")) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    jout_kstr(o, "what", "verify_code");
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    jout_close(o, '}');
    api_publish(a->api, "request");
}
