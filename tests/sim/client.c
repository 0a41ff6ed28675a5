/* Clients, and the rule for replies as the node's server has it: a reply leaves when what it rests on is durable, and
 * is void when that was lost before. What a client is told is noted, and must stay true. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAM_CLIENT = 'c' };

/* -- replies as bytes ---------------------------------------------------------------------------------------------- */

static bool take_line(sk_bytes *at, sk_bytes *line)
{
    for (size_t i = 0; i + 1 < at->len; i++) {
        if (at->data[i] != '\r' || at->data[i + 1] != '\n') continue;
        *line = sk_bytes_of(at->data, i);
        *at = sk_bytes_of(at->data + i + 2, at->len - i - 2);
        return true;
    }
    return false;
}

static int64_t number_of(sk_bytes digits)
{
    char text[32] = {0};
    memcpy(text, digits.data, digits.len < 31 ? digits.len : 31);
    return strtoll(text, NULL, 10);
}

bool sim_reply_next(sk_bytes *at, sim_reply *reply)
{
    sk_bytes line;
    *reply = (sim_reply){0};
    if (!take_line(at, &line) || line.len == 0) return false;
    sk_bytes rest = sk_bytes_of(line.data + 1, line.len - 1);
    reply->text = rest;
    switch (line.data[0]) {
    case '+': reply->kind = SIM_REPLY_STATUS; return true;
    case '-': reply->kind = SIM_REPLY_ERROR; return true;
    case ':':
        reply->kind = SIM_REPLY_INT;
        reply->number = number_of(rest);
        return true;
    case '*':
        reply->number = number_of(rest);
        reply->kind = reply->number < 0 ? SIM_REPLY_NULL : SIM_REPLY_ARRAY;
        return true;
    case '$': {
        int64_t len = number_of(rest);
        reply->kind = len < 0 ? SIM_REPLY_NULL : SIM_REPLY_TEXT;
        if (len < 0) return true;
        if ((uint64_t)len + 2 > at->len) return false;
        reply->text = sk_bytes_of(at->data, (size_t)len);
        *at = sk_bytes_of(at->data + len + 2, at->len - (size_t)len - 2);
        return true;
    }
    default: return false;
    }
}

/* -- sessions ------------------------------------------------------------------------------------------------------ */

static void free_pending(sim_pending *pending)
{
    sim_request_free(&pending->request);
    sk_buf_free(&pending->reply);
    sk_vv_free(&pending->saw);
}

/* The last request whose reply is void is kept: whoever made it does not know whether it was done, and may try again.
 */
static void drop_pending(sim_client *client)
{
    for (uint32_t i = 0; i < client->pending_count; i++) {
        if (client->pending[i].request.single && client->pending[i].request.ask == SIM_ASK_PLAIN) {
            sim_request_free(&client->again);
            client->again = client->pending[i].request;
            client->pending[i].request = (sim_request){0};
        }
        free_pending(&client->pending[i]);
    }
    free(client->pending);
    client->pending = NULL;
    client->pending_count = 0;
    for (uint32_t i = 0; i < client->queued_count; i++) sim_request_free(&client->queued[i]);
    client->queued_count = client->queued_sent = 0;
    sim_request_free(&client->watch_first);
    sim_request_free(&client->put_off);
    sim_watch_end(client);
}

static void unblocked(void *owner, sk_client *session, sk_bytes bytes);

static void open_session(sim_client *client)
{
    client->session = sk_client_new(client->region->replica);
    client->session->owner = client;
    client->session->unblocked = unblocked;
}

void sim_client_connect(sim_region *region)
{
    for (uint32_t i = 0; i < region->world->config.clients; i++) {
        region->clients[i].region = region;
        open_session(&region->clients[i]);
    }
}

static void close_session(sim_client *client)
{
    client->region->world->counts.voided += client->pending_count;
    sk_client_free(client->session);
    client->session = NULL;
    drop_pending(client);
}

void sim_client_disconnect(sim_region *region)
{
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++)
        if (region->clients[i].session) close_session(&region->clients[i]);
}

void sim_client_free(sim_region *region)
{
    sim_client_disconnect(region);
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++) sim_request_free(&region->clients[i].again);
}

/* -- requests ------------------------------------------------------------------------------------------------------ */

