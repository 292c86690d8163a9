#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api_priv.h"

Test(api_method, methods_are_found)
{
    static const char *const names[] = {"add",
                                        "config.get",
                                        "config.path",
                                        "config.set",
                                        "contact.block",
                                        "contact.files",
                                        "contact.remove",
                                        "contact.rename",
                                        "contact.unblock",
                                        "contacts",
                                        "dht.announce",
                                        "dht.find",
                                        "dht.get",
                                        "dht.peers",
                                        "dht.ping",
                                        "dht.put",
                                        "dht.stats",
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
                                        "transfers",
                                        "transfers.accept",
                                        "transfers.cancel",
                                        "transfers.decline",
                                        "transfers.limit",
                                        "transfers.pause",
                                        "transfers.piped",
                                        "transfers.resume",
                                        "transfers.show",
                                        "transfers.spool",
                                        "transfers.spooled",
                                        "typing",
                                        "verify"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct api_method *m = api_method_find(names[i]);
        cr_expect(m != NULL && strcmp(m->name, names[i]) == 0, "%s", names[i]);
    }
    cr_expect_null(api_method_find(""));
    cr_expect_null(api_method_find("sendx"));
    cr_expect_null(api_method_find("zzz"));
}

/* A spool counts as left when nobody holds the lock on it, or when it is gone. */
Test(api_method, spools_that_nobody_writes)
{
    char path[] = "/tmp/linnet-spool-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_expect(api_spool_left(path));
    cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0, "looking keeps no lock");
    cr_expect_not(api_spool_left(path));
    cr_assert_eq(close(fd), 0);
    cr_expect(api_spool_left(path), "the lock ends with its holder");
    cr_assert_eq(unlink(path), 0);
    cr_expect(api_spool_left(path));
}

static const char *state(enum xfer_phase phase, uint8_t row, uint32_t author, uint8_t end)
{
    const struct rec_file r = {.author = author, .state = row};
    const struct xfer_view v = {.r = &r, .phase = phase};
    return api_transfer_state(&v, end);
}

Test(api_method, words_of_transfers)
{
    cr_expect_str_eq(state(XFER_PHASE_OFFERED, FILE_OFFERED, 3, 0), "offered");
    cr_expect_str_eq(state(XFER_PHASE_ACTIVE, FILE_ACTIVE, 3, 0), "active");
    cr_expect_str_eq(state(XFER_PHASE_STUCK, FILE_ACTIVE, 0, 0), "stuck");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_BROKEN, 3, 0), "broken");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 3, FILE_END_DECLINED), "done",
                     "of what comes in only its own state counts");
    /* Ours is at its end when its recipient has ended it, however. */
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 0, FILE_END_RECEIVED), "done");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 0, FILE_END_DECLINED),
                     "declined");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 0, FILE_END_BROKEN), "broken");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 0, 200), "stopped");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_DONE, 0, 0), "done");
    cr_expect_str_eq(state(XFER_PHASE_ENDED, FILE_CANCELLED, 0, FILE_END_RECEIVED),
                     "cancelled");
}
