/* Internet addresses and ports: parse, print, compare, classify. No DNS.
 *
 * IPv4-mapped IPv6 addresses are turned into IPv4 wherever an address enters, so that one
 * host has one address. */
#ifndef LINNET_BASE_ADDR_H
#define LINNET_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDR_STR_MAX = 80, ADDR_WIRE4 = 7, ADDR_WIRE6 = 19 };

struct addr {
    uint8_t family; /* 0 none, 4 or 6 */
    uint8_t ip[16]; /* the first 4 for IPv4, the rest zero */
    uint16_t port;  /* host order */
    uint32_t scope; /* interface index of a link-local IPv6 address, else 0 */
};

/* Numbers only: "192.0.2.1:7679", "[2001:db8::1]:7679", "fe80::1%eth0"; without a port
 * default_port. 0 or ERR_FORMAT. */
int addr_parse(const char *s, uint16_t default_port, struct addr *out);
/* "192.0.2.1:7679" or "[2001:db8::1%3]:7679" into out; returns out. */
const char *addr_str(const struct addr *a, char out[ADDR_STR_MAX]);
/* The same without a port. */
const char *addr_ip_str(const struct addr *a, char out[ADDR_STR_MAX]);

/* 0 or ERR_FORMAT (family). */
int addr_from_sockaddr(const struct sockaddr *sa, struct addr *out);
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);

bool addr_eq(const struct addr *a, const struct addr *b);    /* with port */
bool addr_eq_ip(const struct addr *a, const struct addr *b); /* without port and scope */

bool addr_is_loopback(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
/* RFC 1918, RFC 6598 (100.64/10), RFC 4193 (fc00::/7), loopback and link-local. */
bool addr_is_private(const struct addr *a);
bool addr_is_multicast(const struct addr *a);
/* Not unspecified, not multicast, not broadcast, port not 0: something one can dial. */
bool addr_is_dialable(const struct addr *a);

/* Compact wire form: family byte 4 or 6, ip, port big-endian (7 or 19 bytes). Scope is
 * not carried. Returns the length written, 0 when family is 0 or cap is too small. */
size_t addr_to_wire(const struct addr *a, uint8_t *out, size_t cap);
/* Reads exactly one wire address of exactly len bytes. 0 or ERR_FORMAT. */
int addr_from_wire(const uint8_t *p, size_t len, struct addr *out);

/* The source an abuse limit counts: /32 of IPv4, /64 of IPv6; 9 bytes, port ignored. */
enum { ADDR_SOURCE_LEN = 9 };
void addr_source_key(const struct addr *a, uint8_t out[ADDR_SOURCE_LEN]);

/* An IP prefix, as in "192.168.0.0/16" or "fd00::/8". */
struct prefix {
    struct addr addr;
    uint8_t bits;
};
int prefix_parse(const char *s, struct prefix *out);
bool prefix_contains(const struct prefix *p, const struct addr *a);

#endif