/* What is true of a reply at the moment it is made. */
static void note_made(sim_client *client, sim_pending *pending)
{
    sim_region *region = client->region;
    const sk_replica *replica = region->replica;
    pending->hold = client->session->hold;
    pending->epoch = replica->epoch;
    pending->blocked = client->session->block != SK_BLOCK_NONE;
    if (pending->blocked && pending->request.ask != SIM_ASK_WAIT && pending->request.ask != SIM_ASK_AFTER)
        sim_fail(region->world, "%s: a request waits for other regions, and did not ask to", region->name);
    sim_region_canonical(region, &replica->db.vv, &pending->saw);
    sk_dot last = client->session->last_write;
    if (last.seq) pending->last_write = (sk_dot){region->map[last.origin], last.seq};
}

static void unblocked(void *owner, sk_client *session, sk_bytes bytes)
{
    sim_client *client = owner;
    (void)session;
    for (uint32_t i = 0; i < client->pending_count; i++) {
        if (!client->pending[i].blocked) continue;
        note_made(client, &client->pending[i]);
        client->pending[i].blocked = false; /* the replica clears its own mark before or after this call */
        sk_buf_bytes(&client->pending[i].reply, bytes);
    }
}

static void trace_request(sim_region *region, uint32_t number, const sim_request *request, sk_bytes reply)
{
    char text[160];
    size_t len = 0;
    for (uint32_t i = 0; i < request->argc && len < sizeof text - 1; i++) {
        int shown = (int)(request->argv[i].len < 24 ? request->argv[i].len : 24);
        len += (size_t)snprintf(text + len, sizeof text - len, " %.*s", shown, (const char *)request->argv[i].data);
    }
    for (size_t i = 0; i < len && i < sizeof text - 1; i++)
        if ((uint8_t)text[i] < ' ' || (uint8_t)text[i] > '~') text[i] = '.';
    char answer[40] = "(waits)";
    while (reply.len && reply.data[reply.len - 1] < ' ') reply.len--; /* the end of its last line */
    size_t shown = reply.len < sizeof answer - 1 ? reply.len : sizeof answer - 1;
    if (shown) memcpy(answer, reply.data, shown);
    if (shown) answer[shown] = 0;
    for (size_t i = 0; i < shown; i++)
        if ((uint8_t)answer[i] < ' ' || (uint8_t)answer[i] > '~') answer[i] = '|';
    sim_tell(region->world, "%s/%u:%s => %s", region->name, number, text, answer);
}

/* EXEC is void if something watched has changed, and only then. */
static void check_exec(sim_region *region, uint32_t verdict, sk_bytes reply)
{
    const sk_replica *replica = region->replica;
    sim_reply head;
    if (replica->db.failed || replica->store_error || !sim_reply_next(&reply, &head)) return;
    if (head.kind == SIM_REPLY_NULL && !(verdict & SIM_MAY_BE_VOID))
        sim_fail(region->world, "%s: EXEC is void, and nothing that was watched has changed", region->name);
    if (head.kind == SIM_REPLY_ARRAY && !(verdict & SIM_MAY_RUN))
        sim_fail(region->world, "%s: EXEC is done, though what was watched has changed", region->name);
}

/* Rows that it is about are still to come into place: it has done nothing, and is to be made again. */
static bool is_put_off(sim_client *client, uint32_t number)
{
    if (client->session->block != SK_BLOCK_FOLD) return false;
    sim_pending *pending = &client->pending[client->pending_count - 1];
    if (pending->reply.len || client->region->last_txn.seq)
        sim_fail(client->region->world, "%s: a request that waits for rows has been answered", client->region->name);
    trace_request(client->region, number, &pending->request, SK_BYTES_NONE);
    sim_request_free(&client->put_off);
    client->put_off = pending->request;
    pending->request = (sim_request){0};
    free_pending(pending);
    client->pending_count--;
    sim_mark(client->region->world, SIM_HAD_PUT_OFF);
    sim_region_after(client->region);
    return true;
}

