#include <criterion/criterion.h>

#include "base/size.h"

Test(size, units)
{
    static const struct {
        const char *s;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1500", 1500},
        {"12B", 12},
        {"1k", 1000},
        {"100M", 100000000},
        {"100MB", 100000000},
        {"1.5G", 1500000000},
        {"2t", UINT64_C(2000000000000)},
        {"64KiB", 65536},
        {"1.5mib", 1572864},
        {"1GiB", 1073741824},
        {"0.000001M", 1},
        {"0.0001k", 0}, /* cut to whole bytes */
        {"9.999999TiB", UINT64_C(10995115178248)},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 7;
        cr_expect(size_parse(good[i].s, &v), "%s", good[i].s);
        cr_expect_eq(v, good[i].bytes, "%s: %llu", good[i].s, (unsigned long long)v);
    }
}

Test(size, what_is_none)
{
    static const char *const bad[] = {
        "",
        "M",
        "-1",
        "1 M",
        "1.M",
        ".5M",
        "1.5",
        "1,5",
        "1.5B",
        "1Mi",
        "1Mib2",
        "1X",
        "0x10",
        "1e6",
        "none",
        "1.1234567M",
        "9999999999T",
        "9223372036854775807",
        "9223373T",
        "12345678901234567890",
    };
    uint64_t v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_not(size_parse(bad[i], &v), "%s", bad[i]);
    }
    cr_expect_eq(v, 7, "outputs stay as they were");
}

Test(size, none)
{
    uint64_t v = 7;
    cr_expect(size_or_none("none", &v) && v == SIZE_NONE);
    cr_expect(size_or_none("5M", &v) && v == 5000000);
    cr_expect_not(size_or_none("None", &v));
    cr_expect_not(size_or_none("", &v));
}
