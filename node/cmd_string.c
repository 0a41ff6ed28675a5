/* Strings: GET, SET and their kin, and strings used as numbers. */
#include "node/keyspace.h"

#include "crdt/number.h"
#include "node/replica.h"

#include <stdlib.h>

/* -- deadlines and other options in arguments ------------------------------------------------------------------------------ */

static bool bad_expire(sk_ctx *ctx)
{
    sk_reply_errorf(ctx->reply, "ERR invalid expire time in '%s' command", ctx->command->name);
    return false;
}

/* A deadline in unix milliseconds from an argument in seconds or milliseconds, from now or absolute. */
static bool deadline_arg(sk_ctx *ctx, sk_bytes arg, bool seconds, bool absolute, uint64_t *deadline_ms)
{
    int64_t value, ms;
    if (!sk_arg_int(ctx, arg, &value)) return false;
    if (value <= 0) return bad_expire(ctx);
    if (__builtin_mul_overflow(value, seconds ? 1000 : 1, &ms)) return bad_expire(ctx);
    if (!absolute && __builtin_add_overflow(ms, (int64_t)ctx->db->wall_ms, &ms)) return bad_expire(ctx);
    *deadline_ms = (uint64_t)ms;
    return true;
}

static const struct {
    const char *word;
    bool seconds, absolute;
} time_words[] = {{"ex", true, false}, {"px", false, false}, {"exat", true, true}, {"pxat", false, true}};

enum { TIME_WORDS = 4 };

/* The options of SET and GETEX as they are written: a time is looked at later (deadline_option), as Redis does. */
typedef struct {
    bool nx, xx, get, keep, persist;
    int time_word; /* index into time_words, or -1 */
    sk_bytes time;
} string_options;

/* One word of a time at argv[*i] with its argument, or none. The same word again replaces it; another may not follow. */
static bool time_option(sk_ctx *ctx, size_t *i, string_options *options)
{
    for (int word = 0; word < TIME_WORDS; word++) {
        if (!sk_arg_is(ctx->argv[*i], time_words[word].word)) continue;
        bool other = options->time_word >= 0 && options->time_word != word;
        if (other || options->keep || options->persist || *i + 1 == ctx->argc) return false;
        options->time_word = word;
        options->time = ctx->argv[++*i];
        return true;
    }
    return false;
}

static bool parse_options(sk_ctx *ctx, size_t first, bool is_set, string_options *options)
{
    *options = (string_options){.time_word = -1};
    for (size_t i = first; i < ctx->argc; i++) {
        sk_bytes arg = ctx->argv[i];
        if (is_set && sk_arg_is(arg, "nx") && !options->xx)
            options->nx = true;
        else if (is_set && sk_arg_is(arg, "xx") && !options->nx)
            options->xx = true;
        else if (is_set && sk_arg_is(arg, "get"))
            options->get = true;
        else if (is_set && sk_arg_is(arg, "keepttl") && options->time_word < 0)
            options->keep = true;
        else if (!is_set && sk_arg_is(arg, "persist") && options->time_word < 0)
            options->persist = true;
        else if (!time_option(ctx, &i, options)) {
            sk_reply_syntax(ctx);
            return false;
        }
    }
    return true;
}

/* SK_DEADLINE_NEVER without a time. */
static bool deadline_option(sk_ctx *ctx, const string_options *options, uint64_t *deadline_ms)
{
    *deadline_ms = SK_DEADLINE_NEVER;
    if (options->time_word < 0) return true;
    return deadline_arg(ctx, options->time, time_words[options->time_word].seconds,
                        time_words[options->time_word].absolute, deadline_ms);
}

/* -- reading ----------------------------------------------------------------------------------------------------------------- */

/* The string at a key; `found` false if there is none. */
static bool read_string(sk_ctx *ctx, sk_bytes name, sk_key *key, sk_bytes *value, bool *found)
{
    *found = false;
    return sk_key_read(ctx, name, SK_TYPE_STRING, key) &&
           sk_value_read(ctx, name, SK_BYTES_NONE, &key->row, value, found);
}

static void get(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes value;
    bool found;
    if (read_string(ctx, ctx->argv[1], &key, &value, &found)) sk_reply_value(ctx->reply, value, found);
}

