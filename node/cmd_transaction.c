/* MULTI EXEC DISCARD WATCH UNWATCH.
 *
 * The dispatcher queues what comes between MULTI and EXEC. EXEC runs it inside the one transaction that is opened for
 * EXEC, if any of it writes, so all of it has one dot: it appears whole here and in every other region. When all of it
 * together becomes larger than a transaction may be, the dispatcher undoes it all.
 *
 * WATCH keeps a client's keys; the replica breaks the watch when a row of one of them changes, whoever changed it, a
 * client here or another region, unless there was no key to be seen and is none still (one that had expired is removed).
 * A key that merely passes its deadline changes no row: EXEC looks for that itself. */
#include "node/keyspace.h"
#include "node/replica.h"

static void cmd_multi(sk_ctx *ctx)
{
    if (ctx->client->in_multi) {
        sk_reply_error(ctx->reply, "ERR MULTI calls can not be nested");
        return;
    }
    ctx->client->in_multi = true;
    sk_reply_ok(ctx->reply);
}

static void cmd_discard(sk_ctx *ctx)
{
    if (!ctx->client->in_multi) {
        sk_reply_error(ctx->reply, "ERR DISCARD without MULTI");
        return;
    }
    sk_client_discard(ctx->client);
    sk_reply_ok(ctx->reply);
}

static void cmd_watch(sk_ctx *ctx)
{
    sk_client *client = ctx->client;
    if (client->in_multi) {
        sk_reply_error(ctx->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (size_t i = 1; i < ctx->argc; i++) {
        int exists = sk_key_exists(ctx, ctx->argv[i]);
        if (exists < 0) {
            sk_reply_failure(ctx, exists);
            return;
        }
        size_t most = ctx->replica->options.transaction_bytes_max;
        if (sk_watch(&ctx->replica->watches, client, ctx->argv[i], !exists, most)) {
            sk_reply_error(ctx->reply, "ERR the watched keys would take more than limits.transaction_max");
            return;
        }
    }
    sk_reply_ok(ctx->reply);
}

static void cmd_unwatch(sk_ctx *ctx)
{
    sk_unwatch(&ctx->replica->watches, ctx->client);
    sk_reply_ok(ctx->reply);
}

/* 1 if a watched key has changed or expired since it was watched; or an error. What a transfer has changed has shown when the
 * key was brought into place. */
static int watch_broken(sk_ctx *ctx)
{
    const sk_client *client = ctx->client;
    for (const sk_watched *watched = client->watched; watched && !client->watch_broken; watched = watched->more) {
        int exists = sk_key_exists(ctx, watched->key);
        if (exists < 0) return exists;
        if (exists == watched->absent) return 1;
    }
    return client->watch_broken;
}

static bool refused(const sk_ctx *ctx)
{
    return ctx->db->txn.active && ctx->db->txn.refused;
}

/* Each in an arena of its own, so that a long transaction does not keep the memory of all its commands. */
static void run_queue(sk_ctx *ctx)
{
    sk_client *client = ctx->client;
    sk_arena arena = {.max = ctx->arena->max};
    sk_reply_array(ctx->reply, client->queue_count);
    for (size_t i = 0; i < client->queue_count && !refused(ctx); i++) {
        const sk_queued *queued = &client->queue[i];
        sk_reply reply = {ctx->reply->out, client->proto}; /* HELLO in the queue changes it for what follows */
        sk_ctx each = *ctx;
        each.command = sk_command_named(queued->argv, queued->argc); /* there is one: it was queued */
        each.argv = queued->argv;
        each.argc = queued->argc;
        each.reply = &reply;
        each.arena = &arena;
        each.command->run(&each);
        sk_arena_reset(&arena);
    }
    sk_arena_free(&arena);
}

static void cmd_exec(sk_ctx *ctx)
{
    sk_client *client = ctx->client;
    if (!client->in_multi) {
        sk_reply_error(ctx->reply, "ERR EXEC without MULTI");
        return;
    }
    int broken = watch_broken(ctx);
    if (client->multi_failed)
        sk_reply_error(ctx->reply, "EXECABORT Transaction discarded because of previous errors.");
    else if (broken < 0)
        sk_reply_failure(ctx, broken);
    else if (broken)
        sk_reply_null_array(ctx->reply);
    else
        run_queue(ctx); /* in_multi stands meanwhile: no command may block or open a transaction of its own */
    sk_client_discard(client);
}

#define TRANSACTIONS .group = "transactions", .acl = "@transaction"

enum {
    AT_ONCE = SK_CMD_LOADING | SK_CMD_IMMEDIATE | SK_CMD_NOSCRIPT,
    QUEUES = AT_ONCE | SK_CMD_FAST | SK_CMD_ALLOW_BUSY,
};

const sk_command sk_commands_transaction[] = {
    {.name = "discard", .run = cmd_discard, .arity = 1, .flags = QUEUES, TRANSACTIONS, .since = "2.0.0",
     .args = "", .summary = "Discard all commands issued after MULTI"},
    {.name = "exec", .run = cmd_exec, .arity = 1, .flags = AT_ONCE | SK_CMD_RUNS_QUEUE, TRANSACTIONS, .since = "1.2.0",
     .args = "", .summary = "Execute all commands issued after MULTI"},
    {.name = "multi", .run = cmd_multi, .arity = 1, .flags = QUEUES, TRANSACTIONS, .since = "1.2.0",
     .args = "", .summary = "Mark the start of a transaction block"},
    {.name = "unwatch", .run = cmd_unwatch, .arity = 1, .flags = QUEUES & ~(unsigned)SK_CMD_IMMEDIATE, TRANSACTIONS,
     .since = "2.2.0", .args = "", .summary = "Forget about all watched keys"},
    {.name = "watch", .run = cmd_watch, .arity = -2, .flags = QUEUES | SK_KEY_PEEKS, .first_key = 1, .last_key = -1,
     .key_step = 1, TRANSACTIONS, .since = "2.2.0", .args = "key [key ...]",
     .summary = "Watch the given keys to determine execution of the MULTI/EXEC block"},
    {.name = NULL},
};
