/* Which delta goes over which link, and how often.
 *
 * A *delta* is a transaction in a BATCH; it *crosses* a link when it is sent over it, in either direction. (What a
 * transfer brings are rows, not deltas.) Within one session of a link, from the hour when both ends are connected:
 *  1. A direction carries an origin's deltas in ascending order, so each at most once; it goes back only after the
 *     receiver has asked for it: RESEND, or CANCEL of a transfer.
 *  2. What has arrived over the link never goes back over it: whoever sent it has it.
 * These hold in every run, whatever goes wrong.
 *  3. In the *steady state* each delta crosses each link at most once, in both directions together. Two ends may
 *     otherwise send the same to each other at the same time, while they find out who relays what to whom.
 * The steady state is: nothing fails and nothing was lost since all links of the graph have been up, the way of a link
 * and the disk are short beside relay_ms (a sixteenth at most), every region has written since and all regions have got
 * it without a relay that began or ended, and no RESEND, transfer or CANCEL is under way.
 *
 * So after healing a run comes to its calm rounds. In each every region writes once, and the next begins when all
 * agree. As long as relays begin and end they are warm-up, which must come to an end; those after it are judged, but
 * for rounds in which a limit (a ring of three transactions, room for one that is held back) forced a transfer or a
 * RESEND: these are counted as rough, and where relays changed in one, warm-up follows again. */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#include <stdio.h>

enum { STREAM_CALM = 'q', WARM_UP_MAX = 12 };

/* Who relays what is found out from neighbour to neighbour: the more regions, the more rounds. */
static uint32_t warm_up_most(const sim_world *world) { return WARM_UP_MAX + world->config.regions / 4; }

typedef struct {
    uint32_t origin; /* canonical */
    uint64_t first, last;
} batch_span;

/* The span of a BATCH that `region` sends into `lane`. */
static bool read_span(sim_region *region, sim_lane *lane, sk_bytes message, batch_span *span)
{
    sk_reader reader = sk_reader_of(message);
    sk_batch batch;
    sk_vv none = {0}, canonical = {0};
    if (sk_message_type_read(&reader) != SK_MESSAGE_BATCH) return false;
    if (sk_batch_read(&reader, NULL, &batch)) sim_fail(region->world, "%s sends a batch that is none", region->name);
    sim_region_canonical(region, &none, &canonical); /* brings the map up to date */
    sk_vv_free(&canonical);
    span->origin = region->map[batch.origin];
    span->first = batch.continues ? sk_vv_get(&lane->batch_end, span->origin) + 1 : batch.first;
    span->last = span->first + batch.count - 1;
    return true;
}

static void check_steady(sim_world *world, const sim_link *link, uint32_t end, const batch_span *span)
{
    uint64_t from = sk_vv_get(&world->round_from, span->origin), other = sk_vv_get(&link->to[!end].sent, span->origin);
    uint64_t first = span->first > from ? span->first : from + 1;
    if (world->phase != SIM_CALM || !world->settled || world->rough) return;
    if (span->last >= first) world->counts.calm_deltas += span->last - first + 1;
    if (span->last >= first && other >= first)
        sim_fail(world, "delta %llu of %s crosses the link between %s and %s twice, once each way",
                 (unsigned long long)first, world->oracle.origins[span->origin].region,
                 world->regions[link->region[0]].name, world->regions[link->region[1]].name);
}

static bool is_rough(sk_message_type type)
{
    return type == SK_MESSAGE_RESEND || type == SK_MESSAGE_CANCEL || type == SK_MESSAGE_OFFER ||
           type == SK_MESSAGE_REQUEST || type == SK_MESSAGE_BEGIN || type == SK_MESSAGE_HELLO ||
           type == SK_MESSAGE_ASK || type == SK_MESSAGE_WANT;
}

void sim_crossing_sent(sim_world *world, uint32_t index, uint32_t end, sim_message *message)
{
    sim_link *link = &world->links[index];
    sim_lane *lane = &link->to[end];
    sim_region *from = &world->regions[link->region[!end]];
    batch_span span;
    if (is_rough((sk_message_type)message->data[0])) world->rough = true;
    if (!read_span(from, lane, sk_bytes_of(message->data, message->len), &span)) return;
    const char *to = world->regions[link->region[end]].name, *author = world->oracle.origins[span.origin].region;
    if (span.first <= sk_vv_get(&lane->sent, span.origin))
        sim_fail(world, "%s sends %s delta %llu of %s again, which it has not asked for", from->name, to,
                 (unsigned long long)span.first, author);
    if (span.first <= sk_vv_get(&link->to[!end].arrived, span.origin))
        sim_fail(world, "%s sends %s delta %llu of %s, which it got from there", from->name, to,
                 (unsigned long long)span.first, author);
    check_steady(world, link, end, &span);
    sk_vv_set(&lane->sent, span.origin, span.last);
    sk_vv_set(&lane->batch_end, span.origin, span.last);
    message->delta_origin = span.origin;
    message->delta_last = span.last;
    world->counts.deltas += span.last - span.first + 1;
}

