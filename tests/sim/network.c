/* Links. A session is like a TCP connection: messages arrive in order and unharmed or not at all; when it breaks, what
 * is under way is lost in both directions, and each end notices in its own time. */
#include "gossip/message.h"
#include "tests/sim/world.h"

#include <stdlib.h>

enum { STREAM_LINK = 'l', RETRANSMIT_US = 200000 };

/* Some ways are long and some short, so that what goes two ways arrives in any order. None is so long that an answer
 * takes longer than a silent link is waited for. */
static void draw_way(const sim_world *world, sim_link *link)
{
    const sim_config *config = &world->config;
    sim_random_derive(&link->random, world->seed, STREAM_LINK, config->id[link->region[0]],
                      config->id[link->region[1]]);
    link->delay_us = config->delay_us * sim_random_of(&link->random, 1, 4, 4, 12) / 4;
    uint64_t longest_us = (uint64_t)config->limits.silence_ms * 1000 / 5;
    if (link->delay_us > longest_us) link->delay_us = longest_us;
}

void sim_network_init(sim_world *world)
{
    const sim_config *config = &world->config;
    for (uint32_t a = 0; a < config->regions; a++)
        for (uint32_t b = a + 1; b < config->regions; b++) {
            sim_link *link = &world->links[sim_network_link(world, a, b)];
            *link = (sim_link){.region = {a, b}, .exists = config->graph[a][b]};
            draw_way(world, link);
        }
}

static void empty_lane(sim_lane *lane)
{
    for (uint32_t i = 0; i < lane->count; i++) free(lane->list[(lane->first + i) % lane->room].data);
    lane->count = lane->waiting = 0;
    lane->bytes = 0;
    lane->last_us = 0;
}

void sim_network_free(sim_world *world)
{
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++)
            for (int end = 0; end < 2; end++) {
                sim_lane *lane = &world->links[sim_network_link(world, a, b)].to[end];
                empty_lane(lane);
                free(lane->list);
            }
    sim_crossing_free(world);
}

uint32_t sim_network_link(const sim_world *world, uint32_t a, uint32_t b)
{
    (void)world;
    return a < b ? a * SIM_REGIONS_MAX + b : b * SIM_REGIONS_MAX + a;
}

/* The number of a region that it is linked with. */
static uint32_t peer_of(const sim_region *region, const sim_region *other)
{
    int peer = sim_member_peer(region, other);
    if (peer < 0) sim_fail(region->world, "%s: it is linked with %s, no member", region->name, other->name);
    return (uint32_t)peer;
}

/* -- messages ------------------------------------------------------------------------------------------------------ */

void sim_network_send(sim_world *world, uint32_t from, uint32_t to, sk_bytes bytes)
{
    uint32_t index = sim_network_link(world, from, to), end = to > from;
    sim_link *link = &world->links[index];
    sim_lane *lane = &link->to[end];
    if (!link->exists) sim_fail(world, "%s sends to a region that it has no link with", world->regions[from].name);
    if (!link->up[!end]) return; /* its own end is closed: a last word that goes nowhere */
    bool is_batch = bytes.data[0] == SK_MESSAGE_BATCH;
    world->counts.messages++;
    world->counts.bytes += bytes.len;
    world->counts.batches += is_batch;
    world->counts.batch_bytes += is_batch ? bytes.len : 0;
    if (lane->count == lane->room) {
        uint32_t room = lane->room ? lane->room * 2 : 8;
        sim_message *list = sk_alloc(room * sizeof *list);
        for (uint32_t i = 0; i < lane->count; i++) list[i] = lane->list[(lane->first + i) % lane->room];
        free(lane->list);
        lane->list = list;
        lane->first = 0;
        lane->room = room;
    }
    uint8_t *copy = sk_alloc(bytes.len + 1);
    memcpy(copy, bytes.data, bytes.len);
    sim_message *message = &lane->list[(lane->first + lane->count++) % lane->room];
    *message = (sim_message){.data = copy, .len = bytes.len};
    lane->bytes += bytes.len;
    sim_crossing_sent(world, index, end, message);
    if (link->dead) return; /* counts as queued until the end notices */
    const sim_config *config = &world->config;
    uint64_t at = world->now_us + link->delay_us / 2 + sim_random_below(&link->random, link->delay_us + 1);
    if (config->delay_tail_us && sim_random_chance(&link->random, 100))
        at += sim_random_below(&link->random, config->delay_tail_us);
    /* What is lost TCP sends again, each time after twice as long; all that follows waits for it. */
    for (uint64_t wait = RETRANSMIT_US; wait < 32 * RETRANSMIT_US; wait *= 2) {
        if (!link->loss_permille || !sim_random_chance(&link->random, link->loss_permille)) break;
        at += wait;
        world->counts.lost++;
    }
    if (at < lane->last_us) at = lane->last_us;
    lane->last_us = at;
    sim_event_push(world, at, SIM_EVENT_MESSAGE, index, end, link->session);
}