static void execute(sim_client *client, uint32_t number, sim_request *request, const sim_request *expected,
                    uint32_t expected_count)
{
    sim_region *region = client->region;
    sim_world *world = region->world;
    client->pending = sk_realloc(client->pending, (client->pending_count + 1) * sizeof *client->pending);
    sim_pending *pending = &client->pending[client->pending_count++];
    *pending = (sim_pending){.request = *request};
    sk_reply reply = {&pending->reply, 2};
    sim_region_time(region);
    client->session->hold = 0;
    region->last_txn.seq = 0;
    bool is_exec = expected_count && expected != request;
    if (expected_count) sim_expect_before(region);
    uint32_t verdict = is_exec ? sim_watch_verdict(client) : 0;
    if (is_exec) sim_watch_exec(region, expected, expected_count);
    sk_command_execute(region->replica, client->session, request->argv, request->argc, &reply);
    world->counts.requests++;
    if (is_put_off(client, number)) return;
    if (is_exec) sim_watch_over(client, verdict);
    pending->wrote = region->last_txn;
    world->counts.writes += pending->wrote.seq != 0;
    note_made(client, pending);
    trace_request(region, number, request, sk_buf_view(&pending->reply));
    if (request->ask == SIM_ASK_WATCH && sk_bytes_starts(sk_buf_view(&pending->reply), sk_bytes_str("+OK")))
        sim_watch_begin(client, request);
    if (is_exec && !region->dead) check_exec(region, verdict, sk_buf_view(&pending->reply));
    if (expected_count && !region->dead)
        sim_expect_after(region, expected, expected_count, is_exec, sk_buf_view(&pending->reply));
    if (expected == request && !region->dead) sim_conflict_check(region, request, sk_buf_view(&pending->reply));
    sim_region_after(region);
}

static void add_word(sim_request *request, sk_bytes word)
{
    uint8_t *copy = sk_alloc(word.len + 1);
    if (word.len) memcpy(copy, word.data, word.len);
    request->argv[request->argc++] = sk_bytes_of(copy, word.len);
}

static void send_word(sim_client *client, uint32_t number, const char *word, const sim_request *expected,
                      uint32_t count)
{
    sim_request request = {0};
    add_word(&request, sk_bytes_str(word));
    execute(client, number, &request, expected, count);
}

bool sim_client_ask(sim_region *region, uint32_t number, const char *const *words, uint32_t count, bool checked)
{
    sim_client *client = &region->clients[number];
    sim_request request = {0};
    for (uint32_t i = 0; i < count; i++) add_word(&request, sk_bytes_str(words[i]));
    execute(client, number, &request, &request, checked);
    bool done = client->put_off.argc == 0;
    sim_request_free(&client->put_off);
    return done;
}

/* WATCH, MULTI, its commands and EXEC, one a step: others come in between. */
static void continue_multi(sim_client *client, uint32_t number)
{
    uint32_t at = client->queued_sent;
    if (client->watch_first.argc) {
        sim_request watch = client->watch_first;
        client->watch_first = (sim_request){0};
        execute(client, number, &watch, NULL, 0);
        if (!client->put_off.argc) return;
        client->watch_first = client->put_off;
        client->put_off = (sim_request){0};
    } else if (at == 0) {
        client->queued_sent = 1;
        send_word(client, number, "MULTI", NULL, 0);
    } else if (at <= client->queued_count) {
        client->queued_sent++;
        sim_request copy = {0};
        for (uint32_t i = 0; i < client->queued[at - 1].argc; i++) add_word(&copy, client->queued[at - 1].argv[i]);
        execute(client, number, &copy, NULL, 0);
    } else {
        sim_request queued[SIM_QUEUE_MAX];
        uint32_t count = client->queued_count;
        memcpy(queued, client->queued, sizeof queued);
        client->queued_count = client->queued_sent = 0;
        send_word(client, number, "EXEC", queued, count);
        if (client->put_off.argc) {
            sim_request_free(&client->put_off);
            memcpy(client->queued, queued, sizeof queued);
            client->queued_count = count;
            client->queued_sent = at;
            return;
        }
        for (uint32_t i = 0; i < count; i++) sim_request_free(&queued[i]);
    }
}

bool sim_client_is_mute(sim_region *region)
{
    const sk_replica *replica = region->replica;
    if (region->mute_own && (replica->db.origins.list[replica->db.own].incarnation != region->mute_own ||
                             sk_engine_must_not_write(replica->engine)))
        region->mute_own = 0;
    return region->mute_own != 0;
}

void sim_client_check_loading(sim_region *region)
{
    static const char *const requests[][3] = {{"GET", "k0"}, {"SET", "k0", "early"}, {"DIGEST"}};
    sk_client *client = sk_client_new(region->replica);
    for (int i = 0; i < 3; i++) {
        sk_bytes argv[3];
        size_t argc = 0;
        sk_buf out = {0};
        sk_reply reply = {&out, 2};
        for (; argc < 3 && requests[i][argc]; argc++) argv[argc] = sk_bytes_str(requests[i][argc]);
        sim_region_time(region);
        sk_command_execute(region->replica, client, argv, argc, &reply);
        if (!sk_bytes_starts(sk_buf_view(&out), sk_bytes_str("-LOADING ")))
            sim_fail(region->world, "%s answers %s while it joins: %.*s", region->name, requests[i][0], (int)out.len,
                     (const char *)out.data);
        sk_buf_free(&out);
    }
    sk_client_free(client);
}

