/* BACKUP: a copy of the whole database, made while the node runs. What does it is the owner's (node/backups.h). */
#include "node/backups.h"
#include "node/command.h"
#include "node/replica.h"

static const char *const states[] = {[SK_BACKUP_NONE] = "none",
                                     [SK_BACKUP_RUNNING] = "running",
                                     [SK_BACKUP_DONE] = "done",
                                     [SK_BACKUP_FAILED] = "failed"};

static void backup_create(sk_ctx *ctx)
{
    const sk_replica_host *host = &ctx->replica->host;
    sk_buf error = {0};
    int status = SK_E_CONFIG;
    if (ctx->argc > 3) {
        sk_reply_syntax(ctx);
        return;
    }
    if (host->backup)
        status = host->backup(host->self, ctx->argc == 3 ? ctx->argv[2] : SK_BYTES_NONE, &error);
    else
        sk_buf_printf(&error, "no backups can be made here");
    if (status)
        sk_reply_errorf(ctx->reply, "%s %.*s", status == SK_E_BUSY ? "BUSY" : "ERR", (int)error.len,
                        (const char *)error.data);
    else
        sk_reply_simple(ctx->reply, "Backup started");
    sk_buf_free(&error);
}

static void field_int(sk_ctx *ctx, const char *name, uint64_t value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_int(ctx->reply, (int64_t)value);
}

static void field_text(sk_ctx *ctx, const char *name, const char *value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_bulk_str(ctx->reply, value);
}

static void backup_status(sk_ctx *ctx)
{
    const sk_replica_host *host = &ctx->replica->host;
    sk_backup_status status = {0};
    if (host->backup_status) host->backup_status(host->self, &status);
    uint64_t until = status.ended_ms ? status.ended_ms : ctx->replica->wall_ms;
    sk_reply_map(ctx->reply, 9);
    field_text(ctx, "state", states[status.state]);
    field_text(ctx, "directory", status.directory);
    field_int(ctx, "number", status.number);
    field_int(ctx, "started_ms", status.started_ms);
    field_int(ctx, "took_ms", until > status.started_ms && status.started_ms ? until - status.started_ms : 0);
    field_int(ctx, "files", status.files);
    field_int(ctx, "bytes", status.bytes);
    field_int(ctx, "copied_bytes", status.copied_bytes);
    field_text(ctx, "error", status.text);
}

static void backup_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "BACKUP <subcommand> [<arg> ...]. Copies of the whole database:",
        "CREATE [<directory>]",
        "    Start a backup into storage.backup_dir, or a directory below it.",
        "STATUS",
        "    How the last backup goes or went.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

#define OWN(name, run, arity, flags, args, summary)                                                                    \
    {                                                                                                                  \
        name, run, arity, flags, 0, 0, 0, "server", "@dangerous", "skerry 0.1", args, summary, NULL                    \
    }

const sk_command sk_backup_subcommands[] = {
    OWN("create", backup_create, -2, SK_CMD_ADMIN | SK_CMD_NO_MULTI | SK_CMD_NOSCRIPT, "[directory]",
        "Start a backup into storage.backup_dir, or a directory below it"),
    OWN("help", backup_help, 2, SK_CMD_LOADING | SK_CMD_FAST, "", "The subcommands"),
    OWN("status", backup_status, 2, SK_CMD_LOADING | SK_CMD_FAST, "", "How the last backup goes or went"),
    {0},
};