size_t sim_network_queued(const sim_world *world, uint32_t from, uint32_t to)
{
    return world->links[sim_network_link(world, from, to)].to[to > from].bytes;
}

static const char *name_of(sim_message message)
{
    static const char *const names[] = {"?",       "HELLO",   "ORIGINS", "BATCH",     "STATUS", "RESEND", "OFFER",
                                        "REQUEST", "BEGIN",   "CHUNK",   "CHUNK_ACK", "END",    "CANCEL", "GOODBYE",
                                        "ENOUGH",  "COMPARE", "ASK",     "PARTS",     "ROWS",   "WANT",   "DONE"};
    unsigned type = message.len ? message.data[0] : 0;
    return names[type < sizeof names / sizeof *names ? type : 0];
}

static void count_message(sim_world *world, sim_message message)
{
    sim_counts *counts = &world->counts;
    if (message.data[0] == SK_MESSAGE_BEGIN) { /* its last two values: reconcile, resumed */
        bool reconcile = message.data[message.len - 2] == 0xc3, resumed = message.data[message.len - 1] == 0xc3;
        counts->transfers_reconcile += reconcile;
        counts->transfers_resumed += resumed;
        sim_mark(world, SIM_HAD_TRANSFER);
        if (reconcile) sim_mark(world, SIM_HAD_RECONCILE);
        if (resumed) sim_mark(world, SIM_HAD_RESUMED);
    }
    counts->transfers += message.data[0] == SK_MESSAGE_BEGIN;
    counts->questions += message.data[0] == SK_MESSAGE_ASK;
    counts->wants += message.data[0] == SK_MESSAGE_WANT;
    counts->transfers_ended += message.data[0] == SK_MESSAGE_END;
    counts->resends += message.data[0] == SK_MESSAGE_RESEND;
}

/* Hands the first message of a lane over, and tells its sender when the lane is empty. */
static void deliver(sim_world *world, uint32_t index, uint32_t end)
{
    sim_link *link = &world->links[index];
    sim_lane *lane = &link->to[end];
    sim_message message = lane->list[lane->first];
    lane->first = (lane->first + 1) % lane->room;
    lane->count--;
    lane->bytes -= message.len;
    sim_region *to = &world->regions[link->region[end]], *from = &world->regions[link->region[!end]];
    sim_trace(world, "%s <- %s %s, %zu bytes", to->name, from->name, name_of(message), message.len);
    count_message(world, message);
    if (link->up[end]) {
        sim_crossing_arrived(world, index, end, &message);
        sim_region_time(to);
        sk_replica_message(to->replica, peer_of(to, from), sk_bytes_of(message.data, message.len));
        sim_region_after(to);
    }
    free(message.data);
    if (lane->bytes == 0 && link->up[!end] && !link->dead && from->replica) {
        sim_region_time(from);
        sk_replica_writable(from->replica, peer_of(from, to));
        sim_region_after(from);
    }
}

void sim_network_message(sim_world *world, const sim_event *event)
{
    sim_link *link = &world->links[event->a];
    sim_lane *lane = &link->to[event->b];
    if (link->session != event->n || link->dead || lane->count == 0) return;
    if (lane->stalls)
        lane->waiting++;
    else
        deliver(world, event->a, event->b);
}

/* -- sessions ------------------------------------------------------------------------------------------------------ */

/* One end may still think that the last session stands, if that is dead: the new one tells it. */
static bool may_connect(const sim_world *world, const sim_link *link)
{
    const sim_region *first = &world->regions[link->region[0]], *second = &world->regions[link->region[1]];
    bool at_end = (!link->up[0] && !link->up[1]) || (link->dead && !(link->up[0] && link->up[1]));
    return link->exists && !link->blocks && !link->refused[0] && !link->refused[1] && at_end && !link->closing[0] &&
           !link->closing[1] && !link->to[0].stalls && !link->to[1].stalls && first->replica && second->replica &&
           sim_member_accepts(first, second) && sim_member_accepts(second, first);
}

