#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* True when a zone is no number: looking up interfaces is the kernel's business. */
static bool names_interface(const char *s)
{
    const char *zone = strchr(s, '%');
    return zone != NULL && strspn(zone + 1, "0123456789") == 0;
}

static void text(const uint8_t *data, size_t size)
{
    char *s = malloc(size + 1);
    char out[ADDR_STR_MAX];
    struct addr a, b;
    struct prefix p;
    assert(s != NULL);
    memcpy(s, data, size);
    s[size] = '\0';
    if (!names_interface(s)) {
        if (addr_parse(s, 1, &a) == 0) {
            assert(addr_parse(addr_str(&a, out), 2, &b) == 0 && addr_eq(&a, &b));
            assert(addr_parse(addr_ip_str(&a, out), a.port, &b) == 0 && addr_eq(&a, &b));
        }
        if (prefix_parse(s, &p) == 0) {
            assert(prefix_contains(&p, &p.addr));
        }
    }
    free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t wire[ADDR_WIRE6], key[ADDR_SOURCE_LEN];
    struct addr a, b;
    if (addr_from_wire(data, size, &a) == 0) {
        size_t n = addr_to_wire(&a, wire, sizeof wire);
        assert(addr_from_wire(wire, n, &b) == 0 && addr_eq(&a, &b));
        assert(n == size ? memcmp(wire, data, n) == 0 : n == ADDR_WIRE4);
        addr_source_key(&a, key);
        assert(!addr_is_dialable(&a) || !addr_is_multicast(&a));
    }
    if (size > 0) {
        text(data, size);
    }
    return 0;
}
