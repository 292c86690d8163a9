/* Open beacons: the decoder, and names that look alike. What was taken is what would be
 * written. */
#include <assert.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_open v;
    uint8_t again[WIRE_OPEN];
    char skeleton[WIRE_SKELETON_MAX + 1], name[WIRE_NAME_MAX + 1] = {0};
    if (wire_open_get(data, size, &v)) {
        wire_open_put(again, &v);
        assert(size == WIRE_OPEN && memcmp(again, data, size) == 0);
        if (wire_name_skeleton(v.name, skeleton)) {
            assert(strlen(skeleton) > 0);
        }
    }
    size_t n = size < WIRE_NAME_MAX ? size : WIRE_NAME_MAX;
    if (wire_name_ok(data, n)) {
        memcpy(name, data, n);
        (void)wire_name_skeleton(name, skeleton);
    }
    (void)wire_line_ok(data, size);
    return 0;
}
