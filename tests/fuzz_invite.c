/* Invite codes: the input as the text of a code, and as the bytes that a code with a
 * right checksum carries. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bech32.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAYLOAD_MAX = 110 };

static void decode(const char *s, size_t n)
{
    struct wire_code v, again;
    char text[WIRE_CODE_MAX + 1], second[WIRE_CODE_MAX + 1];
    int rc = wire_code_get(s, n, &v);
    if (rc != 0) {
        assert(rc == ERR_FORMAT || rc == ERR_NEWER);
        return;
    }
    rc = wire_code_put(&v, text);
    assert(rc == 0);
    rc = wire_code_get(text, strlen(text), &again);
    assert(rc == 0);
    rc = wire_code_put(&again, second);
    assert(rc == 0 && strcmp(text, second) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    decode((const char *)data, size);
    if (size <= PAYLOAD_MAX) {
        int rc = bech32_encode("linnet", data, size, text, sizeof text);
        assert(rc == 0);
        decode(text, strlen(text));
    }
    return 0;
}
