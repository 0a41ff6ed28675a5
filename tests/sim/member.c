/* Who is a region of the cluster: what operators do about it while everything else goes wrong, regions that join while
 * the others run, and one that is forgotten for good.
 *
 * A region's key is what it calls itself with; a new one holds from its next start on. Operators act anywhere, often
 * two at the same time on two sides. In the end they bring the members in order: all regions know each other under the
 * keys that they have, and nobody knows the one that is retired. */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#include <stdio.h>

#ifndef SIM_MEMBERS_PERMILLE
#define SIM_MEMBERS_PERMILLE 330 /* of the seeds */
#endif

enum { STREAM_JOIN = 'j', PATIENCE_US = 10000000 };

/* -- what a seed draws --------------------------------------------------------------------------------------------- */

static void draw_retired(sim_config *config, sim_random *random)
{
    uint32_t region = (uint32_t)sim_random_below(random, config->regions);
    if (sim_random_chance(random, 400) && sim_config_connected(config, region)) config->retired = region;
}

static void draw_late(sim_config *config, sim_random *random)
{
    uint32_t late = (uint32_t)sim_random_below(random, config->regions), through;
    do through = (uint32_t)sim_random_below(random, config->regions);
    while (!config->graph[late][through]);
    config->late_us = sim_random_below(random, config->chaos_us);
    if (!sim_random_chance(random, 500)) return;
    if (late == config->retired || through == config->retired) return; /* it could never come to an end */
    config->late = late;
    config->through = through;
}

void sim_member_draw(sim_config *config, uint64_t seed)
{
    sim_random random;
    sim_random_seed(&random, seed ^ 0x6d656d62657273u);
    if (!sim_random_chance(&random, SIM_MEMBERS_PERMILLE)) return;
    config->faults |= 1u << SIM_FAULT_MEMBERS;
    config->fault_mean_us[SIM_FAULT_MEMBERS] = sim_random_between(&random, 2000000, 12000000);
    draw_retired(config, &random);
    draw_late(config, &random);
}

bool sim_member_reduce(sim_config *config)
{
    if (config->retired != SIM_NOWHERE && config->place[config->retired] == SIM_NOWHERE) config->retired = SIM_NOWHERE;
    if (config->late != SIM_NOWHERE &&
        (config->place[config->late] == SIM_NOWHERE || config->place[config->through] == SIM_NOWHERE))
        config->late = SIM_NOWHERE;
    return sim_config_connected(config, SIM_NOWHERE) &&
           (config->retired == SIM_NOWHERE || sim_config_connected(config, config->place[config->retired]));
}

static bool is_late(const sim_world *world, uint32_t index) { return world->config.id[index] == world->config.late; }

/* Where the region is through which the late one joins. */
static uint32_t through(const sim_world *world) { return world->config.place[world->config.through]; }

/* -- keys and numbers ---------------------------------------------------------------------------------------------- */

/* A key that nobody has had. */
static void make_key(sim_region *region, uint8_t key[SK_MEMBER_KEY])
{
    char text[SK_MEMBER_KEY] = {0};
    snprintf(text, sizeof text, "key %u of %s", ++region->keys, region->name);
    memcpy(key, text, sizeof text);
}

void sim_member_init(sim_world *world)
{
    const sim_config *config = &world->config;
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_region *region = &world->regions[i];
        make_key(region, region->first_key);
        memcpy(region->key, region->first_key, sizeof region->key);
        memcpy(region->next_key, region->first_key, sizeof region->key);
        for (uint32_t k = 0; k < config->regions; k++) {
            bool known = is_late(world, i) ? k == through(world) : k != i && !is_late(world, k);
            if (!known) continue;
            sim_region *other = &world->regions[k];
            /* Who cannot reach the one that it joins through is given that one's key anew, by its operator. */
            region->seeds[region->seed_count++] = (sk_member_seed){
                .region = other->name, .public_key = is_late(world, i) ? other->key : other->first_key};
        }
    }
}

const char *sim_member_joins(const sim_region *region)
{
    return is_late(region->world, region->index) ? region->seeds[0].region : NULL;
}

uint32_t sim_member_region(sim_region *region, uint32_t peer)
{
    const sim_world *world = region->world;
    const char *name = region->replica->engine->peers[peer].region;
    uint32_t index = region->peer_was[peer]; /* it nearly always still is */
    if (index < world->config.regions && strcmp(world->regions[index].name, name) == 0) return index;
    for (index = 0; strcmp(world->regions[index].name, name) != 0;) sk_assert(++index < world->config.regions);
    region->peer_was[peer] = (uint8_t)index;
    return index;
}

int sim_member_peer(const sim_region *region, const sim_region *other)
{
    return sk_replica_peer(region->replica, sk_bytes_str(other->name));
}

bool sim_member_accepts(const sim_region *region, const sim_region *other)
{
    return sim_member_peer(region, other) >= 0 && sk_members_judge(&region->replica->members, sk_bytes_str(other->name),
                                                                   other->key, sim_region_wall_ms(region)) == SK_OK;
}

/* -- what operators do --------------------------------------------------------------------------------------------- */

static const char *const nothing[2];