static void mget(sk_ctx *ctx)
{
    size_t count = ctx->argc - 1;
    sk_bytes *values = sk_arena_take(ctx->arena, count * sizeof *values);
    bool *found = sk_arena_take(ctx->arena, count * sizeof *found);
    if (!values || !found) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return;
    }
    sk_buf scratch = {0};
    sk_reply quiet = {&scratch, ctx->reply->proto};
    const sk_reply *reply = ctx->reply;
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        sk_key key;
        ctx->reply = &quiet; /* another type is a null here, not an error */
        sk_buf_reset(&scratch);
        good = read_string(ctx, ctx->argv[1 + i], &key, &values[i], &found[i]);
        if (!good && sk_bytes_starts(sk_buf_view(&scratch), sk_bytes_str("-WRONGTYPE"))) good = true;
    }
    ctx->reply = reply;
    if (good) {
        sk_reply_array(reply, count);
        for (size_t i = 0; i < count; i++) sk_reply_value(ctx->reply, values[i], found[i]);
    } else {
        sk_buf_bytes(reply->out, sk_buf_view(&scratch));
    }
    sk_buf_free(&scratch);
}

static void string_length(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes value;
    bool found;
    if (read_string(ctx, ctx->argv[1], &key, &value, &found)) sk_reply_int(ctx->reply, found ? (int64_t)value.len : 0);
}

static void getrange(sk_ctx *ctx)
{
    int64_t start, end;
    sk_key key;
    sk_bytes value = SK_BYTES_NONE;
    bool found;
    if (!sk_arg_int(ctx, ctx->argv[2], &start) || !sk_arg_int(ctx, ctx->argv[3], &end)) return;
    if (!read_string(ctx, ctx->argv[1], &key, &value, &found)) return;
    int64_t len = found ? (int64_t)value.len : 0;
    bool empty = start < 0 && end < 0 && start > end;
    if (start < 0) start = start < -len ? 0 : start + len;
    if (end < 0) end = end < -len ? 0 : end + len;
    if (end >= len) end = len - 1;
    if (empty || start > end || len == 0)
        sk_reply_bulk(ctx->reply, SK_BYTES_NONE);
    else
        sk_reply_bulk(ctx->reply, sk_bytes_of(value.data + start, (size_t)(end - start + 1)));
}

/* -- writing ----------------------------------------------------------------------------------------------------------------- */

static void set(sk_ctx *ctx)
{
    string_options options;
    uint64_t deadline_ms;
    sk_key key;
    sk_bytes old = SK_BYTES_NONE;
    bool found = false;
    if (!parse_options(ctx, 3, true, &options) || !deadline_option(ctx, &options, &deadline_ms)) return;
    if (options.get) {
        if (!read_string(ctx, ctx->argv[1], &key, &old, &found)) return;
    }
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    bool there = key.type != SK_TYPE_NONE;
    if ((options.nx && there) || (options.xx && !there)) {
        if (options.get)
            sk_reply_value(ctx->reply, old, found);
        else
            sk_reply_null(ctx->reply);
        return;
    }
    if (!sk_key_set_string(ctx, &key, ctx->argv[2], deadline_ms, options.keep)) return;
    if (options.get)
        sk_reply_value(ctx->reply, old, found);
    else
        sk_reply_ok(ctx->reply);
}

static void setnx(sk_ctx *ctx)
{
    sk_key key;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    bool there = key.type != SK_TYPE_NONE;
    if (there || sk_key_set_string(ctx, &key, ctx->argv[2], SK_DEADLINE_NEVER, false)) sk_reply_int(ctx->reply, !there);
}

static void set_for(sk_ctx *ctx, bool seconds)
{
    sk_key key;
    uint64_t deadline_ms;
    if (!deadline_arg(ctx, ctx->argv[2], seconds, false, &deadline_ms)) return;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    if (sk_key_set_string(ctx, &key, ctx->argv[3], deadline_ms, false)) sk_reply_ok(ctx->reply);
}

static void setex(sk_ctx *ctx)
{
    set_for(ctx, true);
}

static void psetex(sk_ctx *ctx)
{
    set_for(ctx, false);
}

static void getset(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes old = SK_BYTES_NONE;
    bool found;
    if (!read_string(ctx, ctx->argv[1], &key, &old, &found)) return;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key)) return;
    if (sk_key_set_string(ctx, &key, ctx->argv[2], SK_DEADLINE_NEVER, false)) sk_reply_value(ctx->reply, old, found);
}

static void getdel(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes old = SK_BYTES_NONE;
    bool found;
    if (!read_string(ctx, ctx->argv[1], &key, &old, &found)) return;
    if (!found || (sk_key_overwrite(ctx, ctx->argv[1], &key) && sk_key_remove(ctx, &key, false)))
        sk_reply_value(ctx->reply, old, found);
}

