/* SCAN, KEYS, RANDOMKEY: walks over the keyspace in the order of its bytes.
 *
 * Keys that have expired, or of which only bookkeeping is left, are stepped over. A pattern that begins with plain
 * bytes is looked for only among the keys that begin so. */
#include "node/cmd_key.h"

#include "crdt/number.h"
#include "node/cursor.h"
#include "node/glob.h"
#include "node/replica.h"

static const uint8_t TABLE = SK_TABLE_KEY;

/* What every raw row key of a key that matches begins with. */
static sk_bytes match_prefix(sk_ctx *ctx, sk_bytes pattern)
{
    size_t plain = 0;
    while (plain < pattern.len && !memchr("*?[\\", pattern.data[plain], 4)) plain++;
    return sk_row_name_of(ctx->arena, SK_TABLE_KEY, sk_bytes_of(pattern.data, plain), SK_BYTES_NONE).raw;
}

static sk_bytes key_of(sk_bytes raw)
{
    return sk_bytes_of(raw.data + 1, raw.len - 1);
}

/* -- SCAN and KEYS ------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_ctx *ctx;
    sk_bytes pattern;
    sk_bytes type;   /* data NULL: any */
    uint64_t most;   /* rows to look at */
    uint64_t looked;
    bool more;       /* stopped before the end */
    sk_buf last;     /* raw key of the last row looked at; kept only if there may be more */
    sk_buf found;    /* the replies */
    size_t count;
} key_walk;

static bool type_fits(sk_bytes type, const sk_row *row)
{
    if (!type.data) return true;
    if (sk_row_live(row, SK_CLASS_CONTENT) && sk_arg_is(type, sk_type_name(SK_TYPE_STRING))) return true;
    if (row->fields && sk_arg_is(type, sk_type_name(SK_TYPE_HASH))) return true;
    return row->members && sk_arg_is(type, sk_type_name(SK_TYPE_SET));
}

static int visit_key(void *self, sk_bytes raw, const sk_row *row)
{
    key_walk *walk = self;
    if (walk->looked == walk->most) {
        walk->more = true;
        return 1;
    }
    if (++walk->looked == walk->most) sk_buf_bytes(&walk->last, raw);
    if (!sk_key_row_visible(row, walk->ctx->db->wall_ms) || !type_fits(walk->type, row)) return 0;
    if (!sk_glob_match(walk->pattern, key_of(raw))) return 0;
    sk_reply reply = {&walk->found, walk->ctx->reply->proto};
    sk_reply_bulk(&reply, key_of(raw));
    walk->count++;
    return walk->found.full;
}

/* Walks from just after `position` (a raw key; data NULL: the beginning). False after replying with a failure. */
static bool run_walk(key_walk *walk, sk_bytes position)
{
    sk_ctx *ctx = walk->ctx;
    sk_bytes prefix = match_prefix(ctx, walk->pattern), from = SK_BYTES_NONE;
    int status = prefix.data ? 0 : SK_E_MEMORY;
    if (!status && position.data && sk_bytes_compare(position, prefix) >= 0) {
        uint8_t *next = sk_arena_take(ctx->arena, position.len + 1);
        if (!next) {
            status = SK_E_MEMORY;
        } else {
            memcpy(next, position.data, position.len);
            next[position.len] = 0;
            from = sk_bytes_of(next, position.len + 1);
        }
    }
    walk->found.max = ctx->reply->out->max;
    if (!status) status = sk_db_each(ctx->db, prefix, from, visit_key, walk);
    if (status < 0) sk_reply_failure(ctx, status);
    if (walk->found.full) ctx->reply->out->full = true; /* it would not have fitted */
    return status >= 0;
}

static void reply_walk(key_walk *walk)
{
    sk_reply_array(walk->ctx->reply, walk->count);
    sk_buf_bytes(walk->ctx->reply->out, sk_buf_view(&walk->found));
}

void sk_cmd_keys(sk_ctx *ctx)
{
    key_walk walk = {.ctx = ctx, .pattern = ctx->argv[1], .most = UINT64_MAX};
    if (run_walk(&walk, SK_BYTES_NONE)) reply_walk(&walk);
    sk_buf_free(&walk.last);
    sk_buf_free(&walk.found);
}

static bool scan_options(sk_ctx *ctx, key_walk *walk)
{
    for (size_t i = 2; i < ctx->argc; i += 2) {
        int64_t count;
        bool last = i + 1 == ctx->argc;
        if (!last && sk_arg_is(ctx->argv[i], "count")) {
            if (!sk_arg_int(ctx, ctx->argv[i + 1], &count)) return false;
            walk->most = count < 1 ? 0 : (uint64_t)count;
            if (count >= 1) continue;
        } else if (!last && sk_arg_is(ctx->argv[i], "match")) {
            walk->pattern = ctx->argv[i + 1];
            continue;
        } else if (!last && sk_arg_is(ctx->argv[i], "type")) {
            walk->type = ctx->argv[i + 1];
            continue;
        }
        sk_reply_syntax(ctx);
        return false;
    }
    return true;
}