static void dial(sim_world *world, uint32_t index)
{
    sim_link *link = &world->links[index];
    if (link->connecting || !may_connect(world, link)) return;
    link->connecting = true;
    sim_event_push(world, world->now_us + sim_random_between(&link->random, 1000, 400000), SIM_EVENT_CONNECT, index, 0,
                   0);
}

void sim_network_dial(sim_world *world, uint32_t region)
{
    for (uint32_t other = 0; other < world->config.regions; other++)
        if (other != region) dial(world, sim_network_link(world, region, other));
}

static void drop_stale_end(sim_world *world, sim_link *link)
{
    empty_lane(&link->to[0]);
    empty_lane(&link->to[1]);
    for (uint32_t end = 0; end < 2; end++) {
        if (!link->up[end]) continue;
        sim_region *region = &world->regions[link->region[end]];
        link->up[end] = false;
        sim_mark(world, SIM_HAD_STALE_END);
        sim_region_time(region);
        sk_replica_link_down(region->replica, peer_of(region, &world->regions[link->region[!end]]));
        sim_region_after(region);
    }
}

void sim_network_connect(sim_world *world, const sim_event *event)
{
    sim_link *link = &world->links[event->a];
    link->connecting = false;
    if (!may_connect(world, link)) return;
    drop_stale_end(world, link);
    if (!may_connect(world, link)) return; /* that was the last it did */
    link->session++;
    link->dead = false;
    link->up[0] = link->up[1] = true;
    sim_crossing_reset(link);
    sim_tell(world, "%s and %s are linked", world->regions[link->region[0]].name, world->regions[link->region[1]].name);
    sim_member_linked(world, link);
    uint32_t first = (uint32_t)sim_random_below(&link->random, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t end = first ^ i;
        sim_region *region = &world->regions[link->region[end]];
        if (!link->up[end] || !region->replica) continue;
        sim_region_time(region);
        sk_replica_link_up(region->replica, peer_of(region, &world->regions[link->region[!end]]));
        sim_region_after(region);
    }
}

void sim_network_cut(sim_world *world, uint32_t index)
{
    sim_link *link = &world->links[index];
    if (link->dead || (!link->up[0] && !link->up[1])) return;
    link->dead = true;
    world->counts.cuts++;
    sim_tell(world, "the link between %s and %s breaks", world->regions[link->region[0]].name,
             world->regions[link->region[1]].name);
    for (uint32_t end = 0; end < 2; end++) {
        if (!link->up[end]) continue;
        uint64_t notices = sim_random_chance(&link->random, 300) ? sim_random_below(&link->random, 3000000)
                                                                 : sim_random_below(&link->random, 50000);
        sim_event_push(world, world->now_us + notices, SIM_EVENT_CLOSED, index, end, link->session);
    }
}

/* One end is closed: the other will notice, and when both have, a new session may begin. */
static void end_closed(sim_world *world, uint32_t index, uint32_t end)
{
    sim_link *link = &world->links[index];
    link->up[end] = link->closing[end] = false;
    if (!link->up[!end]) {
        empty_lane(&link->to[0]);
        empty_lane(&link->to[1]);
        dial(world, index);
    } else if (!link->dead && sim_random_chance(&link->random, 500)) {
        /* Closed in order: what it had sent arrives, and after it the end of the stream. */
        uint64_t last_us = link->to[!end].last_us;
        sim_event_push(world, last_us, SIM_EVENT_CLOSED, index, !end, link->session);
    } else {
        sim_network_cut(world, index);
        if (sim_random_chance(&link->random, 500)) dial(world, index); /* and may not wait for the other to notice */
    }
}

void sim_network_closed(sim_world *world, const sim_event *event)
{
    sim_link *link = &world->links[event->a];
    if (link->session != event->n || (!link->up[event->b] && !link->closing[event->b])) return;
    bool by_itself = link->closing[event->b];
    sim_region *region = &world->regions[link->region[event->b]], *other = &world->regions[link->region[!event->b]];
    sim_trace(world, "%s: the link to %s is down", region->name, other->name);
    end_closed(world, event->a, event->b);
    if (by_itself || !region->replica) return;
    sim_region_time(region);
    sk_replica_link_down(region->replica, peer_of(region, other));
    sim_region_after(region);
}

