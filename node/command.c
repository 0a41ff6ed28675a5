#include "node/command.h"

#include "crdt/number.h"
#include "node/replica.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const sk_command *const tables[] = {
    sk_commands_string,     sk_commands_hash,        sk_commands_set,      sk_commands_key,     sk_commands_connection,
    sk_commands_server,     sk_commands_transaction, sk_commands_siblings, sk_commands_session,
    sk_commands_export,
};

enum { TABLES = sizeof tables / sizeof *tables, SLOTS = 1024, NAME_MAX_LEN = 32, LOADING_TEXT_MAX = 256, MALLOC_BYTES = 16 };

/* -- looking up --------------------------------------------------------------------------------------------------------- */

static const sk_command *slots[SLOTS]; /* open addressing by name; filled once */
static bool slots_ready;

static uint32_t hash_name(const char *name, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++) hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash % SLOTS;
}

static void fill_slots(void)
{
    for (size_t t = 0; t < TABLES; t++)
        for (const sk_command *command = tables[t]; command->name; command++) {
            uint32_t slot = hash_name(command->name, strlen(command->name));
            while (slots[slot]) slot = (slot + 1) % SLOTS;
            slots[slot] = command;
        }
    slots_ready = true;
}

static const sk_command *look_up(sk_bytes name)
{
    char lower[NAME_MAX_LEN];
    if (!slots_ready) fill_slots();
    for (size_t i = 0; i < name.len; i++) lower[i] = (char)tolower(name.data[i]);
    for (uint32_t slot = hash_name(lower, name.len); slots[slot]; slot = (slot + 1) % SLOTS)
        if (strlen(slots[slot]->name) == name.len && memcmp(slots[slot]->name, lower, name.len) == 0) return slots[slot];
    return NULL;
}

const sk_command *sk_command_find(sk_bytes name)
{
    static struct {
        char name[NAME_MAX_LEN]; /* as it was asked for */
        size_t len;
        const sk_command *command;
    } last; /* most requests are of the same command as the one before */
    if (name.len == 0 || name.len > sizeof last.name) return NULL;
    if (name.len != last.len || memcmp(name.data, last.name, name.len) != 0) {
        memcpy(last.name, name.data, name.len);
        last.len = name.len;
        last.command = look_up(name);
    }
    return last.command;
}

void sk_command_each(void (*visit)(void *self, const sk_command *command), void *self)
{
    for (size_t t = 0; t < TABLES; t++)
        for (const sk_command *command = tables[t]; command->name; command++) visit(self, command);
}

const sk_command *sk_command_named(const sk_bytes *argv, size_t argc)
{
    const sk_command *command = sk_command_find(argv[0]);
    if (!command || !command->subcommands || argc == 1) return command;
    for (command = command->subcommands; command->name; command++)
        if (sk_arg_is(argv[1], command->name)) return command;
    return NULL;
}

static bool contains(const sk_command *container, const sk_command *command)
{
    const sk_command *sub = container->subcommands;
    while (sub && sub->name && sub != command) sub++;
    return sub && sub->name;
}

void sk_command_full_name(const sk_command *command, char name[SK_COMMAND_NAME_MAX])
{
    const sk_command *container = NULL;
    for (size_t t = 0; t < TABLES && !container; t++) {
        container = tables[t];
        while (container->name && !contains(container, command)) container++;
        if (!container->name) container = NULL;
    }
    snprintf(name, SK_COMMAND_NAME_MAX, "%s%s%s", container ? container->name : "", container ? "|" : "", command->name);
}

