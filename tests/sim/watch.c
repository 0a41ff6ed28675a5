/* What clients WATCH, and which EXEC must be void: if, and only if, a watched key has changed since, whoever changed it
 * and however that came here.
 *
 * What must be so is said by the history alone. A key has changed if a row of it is another one, at any time since,
 * than what it was at the vector of WATCH; if there was none to be seen, then only by one that is to be seen; and also
 * if time alone has made it go, or come back. What can be said neither way is left open: a row that was touched and is
 * as it was (a member that came and went within one batch, a key within one MULTI), a key that is unsure (expect.c), a
 * store that went back. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

void sim_watch_draw(sim_config *config, uint64_t seed)
{
    sim_random random;
    sim_random_seed(&random, seed ^ 0x7761746368u);
    config->watch_permille = (uint32_t)sim_random_of(&random, 0, 0, 400, 1000);
}

/* -- rows of a key ------------------------------------------------------------------------------------------------- */

enum { ROWS_OF_KEY = 1 + 2 * SIM_MEMBERS };

/* The n-th that there can be; NULL: there never was. */
static const sim_row *row_of(sim_world *world, uint32_t key, uint32_t n)
{
    char name[16], member[16] = "";
    sk_table table = n == 0 ? SK_TABLE_KEY : n <= SIM_MEMBERS ? SK_TABLE_HASH : SK_TABLE_SET;
    snprintf(name, sizeof name, "k%u", key);
    if (n) snprintf(member, sizeof member, "%c%u", table == SK_TABLE_HASH ? 'f' : 'm', (n - 1) % SIM_MEMBERS);
    sk_buf raw = {0};
    sk_rowkey_pack(&raw, table, sk_bytes_str(name), sk_bytes_str(member));
    const sim_row *row = sim_oracle_row(&world->oracle, sk_buf_view(&raw));
    sk_buf_free(&raw);
    return row;
}

/* Is there an operation on a row of the key that `to` covers and `from` does not? `content`: one that puts something.
 */
static bool is_touched(sim_world *world, uint32_t key, const sk_vv *from, const sk_vv *to, bool content)
{
    for (uint32_t n = 0; n < ROWS_OF_KEY; n++) {
        const sim_row *row = row_of(world, key, n);
        for (uint32_t i = 0; row && i < row->count; i++) {
            sk_dot dot = row->ops[i]->txn->dot;
            if (sk_vv_covers(to, dot) && !sk_vv_covers(from, dot) && (!content || row->ops[i]->has_content))
                return true;
        }
    }
    return false;
}

/* Is there an operation that gave it a deadline? */
static bool had_deadline(sim_world *world, uint32_t key, const sk_vv *vv)
{
    const sim_row *row = row_of(world, key, 0);
    for (uint32_t i = 0; row && i < row->count; i++)
        if (row->ops[i]->has_deadline && sk_vv_covers(vv, row->ops[i]->txn->dot)) return true;
    return false;
}

static bool differs(sim_world *world, uint32_t key, const sk_vv *from, const sk_vv *to)
{
    if (!is_touched(world, key, from, to, false)) return false;
    sim_expected *then = sk_realloc(NULL, 2 * sizeof *then), *now = then + 1; /* large: not zeroed */
    bool same = true;
    for (uint32_t n = 0; n < ROWS_OF_KEY && same; n++) {
        const sim_row *row = row_of(world, key, n);
        if (!row) continue;
        sim_oracle_expect(row, from, then);
        sim_oracle_expect(row, to, now);
        same = sim_check_same(then, now);
    }
    free(then);
    return !same;
}

/* -- a watch ------------------------------------------------------------------------------------------------------- */

void sim_watch_begin(sim_client *client, const sim_request *request)
{
    sim_region *region = client->region;
    sim_watch *watch = &client->watch;
    sim_watch_end(client);
    watch->active = true;
    watch->epoch = region->replica->epoch;
    /* Reading puts it into place, in a batch that a failed disk will never have; that it is put there again counts as a
     * change. Who watches may be told too often, not too rarely. */
    watch->comes_again = region->replica->store_error && sk_fold_active(&region->replica->db);
    sim_region_canonical(region, &region->replica->db.vv, &watch->vv);
    for (uint32_t i = 1; i < request->argc; i++) {
        watch->keys[watch->count] = (uint32_t)(request->argv[i].data[1] - '0');
        watch->presence[watch->count] = sim_expect_presence(region, watch->keys[watch->count]);
        watch->count++;
    }
}

