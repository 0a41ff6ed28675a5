/* The laws of the row merge, over pairs (vector, row) as causally valid histories leave them: merging is idempotent,
 * commutative and associative in what lives, and gives what applying all the operations would. */
#include "tests/prop/row_world.h"

typedef struct {
    sk_vv vv;   /* owned; canonical */
    sk_buf row; /* owned; packed, canonical */
} version;

enum { VERSIONS_MAX = 12 };

typedef struct {
    version all[VERSIONS_MAX];
    uint32_t count;
} versions;

static void free_version(version *of)
{
    sk_vv_free(&of->vv);
    sk_buf_free(&of->row);
}

static void keep_version(row_world *world, uint32_t at, versions *kept)
{
    if (kept->count == VERSIONS_MAX) return;
    version *made = &kept->all[kept->count++];
    *made = (version){0};
    sk_row row = world_canonical(world, at);
    world_vv(world, SITES_MAX, at, &world->sites[at].vv, &made->vv);
    sk_row_pack(&made->row, &row, false);
}

/* `into` takes a transfer from `from`. */
static version merge(row_world *world, const version *into, const version *from)
{
    version made = {0};
    sk_row s = world_row(world, sk_buf_view(&from->row), NULL), r = world_row(world, sk_buf_view(&into->row), NULL);
    sk_row row;
    sk_assert(sk_row_merge(&s, &from->vv, &r, &into->vv, &world->arena, &row) == 0);
    sk_row_check(&row);
    sk_row_pack(&made.row, &row, false);
    sk_vv_copy(&made.vv, &into->vv);
    sk_vv_join(&made.vv, &from->vv);
    return made;
}

static bool same(row_world *world, const version *a, const version *b, const char *law, sk_buf *why)
{
    sk_row one = world_row(world, sk_buf_view(&a->row), NULL), two = world_row(world, sk_buf_view(&b->row), NULL);
    sk_buf packed[2] = {{0}, {0}};
    sk_row_strip(&one, NULL, NULL, NULL);
    sk_row_strip(&two, NULL, NULL, NULL);
    sk_row_pack(&packed[0], &one, false);
    sk_row_pack(&packed[1], &two, false);
    bool equal = sk_vv_equal(&a->vv, &b->vv) && sk_bytes_equal(sk_buf_view(&packed[0]), sk_buf_view(&packed[1]));
    if (!equal) {
        sk_buf_printf(why, "not %s: ", law);
        oracle_tell_row(&one, why);
        sk_buf_printf(why, " against ");
        oracle_tell_row(&two, why);
    }
    sk_buf_free(&packed[0]);
    sk_buf_free(&packed[1]);
    return equal;
}

static bool follows_history(row_world *world, const version *of, sk_buf *why)
{
    sk_row have = world_row(world, sk_buf_view(&of->row), NULL);
    sk_row want = oracle_row(&world->oracle, 0, &of->vv, &world->arena);
    if (oracle_same(&have, &want)) return true;
    sk_buf_printf(why, "merged to ");
    oracle_tell_row(&have, why);
    sk_buf_printf(why, ", applying all operations gives ");
    oracle_tell_row(&want, why);
    return false;
}

static bool laws_of(row_world *world, const version *a, const version *b, const version *c, sk_buf *why)
{
    version aa = merge(world, a, a), ab = merge(world, a, b), ba = merge(world, b, a), bc = merge(world, b, c);
    version ab_c = merge(world, &ab, c), a_bc = merge(world, a, &bc), again = merge(world, &ab, b);
    bool hold = same(world, &aa, a, "idempotent", why) && same(world, &again, &ab, "idempotent", why) &&
                same(world, &ab, &ba, "commutative", why) && same(world, &ab_c, &a_bc, "associative", why) &&
                follows_history(world, &ab, why) && follows_history(world, &ab_c, why);
    free_version(&aa);
    free_version(&ab);
    free_version(&ba);
    free_version(&bc);
    free_version(&ab_c);
    free_version(&a_bc);
    free_version(&again);
    return hold;
}

/* -- random histories ---------------------------------------------------------------------------------------------- */

enum { EVENT_KEEP = EVENT_KINDS };

static void draw(prop_random *random, prop_event *event)
{
    static const uint32_t weights[EVENT_KEEP + 1] = {
        [EVENT_SET] = 4,      [EVENT_DEL] = 4,      [EVENT_INCR] = 12,     [EVENT_INCR_REAL] = 2, [EVENT_DEADLINE] = 2,
        [EVENT_PERSIST] = 1,  [EVENT_MEMBER] = 1,   [EVENT_RESOLVE] = 3,   [EVENT_DROP] = 3,      [EVENT_CONTEXT] = 4,
        [EVENT_DELIVER] = 25, [EVENT_ACK] = 6,      [EVENT_FORGET] = 4,    [EVENT_KEEP] = 15,
    };
    event->kind = prop_weighted(random, weights, EVENT_KEEP + 1);
    event->a = prop_below(random, SITES_MAX);
    event->b = prop_below(random, SITES_MAX);
    event->x = prop_below(random, 10);
}

static bool run(uint64_t seed, const prop_event *events, uint32_t count, sk_buf *why)
{
    row_world world;
    versions kept = {.count = 0};
    bool hold = true;
    world_start(&world, 2 + (uint32_t)(seed % (SITES_MAX - 1)));
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].a >= world.count || events[i].b >= world.count) continue;
        if (events[i].kind == EVENT_KEEP)
            keep_version(&world, events[i].a, &kept);
        else if (events[i].kind < EVENT_DELIVER || events[i].kind == EVENT_FORGET || events[i].a != events[i].b)
            world_do(&world, &events[i]);
    }
    for (uint32_t a = 0; a < kept.count; a++)
        for (uint32_t b = 0; b < kept.count; b++)
            for (uint32_t c = 0; c < kept.count && hold; c++) {
                sk_arena_reset(&world.arena);
                hold = laws_of(&world, &kept.all[a], &kept.all[b], &kept.all[c], why);
            }
    for (uint32_t i = 0; i < kept.count; i++) free_version(&kept.all[i]);
    world_end(&world);
    return hold;
}

static void tell(const prop_event *event, sk_buf *text)
{
    if (event->kind == EVENT_KEEP)
        sk_buf_printf(text, "keep what %c has", 'a' + (int)event->a);
    else
        world_tell(event, text);
}

static void the_laws_of_the_merge_hold(void **state)
{
    (void)state;
    static const prop_test test = {"merge", 400, 70, draw, run, tell};
    prop_check(&test);
}

/* What is derived locally stays with the row that it belongs to. */
static void the_sizes_are_the_receivers(void **state)
{
    (void)state;
    sk_arena arena = {0};
    sk_vv none = {0};
    sk_row s = {.fields = 7, .members = 8}, r = {.fields = 1, .members = 2}, merged;
    assert_int_equal(sk_row_merge(&s, &none, &r, &none, &arena, &merged), 0);
    assert_int_equal(merged.fields, 1);
    assert_int_equal(merged.members, 2);
    sk_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_laws_of_the_merge_hold),
        cmocka_unit_test(the_sizes_are_the_receivers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
