#include "base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

enum { PORT_DIGITS = 5, PREFIX_DIGITS = 3, SCOPE_DIGITS = 9 };

static size_t ip_len(const struct addr *a)
{
    return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}

static bool ip_is_zero(const struct addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

/* One host has one address: ::ffff:a.b.c.d becomes a.b.c.d. */
static void unmap(struct addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->family != 6 || memcmp(a->ip, mapped, sizeof mapped) != 0) {
        return;
    }
    a->family = 4;
    a->scope = 0;
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
}

/* fe80::/10, and multicast that stays on the link or the host: these need an interface.
 */
static bool has_scope(const struct addr *a)
{
    if (a->family != 6) {
        return false;
    }
    return (a->ip[0] == 0xfe && (a->ip[1] & 0xc0u) == 0x80) ||
           (a->ip[0] == 0xff && ((a->ip[1] & 0x0fu) == 1 || (a->ip[1] & 0x0fu) == 2));
}

/* A decimal number of 1 to max_digits digits, all of s[0..len). */
static bool parse_number(const char *s, size_t len, size_t max_digits, uint32_t *out)
{
    if (len < 1 || len > max_digits) {
        return false;
    }
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        v = v * 10 + (uint32_t)(s[i] - '0');
    }
    *out = v;
    return true;
}

static bool parse_scope(const char *s, size_t len, uint32_t *out)
{
    char name[IF_NAMESIZE];
    if (parse_number(s, len, SCOPE_DIGITS, out)) {
        return *out != 0;
    }
    if (len < 1 || len >= sizeof name) {
        return false;
    }
    memcpy(name, s, len);
    name[len] = '\0';
    *out = if_nametoindex(name);
    return *out != 0;
}

/* An address without port and brackets. */
static bool parse_ip(const char *s, size_t len, struct addr *out)
{
    char text[INET6_ADDRSTRLEN];
    struct addr a = {0};
    const char *zone = memchr(s, '%', len);
    size_t ip_chars = zone == NULL ? len : (size_t)(zone - s);
    if (ip_chars >= sizeof text) {
        return false;
    }
    memcpy(text, s, ip_chars);
    text[ip_chars] = '\0';
    if (inet_pton(AF_INET, text, a.ip) == 1) {
        a.family = 4;
    } else if (inet_pton(AF_INET6, text, a.ip) == 1) {
        a.family = 6;
    } else {
        return false;
    }
    if (zone != NULL &&
        (!has_scope(&a) || !parse_scope(zone + 1, len - ip_chars - 1, &a.scope))) {
        return false;
    }
    unmap(&a);
    *out = a;
    return true;
}

int addr_parse(const char *s, uint16_t default_port, struct addr *out)
{
    size_t len = strlen(s);
    const char *ip = s, *port = NULL;
    size_t ip_chars = len;
    if (len > 0 && s[0] == '[') {
        const char *close = memchr(s, ']', len);
        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return ERR_FORMAT;
        }
        ip = s + 1;
        ip_chars = (size_t)(close - ip);
        if (memchr(ip, ':', ip_chars) == NULL) {
            return ERR_FORMAT; /* brackets are for IPv6 */
        }
        port = close[1] == ':' ? close + 2 : NULL;
    } else {
        /* One colon separates the port of an IPv4 address; several are IPv6. */
        const char *colon = memchr(s, ':', len);
        if (colon != NULL && strchr(colon + 1, ':') == NULL) {
            ip_chars = (size_t)(colon - s);
            port = colon + 1;
        }
    }
    uint32_t number = default_port;
    if (port != NULL &&
        (!parse_number(port, len - (size_t)(port - s), PORT_DIGITS, &number) ||
         number > UINT16_MAX)) {
        return ERR_FORMAT;
    }
    struct addr a;
    if (!parse_ip(ip, ip_chars, &a)) {
        return ERR_FORMAT;
    }
    a.port = (uint16_t)number;
    *out = a;
    return 0;
}

const char *addr_ip_str(const struct addr *a, char out[ADDR_STR_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "none";
    if (a->family == 4 || a->family == 6) {
        (void)inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, ip, sizeof ip);
    }
    if (a->scope != 0) {
        (void)snprintf(out, ADDR_STR_MAX, "%s%%%u", ip, (unsigned)a->scope);
    } else {
        (void)snprintf(out, ADDR_STR_MAX, "%s", ip);
    }
    return out;
}

