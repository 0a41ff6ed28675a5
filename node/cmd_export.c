/* EXPORT and IMPORT: the whole state as a stream of bytes, a piece at a time (node/export.h). */
#include "node/export.h"

#include "node/command.h"
#include "node/replica.h"

enum { EXPORT_PIECE = 256 << 10, EXPORTS_MAX = 8 };

static void reply_error(sk_ctx *ctx, int status, const char *what)
{
    if (status == SK_E_BUSY)
        sk_reply_error(ctx->reply, "BUSY a transfer from another region or an import is coming in; try again");
    else
        sk_reply_errorf(ctx->reply, "ERR %s: %s", what, sk_error_text(status));
}

/* -- EXPORT -------------------------------------------------------------------------------------------------------- */

static void export_open(sk_ctx *ctx)
{
    uint32_t exports = 0;
    for (const sk_client *client = ctx->replica->clients; client; client = client->next)
        exports += client->export != NULL;
    sk_client_export_close(ctx->client);
    if (exports >= EXPORTS_MAX) {
        sk_reply_error(ctx->reply, "ERR other connections are reading exports, as many as are allowed at a time");
        return;
    }
    int status = ctx->replica->store_error;
    if (!status)
        status = sk_export_open(ctx->db, ctx->replica->options.cluster, ctx->replica->wall_ms, &ctx->client->export);
    if (status)
        reply_error(ctx, status, "nothing can be exported now");
    else
        sk_reply_ok(ctx->reply);
}

/* Half of what this connection may have unread, so that no piece ends it (listen.output_buffer_max). */
static size_t piece_bytes(const sk_buf *replies)
{
    if (!replies->max) return EXPORT_PIECE;
    size_t half = (replies->max - replies->len) / 2;
    return half < EXPORT_PIECE ? half + 1 : EXPORT_PIECE; /* none would be the end */
}

static void export_read(sk_ctx *ctx)
{
    sk_buf piece = {0};
    if (!ctx->client->export) {
        sk_reply_error(ctx->reply, "ERR this connection has no export open (or the store failed meanwhile)");
        return;
    }
    int status = sk_export_read(ctx->client->export, piece_bytes(ctx->reply->out), &piece);
    if (status)
        reply_error(ctx, status, "the export failed");
    else
        sk_reply_bulk(ctx->reply, sk_buf_view(&piece));
    if (status || piece.len == 0) sk_client_export_close(ctx->client);
    sk_buf_free(&piece);
}

static void export_close(sk_ctx *ctx)
{
    sk_client_export_close(ctx->client);
    sk_reply_ok(ctx->reply);
}

static void export_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "EXPORT <subcommand>. The whole state as a stream of bytes:",
        "CLOSE",
        "    End it.",
        "OPEN",
        "    Begin one, of what is committed now.",
        "READ",
        "    Its next piece; an empty one is its end.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

/* -- IMPORT -------------------------------------------------------------------------------------------------------- */

/* Why nothing can be written now; NULL: it can. */
static const char *refusal(const sk_replica *replica)
{
    if (replica->stopping) return "ERR the node is shutting down";
    if (replica->store_error || replica->db.failed)
        return "MISCONF the disk does not take writes at the moment (full or failing, see the log); reads go on";
    if (replica->host.writable && !replica->host.writable(replica->host.self))
        return "MISCONF the disk is nearly full (storage.min_free); writes are refused until there is room, reads go "
               "on";
    return NULL;
}

static void import_open(sk_ctx *ctx)
{
    const char *refused = refusal(ctx->replica);
    if (refused) {
        sk_reply_error(ctx->reply, refused);
        return;
    }
    int status = sk_replica_import(ctx->replica, ctx->client);
    if (status)
        reply_error(ctx, status, "nothing can be imported now");
    else
        sk_reply_ok(ctx->reply);
}

/* Replies if this connection has none. */
static bool is_importing(sk_ctx *ctx)
{
    if (ctx->replica->import && ctx->replica->importer == ctx->client) return true;
    sk_reply_error(ctx->reply, "ERR this connection has no import open (or it was given up, and nothing was applied)");
    return false;
}

