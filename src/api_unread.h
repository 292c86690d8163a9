/* How much libzmq holds for clients that do not read, in bytes. */
#ifndef LINNET_API_UNREAD_H
#define LINNET_API_UNREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    API_UNREAD_CLIENT = 16 * 1024 * 1024, /* of answers: one client's further are lost */
    API_UNREAD_ALL = 64 * 1024 * 1024, /* then only who has read everything gets more */
    API_UNREAD_CLIENTS = 1024,         /* clients with unread answers */
    API_UNREAD_EVENTS = 16 * 1024 * 1024, /* then texts are left out of events */
    API_UNREAD_SHORT = 512,               /* bytes of a text that never is */
};

typedef _Atomic(size_t) api_unread_count;

struct api_unread_client;
struct api_unread {
    struct api_unread_client *clients;
    api_unread_count events;
};

/* Sends one frame, copied, and counts it until libzmq has freed it. False: not sent. */
bool api_unread_send(void *socket, const void *p, size_t n, api_unread_count *count);
/* The counter for an answer of n bytes to a client; NULL when it has too many unread.
 * Good until the next call. */
api_unread_count *api_unread_client(struct api_unread *u, const void *route, size_t len,
                                    size_t n);
/* After the sockets' context has ended. */
void api_unread_release(struct api_unread *u);

#endif