int sk_command_keys(const sk_command *command, const sk_bytes *argv, size_t argc, sk_arena *arena, sk_bytes **keys,
                    size_t *count)
{
    *count = 0;
    if (command->first_key == 0) {
        int64_t numkeys;
        if (!(command->flags & SK_CMD_NUMKEYS) || argc < 3) return 0;
        if (!sk_parse_int64(argv[1], &numkeys) || numkeys < 1 || (uint64_t)numkeys > argc - 2) return 0;
        *keys = sk_arena_take(arena, (size_t)numkeys * sizeof **keys);
        if (!*keys) return SK_E_MEMORY;
        for (; *count < (size_t)numkeys; ++*count) (*keys)[*count] = argv[2 + *count];
        return 0;
    }
    size_t first = (size_t)command->first_key, step = (size_t)command->key_step;
    int64_t last = command->last_key < 0 ? (int64_t)argc + command->last_key : command->last_key;
    if (last >= (int64_t)argc || last < (int64_t)first) return 0;
    *keys = sk_arena_take(arena, ((size_t)last - first + 1) * sizeof **keys);
    if (!*keys) return SK_E_MEMORY;
    for (size_t i = first; i <= (size_t)last; i += step) (*keys)[(*count)++] = argv[i];
    return 0;
}

void sk_command_foresee(sk_db *db, const sk_bytes *argv, size_t argc)
{
    const sk_command *command = argc >= 2 ? sk_command_find(argv[0]) : NULL;
    if (!command || command->first_key != 1) return;
    sk_table table = SK_TABLE_KEY;
    if (argc > 2 && strcmp(command->group, "hash") == 0) table = SK_TABLE_HASH;
    if (argc > 2 && strcmp(command->group, "set") == 0) table = SK_TABLE_SET;
    sk_db_fetch(db, table, argv[1], argc > 2 ? argv[2] : SK_BYTES_NONE);
}

/* -- small replies --------------------------------------------------------------------------------------------------------- */

bool sk_arg_is(sk_bytes arg, const char *word)
{
    return arg.len == strlen(word) && strncasecmp((const char *)arg.data, word, arg.len) == 0;
}

bool sk_arg_int(sk_ctx *ctx, sk_bytes arg, int64_t *value)
{
    if (sk_parse_int64(arg, value)) return true;
    sk_reply_error(ctx->reply, "ERR value is not an integer or out of range");
    return false;
}

bool sk_arg_database(sk_ctx *ctx, sk_bytes arg)
{
    int64_t index;
    if (!sk_arg_int(ctx, arg, &index)) return false;
    if (index < INT32_MIN || index > INT32_MAX)
        sk_reply_error(ctx->reply, "ERR value is out of range, value must between -2147483648 and 2147483647");
    else if (index != 0)
        sk_reply_error(ctx->reply, "ERR DB index is out of range");
    return index == 0;
}

void sk_reply_syntax(sk_ctx *ctx)
{
    sk_reply_error(ctx->reply, "ERR syntax error");
}

#define TOO_LARGE "this would be a transaction larger than limits.transaction_max"
#define IN_PARTS "; nothing was changed. Go on in parts, a hash with HSCAN and HDEL, a set with SSCAN and SREM"

void sk_reply_failure(sk_ctx *ctx, int status)
{
    sk_open_txn *txn = &ctx->db->txn;
    if (txn->active && !txn->refused && status != SK_E_LIMIT) txn->refused = status; /* what it did by now is half of it */
    if (status == SK_E_LIMIT) {
        sk_reply_error(ctx->reply, "ERR " TOO_LARGE IN_PARTS);
        return;
    }
    const char *code = status == SK_E_DISK_FULL || status == SK_E_IO ? "MISCONF" : status == SK_E_MEMORY ? "OOM" : "ERR";
    sk_reply_errorf(ctx->reply, "%s %s", code, sk_error_text(status));
}

static void reply_unknown(const sk_reply *reply, const sk_bytes *argv, size_t argc)
{
    sk_buf args = {0};
    for (size_t i = 1; i < argc && args.len < 128; i++)
        sk_buf_printf(&args, "'%.*s' ", (int)(argv[i].len < 128 - args.len ? argv[i].len : 128 - args.len),
                      (const char *)argv[i].data);
    sk_buf_byte(&args, 0);
    sk_reply_errorf(reply, "ERR unknown command '%.*s', with args beginning with: %s",
                    (int)(argv[0].len < 128 ? argv[0].len : 128), (const char *)argv[0].data, (const char *)args.data);
    sk_buf_free(&args);
}