static void import_write(sk_ctx *ctx)
{
    sk_buf error = {0};
    if (!is_importing(ctx)) return;
    const char *refused = refusal(ctx->replica);
    ctx->db->read_batch = UINT64_MAX; /* the next piece waits until this one is on the disk */
    if (refused) {
        sk_replica_import_abort(ctx->replica);
        sk_reply_error(ctx->reply, refused);
    } else if (sk_import_write(ctx->replica->import, ctx->argv[2], &error)) {
        sk_replica_import_abort(ctx->replica);
        sk_reply_errorf(ctx->reply, "ERR %.*s; nothing was applied", (int)error.len, (const char *)error.data);
    } else {
        sk_reply_ok(ctx->reply);
    }
    sk_buf_free(&error);
}

static void import_commit(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    sk_buf error = {0};
    sk_stream_end end;
    if (!is_importing(ctx)) return;
    ctx->db->read_batch = UINT64_MAX;
    int status = sk_import_commit(replica->import, &end, &error);
    replica->import = NULL;
    replica->importer = NULL;
    if (status) {
        sk_reply_errorf(ctx->reply, "ERR %.*s; nothing was applied", (int)error.len, (const char *)error.data);
    } else {
        sk_engine_joined(replica->engine, replica->now_ms, replica->wall_ms);
        sk_reply_map(ctx->reply, 2);
        sk_reply_bulk_str(ctx->reply, "rows");
        sk_reply_int(ctx->reply, (int64_t)end.rows);
        sk_reply_bulk_str(ctx->reply, "history");
        sk_reply_int(ctx->reply, (int64_t)end.history);
    }
    sk_buf_free(&error);
}

static void import_abort(sk_ctx *ctx)
{
    if (ctx->replica->importer == ctx->client) sk_replica_import_abort(ctx->replica);
    sk_reply_ok(ctx->reply);
}

static void import_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "IMPORT <subcommand> [<arg>]. An exported stream, merged into what is here:",
        "ABORT",
        "    Drop what has come.",
        "COMMIT",
        "    The stream has come to its end: all of it counts from here on.",
        "OPEN",
        "    Begin one.",
        "WRITE <bytes>",
        "    The next piece of the stream; it is checked and kept aside.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

/* -- the tables ---------------------------------------------------------------------------------------------------- */

enum { PLAIN = SK_CMD_ADMIN | SK_CMD_NO_MULTI | SK_CMD_NOSCRIPT };

#define OWN(name, run, arity, flags, args, summary)                                                                    \
    {                                                                                                                  \
        name, run, arity, flags, 0, 0, 0, "server", "@dangerous", "skerry 0.1", args, summary, NULL                    \
    }

static const sk_command export_commands[] = {
    OWN("close", export_close, 2, PLAIN, "", "End an export"),
    OWN("help", export_help, 2, SK_CMD_LOADING | SK_CMD_FAST, "", "The subcommands"),
    OWN("open", export_open, 2, PLAIN, "", "Begin an export of what is committed now"),
    OWN("read", export_read, 2, PLAIN, "", "The next piece of the stream; an empty one is its end"),
    {0},
};

static const sk_command import_commands[] = {
    OWN("abort", import_abort, 2, PLAIN, "", "Drop what has come"),
    OWN("commit", import_commit, 2, PLAIN, "", "The stream has come to its end: all of it counts from here on"),
    OWN("help", import_help, 2, SK_CMD_LOADING | SK_CMD_FAST, "", "The subcommands"),
    OWN("open", import_open, 2, PLAIN, "", "Begin to merge an exported stream into what is here"),
    OWN("write", import_write, 3, PLAIN, "bytes", "The next piece of the stream; it is checked and kept aside"),
    {0},
};

const sk_command sk_commands_export[] = {
    {"export", NULL, -2, SK_CMD_ADMIN, 0, 0, 0, "server", "", "skerry 0.1", "", "The whole state as a stream of bytes",
     export_commands},
    {"import", NULL, -2, SK_CMD_ADMIN, 0, 0, 0, "server", "", "skerry 0.1", "",
     "An exported stream, merged into what is here", import_commands},
    {0},
};