void sim_watch_end(sim_client *client)
{
    sk_vv_free(&client->watch.vv);
    client->watch = (sim_watch){0};
}

/* One that was there has changed since, or one that was not is there with what has just come. What a transfer has
 * brought is not in its place before somebody asks. */
static bool has_changed(sim_region *region, const sim_watch *watch, uint32_t i, const sk_vv *now)
{
    sim_world *world = region->world;
    uint32_t key = watch->keys[i];
    if (watch->presence[i] == SIM_PRESENT) return differs(world, key, &watch->vv, now);
    return watch->presence[i] == SIM_ABSENT && !sk_fold_active(&region->replica->db) &&
           differs(world, key, &region->vv, now) && sim_expect_presence(region, key) == SIM_PRESENT;
}

void sim_watch_look(sim_region *region, const sk_vv *now)
{
    for (uint32_t c = 0; c < region->world->config.clients; c++) {
        sim_watch *watch = &region->clients[c].watch;
        if (!watch->active || watch->epoch != region->replica->epoch) continue;
        for (uint32_t i = 0; i < watch->count && !watch->changed; i++)
            watch->changed = has_changed(region, watch, i, now);
    }
}

void sim_watch_exec(sim_region *region, const sim_request *requests, uint32_t count)
{
    for (uint32_t c = 0; c < region->world->config.clients; c++) {
        sim_watch *watch = &region->clients[c].watch;
        for (uint32_t i = 0; i < watch->count; i++) {
            char name[16];
            snprintf(name, sizeof name, "k%u", watch->keys[i]);
            for (uint32_t r = 0; r < count; r++)
                for (uint32_t a = 1; a < requests[r].argc; a++)
                    watch->in_multi[i] |= sk_bytes_equal(requests[r].argv[a], sk_bytes_str(name));
        }
    }
}

/* What follows from one key. */
static uint32_t verdict_of(sim_region *region, const sim_watch *watch, uint32_t i, const sk_vv *now)
{
    sim_world *world = region->world;
    uint32_t key = watch->keys[i];
    sim_presence then = watch->presence[i], here = sim_expect_presence(region, key);
    bool unsure = then == SIM_UNSURE || here == SIM_UNSURE;
    if (!unsure && then != here) return SIM_MAY_BE_VOID;
    if (then == SIM_PRESENT && differs(world, key, &watch->vv, now)) return SIM_MAY_BE_VOID;
    /* One that was not there comes with content; or for a moment without its deadline, if that is why it was not. */
    bool by_content = then == SIM_ABSENT && !had_deadline(world, key, &watch->vv);
    if (is_touched(world, key, &watch->vv, now, by_content) || watch->in_multi[i])
        return SIM_MAY_RUN | SIM_MAY_BE_VOID;
    return then == here ? SIM_MAY_RUN : SIM_MAY_RUN | SIM_MAY_BE_VOID;
}

uint32_t sim_watch_verdict(const sim_client *client)
{
    sim_region *region = client->region;
    const sim_watch *watch = &client->watch;
    uint32_t verdict = SIM_MAY_RUN;
    sk_vv now = {0};
    sim_region_canonical(region, &region->replica->db.vv, &now);
    if (watch->active && watch->epoch != region->replica->epoch) {
        verdict |= SIM_MAY_BE_VOID;
    } else {
        bool must = watch->changed;
        for (uint32_t i = 0; i < watch->count; i++) {
            uint32_t each = verdict_of(region, watch, i, &now);
            must |= each == SIM_MAY_BE_VOID;
            verdict |= each;
        }
        if (watch->comes_again) verdict |= SIM_MAY_BE_VOID;
        if (must) verdict = SIM_MAY_BE_VOID;
    }
    sk_vv_free(&now);
    return verdict;
}

void sim_watch_over(sim_client *client, uint32_t verdict)
{
    sim_world *world = client->region->world;
    if (client->watch.active) {
        bool ran = verdict == SIM_MAY_RUN;
        world->counts.watches_ran += ran;
        world->counts.watches_void += verdict == SIM_MAY_BE_VOID;
        if (ran) sim_mark(world, SIM_HAD_WATCH_RAN);
        if (verdict == SIM_MAY_BE_VOID) sim_mark(world, SIM_HAD_WATCH_VOID);
    }
    sim_watch_end(client);
}
