/* Links. A session is like a TCP connection: messages arrive in order and unharmed or not at all; when it breaks, what
 * is under way is lost in both directions, and each end notices in its own time. */
#include "gossip/message.h"
#include "tests/sim/world.h"

#include <stdlib.h>

void sim_network_init(sim_world *world)
{
    const sim_config *config = &world->config;
    for (uint32_t a = 0; a < config->regions; a++)
        for (uint32_t b = a + 1; b < config->regions; b++) {
            sim_link *link = &world->links[sim_network_link(world, a, b)];
            *link = (sim_link){.region = {a, b}, .exists = config->graph[a][b]};
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
    for (uint32_t i = 0; i < SIM_REGIONS_MAX * SIM_REGIONS_MAX; i++)
        for (int end = 0; end < 2; end++) {
            empty_lane(&world->links[i].to[end]);
            free(world->links[i].to[end].list);
        }
}

uint32_t sim_network_link(const sim_world *world, uint32_t a, uint32_t b)
{
    (void)world;
    return a < b ? a * SIM_REGIONS_MAX + b : b * SIM_REGIONS_MAX + a;
}

/* The number of a region that it is linked with. */
static uint32_t peer_of(const sim_region *region, const sim_region *other)
{
    int peer = sim_region_peer(region, other);
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
    world->counts.messages++;
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
    lane->list[(lane->first + lane->count++) % lane->room] = (sim_message){copy, bytes.len};
    lane->bytes += bytes.len;
    if (link->dead) return; /* counts as queued until the end notices */
    const sim_config *config = &world->config;
    uint64_t at = world->now_us + config->delay_us / 2 + sim_random_below(&world->random, config->delay_us + 1);
    if (config->delay_tail_us && sim_random_chance(&world->random, 100))
        at += sim_random_below(&world->random, config->delay_tail_us);
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
    static const char *const names[] = {"?",       "HELLO", "ORIGINS", "BATCH",     "STATUS", "RESEND", "OFFER",
                                        "REQUEST", "BEGIN", "CHUNK",   "CHUNK_ACK", "END",    "CANCEL", "GOODBYE"};
    unsigned type = message.len ? message.data[0] : 0;
    return names[type < sizeof names / sizeof *names ? type : 0];
}

static void count_message(sim_world *world, sim_message message)
{
    sim_counts *counts = &world->counts;
    if (message.data[0] == SK_MESSAGE_BEGIN) { /* its last two values: reconcile, resumed */
        counts->transfers_reconcile += message.data[message.len - 2] == 0xc3;
        counts->transfers_resumed += message.data[message.len - 1] == 0xc3;
    }
    counts->transfers += message.data[0] == SK_MESSAGE_BEGIN;
    counts->questions += message.data[0] == SK_MESSAGE_ASK;
    counts->wants += message.data[0] == SK_MESSAGE_WANT;
    counts->transfers_ended += message.data[0] == SK_MESSAGE_END;
    counts->resends += message.data[0] == SK_MESSAGE_RESEND;
}

/* Hands the first message of a lane over, and tells its sender when the lane is empty. */
static void deliver(sim_world *world, sim_link *link, uint32_t end)
{
    sim_lane *lane = &link->to[end];
    sim_message message = lane->list[lane->first];
    lane->first = (lane->first + 1) % lane->room;
    lane->count--;
    lane->bytes -= message.len;
    sim_region *to = &world->regions[link->region[end]], *from = &world->regions[link->region[!end]];
    sim_trace(world, "%s <- %s %s, %zu bytes", to->name, from->name, name_of(message), message.len);
    count_message(world, message);
    if (link->up[end]) {
        sim_region_time(to);
        sk_replica_message(to->replica, peer_of(to, from), sk_bytes_of(message.data, message.len));
        sim_region_after(to);
    }
    free(message.data);
    if (lane->bytes == 0 && link->up[!end] && !link->dead) {
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
        deliver(world, link, event->b);
}

/* -- sessions ------------------------------------------------------------------------------------------------------ */

static bool may_connect(const sim_world *world, const sim_link *link)
{
    return link->exists && !link->blocks && !link->refused[0] && !link->refused[1] && !link->up[0] && !link->up[1] &&
           !link->closing[0] && !link->closing[1] && world->regions[link->region[0]].replica &&
           world->regions[link->region[1]].replica && !link->to[0].stalls && !link->to[1].stalls &&
           sim_region_accepts(&world->regions[link->region[0]], &world->regions[link->region[1]]) &&
           sim_region_accepts(&world->regions[link->region[1]], &world->regions[link->region[0]]);
}

static void dial(sim_world *world, uint32_t index)
{
    sim_link *link = &world->links[index];
    if (link->connecting || !may_connect(world, link)) return;
    link->connecting = true;
    sim_event_push(world, world->now_us + sim_random_between(&world->random, 1000, 400000), SIM_EVENT_CONNECT, index, 0,
                   0);
}

void sim_network_dial(sim_world *world, uint32_t region)
{
    for (uint32_t other = 0; other < world->config.regions; other++)
        if (other != region) dial(world, sim_network_link(world, region, other));
}

void sim_network_connect(sim_world *world, const sim_event *event)
{
    sim_link *link = &world->links[event->a];
    link->connecting = false;
    if (!may_connect(world, link)) return;
    link->session++;
    link->dead = false;
    link->up[0] = link->up[1] = true;
    sim_trace(world, "%s and %s are linked", world->regions[link->region[0]].name,
              world->regions[link->region[1]].name);
    for (uint32_t end = 0; end < 2; end++) {
        sim_region *region = &world->regions[link->region[end]];
        if (region->index == world->config.late && link->region[!end] == world->config.through)
            sim_check_durable(&world->regions[link->region[!end]], &region->join_goal);
    }
    uint32_t first = (uint32_t)sim_random_below(&world->random, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t end = first ^ i;
        sim_region *region = &world->regions[link->region[end]];
        if (!link->up[end]) continue;
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
    sim_trace(world, "the link between %s and %s breaks", world->regions[link->region[0]].name,
              world->regions[link->region[1]].name);
    for (uint32_t end = 0; end < 2; end++) {
        if (!link->up[end]) continue;
        uint64_t notices = sim_random_chance(&world->random, 300) ? sim_random_below(&world->random, 3000000)
                                                                  : sim_random_below(&world->random, 50000);
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
    } else if (!link->dead && sim_random_chance(&world->random, 500)) {
        /* Closed in order: what it had sent arrives, and after it the end of the stream. */
        uint64_t last_us = link->to[!end].last_us;
        sim_event_push(world, last_us, SIM_EVENT_CLOSED, index, !end, link->session);
    } else {
        sim_network_cut(world, index);
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
    sim_trace(world, "%s hangs up on %s: %s", world->regions[from].name, world->regions[to].name,
              error ? sk_error_text(error) : "goodbye");
    bool harmless = error == SK_OK || error == SK_E_TIMEOUT || error == SK_E_FORGOTTEN || error == SK_E_SHUTDOWN || error == SK_E_LINK_DOWN ||
                    sk_error_class(error) == SK_CLASS_RETRY;
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
        if (sim_region_peer(&world->regions[region], &world->regions[other]) < 0)
            link->refused[region > other] = false; /* an operator's word about a link goes with the member */
        if (link->up[region > other] && !sim_region_accepts(&world->regions[region], &world->regions[other]))
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