const char *addr_str(const struct addr *a, char out[ADDR_STR_MAX])
{
    char ip[ADDR_STR_MAX];
    (void)addr_ip_str(a, ip);
    int n = snprintf(out, ADDR_STR_MAX, a->family == 6 ? "[%s]:%u" : "%s:%u", ip,
                     (unsigned)a->port);
    assert(n > 0 && n < ADDR_STR_MAX);
    (void)n;
    return out;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *out)
{
    struct addr a = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        a.family = 4;
        memcpy(a.ip, &in.sin_addr, 4);
        a.port = ntohs(in.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        a.family = 6;
        memcpy(a.ip, &in6.sin6_addr, 16);
        a.port = ntohs(in6.sin6_port);
        a.scope = has_scope(&a) ? in6.sin6_scope_id : 0;
        unmap(&a);
    } else {
        return ERR_FORMAT;
    }
    *out = a;
    return 0;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    if (a->family == 6) {
        struct sockaddr_in6 in6 = {
            .sin6_family = AF_INET6,
            .sin6_port = htons(a->port),
            .sin6_scope_id = a->scope,
        };
        memcpy(&in6.sin6_addr, a->ip, 16);
        memcpy(out, &in6, sizeof in6);
        return sizeof in6;
    }
    return 0;
}

bool addr_eq_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, ip_len(a)) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_eq_ip(a, b) && a->port == b->port && a->scope == b->scope;
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return (a->family == 4 && a->ip[0] == 127) ||
           (a->family == 6 && memcmp(a->ip, one, sizeof one) == 0);
}

bool addr_is_link_local(const struct addr *a)
{
    return (a->family == 4 && a->ip[0] == 169 && a->ip[1] == 254) ||
           (a->family == 6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0u) == 0x80);
}

bool addr_is_private(const struct addr *a)
{
    if (addr_is_loopback(a) || addr_is_link_local(a)) {
        return true;
    }
    if (a->family == 6) {
        return (a->ip[0] & 0xfeu) == 0xfc;
    }
    return a->family == 4 && (a->ip[0] == 10 || (a->ip[0] == 172 && a->ip[1] >> 4 == 1) ||
                              (a->ip[0] == 192 && a->ip[1] == 168) ||
                              (a->ip[0] == 100 && a->ip[1] >> 6 == 1));
}

bool addr_is_multicast(const struct addr *a)
{
    return (a->family == 4 && a->ip[0] >> 4 == 14) ||
           (a->family == 6 && a->ip[0] == 0xff);
}

bool addr_is_dialable(const struct addr *a)
{
    if (a->port == 0 || addr_is_multicast(a)) {
        return false;
    }
    if (a->family == 4) {
        /* 0/8 is "this host", 240/4 is reserved and ends with the broadcast address. */
        return a->ip[0] != 0 && a->ip[0] < 240;
    }
    return a->family == 6 && !ip_is_zero(a);
}

size_t addr_to_wire(const struct addr *a, uint8_t *out, size_t cap)
{
    size_t n = ip_len(a);
    if (n == 0 || cap < n + 3) {
        return 0;
    }
    out[0] = a->family;
    memcpy(out + 1, a->ip, n);
    out[n + 1] = (uint8_t)(a->port >> 8);
    out[n + 2] = (uint8_t)a->port;
    return n + 3;
}

int addr_from_wire(const uint8_t *p, size_t len, struct addr *out)
{
    struct addr a = {0};
    if ((len != ADDR_WIRE4 || p[0] != 4) && (len != ADDR_WIRE6 || p[0] != 6)) {
        return ERR_FORMAT;
    }
    a.family = p[0];
    memcpy(a.ip, p + 1, len - 3);
    a.port = (uint16_t)(p[len - 2] << 8 | p[len - 1]);
    unmap(&a);
    *out = a;
    return 0;
}

void addr_source_key(const struct addr *a, uint8_t out[ADDR_SOURCE_LEN])
{
    memset(out, 0, ADDR_SOURCE_LEN);
    out[0] = a->family;
    memcpy(out + 1, a->ip, a->family == 4 ? 4 : 8);
}

int prefix_parse(const char *s, struct prefix *out)
{
    size_t len = strlen(s);
    const char *slash = memchr(s, '/', len);
    size_t ip_chars = slash == NULL ? len : (size_t)(slash - s);
    struct prefix p = {0};
    uint32_t bits;
    if (!parse_ip(s, ip_chars, &p.addr) || p.addr.scope != 0) {
        return ERR_FORMAT;
    }
    uint32_t width = (uint32_t)ip_len(&p.addr) * 8;
    if (slash == NULL) {
        bits = width;
    } else if (!parse_number(slash + 1, len - ip_chars - 1, PREFIX_DIGITS, &bits)) {
        return ERR_FORMAT;
    } else if (width == 32 && memchr(s, ':', ip_chars) != NULL) {
        /* An IPv4-mapped prefix: its first 96 bits are gone. */
        if (bits < 96) {
            return ERR_FORMAT;
        }
        bits -= 96;
    }
    if (bits > width) {
        return ERR_FORMAT;
    }
    p.bits = (uint8_t)bits;
    for (uint32_t i = bits; i < width; i++) {
        p.addr.ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    }
    *out = p;
    return 0;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
    if (p->addr.family == 0 || p->addr.family != a->family) {
        return false;
    }
    size_t whole = p->bits / 8;
    if (memcmp(p->addr.ip, a->ip, whole) != 0) {
        return false;
    }
    unsigned rest = p->bits % 8u;
    return rest == 0 || ((unsigned)(p->addr.ip[whole] ^ a->ip[whole]) >> (8 - rest)) == 0;
}
