/* Commands on whole keys, of whatever type: DEL, EXISTS, TYPE, TOUCH, and the deadlines.
 *
 * A deadline is one for the key, not for its value: keys in conflict have one too, and commands that only look at it,
 * or remove the key, work on them. RENAME and COPY are in node/cmd_copy.c; SCAN, KEYS and RANDOMKEY in
 * node/cmd_scan.c. */
#include "node/cmd_key.h"

#include "node/replica.h"

/* -- DEL, UNLINK, EXISTS, TOUCH, TYPE ------------------------------------------------------------------------------ */

static void cmd_del(sk_ctx *ctx)
{
    int64_t removed = 0;
    sk_key key;
    for (size_t i = 1; i < ctx->argc; i++) {
        if (!sk_key_overwrite(ctx, ctx->argv[i], &key)) return;
        if (key.type == SK_TYPE_NONE) continue;
        if (!sk_key_remove(ctx, &key, false)) return;
        removed++;
    }
    sk_reply_int(ctx->reply, removed);
}

/* EXISTS and TOUCH: how many of the keys there are, a key named twice counting twice. */
static void cmd_exists(sk_ctx *ctx)
{
    int64_t there = 0;
    for (size_t i = 1; i < ctx->argc; i++) {
        int exists = sk_key_exists(ctx, ctx->argv[i]);
        if (exists < 0) {
            sk_reply_failure(ctx, exists);
            return;
        }
        there += exists;
    }
    sk_reply_int(ctx->reply, there);
}

static void cmd_type(sk_ctx *ctx)
{
    sk_key key;
    if (sk_key_read(ctx, ctx->argv[1], SK_TYPE_NONE, &key)) sk_reply_simple(ctx->reply, sk_type_name(key.type));
}

/* -- setting deadlines --------------------------------------------------------------------------------------------- */

enum { IF_NONE = 1, IF_ANY = 2, IF_LATER = 4, IF_EARLIER = 8 };

static bool expire_options(sk_ctx *ctx, unsigned *options)
{
    *options = 0;
    for (size_t i = 3; i < ctx->argc; i++) {
        sk_bytes word = ctx->argv[i];
        unsigned option = sk_arg_is(word, "nx")   ? IF_NONE
                          : sk_arg_is(word, "xx") ? IF_ANY
                          : sk_arg_is(word, "gt") ? IF_LATER
                          : sk_arg_is(word, "lt") ? IF_EARLIER
                                                  : 0;
        if (!option) {
            int len = (int)(word.len < 128 ? word.len : 128);
            sk_reply_errorf(ctx->reply, "ERR Unsupported option %.*s", len, (const char *)word.data);
            return false;
        }
        *options |= option;
    }
    const char *wrong = NULL;
    if (*options & IF_NONE && *options & (IF_ANY | IF_LATER | IF_EARLIER))
        wrong = "ERR NX and XX, GT or LT options at the same time are not compatible";
    else if (*options & IF_LATER && *options & IF_EARLIER)
        wrong = "ERR GT and LT options at the same time are not compatible";
    if (wrong) sk_reply_error(ctx->reply, wrong);
    return !wrong;
}

/* The argument as unix milliseconds, in `base_ms` plus so many units. Below zero is in the past, which is allowed. */
static bool expire_time(sk_ctx *ctx, int64_t base_ms, int64_t unit_ms, int64_t *when_ms)
{
    if (!sk_arg_int(ctx, ctx->argv[2], when_ms)) return false;
    if (*when_ms <= INT64_MAX / unit_ms && *when_ms >= INT64_MIN / unit_ms) {
        *when_ms *= unit_ms;
        if (*when_ms <= INT64_MAX - base_ms) {
            *when_ms += base_ms;
            return true;
        }
    }
    sk_reply_errorf(ctx->reply, "ERR invalid expire time in '%s' command", ctx->command->name);
    return false;
}

/* No deadline counts as the latest of all. */
static bool expire_applies(unsigned options, uint64_t current_ms, int64_t when_ms)
{
    bool none = current_ms == SK_DEADLINE_NEVER;
    bool later = !none && when_ms > 0 && (uint64_t)when_ms > current_ms;
    bool earlier = none || when_ms < 0 || (uint64_t)when_ms < current_ms;
    if (options & IF_NONE && !none) return false;
    if (options & IF_ANY && none) return false;
    if (options & IF_LATER && !later) return false;
    return !(options & IF_EARLIER) || earlier;
}

/* A deadline that has passed already removes the key. A point in time has if it is so by the clock to be believed; what is
 * counted from now has, if it is counted backwards. */
