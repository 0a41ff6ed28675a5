/* Commands about the server: DBSIZE and TIME; the table of the group. INFO, CONFIG, COMMAND and FLUSHALL have files of
 * their own. */
#include "node/cmd_server.h"

#include "crdt/number.h"
#include "node/replica.h"

/* As in Redis, keys that have expired and are not yet removed are counted. */
static void cmd_dbsize(sk_ctx *ctx)
{
    ctx->db->read_batch = UINT64_MAX; /* the number tells of everything that we have */
    sk_reply_int(ctx->reply, (int64_t)ctx->db->keys);
}

static void cmd_time(sk_ctx *ctx)
{
    char digits[SK_INT64_CHARS];
    uint64_t ms = ctx->replica->wall_ms;
    sk_reply_array(ctx->reply, 2);
    sk_reply_bulk(ctx->reply, sk_bytes_of(digits, sk_format_int64(digits, (int64_t)(ms / 1000))));
    sk_reply_bulk(ctx->reply, sk_bytes_of(digits, sk_format_int64(digits, (int64_t)(ms % 1000 * 1000))));
}

#define SERVER .group = "server"

enum { FLUSH = SK_CMD_WRITE | SK_CMD_ALL_KEYS };

const sk_command sk_commands_server[] = {
    {.name = "backup", .arity = -2, SERVER, .acl = "", .since = "skerry 0.1", .args = "",
     .summary = "Copies of the whole database, made while the node runs", .subcommands = sk_backup_subcommands},
    {.name = "command", .run = sk_cmd_command, .arity = -1, .flags = SK_CMD_LOADING, SERVER, .acl = "@connection",
     .since = "2.8.13", .args = "", .summary = "Get array of Redis command details",
     .subcommands = sk_command_subcommands},
    {.name = "config", .arity = -2, SERVER, .acl = "", .since = "2.0.0", .args = "",
     .summary = "A container for server configuration commands", .subcommands = sk_config_subcommands},
    {.name = "dbsize", .run = cmd_dbsize, .arity = 1, .flags = SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_ALL_KEYS, SERVER,
     .acl = "@keyspace", .since = "1.0.0", .args = "",
     .summary = "Return the number of keys in the selected database"},
    {.name = "flushall", .run = sk_cmd_flush, .arity = -1, .flags = FLUSH, SERVER, .acl = "@keyspace @dangerous",
     .since = "1.0.0", .args = "[ASYNC | SYNC]", .summary = "Remove all keys from all databases"},
    {.name = "flushdb", .run = sk_cmd_flush, .arity = -1, .flags = FLUSH, SERVER, .acl = "@keyspace @dangerous",
     .since = "1.0.0", .args = "[ASYNC | SYNC]", .summary = "Remove all keys from the current database"},
    {.name = "info", .run = sk_cmd_info, .arity = -1, .flags = SK_CMD_LOADING, SERVER, .acl = "@dangerous",
     .since = "1.0.0", .args = "[section [section ...]]",
     .summary = "Get information and statistics about the server"},
    {.name = "time", .run = cmd_time, .arity = 1, .flags = SK_CMD_LOADING | SK_CMD_FAST, SERVER, .acl = "",
     .since = "2.6.0", .args = "", .summary = "Return the current server time"},
    {.name = NULL},
};
