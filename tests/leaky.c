/* Leaks on purpose: proves that run_unit turns a leak into a failure. */
#include <criterion/criterion.h>
#include <stdlib.h>

Test(leaky, leaks)
{
    void *volatile p = malloc(100);
    cr_assert_not_null(p);
    p = NULL;
}