static void reply_unknown_subcommand(const sk_reply *reply, const sk_command *container, sk_bytes name)
{
    char upper[NAME_MAX_LEN] = {0};
    for (size_t i = 0; container->name[i] && i + 1 < sizeof upper; i++) upper[i] = (char)toupper(container->name[i]);
    sk_reply_errorf(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)(name.len < 128 ? name.len : 128),
                    (const char *)name.data, upper);
}

/* -- the way of a request ------------------------------------------------------------------------------------------------------ */

static bool arity_fits(const sk_command *command, size_t argc)
{
    return command->arity >= 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
}

/* An EXEC that cannot run is the end of its transaction, as in Redis. */
static bool refuse_exec(sk_client *client, const sk_command *command, const sk_reply *reply, const char *why)
{
    if (!(command->flags & SK_CMD_RUNS_QUEUE)) return false;
    sk_reply_errorf(reply, "EXECABORT Transaction discarded because of: %s", why);
    sk_client_discard(client);
    return true;
}

/* The command or subcommand that a request names; NULL after replying with why there is none. */
static const sk_command *resolve(sk_client *client, const sk_bytes *argv, size_t argc, const sk_reply *reply)
{
    const sk_command *command = sk_command_named(argv, argc);
    if (!command) {
        const sk_command *container = sk_command_find(argv[0]);
        if (container)
            reply_unknown_subcommand(reply, container, argv[1]);
        else
            reply_unknown(reply, argv, argc);
        return NULL;
    }
    if (arity_fits(command, argc) && command->run) return command;
    if (refuse_exec(client, command, reply, "wrong number of arguments for 'exec' command")) return NULL;
    char name[SK_COMMAND_NAME_MAX];
    sk_command_full_name(command, name);
    sk_reply_errorf(reply, "ERR wrong number of arguments for '%s' command", name);
    return NULL;
}

static size_t argument_bytes(const sk_bytes *argv, size_t argc)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++) bytes += argv[i].len;
    return bytes;
}

/* What it takes in memory. */
static size_t queued_bytes(const sk_bytes *argv, size_t argc)
{
    return sizeof(sk_queued) + MALLOC_BYTES + argc * sizeof *argv + argument_bytes(argv, argc);
}

/* A transaction that has failed already is not kept. */
static void queue(sk_client *client, const sk_command *command, const sk_bytes *argv, size_t argc)
{
    if (client->multi_failed || client->watch_broken) return;
    uint8_t *memory = sk_alloc(argc * sizeof *argv + argument_bytes(argv, argc));
    sk_bytes *copies = (sk_bytes *)(void *)memory;
    uint8_t *at = memory + argc * sizeof *argv;
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len) memcpy(at, argv[i].data, argv[i].len);
        copies[i] = sk_bytes_of(at, argv[i].len);
        at += argv[i].len;
    }
    client->queue = sk_realloc(client->queue, (client->queue_count + 1) * sizeof *client->queue);
    client->queue[client->queue_count++] = (sk_queued){copies, argc};
    client->queue_bytes += queued_bytes(argv, argc);
    client->queue_flags |= command->flags;
}

/* Reads wait until a new region holds what the others do; writes too, unless the operator chose otherwise. */
static bool is_loading(const sk_replica *replica, const sk_command *command)
{
    if (!replica->db.joining || command->flags & SK_CMD_LOADING) return false;
    if (command->flags & SK_CMD_WRITE) return !replica->options.join_accepts_writes;
    return command->flags & SK_CMD_READONLY;
}

