#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"

enum { MANY = 2000 };

static void key_of(uint32_t i, uint8_t key[20])
{
    memset(key, 0x55, 20);
    memcpy(key + 8, &i, sizeof i);
}

Test(map, put_get_del)
{
    struct map m;
    int a, b;
    map_init(&m, env_system(), 3, 10);
    cr_assert_null(map_get(&m, "abc"));
    cr_assert_null(map_del(&m, "abc"));
    cr_assert_eq(map_put(&m, "abc", &a), 0);
    cr_assert_eq(map_put(&m, "abd", &b), 0);
    cr_assert_eq(map_put(&m, "abc", &b), ERR_EXISTS);
    cr_assert_eq(m.count, 2);
    cr_assert_eq(map_get(&m, "abc"), &a);
    cr_assert_eq(map_get(&m, "abd"), &b);
    cr_assert_eq(map_del(&m, "abc"), &a);
    cr_assert_null(map_get(&m, "abc"));
    cr_assert_eq(map_get(&m, "abd"), &b);
    cr_assert_eq(m.count, 1);
    map_release(&m);
}

Test(map, keys_are_copied)
{
    struct map m;
    int a;
    char key[] = "k1";
    map_init(&m, env_system(), 2, 10);
    cr_assert_eq(map_put(&m, key, &a), 0);
    key[1] = '2';
    cr_assert_null(map_get(&m, key));
    cr_assert_eq(map_get(&m, "k1"), &a);
    map_release(&m);
}

Test(map, the_cap_is_an_ordinary_error)
{
    struct map m;
    int v;
    map_init(&m, env_system(), 1, 2);
    cr_assert_eq(map_put(&m, "a", &v), 0);
    cr_assert_eq(map_put(&m, "b", &v), 0);
    cr_assert_eq(map_put(&m, "c", &v), ERR_LIMIT);
    cr_assert_null(map_get(&m, "c"));
    cr_assert_eq(map_put(&m, "a", &v), ERR_EXISTS);
    cr_assert_eq(map_del(&m, "a"), &v);
    cr_assert_eq(map_put(&m, "c", &v), 0);
    map_release(&m);
    struct map nothing;
    map_init(&nothing, env_system(), MAP_KEY_MAX, 0);
    uint8_t key[MAP_KEY_MAX] = {0};
    cr_assert_eq(map_put(&nothing, key, &v), ERR_LIMIT);
    map_release(&nothing);
    map_release(NULL);
}

/* Against the plainest model there is: an array indexed by the number in the key. */
Test(map, behaves_like_an_array)
{
    static int values[MANY];
    bool there[MANY] = {false};
    size_t count = 0;
    struct map m;
    uint8_t key[20];
    map_init(&m, env_system(), sizeof key, MANY);
    uint32_t x = 1;
    for (size_t step = 0; step < 50000; step++) {
        x = x * 1664525u + 1013904223u;
        uint32_t i = (x >> 8) % MANY;
        key_of(i, key);
        cr_assert_eq(map_get(&m, key), there[i] ? &values[i] : NULL);
        if ((x >> 28) % 2 == 0) {
            cr_assert_eq(map_put(&m, key, &values[i]), there[i] ? ERR_EXISTS : 0);
            count += !there[i];
            there[i] = true;
        } else {
            cr_assert_eq(map_del(&m, key), there[i] ? &values[i] : NULL);
            count -= there[i];
            there[i] = false;
        }
        cr_assert_eq(m.count, count);
    }
    map_release(&m);
}

Test(map, iteration_sees_each_once_and_may_delete)
{
    static int values[MANY];
    bool seen[MANY] = {false};
    struct map m;
    uint8_t key[20];
    map_init(&m, env_system(), sizeof key, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        key_of(i, key);
        cr_assert_eq(map_put(&m, key, &values[i]), 0);
    }
    size_t pos = 0, n = 0;
    const void *k;
    void *v;
    while (map_next(&m, &pos, &k, &v)) {
        size_t i = (size_t)((int *)v - values);
        key_of((uint32_t)i, key);
        cr_assert_arr_eq((const uint8_t *)k, key, sizeof key);
        cr_assert_not(seen[i]);
        seen[i] = true;
        n++;
        if (i % 3 == 0) {
            cr_assert_eq(map_del(&m, key), v);
        }
    }
    cr_assert_eq(n, MANY);
    pos = n = 0;
    while (map_next(&m, &pos, NULL, &v)) {
        cr_assert_neq(((int *)v - values) % 3, 0);
        n++;
    }
    cr_assert_eq(n, m.count);
    map_release(&m);
}

Test(map, turnover_does_not_grow_the_table)
{
    struct map m;
    int v;
    uint8_t key[20];
    map_init(&m, env_system(), sizeof key, 8);
    for (uint32_t i = 0; i < 100000; i++) {
        key_of(i, key);
        cr_assert_eq(map_put(&m, key, &v), 0);
        if (i >= 7) {
            key_of(i - 7, key);
            cr_assert_eq(map_del(&m, key), &v);
        }
    }
    cr_assert_leq(m.cap, 32);
    map_release(&m);
}
