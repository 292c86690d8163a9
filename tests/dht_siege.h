/* What attacks on the DHT cost and achieve: the runs of sim_dht --attack. Each is a world
 * of honest hosts that has settled, attackers in it (dht_attack.h), and what honest hosts
 * then do; its figures go to stdout, a line each. */
#ifndef LINNET_TESTS_DHT_SIEGE_H
#define LINNET_TESTS_DHT_SIEGE_H

#include <stdbool.h>
#include <stdint.h>

struct siege_options {
    const char *name;
    uint32_t n;    /* how much of it, 0: as much as its default; see siege_help() */
    uint32_t nets; /* /24s that the attacker has, 0: one for each address */
    uint32_t nodes;
    uint64_t seed;
    double loss;
    bool odd;    /* ids that do not fit their addresses (BEP 42) */
    bool spread; /* over the place where the honest ones should be, not in its middle */
    bool bounds; /* what must hold is checked; else it is told only */
};

/* The names, and what N counts. */
void siege_help(void);
/* Runs it. False: there is none of this name, or a bound was not kept. */
bool siege_run(const struct siege_options *o);
/* The runs of ./test with bounds: all with this name. */
bool siege_test(const char *name);

#endif