void sim_network_hang_up(sim_world *world, uint32_t from, uint32_t to, int error)
{
    uint32_t index = sim_network_link(world, from, to), end = from > to;
    sim_link *link = &world->links[index];
    sim_tell(world, "%s hangs up on %s: %s", world->regions[from].name, world->regions[to].name,
             error ? sk_error_text(error) : "goodbye");
    bool harmless = error == SK_OK || error == SK_E_TIMEOUT || error == SK_E_FORGOTTEN || error == SK_E_SHUTDOWN ||
                    error == SK_E_LINK_DOWN || sk_error_class(error) == SK_CLASS_RETRY;
    if (!harmless)
        sim_fail(world, "%s hangs up on %s, which did nothing wrong: %s", world->regions[from].name,
                 world->regions[to].name, sk_error_text(error));
    if (!link->up[end]) return;
    link->up[end] = false; /* at once: nothing more comes in */
    link->closing[end] = true;
    sim_event_push(world, world->now_us, SIM_EVENT_CLOSED, index, end, link->session);
}

void sim_network_allow(sim_world *world, uint32_t from, uint32_t to, bool allowed)
{
    uint32_t index = sim_network_link(world, from, to);
    sim_link *link = &world->links[index];
    link->refused[from > to] = !allowed;
    if (!allowed) sim_network_cut(world, index);
    if (allowed) dial(world, index);
}

void sim_network_members(sim_world *world, uint32_t region)
{
    for (uint32_t other = 0; other < world->config.regions; other++) {
        if (other == region) continue;
        uint32_t index = sim_network_link(world, region, other);
        sim_link *link = &world->links[index];
        if (sim_member_peer(&world->regions[region], &world->regions[other]) < 0)
            link->refused[region > other] = false; /* an operator's word about a link goes with the member */
        if (link->up[region > other] && !sim_member_accepts(&world->regions[region], &world->regions[other]))
            sim_network_cut(world, index);
        dial(world, index);
    }
}

void sim_network_gone(sim_world *world, uint32_t region)
{
    for (uint32_t other = 0; other < world->config.regions; other++) {
        if (other == region) continue;
        uint32_t index = sim_network_link(world, region, other);
        sim_link *link = &world->links[index];
        uint32_t end = region > other;
        if (!link->up[end] && !link->closing[end]) continue;
        end_closed(world, index, end);
    }
}

/* -- what faults do ------------------------------------------------------------------------------------------------ */

void sim_network_block(sim_world *world, uint32_t index)
{
    world->links[index].blocks++;
    sim_network_cut(world, index);
}

void sim_network_unblock(sim_world *world, uint32_t index)
{
    if (--world->links[index].blocks == 0) dial(world, index);
}

void sim_network_stall(sim_world *world, uint32_t index, uint32_t end) { world->links[index].to[end].stalls++; }

void sim_network_unstall(sim_world *world, uint32_t index, uint32_t end)
{
    sim_link *link = &world->links[index];
    sim_lane *lane = &link->to[end];
    if (--lane->stalls) return;
    for (; lane->waiting; lane->waiting--)
        sim_event_push(world, world->now_us, SIM_EVENT_MESSAGE, index, end, link->session);
    dial(world, index);
}

static bool is_whole(const sim_world *world, const sim_link *link)
{
    bool stays = sim_member_stays(world, link->region[0]) && sim_member_stays(world, link->region[1]);
    return !link->exists || !stays || (link->up[0] && link->up[1] && !link->dead && !link->connecting);
}

bool sim_network_whole(const sim_world *world)
{
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++)
            if (!is_whole(world, &world->links[sim_network_link(world, a, b)])) return false;
    return true;
}

void sim_network_describe(const sim_world *world, sk_buf *text)
{
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++)
            if (!is_whole(world, &world->links[sim_network_link(world, a, b)]))
                sk_buf_printf(text, "; no link between %s and %s", world->regions[a].name, world->regions[b].name);
}

void sim_network_calm(sim_world *world, uint64_t delay_us)
{
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++) {
            sim_link *link = &world->links[sim_network_link(world, a, b)];
            if (link->delay_us > delay_us) link->delay_us = delay_us;
        }
}
