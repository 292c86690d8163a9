/* Allocations that fail when a test wants it: the linker turns the calls of the libraries
 * to functions of ours (--wrap). One thread. */
#ifndef LINNET_TESTS_TORTURE_H
#define LINNET_TESTS_TORTURE_H

#include <stdbool.h>

/* Of the allocations from now on the n-th (0: the next one) fails, once; n < 0: none. */
void torture_arm(long n);
/* Whether one is still to fail: there were not so many. */
bool torture_armed(void);

#endif