static void getex(sk_ctx *ctx)
{
    string_options options;
    sk_key key;
    sk_bytes value = SK_BYTES_NONE;
    bool found, good = true;
    uint64_t deadline_ms;
    if (!parse_options(ctx, 2, false, &options) || !sk_key_write(ctx, ctx->argv[1], SK_TYPE_STRING, &key)) return;
    if (!sk_value_read(ctx, key.key, SK_BYTES_NONE, &key.row, &value, &found)) return;
    if (found) {
        if (!deadline_option(ctx, &options, &deadline_ms)) return;
        bool clears = options.persist && key.deadline_ms != SK_DEADLINE_NEVER;
        if (clears || deadline_ms != SK_DEADLINE_NEVER) good = sk_key_set_deadline(ctx, &key, deadline_ms);
    }
    if (good) sk_reply_value(ctx->reply, value, found);
}

static void mset_all(sk_ctx *ctx, bool only_if_none)
{
    if (ctx->argc % 2 == 0) {
        sk_reply_errorf(ctx->reply, "ERR wrong number of arguments for '%s' command", ctx->command->name);
        return;
    }
    sk_key key;
    for (size_t i = 1; i < ctx->argc && only_if_none; i += 2) {
        if (!sk_key_overwrite(ctx, ctx->argv[i], &key)) return;
        if (key.type == SK_TYPE_NONE) continue;
        sk_reply_int(ctx->reply, 0);
        return;
    }
    for (size_t i = 1; i < ctx->argc; i += 2) {
        if (!sk_key_overwrite(ctx, ctx->argv[i], &key)) return;
        if (!sk_key_set_string(ctx, &key, ctx->argv[i + 1], SK_DEADLINE_NEVER, false)) return;
    }
    if (only_if_none)
        sk_reply_int(ctx->reply, 1);
    else
        sk_reply_ok(ctx->reply);
}

static void mset(sk_ctx *ctx)
{
    mset_all(ctx, false);
}

static void msetnx(sk_ctx *ctx)
{
    mset_all(ctx, true);
}

/* A value that its key's transaction could not carry must be refused before anything is built. */
static bool fits(sk_ctx *ctx, size_t len)
{
    if (len <= ctx->replica->options.transaction_bytes_max) return true;
    sk_reply_error(ctx->reply, "ERR string exceeds maximum allowed size (limits.transaction_max)");
    return false;
}

static void append(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes old = SK_BYTES_NONE, add = ctx->argv[2];
    bool found;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_STRING, &key)) return;
    if (!sk_value_read(ctx, key.key, SK_BYTES_NONE, &key.row, &old, &found)) return;
    if (!found) old = SK_BYTES_NONE;
    if (!fits(ctx, old.len + add.len)) return;
    sk_buf both = {0};
    sk_buf_bytes(&both, old);
    sk_buf_bytes(&both, add);
    if (sk_value_write(ctx, &key.name, &key.row, sk_buf_view(&both))) sk_reply_int(ctx->reply, (int64_t)both.len);
    sk_buf_free(&both);
}

static void setrange(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes old = SK_BYTES_NONE, part = ctx->argv[3];
    bool found;
    int64_t offset;
    if (!sk_arg_int(ctx, ctx->argv[2], &offset)) return;
    if (offset < 0) {
        sk_reply_error(ctx->reply, "ERR offset is out of range");
        return;
    }
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_STRING, &key)) return;
    if (!sk_value_read(ctx, key.key, SK_BYTES_NONE, &key.row, &old, &found)) return;
    if (!found) old = SK_BYTES_NONE;
    if (part.len == 0) {
        sk_reply_int(ctx->reply, (int64_t)old.len);
        return;
    }
    if (!fits(ctx, (size_t)offset) || !fits(ctx, (size_t)offset + part.len)) return;
    size_t end = (size_t)offset + part.len, len = old.len > end ? old.len : end;
    uint8_t *value = sk_alloc(len);
    if (old.len) memcpy(value, old.data, old.len);
    memcpy(value + offset, part.data, part.len);
    if (sk_value_write(ctx, &key.name, &key.row, sk_bytes_of(value, len))) sk_reply_int(ctx->reply, (int64_t)len);
    free(value);
}

/* -- numbers ------------------------------------------------------------------------------------------------------------------- */

static void add_whole(sk_ctx *ctx, int64_t by)
{
    sk_key key;
    sk_number sum;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_STRING, &key)) return;
    if (sk_value_add(ctx, key.key, SK_BYTES_NONE, &key.name, &key.row, sk_number_whole(by), &sum))
        sk_reply_int(ctx->reply, sum.whole);
}

static void incr(sk_ctx *ctx)
{
    add_whole(ctx, 1);
}

static void decr(sk_ctx *ctx)
{
    add_whole(ctx, -1);
}

static void incrby(sk_ctx *ctx)
{
    int64_t by;
    if (sk_arg_int(ctx, ctx->argv[2], &by)) add_whole(ctx, by);
}

