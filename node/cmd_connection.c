/* Commands about the connection itself: PING ECHO HELLO AUTH QUIT RESET SELECT CLIENT.
 *
 * There is one user, "default", with one password or none. Nothing here touches the database. */
#include "node/password.h"
#include "node/replica.h"
#include "node/version.h"

#include "crdt/number.h"
#include "node/command.h"

static const char USER[] = "default";
static const char WRONG_PASSWORD[] = "WRONGPASS invalid username-password pair or user is disabled.";

/* -- PING, ECHO, SELECT, QUIT -------------------------------------------------------------------------------------- */

static void cmd_ping(sk_ctx *ctx)
{
    if (ctx->argc > 2)
        sk_reply_error(ctx->reply, "ERR wrong number of arguments for 'ping' command");
    else if (ctx->argc == 2)
        sk_reply_bulk(ctx->reply, ctx->argv[1]);
    else
        sk_reply_simple(ctx->reply, "PONG");
}

static void cmd_echo(sk_ctx *ctx)
{
    sk_reply_bulk(ctx->reply, ctx->argv[1]);
}

static void cmd_select(sk_ctx *ctx)
{
    if (sk_arg_database(ctx, ctx->argv[1])) sk_reply_ok(ctx->reply);
}

static void cmd_quit(sk_ctx *ctx)
{
    ctx->client->close_after_reply = true;
    sk_reply_ok(ctx->reply);
}

/* -- AUTH, HELLO, RESET -------------------------------------------------------------------------------------------- */

/* The client waits, and its request is executed again: then the password is known if it was right, and if it was wrong
 * the first one in the request that is not known is it. */
static void check_later(sk_ctx *ctx, sk_bytes password)
{
    sk_client *client = ctx->client;
    if (client->in_multi) {
        sk_reply_error(ctx->reply, "ERR a password that is not known yet cannot be checked inside MULTI");
        return;
    }
    client->block = SK_BLOCK_PASSWORD;
    client->block_until_ms = UINT64_MAX;
    ctx->replica->blocked_count++;
    client->check_password(client->owner, password);
}

/* False after replying with an error, or when the client must wait: there is no reply then. */
static bool log_in(sk_ctx *ctx, sk_bytes user, sk_bytes password)
{
    sk_client *client = ctx->client;
    const char *hash = ctx->replica->options.password_hash;
    bool fits = sk_bytes_equal(user, sk_bytes_str(USER));
    if (fits && hash && !sk_password_known(hash, password)) {
        if (!client->password_wrong && client->check_password) {
            check_later(ctx, password);
            return false;
        }
        fits = !client->password_wrong && sk_password_check(hash, password);
        client->password_wrong = false; /* that was its verdict */
    }
    client->authenticated |= fits;
    if (!fits) sk_reply_error(ctx->reply, WRONG_PASSWORD);
    return fits;
}

static void cmd_auth(sk_ctx *ctx)
{
    if (ctx->argc > 3) {
        sk_reply_syntax(ctx);
        return;
    }
    if (ctx->argc == 2 && !ctx->replica->options.password_hash) {
        sk_reply_error(ctx->reply, "ERR AUTH <password> called without any password configured for the default user. "
                                   "Are you sure your configuration is correct?");
        return;
    }
    sk_bytes user = ctx->argc == 2 ? sk_bytes_str(USER) : ctx->argv[1];
    if (log_in(ctx, user, ctx->argv[ctx->argc - 1])) sk_reply_ok(ctx->reply);
}

/* What CLIENT LIST prints in one line must not break it. */
static bool printable(sk_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~') return false;
    return true;
}