/* An operator's command at a region, that it may refuse. */
static bool command(sim_region *region, const char *word, const char *name, const uint8_t *key,
                    const char *const more[2])
{
    char hex[2 * SK_MEMBER_KEY + 1];
    sk_bytes argv[6] = {sk_bytes_str("REGION"), sk_bytes_str(word), sk_bytes_str(name)};
    size_t argc = 3;
    if (key) {
        for (int i = 0; i < SK_MEMBER_KEY; i++) snprintf(hex + 2 * i, 3, "%02x", key[i]);
        argv[argc++] = sk_bytes_str(hex);
    }
    for (int i = 0; i < 2 && more[i]; i++) argv[argc++] = sk_bytes_str(more[i]);
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, argc, &reply);
    bool done = !region->dead && sk_bytes_equal(sk_buf_view(&out), sk_bytes_str("+OK\r\n"));
    sim_tell(region->world, "%s: REGION %s %s %s => %.*s", region->name, word, name, key ? (const char *)key : "",
             (int)out.len - 2, (const char *)out.data);
    sk_buf_free(&out);
    sk_client_free(client);
    sim_region_after(region);
    return done;
}

static bool add(sim_region *region, const sim_region *other, const uint8_t *key)
{
    static const char *const address[2] = {"there:1"};
    bool done = command(region, "ADD", other->name, key, address);
    region->world->counts.adds += done;
    return done;
}

static void forget(sim_region *region, const sim_region *other)
{
    region->world->counts.forgets += command(region, "FORGET", other->name, NULL, nothing);
}

/* A new key: the region itself has it from its next start on. */
static void rekey(sim_region *region, sim_region *other, uint64_t keep_s)
{
    sim_world *world = region->world;
    uint8_t key[SK_MEMBER_KEY];
    char seconds[24];
    const char *keep[] = {"KEEP", seconds};
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)keep_s);
    if (memcmp(other->key, other->next_key, sizeof other->key) != 0) return;
    make_key(other, key);
    if (!command(region, "REKEY", other->name, key, keep)) return;
    world->counts.rekeys++;
    memcpy(other->next_key, key, sizeof key);
    if (!other->replica) return;
    sim_region_stop(other);
    if (!other->replica) sim_fault_restart_later(world, other);
}

/* What one operator does: all of it is drawn before anybody does anything. */
typedef struct {
    sim_region *at; /* NULL: that one is left out */
    bool may_rekey, stranger;
    uint64_t keep_s;
} act;

static act draw_act(sim_world *world)
{
    act drawn = {.at = sim_fault_region(world)};
    drawn.may_rekey = sim_random_chance(&world->random, 250);
    drawn.stranger = sim_random_chance(&world->random, 200);
    drawn.keep_s = sim_random_of(&world->random, 0, 5, 86400);
    return drawn;
}

static void change(const act *does, sim_region *about)
{
    sim_region *at = does->at;
    uint8_t key[SK_MEMBER_KEY];
    bool member = sk_members_region(&at->replica->members, sk_bytes_str(about->name)) != NULL;
    if (member && does->may_rekey) {
        rekey(at, about, does->keep_s);
    } else if (member) {
        forget(at, about);
    } else if (does->stranger) { /* a key that nobody has: it must not stay so */
        make_key(about, key);
        at->world->counts.clashes += add(at, about, key);
    } else {
        (void)add(at, about, about->key);
    }
}

/* An operator at one region, and often another one at the same time elsewhere, about one and the same third. */
void sim_member_strike(sim_world *world, sim_region *about)
{
    act acts[2];
    uint64_t strike = world->strikes[SIM_FAULT_MEMBERS], operators = sim_random_between(&world->random, 1, 2);
    for (uint64_t i = 0; i < operators; i++) acts[i] = draw_act(world);
    for (uint64_t i = 0; i < operators; i++) {
        sim_region *at = acts[i].at;
        if (!at || !about || at == about || !at->replica || sim_client_is_mute(at)) continue;
        if (sim_world_happens(world, sim_atom_strike(SIM_ATOM_ACT, 2 * strike + i))) change(&acts[i], about);
    }
}

/* -- joining ------------------------------------------------------------------------------------------------------- */

bool sim_member_waits(sim_world *world, const sim_region *region)
{
    if (!is_late(world, region->index)) return false;
    sim_event_push(world, world->config.late_us, SIM_EVENT_JOIN, region->index, 0, 0);
    return true;
}

/* A new region: added somewhere, started somewhat before or later. Without the one, healing adds it; without the other,
 * healing starts it. */
void sim_member_join(sim_world *world, sim_region *region)
{
    if (world->phase != SIM_CHAOS) return; /* healing has started it, and operators see to the rest */
    sim_random_derive(&world->random, world->seed, STREAM_JOIN, 0, 0);
    sim_region *at = sim_fault_region(world);
    uint64_t later_us = sim_random_below(&world->random, 500000);
    bool may_add = at && at != region && at->replica && !sim_client_is_mute(at);
    if (may_add && sim_world_happens(world, sim_atom_strike(SIM_ATOM_JOIN, 1))) (void)add(at, region, region->next_key);
    if (sim_world_happens(world, sim_atom_strike(SIM_ATOM_JOIN, 2)))
        sim_event_push(world, world->now_us + later_us, SIM_EVENT_START, region->index, 0, 0);
}