static void decrby(sk_ctx *ctx)
{
    int64_t by;
    if (!sk_arg_int(ctx, ctx->argv[2], &by)) return;
    if (by == INT64_MIN)
        sk_reply_error(ctx->reply, "ERR decrement would overflow");
    else
        add_whole(ctx, -by);
}

static void incrbyfloat(sk_ctx *ctx)
{
    sk_key key;
    sk_number sum;
    long double by;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_STRING, &key)) return;
    if (!sk_parse_long_double(ctx->argv[2], &by)) {
        sk_reply_error(ctx->reply, "ERR value is not a valid float");
        return;
    }
    if (sk_value_add(ctx, key.key, SK_BYTES_NONE, &key.name, &key.row, sk_number_real(by), &sum))
        sk_reply_number(ctx, sum);
}

/* -- the table ------------------------------------------------------------------------------------------------------------------ */

#define READS (SK_CMD_READONLY | SK_CMD_FAST)
#define READS_SLOW SK_CMD_READONLY
#define WRITES (SK_CMD_WRITE | SK_CMD_DENYOOM)
#define WRITES_FAST (WRITES | SK_CMD_FAST)
#define STRING(name, run, arity, flags, last, step, since, args, summary) \
    {name, run, arity, flags, 1, last, step, "string", "@string", since, args, summary, NULL}

const sk_command sk_commands_string[] = {
    STRING("append", append, 3, WRITES_FAST | SK_KEY_ADDS, 1, 1, "2.0.0", "key value",
           "Append a value to a key"),
    STRING("decr", decr, 2, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "1.0.0", "key",
           "Decrement the integer value of a key by one"),
    STRING("decrby", decrby, 3, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "1.0.0", "key decrement",
           "Decrement the integer value of a key by the given number"),
    STRING("get", get, 2, READS, 1, 1, "1.0.0", "key",
           "Get the value of a key"),
    STRING("getdel", getdel, 2, SK_CMD_WRITE | SK_CMD_FAST | SK_KEY_TAKES, 1, 1, "6.2.0", "key",
           "Get the value of a key and delete the key"),
    STRING("getex", getex, -2, SK_CMD_WRITE | SK_CMD_FAST | SK_KEY_RENEWS, 1, 1, "6.2.0",
           "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
           "Get the value of a key and optionally set its expiration"),
    STRING("getrange", getrange, 4, READS_SLOW, 1, 1, "2.4.0", "key start end",
           "Get a substring of the string stored at a key"),
    STRING("getset", getset, 3, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "1.0.0", "key value",
           "Set the string value of a key and return its old value"),
    STRING("incr", incr, 2, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "1.0.0", "key",
           "Increment the integer value of a key by one"),
    STRING("incrby", incrby, 3, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "1.0.0", "key increment",
           "Increment the integer value of a key by the given amount"),
    STRING("incrbyfloat", incrbyfloat, 3, WRITES_FAST | SK_KEY_RENEWS, 1, 1, "2.6.0", "key increment",
           "Increment the float value of a key by the given amount"),
    STRING("mget", mget, -2, READS, -1, 1, "1.0.0", "key [key ...]",
           "Get the values of all the given keys"),
    STRING("mset", mset, -3, WRITES | SK_KEY_REPLACES, -1, 2, "1.0.1", "key value [key value ...]",
           "Set multiple keys to multiple values"),
    STRING("msetnx", msetnx, -3, WRITES | SK_KEY_CREATES, -1, 2, "1.0.1", "key value [key value ...]",
           "Set multiple keys to multiple values, only if none of the keys exist"),
    STRING("psetex", psetex, 4, WRITES | SK_KEY_REPLACES, 1, 1, "2.6.0", "key milliseconds value",
           "Set the value and expiration in milliseconds of a key"),
    STRING("set", set, -3, WRITES | SK_KEY_RENEWS, 1, 1, "1.0.0",
           "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|"
           "KEEPTTL]",
           "Set the string value of a key"),
    STRING("setex", setex, 4, WRITES | SK_KEY_REPLACES, 1, 1, "2.0.0", "key seconds value",
           "Set the value and expiration of a key"),
    STRING("setnx", setnx, 3, WRITES_FAST | SK_KEY_CREATES, 1, 1, "1.0.0", "key value",
           "Set the value of a key, only if the key does not exist"),
    STRING("setrange", setrange, 4, WRITES, 1, 1, "2.2.0", "key offset value",
           "Overwrite part of a string at key starting at the specified offset"),
    STRING("strlen", string_length, 2, READS | SK_KEY_PEEKS, 1, 1, "2.2.0", "key",
           "Get the length of the value stored in a key"),
    STRING("substr", getrange, 4, READS_SLOW, 1, 1, "1.0.0", "key start end",
           "Get a substring of the string stored at a key"),
    {0},
};