static const char *loading_text(const sk_replica *replica, char text[LOADING_TEXT_MAX])
{
    sk_buf progress = {0};
    sk_replica_join_progress(replica, &progress);
    snprintf(text, LOADING_TEXT_MAX, "LOADING %.*s", (int)progress.len, (const char *)progress.data);
    sk_buf_free(&progress);
    return text;
}

/* What it may do, in flags: read, write, add data. EXEC does what was queued, and looks at what is watched. */
static unsigned does(const sk_client *client, const sk_command *command)
{
    if (!(command->flags & SK_CMD_RUNS_QUEUE)) return command->flags;
    return client->queue_flags | (client->watched ? SK_CMD_READONLY : 0);
}

static bool is_queued(const sk_client *client, const sk_command *command)
{
    return client->in_multi && !(command->flags & SK_CMD_IMMEDIATE);
}

/* Is the request, or with it what MULTI has queued of whatever commands, larger than a transaction may be? */
static bool is_too_large(const sk_replica *replica, const sk_client *client, const sk_command *command,
                         const sk_bytes *argv, size_t argc)
{
    size_t most = replica->options.transaction_bytes_max;
    if (is_queued(client, command)) return client->queue_bytes + queued_bytes(argv, argc) > most;
    return command->flags & SK_CMD_WRITE && argument_bytes(argv, argc) > most;
}

/* What keeps a command from running now, or NULL; it may be in `text`. */
static const char *refusal(const sk_replica *replica, const sk_client *client, const sk_command *command,
                           const sk_bytes *argv, size_t argc, char text[LOADING_TEXT_MAX])
{
    if (!client->authenticated && !(command->flags & SK_CMD_NO_AUTH)) return "NOAUTH Authentication required.";
    if (client->in_multi && command->flags & SK_CMD_NO_MULTI) return "ERR this command is not allowed inside MULTI";
    if (is_loading(replica, command)) return loading_text(replica, text);
    unsigned what = does(client, command);
    if (replica->db.failed && what & (SK_CMD_WRITE | SK_CMD_READONLY))
        return "MISCONF the disk has just failed; what it has is being read again, try again";
    if (is_too_large(replica, client, command, argv, argc)) return "ERR " TOO_LARGE;
    if (!(what & SK_CMD_WRITE)) return NULL;
    if (replica->stopping) return "ERR the node is shutting down";
    if (replica->store_error)
        return "MISCONF the disk does not take writes at the moment (full or failing, see the log); reads go on";
    if (sk_engine_must_not_write(replica->engine))
        return "MISCONF this is an old copy of the database, and the new incarnation is not yet on disk; reads go on";
    if (what & SK_CMD_DENYOOM && replica->host.writable && !replica->host.writable(replica->host.self))
        return "MISCONF the disk is nearly full (storage.min_free); writes are refused until there is room, reads go on";
    return NULL;
}

/* Its changes are undone, and whatever has been replied by then is not true. */
static void abort_transaction(sk_ctx *ctx, size_t reply_len)
{
    int why = ctx->db->txn.refused;
    sk_db_abort(ctx->db);
    ctx->reply->out->len = reply_len;
    ctx->reply->out->full = false;
    if (ctx->command->flags & SK_CMD_RUNS_QUEUE)
        sk_reply_errorf(ctx->reply, "EXECABORT Transaction discarded because of: %s",
                        why == SK_E_LIMIT ? TOO_LARGE : sk_error_text(why));
    else
        sk_reply_failure(ctx, why);
}

/* The keys of one request. As bring_rows. */
static int bring_keys(sk_ctx *ctx, const sk_command *command, const sk_bytes *argv, size_t argc, uint32_t *rows)
{
    sk_bytes *keys;
    size_t count;
    int status = sk_command_keys(command, argv, argc, ctx->arena, &keys, &count);
    if (count > 1) *rows += (uint32_t)count - 1; /* it is as long as that anyway */
    for (size_t i = 0; i < count && !status; i++) status = sk_wanted_by_client(ctx->replica, ctx->client, keys[i], rows);
    return status;
}