/* The n-th request of a client is drawn from a stream of its own, and whether it is part of the run changes nothing in
 * those after it. */
static void next_request(sim_world *world, sim_region *region, sim_client *client, uint32_t number, bool ready)
{
    uint32_t id = world->config.id[region->index];
    sim_request request = {0};
    bool tries_again = sim_random_chance(&client->random, 500);
    if (!ready || !sim_world_happens(world, sim_atom_request(id, number, client->asked))) return;
    if (client->again.argc && tries_again) {
        request = client->again;
        client->again = (sim_request){0};
        sim_mark(world, SIM_HAD_RETRY);
    } else {
        sim_workload_draw(world, region, client, &request);
        request.single = true;
    }
    if (request.argc) execute(client, number, &request, &request, 1);
}

void sim_client_step(sim_world *world, uint32_t index, uint32_t number)
{
    sim_region *region = &world->regions[index];
    sim_client *client = &region->clients[number];
    bool joins = client->session && region->replica->db.joining;
    if (joins) sim_client_check_loading(region);
    bool ready =
        client->session && !joins && !sim_client_is_mute(region) && client->pending_count < world->config.pipeline;
    for (uint32_t i = 0; ready && i < client->pending_count; i++) ready = !client->pending[i].blocked;
    ready = ready && client->session->block == SK_BLOCK_NONE;
    if (world->phase != SIM_CHAOS && !(client->session && (client->queued_count || client->put_off.argc))) return;
    uint64_t pause;
    if (client->put_off.argc && sim_client_is_mute(region)) sim_request_free(&client->put_off);
    if (client->put_off.argc) {
        sim_request request = client->put_off;
        if (ready) client->put_off = (sim_request){0};
        if (ready) execute(client, number, &request, &request, 1);
        pause = sim_random_below(&client->random, 2000) + 1000;
    } else if (client->queued_count) {
        bool watches = ready && client->watch_first.argc;
        if (ready) continue_multi(client, number);
        pause = sim_random_below(&client->random, watches ? world->config.think_us : 2000) + (ready ? 0 : 1000);
    } else {
        sim_random_derive(&client->random, world->seed, STREAM_CLIENT, world->config.id[index] * 256 + number,
                          ++client->asked);
        pause = sim_random_delay(&client->random, world->config.think_us);
        next_request(world, region, client, number, ready);
        if (client->queued_count) pause = sim_random_below(&client->random, 2000);
    }
    sim_event_push(world, world->now_us + pause, SIM_EVENT_CLIENT, index, number, 0);
}

/* -- replies leave ------------------------------------------------------------------------------------------------- */

/* Errors that a client of this simulator may get. */
static bool is_expected_error(sk_bytes text)
{
    static const char *const known[] = {"CONFLICT ",
                                        "WRONGTYPE ",
                                        "MISCONF ",
                                        "BEHIND ",
                                        "EXECABORT ",
                                        "ERR value is not an integer",
                                        "ERR increment or decrement would overflow",
                                        "ERR hash value is not",
                                        "ERR value is not a valid float",
                                        "ERR increment would produce NaN",
                                        "ERR source and destination objects",
                                        "ERR no such key",
                                        "ERR there are 64 siblings",
                                        "ERR this transaction has written",
                                        "ERR the disk",
                                        "ERR a memory limit"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sk_bytes_starts(text, sk_bytes_str(known[i]))) return true;
    return false;
}

/* What a reply shows must be durable: the rows that it is about are, at what is durable now, as they were at what it
 * saw. */
static void check_read(sim_region *region, const sim_pending *pending)
{
    sim_world *world = region->world;
    sk_buf raw = {0};
    sk_vv both = {0};
    sk_rowkey_pack(&raw, SK_TABLE_KEY, pending->request.argv[1], SK_BYTES_NONE);
    const sim_row *row = sim_oracle_row(&world->oracle, sk_buf_view(&raw));
    sk_buf_free(&raw);
    if (!row) return;
    sim_expected *saw = sk_realloc(NULL, 2 * sizeof *saw), *sure = saw + 1;
    sim_check_durable(region, &both);
    sk_vv_meet(&both, &pending->saw);
    sim_oracle_expect(row, &pending->saw, saw);
    sim_oracle_expect(row, &both, sure);
    bool same = saw->count == sure->count;
    for (uint32_t i = 0; same && i < saw->count; i++)
        same = saw->entries[i].dot.origin == sure->entries[i].dot.origin &&
               saw->entries[i].dot.seq == sure->entries[i].dot.seq && saw->entries[i].kind == sure->entries[i].kind;
    if (!same) sim_fail(world, "%s: a reply shows what is not durable", region->name);
    world->counts.reads_checked++;
    sk_vv_free(&both);
    free(saw);
}

