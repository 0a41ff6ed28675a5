/* Clocks that are far ahead, and the promise about them.
 *
 * In each world at most one region's clock is ever an hour or ten years ahead, so most of what any region hears is
 * right. Such a region stamps far ahead only as long as it has heard nobody since its start. Once it has, and when its
 * clock has been set right in any case, no stamp may be further ahead than the bounds of crdt/hlc.h and gossip/clock.h
 * allow over the furthest clock that counts as right. */
#include "gossip/clock.h"
#include "tests/sim/world.h"

enum { FAR_PERMILLE = 300, SLACK_MS = 1000 };

#define HOUR_MS ((int64_t)3600000)
#define YEAR_MS (365 * 24 * HOUR_MS)

bool sim_clock_far(sim_world *world, sim_region *region)
{
    if (world->config.regions < 2 || !sim_random_chance(&world->random, FAR_PERMILLE)) return false;
    if (!world->far_region) world->far_region = region;
    if (world->far_region != region || region->far_ms) return false;
    region->far_ms = sim_random_chance(&world->random, 500) ? HOUR_MS : 10 * YEAR_MS;
    sim_mark(world, region->far_ms > HOUR_MS ? SIM_HAD_TEN_YEARS : SIM_HAD_HOUR);
    sim_tell(world, "%s: its clock is %lld s ahead", region->name, (long long)region->far_ms / 1000);
    return true;
}

void sim_clock_check(const sim_region *region, sk_hlc stamp)
{
    sim_world *world = region->world;
    const sk_replica *replica = region->replica;
    int64_t most = 0;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const sim_region *other = &world->regions[i];
        int64_t ahead = other->wall_most_ms + (int64_t)sim_region_now_ms(other) - (int64_t)sim_now_ms(world);
        if (ahead > most) most = ahead;
    }
    if (region->far_ms && !sk_engine_clock(replica->engine, replica->now_ms, replica->wall_ms).known) return;
    uint64_t now_ms = sim_now_ms(world);
    uint64_t bound = SIM_WALL_MS + now_ms + (uint64_t)most + SK_HLC_AHEAD_MS_MAX + SK_HLC_LEAD_MS_MAX +
                     now_ms / SK_CLOCK_DRIFT_PART + SLACK_MS;
    if (sk_hlc_ms(stamp) > bound)
        sim_fail(world, "%s stamps %llu ms further ahead than it may", region->name,
                 (unsigned long long)(sk_hlc_ms(stamp) - bound));
}

const char *sim_clock_missing(const sim_world *world)
{
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const sk_replica *replica = world->regions[i].replica;
        if (!sim_member_stays(world, i) || (replica && sk_engine_others(replica->engine) == 0)) continue;
        if (!replica || !sk_engine_clock(replica->engine, replica->now_ms, replica->wall_ms).known)
            return "a region does not know its peers' clocks";
    }
    return NULL;
}