void sim_member_linked(sim_world *world, const sim_link *link)
{
    for (uint32_t end = 0; end < 2; end++) {
        sim_region *region = &world->regions[link->region[end]];
        if (!region->replica || sk_fold_active(&region->replica->db)) continue; /* all has come, and is put into place */
        if (is_late(world, region->index) && link->region[!end] == through(world))
            sim_check_durable(&world->regions[link->region[!end]], &region->join_goal);
    }
}

void sim_member_check(sim_region *region)
{
    if (!region->was_joining || region->replica->db.joining) return;
    region->was_joining = false;
    region->world->counts.joins++;
    sim_mark(region->world, SIM_HAD_JOIN);
    if (!sk_vv_at_most(&region->join_goal, &region->vv))
        sim_fail(region->world, "%s: it says that it has joined, and lacks what the other one had", region->name);
}

/* -- the end ------------------------------------------------------------------------------------------------------- */

/* It reads its key and its configuration. */
static void restart(sim_region *region)
{
    sim_world *world = region->world;
    region->restarted_us = world->now_us;
    sim_region_stop(region);
    sim_event_push(world, world->now_us, SIM_EVENT_START, region->index, 0, 0);
}

/* Does `region` know in the end what it must about `other`? */
static bool is_settled(const sim_region *region, const sim_region *other)
{
    const sk_member *member = sk_members_region(&region->replica->members, sk_bytes_str(other->name));
    if (!sim_member_stays(region->world, other->index)) return !member;
    return member && memcmp(member->public_key, other->next_key, SK_MEMBER_KEY) == 0;
}

static void describe_view(const sim_region *region, const sim_region *other, sk_buf *text)
{
    const sk_member *member = sk_members_region(&region->replica->members, sk_bytes_str(other->name));
    if (!sim_member_stays(region->world, other->index))
        sk_buf_printf(text, "; %s still takes %s for a member", region->name, other->name);
    else if (!member)
        sk_buf_printf(text, "; %s takes %s for no member", region->name, other->name);
    else
        sk_buf_printf(text, "; %s knows %s under '%.32s', and it has '%.32s'", region->name, other->name,
                      (const char *)member->public_key, (const char *)other->next_key);
}

void sim_member_describe(const sim_world *world, sk_buf *text)
{
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const sim_region *region = &world->regions[i];
        if (!sim_member_stays(world, i) || !region->replica || region->replica->db.joining) continue;
        for (uint32_t k = 0; k < world->config.regions; k++)
            if (k != i && !is_settled(region, &world->regions[k])) describe_view(region, &world->regions[k], text);
    }
}

/* What an operator does about it. */
static void settle(sim_region *region, const sim_region *other)
{
    if (sim_client_is_mute(region)) { /* nobody may ever tell it, so whoever must write there makes it a new life */
        region->new_life = true;
        restart(region);
    } else if (!sim_member_stays(region->world, other->index)) {
        forget(region, other);
    } else if (sk_members_region(&region->replica->members, sk_bytes_str(other->name))) {
        (void)command(region, "REKEY", other->name, other->next_key, nothing);
    } else {
        (void)add(region, other, other->next_key);
    }
}

void sim_member_retire(sim_world *world)
{
    if (world->config.retired == SIM_NOWHERE) return;
    sim_check_lost(&world->regions[world->config.place[world->config.retired]]); /* what only it has may be gone */
    world->counts.retirements++;
    sim_mark(world, SIM_HAD_RETIRED);
}

/* True if operators had to do something about the region, or still have. */
static bool heal_region(sim_region *region)
{
    sim_world *world = region->world;
    bool busy = false;
    if (region->replica && memcmp(region->key, region->next_key, sizeof region->key) != 0) restart(region);
    if (!region->replica) return true;
    if (region->replica->db.joining) {
        bool refuses = !sim_member_accepts(region, &world->regions[through(world)]);
        if (refuses && world->now_us - region->restarted_us >= PATIENCE_US) restart(region);
        return true;
    }
    for (uint32_t k = 0; region->replica && k < world->config.regions; k++) {
        if (k == region->index || is_settled(region, &world->regions[k])) continue;
        settle(region, &world->regions[k]);
        busy = true;
    }
    return busy;
}

bool sim_member_heal(sim_world *world)
{
    bool busy = false;
    for (uint32_t i = 0; i < world->config.regions; i++)
        if (sim_member_stays(world, i)) busy |= heal_region(&world->regions[i]);
    return busy;
}

const char *sim_member_missing(sim_region *region)
{
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sk_bytes argv[] = {sk_bytes_str("REGION"), sk_bytes_str("LIST")};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, 2, &reply);
    sk_buf_byte(&out, 0);
    bool on_its_way = strstr((const char *)out.data, "still on its way") != NULL;
    sk_buf_free(&out);
    sk_client_free(client);
    return on_its_way ? "a region says that history of a forgotten one is still on its way" : NULL;
}
