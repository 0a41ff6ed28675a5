/* Other regions as clients see them: WAIT, SESSION, DIGEST (REGION: cmd_region.c). */
#include "node/cmd_region.h"
#include "node/context.h"
#include "node/keyspace.h"
#include "node/replica.h"
#include "node/session.h"
#include "node/wanted.h"

#include "crdt/number.h"

#include <inttypes.h>
#include <stdio.h>

/* -- waiting --------------------------------------------------------------------------------------------------------------------- */

enum { AFTER_DEFAULT_MS = 5000 };

static uint32_t holders(const sk_replica *replica, const sk_client *client)
{
    return client->last_write.seq ? sk_engine_holders(replica->engine, client->last_write)
                                  : sk_engine_others(replica->engine);
}

static bool satisfied(const sk_replica *replica, const sk_client *client)
{
    if (client->block == SK_BLOCK_WAIT) return holders(replica, client) >= client->block_regions;
    return sk_vv_at_most(&client->block_vv, &replica->db.vv);
}

static void reply_waited(sk_replica *replica, sk_client *client, bool in_time, const sk_reply *reply)
{
    if (client->block == SK_BLOCK_WAIT) {
        sk_reply_int(reply, holders(replica, client));
        return;
    }
    uint64_t newest = sk_replica_newest_batch(replica); /* what it may now read rests on this */
    if (newest > client->hold) client->hold = newest;
    if (in_time)
        sk_reply_ok(reply);
    else
        sk_reply_error(reply, "BEHIND this region has not yet seen what the token stands for; try again or use a longer "
                              "TIMEOUT");
}

void sk_session_poll(sk_replica *replica, sk_client *client)
{
    sk_buf out = {0};
    sk_reply reply = {&out, client->proto};
    if (client->block == SK_BLOCK_PASSWORD) return; /* the owner's to end */
    if (client->block == SK_BLOCK_FOLD) {
        if (!sk_wanted_is_there(replica, client)) return;
    } else {
        bool in_time = satisfied(replica, client);
        if (!in_time && replica->now_ms < client->block_until_ms) return;
        reply_waited(replica, client, in_time, &reply);
    }
    client->block = SK_BLOCK_NONE;
    replica->blocked_count--;
    client->unblocked(client->owner, client, sk_buf_view(&out));
    sk_buf_free(&out);
}

/* Answers at once where that is possible, or must be (inside MULTI); else the client waits. */
static void wait_or_answer(sk_ctx *ctx, sk_block_kind kind, int64_t timeout_ms)
{
    sk_replica *replica = ctx->replica;
    sk_client *client = ctx->client;
    client->block = kind;
    bool in_time = satisfied(replica, client);
    bool must_answer = timeout_ms < 0 || client->in_multi || !client->unblocked;
    if (in_time || must_answer) {
        reply_waited(replica, client, in_time, ctx->reply);
        client->block = SK_BLOCK_NONE;
        return;
    }
    client->block_until_ms = timeout_ms == 0 ? UINT64_MAX : replica->now_ms + (uint64_t)timeout_ms;
    replica->blocked_count++;
}

