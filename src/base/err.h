/* Errors.
 *
 * Functions that can fail return 0 or one of these negative values. Outputs stay
 * untouched on failure. Bytes from outside lead to an error, never to an assert. */
#ifndef LINNET_BASE_ERR_H
#define LINNET_BASE_ERR_H

enum err {
    ERR_NOMEM = -1,    /* memory is exhausted */
    ERR_LIMIT = -2,    /* a named limit was reached */
    ERR_FORMAT = -3,   /* bytes that are not what they should be */
    ERR_AUTH = -4,     /* a MAC, signature or key did not verify */
    ERR_STATE = -5,    /* not possible in this state */
    ERR_EXISTS = -6,   /* there already */
    ERR_NOTFOUND = -7, /* not there */
    ERR_IO = -8,       /* the operating system failed an operation */
    ERR_FULL = -9,     /* no space left on the device, or a quota */
    ERR_BUSY = -10,    /* held by somebody else; try again */
    ERR_NEWER = -11,   /* written by a newer program */
    ERR_CORRUPT = -12, /* a file of ours is damaged */
    ERR_ARG = -13,     /* an argument from the user is unusable */
    ERR_CLOSED = -14,  /* the other side has ended */
    ERR_STALE = -15,   /* a replay, or older than what was seen */
    ERR_REFUSED = -16, /* the other side said no */
    ERR_TIMEOUT = -17, /* a deadline passed */
};

/* A short English phrase for a negative error value, never NULL; static memory. */
const char *err_str(int err);

#endif
