/* CONFIG: GET and SET of what the owner of the replica can be asked and told; RESETSTAT. */
#include "node/cmd_server.h"

#include "node/replica.h"

#include <stdlib.h>
#include <strings.h>

/* -- the owner's answers ------------------------------------------------------------------------------------------- */

/* Takes the next "$len\r\nbytes\r\n" of what the owner wrote. False at the end. */
static bool next_bulk(sk_bytes *text, sk_bytes *bulk)
{
    const uint8_t *line = memchr(text->data, '\r', text->len);
    if (!line || text->data[0] != '$') return false;
    size_t head = (size_t)(line - text->data) + 2, len = strtoul((const char *)text->data + 1, NULL, 10);
    if (head + len + 2 > text->len) return false;
    *bulk = sk_bytes_of(text->data + head, len);
    *text = sk_bytes_of(text->data + head + len + 2, text->len - head - len - 2);
    return true;
}

typedef struct {
    sk_bytes *names; /* owned array; the names point into the buffer of their pattern's answer, or the arena */
    size_t count;
    sk_buf out;
} settings;

static bool listed(const settings *found, sk_bytes name)
{
    for (size_t i = 0; i < found->count; i++)
        if (sk_bytes_equal(found->names[i], name)) return true;
    return false;
}

/* Adds the pairs that a pattern matches, those that another one has matched already left out. */
static int add_matching(sk_ctx *ctx, sk_bytes pattern, settings *found)
{
    const sk_replica_host *host = &ctx->replica->host;
    sk_buf answer = {0};
    sk_reply reply = {&answer, 2}, out = {&found->out, 2};
    int status = host->config_get ? host->config_get(host->self, pattern, &reply) : 0;
    sk_bytes rest = sk_arena_copy(ctx->arena, sk_buf_view(&answer)), name, value;
    if (!rest.data) status = SK_E_MEMORY;
    while (status >= 0 && next_bulk(&rest, &name) && next_bulk(&rest, &value)) {
        if (listed(found, name)) continue;
        found->names = sk_realloc(found->names, (found->count + 1) * sizeof *found->names);
        found->names[found->count++] = name;
        sk_reply_bulk(&out, name);
        sk_reply_bulk(&out, value);
    }
    sk_buf_free(&answer);
    return status < 0 ? status : 0;
}

static void free_settings(settings *found)
{
    free(found->names);
    sk_buf_free(&found->out);
}

static void config_get(sk_ctx *ctx)
{
    settings found = {0};
    int status = 0;
    for (size_t i = 2; i < ctx->argc && !status; i++) status = add_matching(ctx, ctx->argv[i], &found);
    if (status) {
        sk_reply_failure(ctx, status);
    } else {
        sk_reply_map(ctx->reply, found.count);
        sk_buf_bytes(ctx->reply->out, sk_buf_view(&found.out));
    }
    free_settings(&found);
}

/* -- CONFIG SET ---------------------------------------------------------------------------------------------------- */

static void reply_refused(sk_ctx *ctx, sk_bytes name, sk_bytes why)
{
    int name_len = (int)(name.len < 128 ? name.len : 128), why_len = (int)(why.len < 512 ? why.len : 512);
    sk_reply_errorf(ctx->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %.*s", name_len,
                    (const char *)name.data, why_len, (const char *)why.data);
}

static void reply_unknown(sk_ctx *ctx, sk_bytes name)
{
    int len = (int)(name.len < 128 ? name.len : 128);
    sk_reply_errorf(ctx->reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", len,
                    (const char *)name.data);
}

static bool named_twice(sk_ctx *ctx)
{
    for (size_t i = 2; i < ctx->argc; i += 2)
        for (size_t k = 2; k < i; k += 2) {
            sk_bytes a = ctx->argv[i], b = ctx->argv[k];
            if (a.len != b.len || strncasecmp((const char *)a.data, (const char *)b.data, a.len) != 0) continue;
            reply_refused(ctx, a, sk_bytes_str("duplicate parameter"));
            return true;
        }
    return false;
}

static void config_set(sk_ctx *ctx)
{
    const sk_replica_host *host = &ctx->replica->host;
    if (ctx->argc % 2) {
        sk_reply_syntax(ctx);
        return;
    }
    if (named_twice(ctx)) return;
    sk_buf error = {0};
    size_t failed = 0;
    int status = SK_E_CONFIG;
    if (host->config_set)
        status = host->config_set(host->self, ctx->argv + 2, (ctx->argc - 2) / 2, &failed, &error);
    else
        sk_buf_printf(&error, "nothing can be changed while this node runs");
    sk_bytes name = ctx->argv[2 + 2 * failed];
    if (!status)
        sk_reply_ok(ctx->reply);
    else if (error.len)
        reply_refused(ctx, name, sk_buf_view(&error));
    else
        reply_unknown(ctx, name);
    sk_buf_free(&error);
}

/* -- RESETSTAT, HELP ----------------------------------------------------------------------------------------------- */

static void config_resetstat(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    replica->stat_commands = replica->stat_writes = replica->stat_expired = replica->stat_conflicts_refused = 0;
    sk_reply_ok(ctx->reply);
}

static void config_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "HELP",
        "    Prints this help.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

#define CONFIG .group = "server", .acl = ""

enum { CHANGES = SK_CMD_ADMIN | SK_CMD_LOADING | SK_CMD_NOSCRIPT };

const sk_command sk_config_subcommands[] = {
    {.name = "get", .run = config_get, .arity = -3, .flags = CHANGES, CONFIG, .since = "2.0.0",
     .args = "parameter [parameter ...]", .summary = "Get the values of configuration parameters"},
    {.name = "help", .run = config_help, .arity = 2, .flags = SK_CMD_LOADING, CONFIG, .since = "5.0.0", .args = "",
     .summary = "Show helpful text about the different subcommands"},
    {.name = "resetstat", .run = config_resetstat, .arity = 2, .flags = CHANGES, CONFIG, .since = "2.0.0", .args = "",
     .summary = "Reset the stats returned by INFO"},
    {.name = "set", .run = config_set, .arity = -4, .flags = CHANGES, CONFIG, .since = "2.0.0",
     .args = "parameter value [parameter value ...]", .summary = "Set configuration parameters to the given values"},
    {.name = NULL},
};