static bool timeout_arg(sk_ctx *ctx, sk_bytes arg, int64_t *timeout_ms)
{
    if (!sk_parse_int64(arg, timeout_ms) || *timeout_ms > INT64_MAX / 2) {
        sk_reply_error(ctx->reply, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (*timeout_ms >= 0) return true;
    sk_reply_error(ctx->reply, "ERR timeout is negative");
    return false;
}

static void wait_regions(sk_ctx *ctx)
{
    int64_t regions, timeout_ms;
    if (!sk_arg_int(ctx, ctx->argv[1], &regions) || !timeout_arg(ctx, ctx->argv[2], &timeout_ms)) return;
    ctx->client->block_regions = regions < 0 ? 0 : regions > SK_MEMBERS_MAX ? SK_MEMBERS_MAX : (uint32_t)regions;
    wait_or_answer(ctx, SK_BLOCK_WAIT, timeout_ms);
}

/* -- SESSION ------------------------------------------------------------------------------------------------------------------------ */

static void session_token(sk_ctx *ctx)
{
    ctx->db->read_batch = UINT64_MAX;
    sk_bytes token = sk_context_text(ctx->db, sk_db_vector(ctx->db), SK_BYTES_NONE, NULL, ctx->arena);
    if (token.data)
        sk_reply_bulk(ctx->reply, token);
    else
        sk_reply_failure(ctx, SK_E_MEMORY);
}

static void session_after(sk_ctx *ctx)
{
    int64_t timeout_ms = AFTER_DEFAULT_MS;
    sk_context context;
    if (ctx->argc == 5 && sk_arg_is(ctx->argv[3], "timeout")) {
        if (!timeout_arg(ctx, ctx->argv[4], &timeout_ms)) return;
        if (timeout_ms == 0) timeout_ms = -1; /* here 0 means: answer at once */
    } else if (ctx->argc != 3) {
        sk_reply_syntax(ctx);
        return;
    }
    int status = sk_context_parse(ctx->db, ctx->argv[2], ctx->arena, &context);
    if (status == SK_E_MEMORY)
        sk_reply_failure(ctx, status);
    else if (status)
        sk_reply_error(ctx->reply, "ERR this is not a token that SESSION TOKEN gave");
    else if (context.unknown)
        /* An origin that this region has never heard of cannot be waited for by number: the client asks again. */
        sk_reply_error(ctx->reply, "BEHIND this region does not know yet of a region or a restart that the token names");
    else {
        sk_vv_copy(&ctx->client->block_vv, &context.vv);
        wait_or_answer(ctx, SK_BLOCK_AFTER, timeout_ms);
    }
    sk_vv_free(&context.vv);
}

/* -- DIGEST ------------------------------------------------------------------------------------------------------------------------- */

static void digest(sk_ctx *ctx)
{
    char hex[33];
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64, (uint64_t)(ctx->db->digest >> 64), (uint64_t)ctx->db->digest);
    ctx->db->read_batch = UINT64_MAX;
    sk_reply_map(ctx->reply, 2);
    sk_reply_bulk_str(ctx->reply, "digest");
    sk_reply_bulk_str(ctx->reply, hex);
    sk_reply_bulk_str(ctx->reply, "vector");
    sk_reply_vector(ctx, &ctx->db->vv);
}

/* -- the tables ---------------------------------------------------------------------------------------------------------------------- */

#define OWN(name, run, arity, flags, args, summary) \
    {name, run, arity, flags, 0, 0, 0, "replication", "", "skerry 0.1", args, summary, NULL}

static const sk_command session_commands[] = {
    OWN("after", session_after, -3, SK_CMD_READONLY | SK_CMD_BLOCKING, "token [TIMEOUT milliseconds]",
        "Wait until this region has everything that a token stands for"),
    OWN("token", session_token, 2, SK_CMD_READONLY | SK_CMD_FAST, "",
        "A token for everything that this connection may have seen"),
    {0},
};

const sk_command sk_commands_session[] = {
    /* Not within MULTI: the digest of half a transaction belongs to no vector. */
    OWN("digest", digest, 1, SK_CMD_READONLY | SK_CMD_ALL_KEYS | SK_CMD_NO_MULTI, "",
        "A digest of the whole replicated state, with the version vector that it belongs to"),
    {"region", NULL, -2, SK_CMD_READONLY, 0, 0, 0, "replication", "", "skerry 0.1", "", "The regions of this cluster",
     sk_region_commands},
    {"session", NULL, -2, SK_CMD_READONLY, 0, 0, 0, "replication", "", "skerry 0.1", "",
     "Causality carried between connections and regions", session_commands},
    {"wait", wait_regions, 3, SK_CMD_BLOCKING | SK_CMD_NOSCRIPT, 0, 0, 0, "generic", "@connection", "3.0.0",
     "numreplicas timeout",
     "Wait until this connection's last write is on disk in that many other regions", NULL},
    {0},
};
