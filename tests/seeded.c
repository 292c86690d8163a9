#include "seeded.h"

#include <stdint.h>

void seeded(void *ctx, void *buf, size_t len)
{
    uint64_t *state = ctx;
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) {
        uint64_t z = (*state += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        p[i] = (uint8_t)(z ^ (z >> 31));
    }
}
