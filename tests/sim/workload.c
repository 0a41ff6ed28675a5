/* What clients ask for: a few keys, so that regions meet on them; each kind of request as often as the seed says, and
 * some not at all. A key has a type that most requests to it respect; the others make conflicts of type. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum { SOME_KEY, STRING_KEY, NUMBER_KEY, HASH_KEY, SET_KEY } key_use;

typedef struct {
    sim_world *world;
    sim_region *region;
    sim_client *client;
    sim_request *out;
} draw;

typedef struct {
    const char *name;
    uint32_t weight;
    bool in_multi; /* may stand in a MULTI */
    bool deadlines;
    void (*make)(const draw *of);
} kind;

/* -- requests and their arguments ---------------------------------------------------------------------------------- */

static void add_bytes(const draw *of, sk_bytes bytes)
{
    sk_assert(of->out->argc < SIM_ARGS_MAX);
    uint8_t *copy = sk_alloc(bytes.len + 1);
    if (bytes.len) memcpy(copy, bytes.data, bytes.len);
    of->out->argv[of->out->argc++] = sk_bytes_of(copy, bytes.len);
}

static void add(const draw *of, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(const draw *of, const char *format, ...)
{
    char text[96];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_bytes(of, sk_bytes_str(text));
}

void sim_request_free(sim_request *request)
{
    for (uint32_t i = 0; i < request->argc; i++) free((void *)(uintptr_t)request->argv[i].data);
    sk_vv_free(&request->after);
    request->argc = 0;
}

static uint64_t below(const draw *of, uint64_t end) { return sim_random_below(&of->client->random, end); }

static bool chance(const draw *of, uint32_t permille) { return sim_random_chance(&of->client->random, permille); }

/* Keys 0 and 4 are strings, 1 and 5 numbers, 2 and 6 hashes, 3 and 7 sets; now and then any other. */
static void add_key(const draw *of, key_use use)
{
    uint32_t keys = of->world->config.keys;
    uint32_t key = (uint32_t)below(of, keys);
    if (use != SOME_KEY && !chance(of, 60)) {
        key = (uint32_t)use - STRING_KEY + (chance(of, 300) ? 4 : 0);
        if (key >= keys) key %= keys;
    }
    add(of, "k%u", key);
}

static void add_value(const draw *of)
{
    unsigned long long number = of->client->asked; /* a value tells whose request it came with */
    unsigned client = (unsigned)(of->client - of->region->clients), part = ++of->client->values;
    if (!chance(of, of->world->config.large_permille)) {
        add(of, "%s%u.%llu.%u", of->region->name, client, number, part);
        return;
    }
    sk_buf value = {0};
    uint64_t len = sim_random_between(&of->client->random, 100, 2500);
    sk_buf_printf(&value, "%s%u.%llu.%u-", of->region->name, client, number, part);
    while (value.len < len) sk_buf_byte(&value, (uint8_t)('a' + value.len % 26));
    add_bytes(of, sk_buf_view(&value));
    sk_buf_free(&value);
}

static void add_milliseconds(const draw *of)
{
    add(of, "%llu", (unsigned long long)sim_random_of(&of->client->random, 1, 200, 1500, 4000, 60000));
}

/* -- strings and numbers ------------------------------------------------------------------------------------------- */

static void make_get(const draw *of)
{
    of->out->ask = SIM_ASK_READ;
    add(of, "GET");
    add_key(of, STRING_KEY + (key_use)below(of, 2));
}

static void make_set(const draw *of)
{
    add(of, "SET");
    add_key(of, STRING_KEY);
    add_value(of);
}

static void make_set_number(const draw *of)
{
    add(of, "SET");
    add_key(of, NUMBER_KEY);
    add(of, "%d", (int)below(of, 100) - 50);
}

static void make_set_options(const draw *of)
{
    add(of, "SET");
    add_key(of, STRING_KEY);
    add_value(of);
    uint64_t which = below(of, 8);
    if (which == 1 || which == 5) add(of, "NX");
    if (which == 2 || which == 6) add(of, "XX");
    if (which >= 3) add(of, "GET");
    if (which == 4) add(of, "KEEPTTL");
}

static void make_set_deadline(const draw *of)
{
    add(of, "SET");
    add_key(of, STRING_KEY);
    add_value(of);
    add(of, "PX");
    add_milliseconds(of);
}

static void make_append(const draw *of)
{
    add(of, "APPEND");
    add_key(of, STRING_KEY);
    add(of, "+%llu", (unsigned long long)below(of, 10));
}

static void make_incrby(const draw *of)
{
    add(of, "INCRBY");
    add_key(of, NUMBER_KEY);
    add(of, "%d", (int)below(of, 20) - 5);
}

static void make_incrbyfloat(const draw *of)
{
    add(of, "INCRBYFLOAT");
    add_key(of, NUMBER_KEY);
    add(of, "%d.5", (int)below(of, 6) - 3);
}

static void make_del(const draw *of)
{
    add(of, "DEL");
    for (uint64_t i = 1 + below(of, 2); i; i--) add_key(of, SOME_KEY);
}

static void make_getdel(const draw *of)
{
    add(of, "GETDEL");
    add_key(of, STRING_KEY);
}

static void make_mset(const draw *of)
{
    add(of, "MSET");
    for (uint64_t i = 1 + below(of, 3); i; i--) {
        add_key(of, STRING_KEY);
        add_value(of);
    }
}

/* -- hashes and sets ----------------------------------------------------------------------------------------------- */

static void make_members(const draw *of, const char *name, key_use use, char letter, bool values)
{
    add(of, "%s", name);
    add_key(of, use);
    for (uint64_t i = 1 + below(of, 2); i; i--) {
        add(of, "%c%u", letter, (unsigned)below(of, SIM_MEMBERS));
        if (!values) continue;
        if (chance(of, 300))
            add(of, "%u", (unsigned)below(of, 50));
        else
            add_value(of);
    }
}

static void make_sadd(const draw *of) { make_members(of, "SADD", SET_KEY, 'm', false); }

static void make_srem(const draw *of) { make_members(of, "SREM", SET_KEY, 'm', false); }

static void make_hset(const draw *of) { make_members(of, "HSET", HASH_KEY, 'f', true); }

static void make_hdel(const draw *of) { make_members(of, "HDEL", HASH_KEY, 'f', false); }

static void make_hincrby(const draw *of)
{
    add(of, "HINCRBY");
    add_key(of, HASH_KEY);
    add(of, "f%u", (unsigned)below(of, SIM_MEMBERS));
    add(of, "%d", (int)below(of, 9) - 2);
}

static void make_of_key(const draw *of, const char *name, key_use use)
{
    add(of, "%s", name);
    add_key(of, use);
}

static void make_spop(const draw *of) { make_of_key(of, "SPOP", SET_KEY); }

static void make_smembers(const draw *of) { make_of_key(of, "SMEMBERS", SET_KEY); }

static void make_hgetall(const draw *of) { make_of_key(of, "HGETALL", HASH_KEY); }

static void make_exists(const draw *of) { make_of_key(of, "EXISTS", SOME_KEY); }

/* -- keys ---------------------------------------------------------------------------------------------------------- */

static void make_expire(const draw *of)
{
    make_of_key(of, "PEXPIRE", SOME_KEY);
    add_milliseconds(of);
    if (chance(of, 200)) add(of, chance(of, 500) ? "NX" : "GT");
}

static void make_persist(const draw *of) { make_of_key(of, "PERSIST", SOME_KEY); }

static void make_rename(const draw *of)
{
    add(of, chance(of, 500) ? "RENAME" : "COPY");
    add_key(of, SOME_KEY);
    add_key(of, SOME_KEY);
    if (of->out->argv[0].data[0] == 'C') add(of, "REPLACE");
}

static void make_flushall(const draw *of) { add(of, "FLUSHALL"); }

/* -- conflicts and sessions ---------------------------------------------------------------------------------------- */

static void make_siblings(const draw *of)
{
    of->out->ask = SIM_ASK_SIBLINGS;
    add(of, "SIBLINGS");
    add(of, "GET");
    bool field = chance(of, 250);
    add_key(of, field ? HASH_KEY : SOME_KEY);
    if (!field) return;
    add(of, "FIELD");
    add(of, "f%u", (unsigned)below(of, SIM_MEMBERS));
}

static void make_resolve(const draw *of)
{
    sim_world *world = of->world;
    if (world->context_count == 0) {
        make_siblings(of);
        return;
    }
    const sim_note *context = &world->contexts[below(of, world->context_count)];
    sim_mark(world, SIM_HAD_OLD_CONTEXT);
    add(of, "SIBLINGS");
    add(of, "RESOLVE");
    add_bytes(of, sk_buf_view(&context->key));
    add_bytes(of, sk_buf_view(&context->text));
    if (context->field.len == 0 && chance(of, 300)) {
        static const char *const types[] = {"string", "hash", "set"};
        add(of, "KEEP");
        add(of, "%s", types[below(of, 3)]);
        return;
    }
    if (chance(of, 300))
        add(of, "%u", (unsigned)below(of, 50));
    else
        add_value(of);
    if (context->field.len == 0) return;
    add(of, "FIELD");
    add_bytes(of, sk_buf_view(&context->field));
}

static void make_policy(const draw *of)
{
    sim_mark(of->world, SIM_HAD_POLICY);
    add(of, "POLICY");
    add(of, "SET");
    if (chance(of, 300))
        add(of, "k");
    else
        add_key(of, SOME_KEY);
    add(of, chance(of, 500) ? "newest" : "siblings");
}

static void make_wait(const draw *of)
{
    of->out->ask = SIM_ASK_WAIT;
    add(of, "WAIT");
    add(of, "%u", (unsigned)below(of, of->world->config.regions + 1));
    add(of, "%llu", (unsigned long long)sim_random_of(&of->client->random, 1, 100, 1000));
}

static void make_token(const draw *of)
{
    of->out->ask = SIM_ASK_TOKEN;
    add(of, "SESSION");
    add(of, "TOKEN");
}

static void make_after(const draw *of)
{
    sim_world *world = of->world;
    if (world->token_count == 0) {
        make_token(of);
        return;
    }
    const sim_note *token = &world->tokens[below(of, world->token_count)];
    of->out->ask = SIM_ASK_AFTER;
    if (token->region != of->region->index) sim_mark(world, SIM_HAD_MOVED_TOKEN);
    add(of, "SESSION");
    add(of, "AFTER");
    add_bytes(of, sk_buf_view(&token->text));
    add(of, "TIMEOUT");
    add(of, "%llu", (unsigned long long)sim_random_of(&of->client->random, 0, 100, 2000));
    sk_vv_copy(&of->out->after, &token->vv);
}

static void make_digest(const draw *of) { add(of, "DIGEST"); }

static void make_multi(const draw *of);

static const kind kinds[] = {
    {"get", 60, true, false, make_get},
    {"set", 60, true, false, make_set},
    {"set-number", 20, true, false, make_set_number},
    {"set-options", 20, true, false, make_set_options},
    {"set-deadline", 15, true, true, make_set_deadline},
    {"append", 30, true, false, make_append},
    {"incrby", 70, true, false, make_incrby},
    {"incrbyfloat", 5, true, false, make_incrbyfloat},
    {"del", 40, true, false, make_del},
    {"getdel", 10, true, false, make_getdel},
    {"mset", 15, true, false, make_mset},
    {"sadd", 50, true, false, make_sadd},
    {"srem", 30, true, false, make_srem},
    {"spop", 10, true, false, make_spop},
    {"smembers", 10, false, false, make_smembers},
    {"hset", 40, true, false, make_hset},
    {"hdel", 20, true, false, make_hdel},
    {"hincrby", 30, true, false, make_hincrby},
    {"hgetall", 10, false, false, make_hgetall},
    {"exists", 10, true, false, make_exists},
    {"expire", 25, true, true, make_expire},
    {"persist", 10, true, false, make_persist},
    {"rename", 8, true, false, make_rename},
    {"flushall", 1, false, false, make_flushall},
    {"siblings", 30, false, false, make_siblings},
    {"resolve", 25, true, false, make_resolve},
    {"policy", 5, false, false, make_policy},
    {"wait", 15, false, false, make_wait},
    {"token", 12, false, false, make_token},
    {"after", 12, false, false, make_after},
    {"digest", 4, false, false, make_digest},
    {"multi", 40, false, false, make_multi},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void make_multi(const draw *of)
{
    uint32_t weights[KINDS];
    uint64_t all = 0;
    for (uint32_t i = 0; i < KINDS; i++) {
        bool fits = kinds[i].in_multi && (kinds[i].make != make_resolve || of->world->context_count);
        all += weights[i] = fits ? of->world->weights[i] : 0;
    }
    uint32_t count = (uint32_t)sim_random_between(&of->client->random, 1, SIM_QUEUE_MAX);
    for (uint32_t i = 0; all && i < count; i++) {
        draw queued = *of;
        queued.out = &of->client->queued[of->client->queued_count++];
        *queued.out = (sim_request){0};
        kinds[sim_random_weighted(&of->client->random, weights, KINDS)].make(&queued);
    }
    if (all == 0) make_get(of);
    if (all == 0 || !of->world->config.watch_permille || !chance(of, of->world->config.watch_permille)) return;
    draw watch = *of;
    watch.out = &of->client->watch_first;
    watch.out->ask = SIM_ASK_WATCH;
    add(&watch, "WATCH");
    for (uint64_t i = 1 + below(of, SIM_WATCHED_MAX); i; i--) add_key(&watch, SOME_KEY);
}

/* -- the workload -------------------------------------------------------------------------------------------------- */

void sim_workload_init(sim_world *world)
{
    sk_assert(KINDS <= sizeof world->weights / sizeof *world->weights);
    uint32_t off_permille = (uint32_t)sim_random_of(&world->random, 0, 300, 700), all = 0;
    for (uint32_t i = 0; i < KINDS; i++) {
        bool off = sim_random_chance(&world->random, off_permille);
        /* Before the node has heard that it is amnesiac, nothing may write: not even an expiry. */
        if (kinds[i].deadlines && world->config.faults >> SIM_FAULT_AMNESIA & 1) off = true;
        world->weights[i] = off ? 0 : kinds[i].weight * (uint32_t)sim_random_between(&world->random, 1, 4);
        all += world->weights[i];
    }
    if (all == 0) world->weights[1] = 1;
}

void sim_workload_free(sim_world *world)
{
    for (uint32_t i = 0; i < SIM_NOTES_MAX; i++) {
        sim_note *notes[] = {&world->tokens[i], &world->contexts[i]};
        for (int k = 0; k < 2; k++) {
            sk_buf_free(&notes[k]->text);
            sk_buf_free(&notes[k]->key);
            sk_buf_free(&notes[k]->field);
            sk_vv_free(&notes[k]->vv);
        }
    }
}

void sim_workload_note(sim_world *world, sim_client *client, const sim_request *request, sk_bytes text, const sk_vv *vv)
{
    bool token = request->ask == SIM_ASK_TOKEN;
    sim_note *notes = token ? world->tokens : world->contexts;
    uint32_t *count = token ? &world->token_count : &world->context_count;
    sim_note *note = &notes[*count < SIM_NOTES_MAX ? (*count)++ : sim_random_below(&client->random, SIM_NOTES_MAX)];
    sk_buf_reset(&note->text);
    sk_buf_reset(&note->key);
    sk_buf_reset(&note->field);
    sk_buf_bytes(&note->text, text);
    sk_vv_copy(&note->vv, vv);
    note->region = client->region->index;
    if (token) return;
    sk_buf_bytes(&note->key, request->argv[2]);
    if (request->argc == 5) sk_buf_bytes(&note->field, request->argv[4]);
}

void sim_workload_draw(sim_world *world, sim_region *region, sim_client *client, sim_request *out)
{
    draw of = {world, region, client, out};
    client->values = 0;
    kinds[sim_random_weighted(&client->random, world->weights, KINDS)].make(&of);
}