void sim_crossing_arrived(sim_world *world, uint32_t index, uint32_t end, const sim_message *message)
{
    sim_link *link = &world->links[index];
    if (message->data[0] == SK_MESSAGE_RESEND || message->data[0] == SK_MESSAGE_CANCEL)
        sk_vv_free(&link->to[!end].sent); /* who is asked may send all that again */
    if (message->delta_last) sk_vv_raise(&link->to[end].arrived, message->delta_origin, message->delta_last);
}

void sim_crossing_reset(sim_link *link)
{
    for (int end = 0; end < 2; end++) {
        sim_lane *lane = &link->to[end];
        sk_vv *vectors[] = {&lane->sent, &lane->arrived, &lane->batch_end};
        for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) sk_vv_free(vectors[i]);
    }
}

void sim_crossing_free(sim_world *world)
{
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++)
            sim_crossing_reset(&world->links[sim_network_link(world, a, b)]);
    sk_vv_free(&world->round_from);
}

/* -- calm rounds --------------------------------------------------------------------------------------------------- */

/* Ways and disks are short beside the patience of relays. */
static void calm_down(sim_world *world)
{
    sim_config *config = &world->config;
    uint64_t short_us = (uint64_t)config->limits.relay_ms * 1000 / 16;
    sim_network_calm(world, short_us);
    if (config->disk_us > short_us) config->disk_us = short_us;
    if (config->turn_us > short_us) config->turn_us = short_us;
    if (config->sync_us > short_us) config->sync_us = short_us;
}

/* Names who relays what to whom. */
static uint64_t name_relays_of(sim_region *region)
{
    const sk_engine *engine = region->replica->engine;
    uint64_t name = 0;
    sk_vv none = {0}, canonical = {0};
    sim_region_canonical(region, &none, &canonical); /* brings the map up to date */
    for (uint32_t p = 0; p < engine->peer_count; p++)
        for (uint32_t o = 0; o < engine->peers[p].track_count; o++) {
            sim_random hash;
            if (!engine->peers[p].tracks[o].relaying) continue;
            sim_random_derive(&hash, region->index, sim_member_region(region, p), region->map[o], 0);
            name += sim_random_next(&hash);
        }
    sk_vv_free(&canonical);
    return name;
}

static uint64_t name_relays(sim_world *world)
{
    uint64_t name = 0;
    for (uint32_t i = 0; i < world->config.regions; i++)
        if (sim_member_stays(world, i)) name += name_relays_of(&world->regions[i]);
    return name;
}

/* The round that has come to its end. */
static void judge(sim_world *world)
{
    sim_counts *counts = &world->counts;
    uint64_t relays = name_relays(world);
    bool restless = relays != world->relays;
    world->relays = relays;
    if (world->settled) {
        counts->rough_rounds += world->rough;
        counts->calm_rounds += !world->rough;
        world->rounds_left--;
        if (world->rough && restless) world->settled = false; /* warm-up again */
    } else if (!restless) {
        world->settled = true;
    } else if (world->rough && world->round >= warm_up_most(world)) {
        counts->rough_rounds += world->rounds_left; /* a limit keeps it from coming to rest */
        world->rounds_left = 0;
    } else if (!world->rough && ++world->warm_ups == warm_up_most(world)) {
        sim_fail(world, "after %u writes of each region relays still begin and end", world->round);
    }
}

bool sim_crossing_round(sim_world *world)
{
    if (world->round == 0) {
        world->rounds_left = world->config.calm_rounds;
        world->relays = name_relays(world);
        calm_down(world);
    } else {
        judge(world);
    }
    if (world->rounds_left == 0) return false;
    world->round++;
    world->rough = false;
    sk_vv_copy(&world->round_from, &sim_member_first(world)->vv);
    sim_tell(world, "calm round %u", world->round);
    sim_random_derive(&world->random, world->seed, STREAM_CALM, world->round, 0);
    for (uint32_t i = 0; i < world->config.regions; i++) {
        uint64_t at_us = world->now_us + sim_random_below(&world->random, 300000);
        if (sim_member_stays(world, i)) sim_event_push(world, at_us, SIM_EVENT_CALM, i, 0, 0);
    }
    return true;
}

void sim_crossing_write(sim_world *world, uint32_t index)
{
    char value[32];
    sim_region *region = &world->regions[index];
    snprintf(value, sizeof value, "calm%u.%s", world->round, region->name);
    const char *const words[] = {"SET", "k0", value};
    if (sim_client_is_mute(region)) return;
    const sim_client *client = &region->clients[0];
    /* A store on its way back, a WAIT of before, or a MULTI that stood behind one. */
    bool busy = !region->replica || client->pending_count || client->queued_count || client->session->block;
    if (busy || !sim_client_ask(region, 0, words, 3, true))
        sim_event_push(world, world->now_us + 50000, SIM_EVENT_CALM, index, 0, 0);
}
