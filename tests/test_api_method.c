#include <criterion/criterion.h>
#include <string.h>

#include "api_priv.h"

Test(api_method, methods_are_found)
{
    static const char *const names[] = {"add",
                                        "config.get",
                                        "config.path",
                                        "config.set",
                                        "contact.block",
                                        "contact.remove",
                                        "contact.rename",
                                        "contact.unblock",
                                        "contacts",
                                        "events.since",
                                        "export",
                                        "history",
                                        "id",
                                        "invite",
                                        "invite.ls",
                                        "invite.revoke",
                                        "message",
                                        "passphrase",
                                        "read",
                                        "recv",
                                        "recv.ack",
                                        "send",
                                        "status",
                                        "stop",
                                        "verify"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct api_method *m = api_method_find(names[i]);
        cr_expect(m != NULL && strcmp(m->name, names[i]) == 0, "%s", names[i]);
    }
    cr_expect_null(api_method_find(""));
    cr_expect_null(api_method_find("sendx"));
    cr_expect_null(api_method_find("zzz"));
}
