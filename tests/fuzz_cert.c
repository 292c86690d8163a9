/* Any bytes as a certificate, and any bytes before 64 others as the body of one that its
 * root has really signed, so that what lies behind the signature is reached too. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/keys.h"
#include "crypto/noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_cert(const uint8_t *p, size_t len)
{
    struct cert c;

    if (cert_open(p, len, &c) == 0 &&
        (!noise_key_canonical(c.stat) || !noise_key_canonical(c.box) ||
         len > KEYS_CERT_MAX)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char label[] = "linnet device cert v1";
    uint8_t seed[32], root[32], sk[64], copy[KEYS_CERT_MAX];
    uint8_t msg[sizeof(label) + KEYS_CERT_MAX];

    open_cert(data, size);
    if (size >= KEYS_CERT_SIG && size <= sizeof(copy)) {
        size_t len = size - KEYS_CERT_SIG;

        for (uint8_t i = 0; i < sizeof(seed); i++) {
            seed[i] = i;
        }
        keys_root(seed, root, sk); /* the root of the corpus */
        memcpy(copy, data, size);
        memcpy(msg, label, sizeof(label));
        memcpy(msg + sizeof(label), data, len);
        (void)crypto_sign_detached(copy + len, NULL, msg, sizeof(label) + len, sk);
        open_cert(copy, size);
    }
    return 0;
}
