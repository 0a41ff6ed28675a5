/* Exports that are kept, and imported into this or that region later, a piece at a time, by the commands that a client
 * would use: between two pieces anything may happen. */
#include "tests/sim/world.h"

#include <stdlib.h>

static const char *ask(sim_region *region, sk_client *client, sk_buf *out, uint32_t argc, const sk_bytes *argv)
{
    sk_reply reply = {out, 2};
    sk_buf_reset(out);
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, argc, &reply);
    sk_buf_byte(out, 0);
    return (const char *)out->data;
}

/* -- exports ------------------------------------------------------------------------------------------------------- */

void sim_port_export(sim_region *region)
{
    sim_world *world = region->world;
    sim_stream *stream = &world->streams[sim_random_below(&world->random, SIM_STREAMS_MAX)];
    sk_bytes open[] = {sk_bytes_str("EXPORT"), sk_bytes_str("OPEN")},
             read[] = {sk_bytes_str("EXPORT"), sk_bytes_str("READ")};
    sk_buf out = {0};
    if (!region->replica) return;
    /* A snapshot of the store on disk is of what has its place there: it is synced. */
    if (world->config.durability != SK_DURABILITY_ALWAYS && sim_region_sync(region)) return;
    sk_client *client = sk_client_new(region->replica);
    bool good = ask(region, client, &out, 2, open)[0] == '+';
    if (good) sk_buf_reset(&stream->bytes);
    while (good) {
        const char *piece = ask(region, client, &out, 2, read);
        char *end;
        size_t len = strtoul(piece + 1, &end, 10);
        if (piece[0] != '$') sim_fail(world, "%s: EXPORT READ is answered with %s", region->name, piece);
        if (len == 0) break;
        sk_buf_append(&stream->bytes, end + 2, len);
    }
    if (good) sim_check_durable(region, &stream->vv);
    if (good) sim_tell(world, "%s: an export is kept, %zu bytes", region->name, stream->bytes.len);
    sk_client_free(client);
    sk_buf_free(&out);
    sim_region_after(region);
}

/* -- imports ------------------------------------------------------------------------------------------------------- */

static void forget(sim_region *region)
{
    sim_import *import = &region->import;
    sk_buf_free(&import->stream.bytes);
    sk_vv_free(&import->stream.vv);
    *import = (sim_import){0};
}

/* Refusals that something explains. */
static bool may_refuse(const sim_region *region, const char *reply)
{
    return strncmp(reply, "-MISCONF", 8) == 0 || strncmp(reply, "-BUSY", 5) == 0 ||
           strncmp(reply, "-ERR this connection has no import open", 39) == 0 || region->disk_error;
}

static void next_step(sim_region *region)
{
    sim_world *world = region->world;
    sim_random *random = &region->import.random;
    uint64_t pause = sim_random_delay(random, sim_random_of(random, 500, 30000, 300000));
    sim_event_push(world, world->now_us + pause, SIM_EVENT_REPAIR, SIM_FAULT_REWIND, region->index, 0);
}

void sim_port_import(sim_region *region)
{
    sim_world *world = region->world;
    const sim_stream *stream = &world->streams[sim_random_below(&world->random, SIM_STREAMS_MAX)];
    sim_import *import = &region->import;
    sk_bytes open[] = {sk_bytes_str("IMPORT"), sk_bytes_str("OPEN")};
    if (import->client && import->run != region->run) forget(region); /* it went with its process */
    if (!region->replica || import->client || !stream->bytes.len) return;
    sk_buf out = {0};
    import->client = sk_client_new(region->replica);
    const char *reply = ask(region, import->client, &out, 2, open);
    if (reply[0] != '+' && !may_refuse(region, reply))
        sim_fail(world, "%s: IMPORT OPEN is answered with %s", region->name, reply);
    if (reply[0] == '+') {
        import->run = region->run;
        sim_random_seed(&import->random, sim_random_next(&world->random));
        sk_buf_bytes(&import->stream.bytes, sk_buf_view(&stream->bytes));
        sk_vv_copy(&import->stream.vv, &stream->vv);
        sim_tell(world, "%s: an import begins", region->name);
        next_step(region);
    } else {
        sk_client_free(import->client);
        import->client = NULL;
    }
    sk_buf_free(&out);
    sim_region_after(region);
}

static void check_committed(sim_region *region)
{
    sim_world *world = region->world;
    sk_vv now = {0};
    sim_region_canonical(region, &region->replica->db.vv, &now);
    if (!sk_vv_at_most(&region->import.stream.vv, &now))
        sim_fail(world, "%s: it lacks what it has just imported", region->name);
    sk_vv_free(&now);
    world->counts.imports++;
    sim_mark(world, SIM_HAD_IMPORT);
    sim_tell(world, "%s: an import is done", region->name);
}

/* True if it goes on. */
static bool step(sim_region *region)
{
    sim_world *world = region->world;
    sim_import *import = &region->import;
    size_t left = import->stream.bytes.len - import->at;
    sk_bytes piece = sk_bytes_of(import->stream.bytes.data + import->at, 0);
    sk_bytes write[] = {sk_bytes_str("IMPORT"), sk_bytes_str("WRITE"), piece};
    sk_bytes commit[] = {sk_bytes_str("IMPORT"), sk_bytes_str("COMMIT")};
    sk_buf out = {0};
    if (left) {
        write[2].len = sim_random_between(&import->random, 1, left);
        import->at += write[2].len;
    }
    const char *reply =
        left ? ask(region, import->client, &out, 3, write) : ask(region, import->client, &out, 2, commit);
    bool good = reply[0] == (left ? '+' : '*');
    if (!good && !may_refuse(region, reply)) sim_fail(world, "%s: IMPORT is answered with %s", region->name, reply);
    if (good && !left) check_committed(region);
    sk_buf_free(&out);
    if (good && left) return true;
    sk_client_free(import->client);
    forget(region);
    return false;
}

void sim_port_step(sim_region *region)
{
    if (!region->import.client) return;
    if (!region->replica || region->import.run != region->run) {
        forget(region);
        return;
    }
    if (step(region)) next_step(region);
    sim_region_after(region);
}

void sim_port_finish(sim_region *region)
{
    if (!region->import.client) return;
    if (!region->replica || region->import.run != region->run) {
        forget(region);
        return;
    }
    while (step(region)) {
    }
    sim_region_after(region);
}

void sim_port_free(sim_world *world)
{
    for (int i = 0; i < SIM_STREAMS_MAX; i++) {
        sk_buf_free(&world->streams[i].bytes);
        sk_vv_free(&world->streams[i].vv);
    }
    for (uint32_t i = 0; i < world->config.regions; i++) {
        world->regions[i].import.client = NULL;
        forget(&world->regions[i]);
    }
    sk_vv_free(&world->rewound);
}