void sk_cmd_scan(sk_ctx *ctx)
{
    key_walk walk = {.ctx = ctx, .pattern = sk_bytes_str("*"), .most = 10};
    sk_bytes scope = {&TABLE, 1}, position = SK_BYTES_NONE;
    uint64_t cursor;
    bool known = sk_cursor_parse(ctx->argv[1], &cursor);
    if (known && !scan_options(ctx, &walk)) return;
    if (known && cursor) known = sk_cursor_find(&ctx->replica->cursors, cursor, scope, &position);
    if (!known) {
        sk_reply_error(ctx->reply, "ERR invalid cursor");
        return;
    }
    if (run_walk(&walk, position)) {
        uint64_t next = 0;
        if (walk.more) next = sk_cursor_save(&ctx->replica->cursors, cursor, sk_buf_view(&walk.last), scope);
        char digits[SK_INT64_CHARS];
        sk_reply_array(ctx->reply, 2);
        sk_reply_bulk(ctx->reply, sk_bytes_of(digits, sk_format_int64(digits, (int64_t)next)));
        reply_walk(&walk);
    }
    sk_buf_free(&walk.last);
    sk_buf_free(&walk.found);
}

/* -- RANDOMKEY ----------------------------------------------------------------------------------------------------- */

/* Of few keys each is as likely as another: one pass draws. Of many, a pass would cost too much: a random way down the
 * tree of their prefixes, each next byte that occurs as likely as another, ends at a key or near one. */
enum { DRAW_MOST = 256, DEPTH_MOST = 64 };

typedef struct {
    sk_ctx *ctx;
    sk_buf key;     /* the choice */
    uint64_t count; /* visible keys seen */
    bool first;     /* take the first */
} key_draw;

static void take(sk_buf *into, sk_bytes bytes)
{
    sk_buf_reset(into);
    sk_buf_bytes(into, bytes);
}

static int visit_draw(void *self, sk_bytes raw, const sk_row *row)
{
    key_draw *draw = self;
    if (!sk_key_row_visible(row, draw->ctx->db->wall_ms)) return 0;
    draw->count++;
    if (draw->first || sk_replica_random(draw->ctx->replica) % draw->count == 0) take(&draw->key, key_of(raw));
    return draw->first;
}

static int visit_first(void *self, sk_bytes raw, const sk_row *row)
{
    (void)row;
    take(self, raw);
    return 1;
}

/* One step down: the keys that begin with `at` (raw) differ in the byte after it; `at` gets one such byte more, or
 * becomes a whole key. 1: it can go on; 0: it cannot; or an error. */
static int step_down(sk_ctx *ctx, sk_buf *at)
{
    sk_buf from = {0}, found = {0}, chosen = {0};
    uint64_t branches = 0;
    int status;
    take(&from, sk_buf_view(at));
    while ((status = sk_db_each(ctx->db, sk_buf_view(at), sk_buf_view(&from), visit_first, &found)) > 0) {
        bool ends = found.len == at->len;
        if (sk_replica_random(ctx->replica) % ++branches == 0) take(&chosen, sk_bytes_of(found.data, at->len + !ends));
        take(&from, sk_buf_view(at));
        if (!ends && found.data[at->len] == 0xff) break;
        sk_buf_byte(&from, ends ? 0 : (uint8_t)(found.data[at->len] + 1));
    }
    bool deeper = chosen.len > at->len;
    if (deeper) take(at, sk_buf_view(&chosen));
    sk_buf_free(&from);
    sk_buf_free(&found);
    sk_buf_free(&chosen);
    return status < 0 ? status : deeper;
}

/* Draws into draw->key; count stays 0 when there is no key. */
static int draw_key(key_draw *draw)
{
    sk_db *db = draw->ctx->db;
    sk_bytes all = {&TABLE, 1};
    if (db->keys <= DRAW_MOST) return sk_db_each(db, all, SK_BYTES_NONE, visit_draw, draw);
    sk_buf at = {0};
    int status = 1;
    take(&at, all);
    for (int depth = 0; depth < DEPTH_MOST && status > 0; depth++) status = step_down(draw->ctx, &at);
    draw->first = true;
    if (status >= 0) status = sk_db_each(db, all, sk_buf_view(&at), visit_draw, draw);
    if (status >= 0 && draw->count == 0) status = sk_db_each(db, all, SK_BYTES_NONE, visit_draw, draw);
    sk_buf_free(&at);
    return status;
}

void sk_cmd_randomkey(sk_ctx *ctx)
{
    key_draw draw = {.ctx = ctx};
    int status = draw_key(&draw);
    if (status < 0)
        sk_reply_failure(ctx, status);
    else if (draw.count == 0)
        sk_reply_null(ctx->reply);
    else
        sk_reply_bulk(ctx->reply, sk_buf_view(&draw.key));
    sk_buf_free(&draw.key);
}