/* WAIT answered n: so many other disks have the client's last write. A region that lost its disk since counts. */
static void check_wait(sim_region *region, const sim_pending *pending, int64_t answered)
{
    sim_world *world = region->world;
    sk_vv durable = {0};
    int64_t holders = 0;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *other = &world->regions[i];
        if (other == region) continue;
        sim_check_durable(other, &durable);
        holders += pending->last_write.seq == 0 || other->losses || sk_vv_covers(&durable, pending->last_write);
    }
    sk_vv_free(&durable);
    world->counts.waits++;
    if (answered > holders)
        sim_fail(world, "%s: WAIT says %lld regions, but %lld have it", region->name, (long long)answered,
                 (long long)holders);
}

static void check_siblings(sim_client *client, const sim_pending *pending, sk_bytes reply)
{
    sim_reply part;
    bool is_context = false;
    sk_bytes at = reply;
    while (at.len && sim_reply_next(&at, &part)) {
        if (is_context) {
            sim_workload_note(client->region->world, client, &pending->request, part.text, &pending->saw);
            return;
        }
        is_context = part.kind == SIM_REPLY_TEXT && sk_bytes_equal(part.text, sk_bytes_str("context"));
    }
}

static void delivered(sim_client *client, sim_pending *pending)
{
    sim_region *region = client->region;
    sim_world *world = region->world;
    sim_reply reply;
    sk_bytes at = sk_buf_view(&pending->reply);
    world->counts.replies++;
    if (!sim_reply_next(&at, &reply)) sim_fail(world, "%s: a reply is not RESP", region->name);
    if (reply.kind == SIM_REPLY_ERROR && !is_expected_error(reply.text))
        sim_fail(world, "%s: an error that nothing explains: %.*s", region->name, (int)reply.text.len,
                 (const char *)reply.text.data);
    if (pending->wrote.seq) {
        sim_origin *origin = &world->oracle.origins[pending->wrote.origin];
        if (pending->wrote.seq > origin->acked) origin->acked = pending->wrote.seq;
        if (!sk_vv_covers(&region->durable, pending->wrote))
            sim_fail(world, "%s: a reply left before its write was durable", region->name);
    }
    if (reply.kind == SIM_REPLY_ERROR) return;
    switch (pending->request.ask) {
    case SIM_ASK_PLAIN:
    case SIM_ASK_WATCH: break;
    case SIM_ASK_READ: check_read(region, pending); break;
    case SIM_ASK_TOKEN:
        if (!sk_vv_at_most(&pending->saw, &region->durable))
            sim_fail(world, "%s: a token tells of what is not durable", region->name);
        sim_workload_note(world, client, &pending->request, reply.text, &pending->saw);
        break;
    case SIM_ASK_AFTER:
        world->counts.tokens++;
        if (!sk_vv_at_most(&pending->request.after, &pending->saw))
            sim_fail(world, "%s: SESSION AFTER says yes too early", region->name);
        break;
    case SIM_ASK_WAIT: check_wait(region, pending, reply.number); break;
    case SIM_ASK_SIBLINGS: check_siblings(client, pending, sk_buf_view(&pending->reply)); break;
    }
}

static void release(sim_client *client)
{
    const sk_replica *replica = client->region->replica;
    uint32_t done = 0;
    for (; done < client->pending_count; done++) {
        sim_pending *pending = &client->pending[done];
        if (pending->blocked) break;
        if (pending->hold && pending->epoch != replica->epoch) {
            sim_trace(client->region->world, "%s: a client's replies are void", client->region->name);
            close_session(client);
            open_session(client);
            return;
        }
        if (pending->hold > replica->durable) break;
        delivered(client, pending);
        free_pending(pending);
    }
    if (done == 0) return;
    client->pending_count -= done;
    memmove(client->pending, client->pending + done, client->pending_count * sizeof *client->pending);
}

void sim_client_release(sim_region *region)
{
    for (uint32_t i = 0; i < region->world->config.clients; i++)
        if (region->clients[i].session && region->clients[i].pending_count) release(&region->clients[i]);
}