static void expire(sk_ctx *ctx, int64_t base_ms, int64_t unit_ms)
{
    int64_t now_ms = base_ms ? base_ms : (int64_t)sk_replica_believed_ms(ctx->replica);
    unsigned options;
    int64_t when_ms;
    sk_key key;
    if (!expire_options(ctx, &options) || !expire_time(ctx, base_ms, unit_ms, &when_ms)) return;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    if (key.type == SK_TYPE_NONE || !expire_applies(options, key.deadline_ms, when_ms)) {
        sk_reply_int(ctx->reply, 0);
        return;
    }
    if (when_ms <= now_ms) {
        if (!sk_key_remove(ctx, &key, false)) return;
    } else if (!sk_key_set_deadline(ctx, &key, (uint64_t)when_ms)) {
        return;
    }
    sk_reply_int(ctx->reply, 1);
}

static void cmd_expire(sk_ctx *ctx)
{
    expire(ctx, (int64_t)ctx->db->wall_ms, 1000);
}

static void cmd_pexpire(sk_ctx *ctx)
{
    expire(ctx, (int64_t)ctx->db->wall_ms, 1);
}

static void cmd_expireat(sk_ctx *ctx)
{
    expire(ctx, 0, 1000);
}

static void cmd_pexpireat(sk_ctx *ctx)
{
    expire(ctx, 0, 1);
}

static void cmd_persist(sk_ctx *ctx)
{
    sk_key key;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    bool had = key.type != SK_TYPE_NONE && key.deadline_ms != SK_DEADLINE_NEVER;
    if (had && !sk_key_set_deadline(ctx, &key, SK_DEADLINE_NEVER)) return;
    sk_reply_int(ctx->reply, had);
}

/* -- reading deadlines --------------------------------------------------------------------------------------------- */

/* Replies -2 without a key, -1 without a deadline, else what is left of it from `base_ms` on, in units, rounded. */
static void reply_deadline(sk_ctx *ctx, uint64_t base_ms, uint64_t unit_ms)
{
    sk_row row;
    sk_row_name name = sk_row_name_of(ctx->arena, SK_TABLE_KEY, ctx->argv[1], SK_BYTES_NONE);
    int status = sk_db_row(ctx->db, name.raw, ctx->arena, &row);
    if (status) {
        sk_reply_failure(ctx, status);
        return;
    }
    uint64_t deadline = sk_row_deadline(&row);
    if (!sk_key_row_visible(&row, ctx->db->wall_ms))
        sk_reply_int(ctx->reply, -2);
    else if (deadline == SK_DEADLINE_NEVER)
        sk_reply_int(ctx->reply, -1);
    else
        sk_reply_int(ctx->reply, (int64_t)((deadline - base_ms + unit_ms / 2) / unit_ms));
}

static void cmd_ttl(sk_ctx *ctx)
{
    reply_deadline(ctx, ctx->db->wall_ms, 1000);
}

static void cmd_pttl(sk_ctx *ctx)
{
    reply_deadline(ctx, ctx->db->wall_ms, 1);
}

static void cmd_expiretime(sk_ctx *ctx)
{
    reply_deadline(ctx, 0, 1000);
}