/* Rows of a transfer that has just become visible are brought into place before anybody looks at them, and before a transaction
 * begins. 1: the client waits for that, and nothing has been done; 0: they are there; or an error. */
static int bring_rows(sk_ctx *ctx)
{
    sk_client *client = ctx->client;
    uint32_t rows = ctx->replica->fold_rows;
    if (!sk_fold_active(ctx->db)) return 0;
    if (does(client, ctx->command) & SK_CMD_ALL_KEYS) return sk_wanted_all_by_client(ctx->replica, client);
    int status = bring_keys(ctx, ctx->command, ctx->argv, ctx->argc, &rows);
    if (!(ctx->command->flags & SK_CMD_RUNS_QUEUE)) return status;
    for (const sk_watched *watched = client->watched; watched && !status; watched = watched->more)
        status = sk_wanted_by_client(ctx->replica, client, watched->key, &rows);
    for (size_t i = 0; i < client->queue_count && !status; i++) {
        const sk_queued *queued = &client->queue[i];
        sk_arena_reset(ctx->arena);
        status = bring_keys(ctx, sk_command_named(queued->argv, queued->argc), queued->argv, queued->argc, &rows);
    }
    return status;
}

/* What it does is one transaction; the reply waits for that, and for what it has read. */
static void perform(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    sk_db *db = ctx->db;
    uint64_t seq = 0;
    uint32_t own = db->own;
    size_t reply_len = ctx->reply->out->len;
    bool writes = does(ctx->client, ctx->command) & SK_CMD_WRITE;
    db->read_batch = 0;
    if (writes) sk_db_begin(db);
    ctx->command->run(ctx);
    if (writes && db->txn.refused)
        abort_transaction(ctx, reply_len);
    else if (writes)
        seq = sk_db_commit(db);
    uint64_t hold = db->read_batch;
    uint64_t newest = sk_replica_newest_batch(replica);
    if (seq || hold > newest || db->failed) hold = newest;
    if (hold > ctx->client->hold) ctx->client->hold = hold;
    if (seq) {
        ctx->client->last_write = (sk_dot){own, seq};
        replica->stat_writes++;
    }
}

static void run(sk_replica *replica, sk_client *client, const sk_command *command, const sk_bytes *argv, size_t argc,
                const sk_reply *reply)
{
    sk_db *db = &replica->db;
    sk_ctx ctx = {replica, db, client, command, argv, argc, reply, &replica->arena};
    if (reply->out->max) /* what it reads to reply, and what it makes to write */
        replica->arena.max = reply->out->max - reply->out->len + SK_TRANSACTION_MEMORY(replica->options.transaction_bytes_max);
    int brought = db->fold ? bring_rows(&ctx) : 0;
    if (brought == 0) perform(&ctx);
    if (brought < 0 && !refuse_exec(client, command, reply, sk_error_text(brought))) sk_reply_failure(&ctx, brought);
    sk_arena_reset(&replica->arena);
    replica->arena.max = 0;
}

void sk_command_execute(sk_replica *replica, sk_client *client, const sk_bytes *argv, size_t argc,
                        const sk_reply *reply)
{
    replica->stat_commands++;
    client->active_ms = replica->wall_ms;
    const sk_command *command = resolve(client, argv, argc, reply);
    if (!command) {
        client->multi_failed = client->in_multi;
        return;
    }
    client->last_command = command;
    char text[LOADING_TEXT_MAX];
    const char *refused = refusal(replica, client, command, argv, argc, text);
    if (refused && refuse_exec(client, command, reply, refused)) return;
    if (refused) {
        client->multi_failed |= client->in_multi;
        sk_reply_error(reply, refused);
        return;
    }
    if (is_queued(client, command)) {
        queue(client, command, argv, argc);
        sk_reply_simple(reply, "QUEUED");
        return;
    }
    run(replica, client, command, argv, argc, reply);
}