static bool set_name(sk_ctx *ctx, sk_bytes name)
{
    if (!printable(name)) {
        sk_reply_error(ctx->reply, "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    sk_buf_reset(&ctx->client->name);
    sk_buf_bytes(&ctx->client->name, name);
    return true;
}

/* The options after the version. Done in their order, as Redis does, so a later mistake leaves the earlier done. */
static bool hello_options(sk_ctx *ctx)
{
    for (size_t i = 2; i < ctx->argc; i++) {
        size_t more = ctx->argc - 1 - i;
        sk_bytes option = ctx->argv[i];
        if (sk_arg_is(option, "auth") && more >= 2) {
            if (!log_in(ctx, ctx->argv[i + 1], ctx->argv[i + 2])) return false;
            i += 2;
        } else if (sk_arg_is(option, "setname") && more >= 1) {
            if (!set_name(ctx, ctx->argv[++i])) return false;
        } else {
            int len = (int)(option.len < 128 ? option.len : 128);
            sk_reply_errorf(ctx->reply, "ERR Syntax error in HELLO option '%.*s'", len, (const char *)option.data);
            return false;
        }
    }
    return true;
}

static void cmd_hello(sk_ctx *ctx)
{
    int64_t version = ctx->client->proto;
    if (ctx->argc >= 2 && !sk_parse_int64(ctx->argv[1], &version)) {
        sk_reply_error(ctx->reply, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version < 2 || version > 3) {
        sk_reply_error(ctx->reply, "NOPROTO unsupported protocol version");
        return;
    }
    if (!hello_options(ctx)) return;
    if (!ctx->client->authenticated) {
        sk_reply_error(ctx->reply,
                       "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
                       "AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol "
                       "version at the same time");
        return;
    }
    ctx->client->proto = (int)version;
    sk_reply reply = {ctx->reply->out, (int)version}; /* this answer is in the new version already */
    sk_reply_map(&reply, 7);
    sk_reply_bulk_str(&reply, "server");
    sk_reply_bulk_str(&reply, "skerry");
    sk_reply_bulk_str(&reply, "version");
    sk_reply_bulk_str(&reply, SK_REDIS_VERSION);
    sk_reply_bulk_str(&reply, "proto");
    sk_reply_int(&reply, version);
    sk_reply_bulk_str(&reply, "id");
    sk_reply_int(&reply, (int64_t)ctx->client->id);
    sk_reply_bulk_str(&reply, "mode");
    sk_reply_bulk_str(&reply, "standalone");
    sk_reply_bulk_str(&reply, "role");
    sk_reply_bulk_str(&reply, "master");
    sk_reply_bulk_str(&reply, "modules");
    sk_reply_array(&reply, 0);
}

static void cmd_reset(sk_ctx *ctx)
{
    sk_client *client = ctx->client;
    sk_client_discard(client);
    sk_client_end_transfers(client);
    sk_buf_reset(&client->name);
    client->no_evict = client->no_touch = false;
    client->proto = 2;
    client->authenticated = ctx->replica->options.password_hash == NULL;
    sk_reply_simple(ctx->reply, "RESET");
}

/* -- CLIENT -------------------------------------------------------------------------------------------------------- */

static void client_flags(const sk_client *client, char flags[8])
{
    size_t len = 0;
    if (client->in_multi) flags[len++] = 'x';
    if (client->block != SK_BLOCK_NONE) flags[len++] = 'b';
    if (client->watch_broken) flags[len++] = 'd';
    if (client->close_after_reply) flags[len++] = 'c';
    if (client->no_evict) flags[len++] = 'e';
    if (client->no_touch) flags[len++] = 'T';
    if (len == 0) flags[len++] = 'N';
    flags[len] = 0;
}

static uint64_t seconds_since(const sk_ctx *ctx, uint64_t wall_ms)
{
    return ctx->replica->wall_ms > wall_ms ? (ctx->replica->wall_ms - wall_ms) / 1000 : 0;
}

static void append_named(sk_buf *text, const char *name, const sk_buf *value)
{
    sk_buf_printf(text, " %s=", name);
    sk_buf_bytes(text, sk_buf_view(value));
}

/* One client's line of CLIENT LIST: Redis' fields, of those that mean something here. */
static void append_client(const sk_ctx *ctx, const sk_client *client, sk_buf *text)
{
    char flags[8], command[SK_COMMAND_NAME_MAX] = "NULL";
    client_flags(client, flags);
    if (client->last_command) sk_command_full_name(client->last_command, command);
    sk_buf_printf(text, "id=%llu addr=%s laddr=%s", (unsigned long long)client->id, client->address,
                  client->local_address);
    append_named(text, "name", &client->name);
    sk_buf_printf(text, " age=%llu idle=%llu flags=%s db=0 sub=0 psub=0 ssub=0",
                  (unsigned long long)seconds_since(ctx, client->connected_ms),
                  (unsigned long long)seconds_since(ctx, client->active_ms), flags);
    if (client->in_multi)
        sk_buf_printf(text, " multi=%zu", client->queue_count);
    else
        sk_buf_printf(text, " multi=-1");
    sk_buf_printf(text, " watch=%zu multi-mem=%zu omem=%zu cmd=%s user=%s resp=%d", client->watched_count,
                  client->queue_bytes, client->output_bytes, command, USER, client->proto);
    append_named(text, "lib-name", &client->library_name);
    append_named(text, "lib-ver", &client->library_version);
    sk_buf_byte(text, '\n');
}

static void cmd_client_id(sk_ctx *ctx)
{
    sk_reply_int(ctx->reply, (int64_t)ctx->client->id);
}

static void cmd_client_info(sk_ctx *ctx)
{
    sk_buf text = {0};
    append_client(ctx, ctx->client, &text);
    sk_reply_verbatim(ctx->reply, "txt", sk_buf_view(&text));
    sk_buf_free(&text);
}

static bool client_wanted(const sk_client *client, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == client->id) return true;
    return count == 0;
}

/* Oldest first; with ids only those. */
static void reply_clients(sk_ctx *ctx, const uint64_t *ids, size_t count)
{
    sk_buf text = {0};
    const sk_client *client = ctx->replica->clients;
    while (client && client->next) client = client->next;
    for (; client; client = client->previous)
        if (client_wanted(client, ids, count)) append_client(ctx, client, &text);
    sk_reply_verbatim(ctx->reply, "txt", sk_buf_view(&text));
    sk_buf_free(&text);
}

static void client_list_type(sk_ctx *ctx, sk_bytes type)
{
    if (sk_arg_is(type, "normal")) {
        reply_clients(ctx, NULL, 0);
        return;
    }
    if (sk_arg_is(type, "master") || sk_arg_is(type, "replica") || sk_arg_is(type, "slave") ||
        sk_arg_is(type, "pubsub")) {
        sk_reply_verbatim(ctx->reply, "txt", SK_BYTES_NONE); /* every client here is a normal one */
        return;
    }
    int len = (int)(type.len < 128 ? type.len : 128);
    sk_reply_errorf(ctx->reply, "ERR Unknown client type '%.*s'", len, (const char *)type.data);
}

static void client_list_ids(sk_ctx *ctx, const sk_bytes *texts, size_t count)
{
    uint64_t *ids = sk_arena_take(ctx->arena, count * sizeof *ids);
    if (!ids) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t id;
        if (!sk_parse_int64(texts[i], &id)) {
            sk_reply_error(ctx->reply, "ERR Invalid client ID");
            return;
        }
        ids[i] = (uint64_t)id;
    }
    reply_clients(ctx, ids, count);
}

static void cmd_client_list(sk_ctx *ctx)
{
    if (ctx->argc == 2)
        reply_clients(ctx, NULL, 0);
    else if (ctx->argc == 4 && sk_arg_is(ctx->argv[2], "type"))
        client_list_type(ctx, ctx->argv[3]);
    else if (ctx->argc > 3 && sk_arg_is(ctx->argv[2], "id"))
        client_list_ids(ctx, ctx->argv + 3, ctx->argc - 3);
    else
        sk_reply_syntax(ctx);
}

static void cmd_client_getname(sk_ctx *ctx)
{
    if (ctx->client->name.len)
        sk_reply_bulk(ctx->reply, sk_buf_view(&ctx->client->name));
    else
        sk_reply_null(ctx->reply);
}

static void cmd_client_setname(sk_ctx *ctx)
{
    if (set_name(ctx, ctx->argv[2])) sk_reply_ok(ctx->reply);
}

static void cmd_client_setinfo(sk_ctx *ctx)
{
    sk_bytes option = ctx->argv[2];
    int len = (int)(option.len < 128 ? option.len : 128);
    sk_buf *target = NULL;
    if (sk_arg_is(option, "lib-name")) target = &ctx->client->library_name;
    if (sk_arg_is(option, "lib-ver")) target = &ctx->client->library_version;
    if (!target) {
        sk_reply_errorf(ctx->reply, "ERR Unrecognized option '%.*s'", len, (const char *)option.data);
        return;
    }
    if (!printable(ctx->argv[3])) {
        sk_reply_errorf(ctx->reply, "ERR %.*s cannot contain spaces, newlines or special characters.", len,
                        (const char *)option.data);
        return;
    }
    sk_buf_reset(target);
    sk_buf_bytes(target, ctx->argv[3]);
    sk_reply_ok(ctx->reply);
}

static void set_switch(sk_ctx *ctx, bool *which)
{
    bool on = sk_arg_is(ctx->argv[2], "on");
    if (!on && !sk_arg_is(ctx->argv[2], "off")) {
        sk_reply_syntax(ctx);
        return;
    }
    *which = on;
    sk_reply_ok(ctx->reply);
}

static void cmd_client_no_evict(sk_ctx *ctx)
{
    set_switch(ctx, &ctx->client->no_evict);
}

static void cmd_client_no_touch(sk_ctx *ctx)
{
    set_switch(ctx, &ctx->client->no_touch);
}

static void cmd_client_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "    * ID <id> [<id> ...]",
        "      Return clients with these IDs.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Note the client library's name or version.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Do not count this connection's reads as uses of a key.",
        "HELP",
        "    Prints this help.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

#define CONNECTION .group = "connection", .acl = "@connection"

enum { ABOUT_CLIENTS = SK_CMD_LOADING | SK_CMD_NOSCRIPT };

static const sk_command client_commands[] = {
    {.name = "getname", .run = cmd_client_getname, .arity = 2, .flags = ABOUT_CLIENTS, CONNECTION, .since = "2.6.9",
     .args = "", .summary = "Get the current connection name"},
    {.name = "id", .run = cmd_client_id, .arity = 2, .flags = ABOUT_CLIENTS, CONNECTION, .since = "5.0.0",
     .args = "", .summary = "Returns the client ID for the current connection"},
    {.name = "info", .run = cmd_client_info, .arity = 2, .flags = ABOUT_CLIENTS, CONNECTION, .since = "6.2.0",
     .args = "", .summary = "Returns information about the current client connection."},
    {.name = "list", .run = cmd_client_list, .arity = -2, .flags = SK_CMD_ADMIN | ABOUT_CLIENTS, CONNECTION,
     .since = "2.4.0", .args = "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]",
     .summary = "Get the list of client connections"},
    {.name = "setname", .run = cmd_client_setname, .arity = 3, .flags = ABOUT_CLIENTS, CONNECTION, .since = "2.6.9",
     .args = "connection-name", .summary = "Set the current connection name"},
    {.name = "setinfo", .run = cmd_client_setinfo, .arity = 4, .flags = ABOUT_CLIENTS, CONNECTION, .since = "7.2.0",
     .args = "LIB-NAME libname | LIB-VER libver", .summary = "Set the client library's name or version"},
    {.name = "no-evict", .run = cmd_client_no_evict, .arity = 3, .flags = SK_CMD_ADMIN | ABOUT_CLIENTS, CONNECTION,
     .since = "7.0.0", .args = "ON|OFF", .summary = "Set client eviction mode for the current connection"},
    {.name = "no-touch", .run = cmd_client_no_touch, .arity = 3, .flags = ABOUT_CLIENTS, CONNECTION, .since = "7.2.0",
     .args = "ON|OFF", .summary = "Set whether this connection's reads count as uses of a key"},
    {.name = "help", .run = cmd_client_help, .arity = 2, .flags = SK_CMD_LOADING, CONNECTION, .since = "5.0.0",
     .args = "", .summary = "Show helpful text about the different subcommands"},
    {.name = NULL},
};

enum {
    SESSION_FLAGS = SK_CMD_LOADING | SK_CMD_FAST | SK_CMD_NO_AUTH | SK_CMD_NOSCRIPT | SK_CMD_ALLOW_BUSY,
};

const sk_command sk_commands_connection[] = {
    {.name = "auth", .run = cmd_auth, .arity = -2, .flags = SESSION_FLAGS, CONNECTION, .since = "1.0.0",
     .args = "[username] password", .summary = "Authenticate to the server"},
    {.name = "client", .arity = -2, .group = "connection", .acl = "", .since = "2.4.0", .args = "subcommand",
     .summary = "A container for client connection commands", .subcommands = client_commands},
    {.name = "echo", .run = cmd_echo, .arity = 2, .flags = SK_CMD_LOADING | SK_CMD_FAST, CONNECTION, .since = "1.0.0",
     .args = "message", .summary = "Echo the given string"},
    {.name = "hello", .run = cmd_hello, .arity = -1, .flags = SESSION_FLAGS, CONNECTION, .since = "6.0.0",
     .args = "[protover [AUTH username password] [SETNAME clientname]]", .summary = "Handshake with Redis"},
    {.name = "ping", .run = cmd_ping, .arity = -1, .flags = SK_CMD_FAST, CONNECTION, .since = "1.0.0",
     .args = "[message]", .summary = "Ping the server"},
    {.name = "quit", .run = cmd_quit, .arity = -1, .flags = SESSION_FLAGS | SK_CMD_IMMEDIATE, CONNECTION,
     .since = "1.0.0", .args = "", .summary = "Close the connection"},
    {.name = "reset", .run = cmd_reset, .arity = 1, .flags = SESSION_FLAGS | SK_CMD_IMMEDIATE, CONNECTION,
     .since = "6.2.0", .args = "", .summary = "Reset the connection"},
    {.name = "select", .run = cmd_select, .arity = 2, .flags = SK_CMD_LOADING | SK_CMD_FAST, CONNECTION,
     .since = "1.0.0", .args = "index", .summary = "Change the selected database for the current connection"},
    {.name = NULL},
};