static void cmd_pexpiretime(sk_ctx *ctx)
{
    reply_deadline(ctx, 0, 1);
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

#define KEYS(first, last) .first_key = (first), .last_key = (last), .key_step = 1
#define READS(more) .flags = SK_CMD_READONLY | (more), .group = "generic", .acl = "@keyspace"
#define WRITES(more) .flags = SK_CMD_WRITE | (more), .group = "generic", .acl = "@keyspace"
#define CONDITION "[NX | XX | GT | LT]"

const sk_command sk_commands_key[] = {
    {.name = "copy", .run = sk_cmd_copy,
     .arity = -3, WRITES(SK_CMD_DENYOOM | SK_KEY_READS | SK_KEY_THEN(SK_KEY_REPLACES)), KEYS(1, 2), .since = "6.2.0",
     .args = "source destination [DB destination-db] [REPLACE]", .summary = "Copy a key"},
    {.name = "del", .run = cmd_del, .arity = -2, WRITES(SK_KEY_REMOVES), KEYS(1, -1), .since = "1.0.0",
     .args = "key [key ...]",
     .summary = "Delete a key"},
    {.name = "exists", .run = cmd_exists, .arity = -2, READS(SK_CMD_FAST | SK_KEY_PEEKS), KEYS(1, -1), .since = "1.0.0",
     .args = "key [key ...]", .summary = "Determine if a key exists"},
    {.name = "expire", .run = cmd_expire, .arity = -3, WRITES(SK_CMD_FAST), KEYS(1, 1), .since = "1.0.0",
     .args = "key seconds " CONDITION, .summary = "Set a key's time to live in seconds"},
    {.name = "expireat", .run = cmd_expireat, .arity = -3, WRITES(SK_CMD_FAST), KEYS(1, 1), .since = "1.2.0",
     .args = "key unix-time-seconds " CONDITION, .summary = "Set the expiration for a key as a UNIX timestamp"},
    {.name = "expiretime", .run = cmd_expiretime, .arity = 2, READS(SK_CMD_FAST), KEYS(1, 1), .since = "7.0.0",
     .args = "key", .summary = "Get the expiration Unix timestamp for a key"},
    {.name = "keys", .run = sk_cmd_keys, .arity = 2, .flags = SK_CMD_READONLY | SK_CMD_ALL_KEYS, .group = "generic",
     .acl = "@keyspace @dangerous", .since = "1.0.0", .args = "pattern",
     .summary = "Find all keys matching the given pattern"},
    {.name = "persist", .run = cmd_persist, .arity = 2, WRITES(SK_CMD_FAST), KEYS(1, 1), .since = "2.2.0",
     .args = "key", .summary = "Remove the expiration from a key"},
    {.name = "pexpire", .run = cmd_pexpire, .arity = -3, WRITES(SK_CMD_FAST), KEYS(1, 1), .since = "2.6.0",
     .args = "key milliseconds " CONDITION, .summary = "Set a key's time to live in milliseconds"},
    {.name = "pexpireat", .run = cmd_pexpireat, .arity = -3, WRITES(SK_CMD_FAST), KEYS(1, 1), .since = "2.6.0",
     .args = "key unix-time-milliseconds " CONDITION,
     .summary = "Set the expiration for a key as a UNIX timestamp specified in milliseconds"},
    {.name = "pexpiretime", .run = cmd_pexpiretime, .arity = 2, READS(SK_CMD_FAST), KEYS(1, 1), .since = "7.0.0",
     .args = "key", .summary = "Get the expiration Unix timestamp for a key in milliseconds"},
    {.name = "pttl", .run = cmd_pttl, .arity = 2, READS(SK_CMD_FAST), KEYS(1, 1), .since = "2.6.0", .args = "key",
     .summary = "Get the time to live for a key in milliseconds"},
    {.name = "randomkey", .run = sk_cmd_randomkey, .arity = 1, READS(SK_CMD_ALL_KEYS), .since = "1.0.0", .args = "",
     .summary = "Return a random key from the keyspace"},
    {.name = "rename", .run = sk_cmd_rename,
     .arity = 3, WRITES(SK_KEY_TAKES | SK_KEY_THEN(SK_KEY_REPLACES)), KEYS(1, 2), .since = "1.0.0", .args = "key newkey",
     .summary = "Rename a key"},
    {.name = "renamenx", .run = sk_cmd_renamenx,
     .arity = 3, WRITES(SK_CMD_FAST | SK_KEY_TAKES | SK_KEY_THEN(SK_KEY_CREATES)), KEYS(1, 2), .since = "1.0.0",
     .args = "key newkey", .summary = "Rename a key, only if the new key does not exist"},
    {.name = "scan", .run = sk_cmd_scan, .arity = -2, READS(SK_CMD_ALL_KEYS), .since = "2.8.0",
     .args = "cursor [MATCH pattern] [COUNT count] [TYPE type]", .summary = "Incrementally iterate the keys space"},
    {.name = "touch", .run = cmd_exists, .arity = -2, READS(SK_CMD_FAST | SK_KEY_PEEKS), KEYS(1, -1), .since = "3.2.1",
     .args = "key [key ...]",
     .summary = "Alters the last access time of a key(s). Returns the number of existing keys specified."},
    {.name = "ttl", .run = cmd_ttl, .arity = 2, READS(SK_CMD_FAST), KEYS(1, 1), .since = "1.0.0", .args = "key",
     .summary = "Get the time to live for a key in seconds"},
    {.name = "type", .run = cmd_type, .arity = 2, READS(SK_CMD_FAST | SK_KEY_PEEKS), KEYS(1, 1), .since = "1.0.0",
     .args = "key",
     .summary = "Determine the type stored at key"},
    {.name = "unlink", .run = cmd_del, .arity = -2, WRITES(SK_CMD_FAST | SK_KEY_REMOVES), KEYS(1, -1), .since = "4.0.0",
     .args = "key [key ...]",
     .summary =
         "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking."},
    {.name = NULL},
};
