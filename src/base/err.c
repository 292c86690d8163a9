#include "base/err.h"

const char *err_str(int err)
{
    if (err >= 0) {
        return "no error";
    }
    switch ((enum err)err) {
    case ERR_NOMEM:
        return "out of memory";
    case ERR_LIMIT:
        return "a limit was reached";
    case ERR_FORMAT:
        return "malformed data";
    case ERR_AUTH:
        return "not authentic";
    case ERR_STATE:
        return "not possible in this state";
    case ERR_EXISTS:
        return "exists already";
    case ERR_NOTFOUND:
        return "not found";
    case ERR_IO:
        return "input/output error";
    case ERR_FULL:
        return "no space left";
    case ERR_BUSY:
        return "busy";
    case ERR_NEWER:
        return "written by a newer version";
    case ERR_CORRUPT:
        return "damaged";
    case ERR_ARG:
        return "unusable argument";
    case ERR_CLOSED:
        return "closed by the other side";
    case ERR_STALE:
        return "stale or repeated";
    case ERR_REFUSED:
        return "refused by the other side";
    case ERR_TIMEOUT:
        return "timed out";
    }
    return "unknown error";
}
