/* Which topics anybody has subscribed to. A subscription is a prefix; of a topic's name
 * there are few, so a bit for each length is enough. */
#include <string.h>

#include "api.h"

static const char *const topics[8] = {"message",  "state",   "presence", "request",
                                      "transfer", "contact", "node",     "welcome"};

bool api_topics_note(struct api_topics *t, const uint8_t *p, size_t len)
{
    if (len < 1 || p[0] > 1) {
        return false;
    }
    for (size_t i = 0; i < 8; i++) {
        if (len - 1 <= strlen(topics[i]) && memcmp(topics[i], p + 1, len - 1) == 0) {
            uint16_t bit = (uint16_t)(1u << (len - 1));
            t->prefixes[i] = (uint16_t)(p[0] == 1 ? t->prefixes[i] | bit
                                                  : t->prefixes[i] & (uint16_t)~bit);
        }
    }
    return p[0] == 1;
}

bool api_topics_wanted(const struct api_topics *t, const char *topic)
{
    for (size_t i = 0; i < 8; i++) {
        if (strcmp(topics[i], topic) == 0) {
            return t->prefixes[i] != 0;
        }
    }
    return false;
}
