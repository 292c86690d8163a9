/* Any bytes as a key file, as they are and with the digest made right, so that what lies
 * behind it is reached too. No passphrase is given: Argon2id never runs. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *p, size_t len)
{
    struct keyfile k;
    bool prot = false;
    int err = keyfile_protected(p, len, &prot);
    int err2 = keyfile_decode(p, len, NULL, 0, &k);

    if ((err != 0 && err2 != err) || (err2 == 0 && prot)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t copy[KEYFILE_MAX + 8];

    decode(data, size);
    if (size >= 32 && size <= sizeof(copy)) {
        memcpy(copy, data, size);
        (void)crypto_generichash(copy + size - 32, 32, copy, size - 32, NULL, 0);
        decode(copy, size);
    }
    return 0;
}
