#include "node/db.h"

#include "node/audit.h"
#include "node/derived.h"
#include "node/fold.h"
#include "node/record.h"

#include <stdlib.h>

/* -- meta records ---------------------------------------------------------------------------------------------------------- */

static const sk_bytes KEY_STATE = {(const uint8_t *)"state", 5};
static const sk_bytes KEY_IDENTITY = {(const uint8_t *)"identity", 8};
static const char PREFIX_ORIGIN[] = "origin/";

static void pack_digest(sk_buf *buf, sk_digest digest)
{
    sk_pack_uint(buf, (uint64_t)(digest >> 64));
    sk_pack_uint(buf, (uint64_t)digest);
}

static void put_state(sk_db *db)
{
    sk_buf_reset(&db->pack);
    sk_vv_pack(&db->pack, &db->vv);
    sk_vv_pack(&db->pack, &db->floor);
    sk_pack_uint(&db->pack, db->clock);
    pack_digest(&db->pack, db->digest);
    sk_pack_uint(&db->pack, db->keys);
    sk_pack_uint(&db->pack, db->conflicts);
    sk_pack_uint(&db->pack, db->rest);
    sk_vv_pack(&db->pack, &db->kept);
    sk_record_put(db->store, SK_CF_META, KEY_STATE, &db->pack);
}

static int read_state(sk_db *db)
{
    sk_bytes value;
    int found = sk_record_get(db->store, SK_CF_META, KEY_STATE, &value, NULL);
    if (found < 0) return found;
    if (!found) return SK_E_CORRUPT;
    sk_reader reader = sk_reader_of(value);
    sk_vv_read_own(&reader, &db->origins, &db->vv);
    sk_vv_read_own(&reader, &db->origins, &db->floor);
    db->clock = sk_read_uint(&reader);
    db->digest = (sk_digest)sk_read_uint(&reader) << 64;
    db->digest |= sk_read_uint(&reader);
    db->keys = sk_read_uint(&reader);
    db->conflicts = sk_read_uint(&reader);
    db->rest = sk_read_uint(&reader);
    sk_vv_read_own(&reader, &db->origins, &db->kept);
    return sk_reader_done(&reader) ? 0 : SK_E_CORRUPT;
}

int sk_db_snapshot_state(sk_db *db, sk_store_snapshot *snapshot, sk_vv *vv, sk_vv *floor)
{
    sk_buf value = {0};
    int found = sk_record_snapshot_get(db->store, snapshot, SK_CF_META, KEY_STATE, &value);
    sk_reader reader = sk_reader_of(sk_buf_view(&value));
    if (found > 0) {
        sk_vv_read_own(&reader, &db->origins, vv);
        sk_vv_read_own(&reader, &db->origins, floor);
    }
    sk_buf_free(&value);
    if (found < 0) return found;
    return found && !reader.bad ? 0 : SK_E_CORRUPT;
}

int sk_db_snapshot_digest(sk_db *db, sk_store_snapshot *snapshot, sk_digest *digest)
{
    sk_buf value = {0};
    sk_vv ignored = {0};
    int found = sk_record_snapshot_get(db->store, snapshot, SK_CF_META, KEY_STATE, &value);
    sk_reader reader = sk_reader_of(sk_buf_view(&value));
    for (int i = 0; i < 2; i++) sk_vv_read_own(&reader, &db->origins, &ignored);
    (void)sk_read_uint(&reader);
    *digest = (sk_digest)sk_read_uint(&reader) << 64;
    *digest |= sk_read_uint(&reader);
    sk_vv_free(&ignored);
    sk_buf_free(&value);
    if (found < 0) return found;
    return found && !reader.bad ? 0 : SK_E_CORRUPT;
}

static sk_bytes origin_key(uint8_t key[sizeof PREFIX_ORIGIN + 3], uint32_t origin)
{
    size_t prefix = sizeof PREFIX_ORIGIN - 1;
    memcpy(key, PREFIX_ORIGIN, prefix);
    for (int i = 0; i < 4; i++) key[prefix + (size_t)i] = (uint8_t)(origin >> (24 - 8 * i));
    return sk_bytes_of(key, prefix + 4);
}

static int read_origins(sk_db *db)
{
    for (uint32_t i = 0;; i++) {
        uint8_t key[sizeof PREFIX_ORIGIN + 3];
        sk_bytes value;
        int found = sk_record_get(db->store, SK_CF_META, origin_key(key, i), &value, NULL);
        if (found < 0) return found;
        if (!found) return 0;
        sk_reader reader = sk_reader_of(value);
        sk_bytes region = sk_read_bytes(&reader);
        uint64_t incarnation = sk_read_uint(&reader);
        uint32_t origin;
        if (!sk_reader_done(&reader) || sk_origins_intern(&db->origins, region, incarnation, &origin) || origin != i)
            return SK_E_CORRUPT;
    }
}

int sk_db_intern(sk_db *db, sk_bytes region, uint64_t incarnation, uint32_t *origin)
{
    uint32_t before = db->origins.count;
    int status = sk_origins_intern(&db->origins, region, incarnation, origin);
    if (status || db->origins.count == before) return status;
    uint8_t key[sizeof PREFIX_ORIGIN + 3];
    sk_buf_reset(&db->pack);
    sk_pack_bytes(&db->pack, region);
    sk_pack_uint(&db->pack, incarnation);
    sk_record_put(db->store, SK_CF_META, origin_key(key, *origin), &db->pack);
    db->dirty = true;
    return 0;
}

static void put_identity(sk_db *db, const sk_db_identity *identity)
{
    sk_buf_reset(&db->pack);
    sk_pack_bytes(&db->pack, sk_bytes_str(identity->region));
    sk_pack_bytes(&db->pack, sk_bytes_str(identity->cluster));
    sk_pack_bytes(&db->pack, identity->life);
    sk_record_put(db->store, SK_CF_META, KEY_IDENTITY, &db->pack);
    db->dirty = true;
}

static const sk_bytes KEY_JOINING = {(const uint8_t *)"joining", 7};

static int read_joining(sk_db *db)
{
    sk_bytes value;
    int found = sk_record_get(db->store, SK_CF_META, KEY_JOINING, &value, NULL);
    db->joining = found > 0;
    return found < 0 ? found : 0;
}

void sk_db_joined(sk_db *db)
{
    sk_store_remove(db->store, SK_CF_META, KEY_JOINING);
    db->joining = false;
    db->dirty = true;
}

static const sk_bytes KEY_OWN = {(const uint8_t *)"own", 3};

/* Later than every life of the region that is known here, though the clock went back; one without a time stays so. */
static uint64_t later_than_known(const sk_db *db, uint64_t incarnation)
{
    uint64_t seconds = sk_incarnation_seconds(incarnation);
    for (uint32_t o = 0; seconds && o < db->origins.count; o++) {
        const sk_origin *origin = &db->origins.list[o];
        uint64_t then = sk_incarnation_seconds(origin->incarnation);
        if (strcmp(origin->region, db->region) == 0 && seconds <= then && then < UINT32_MAX) seconds = then + 1;
    }
    return seconds << 32 | (incarnation & UINT32_MAX);
}

int sk_db_new_incarnation(sk_db *db, uint64_t incarnation)
{
    uint32_t origin;
    incarnation = later_than_known(db, incarnation);
    int status = sk_db_intern(db, sk_bytes_str(db->region), incarnation, &origin);
    if (status) return status;
    sk_assert(sk_vv_get(&db->vv, origin) == 0);
    db->own = origin;
    sk_buf_reset(&db->pack);
    sk_pack_uint(&db->pack, origin);
    sk_record_put(db->store, SK_CF_META, KEY_OWN, &db->pack);
    db->dirty = true;
    return 0;
}

static int read_own(sk_db *db)
{
    sk_bytes value;
    int found = sk_record_get(db->store, SK_CF_META, KEY_OWN, &value, NULL);
    if (found < 0) return found;
    if (!found) return SK_E_CORRUPT;
    sk_reader reader = sk_reader_of(value);
    uint64_t own = sk_read_uint(&reader);
    if (!sk_reader_done(&reader) || own >= db->origins.count) return SK_E_CORRUPT;
    db->own = (uint32_t)own;
    return 0;
}

/* -- opening ----------------------------------------------------------------------------------------------------------------- */

static int create(sk_db *db, const sk_db_identity *identity)
{
    put_identity(db, identity);
    db->joining = identity->joins;
    sk_buf_reset(&db->pack);
    if (identity->joins) sk_record_put(db->store, SK_CF_META, KEY_JOINING, &db->pack);
    return sk_db_new_incarnation(db, identity->incarnation);
}

/* Lives that differ in their first two words only are boots of one machine: the disk has gone on. */
static bool same_place(sk_bytes stored, sk_bytes life)
{
    sk_bytes marks[2] = {stored, life};
    for (int i = 0; i < 2; i++)
        for (int word = 0; word < 2; word++) {
            const uint8_t *space = marks[i].len ? memchr(marks[i].data, ' ', marks[i].len) : NULL;
            if (!space) return false;
            marks[i] = sk_bytes_of(space + 1, (size_t)(marks[i].data + marks[i].len - space - 1));
        }
    return sk_bytes_equal(marks[0], marks[1]);
}

static int check_identity(sk_db *db, sk_bytes stored, const sk_db_identity *identity, sk_buf *error, bool *same_life,
                          bool *is_break)
{
    sk_reader reader = sk_reader_of(stored);
    sk_bytes region = sk_read_bytes(&reader), cluster = sk_read_bytes(&reader), life = sk_read_bytes(&reader);
    if (!sk_reader_done(&reader)) return SK_E_CORRUPT;
    if (!sk_bytes_equal(region, sk_bytes_str(db->region)) || !sk_bytes_equal(cluster, sk_bytes_str(identity->cluster))) {
        sk_buf_printf(error, "the data directory belongs to region %.*s of cluster %.*s, not to region %s of cluster %s",
                      (int)region.len, (const char *)region.data, (int)cluster.len, (const char *)cluster.data,
                      db->region, identity->cluster);
        return SK_E_REGION;
    }
    *same_life = sk_bytes_equal(life, identity->life);
    *is_break = !same_place(life, identity->life);
    return 0;
}

int sk_db_reload(sk_db *db)
{
    sk_db disk = {.store = db->store};
    int status = read_origins(&disk);
    if (!status) status = read_own(&disk);
    if (!status) status = read_joining(&disk);
    if (!status) status = read_state(&disk);
    if (!status) status = sk_fold_load(&disk);
    sk_db *old = status ? &disk : db; /* whoever looks at vectors and origins must find whole ones, also if this failed */
    sk_origins_free(&old->origins);
    sk_vv_free(&old->vv);
    sk_vv_free(&old->floor);
    sk_vv_free(&old->kept);
    sk_fold_free(old);
    if (status) return status;
    sk_vv_free(&db->txn.seen);
    db->origins = disk.origins;
    db->own = disk.own;
    db->joining = disk.joining;
    db->vv = disk.vv;
    db->floor = disk.floor;
    db->kept = disk.kept;
    db->clock = disk.clock;
    db->digest = disk.digest;
    db->keys = disk.keys;
    db->conflicts = disk.conflicts;
    db->rest = disk.rest;
    db->fold = disk.fold;
    db->txn.active = false;
    sk_buf_reset(&db->page.value);
    db->page.written = (sk_dot){0};
    db->failed = 0;
    db->dirty = false;
    db->rules_stale = db->members_stale = true;
    sk_db_revisit_anew(db);
    sk_vv_copy(&db->scan_until, &db->vv);
    db->dead_flags = 0;
    status = sk_audit_begin(db);
    return status ? status : sk_quarantine_load(db);
}

/* What could not be mended when it was last open is gone through before it answers anything. */
static int look_again(sk_db *db, sk_buf *error)
{
    bool repair;
    int noted = sk_audit_noted(db, &repair), status = noted > 0 ? sk_audit_finish(db) : noted;
    db->audit.unproven = noted > 0 && repair && sk_audit_damaged(db);
    if (status || !(db->audit.beyond || db->audit.unreadable || db->audit.unproven)) return status;
    sk_buf_printf(error, "%s: " SK_RECORD_ADVICE,
                  db->audit.unreadable ? "files of the database cannot be read"
                  : db->audit.beyond   ? "counters of the database are damaged"
                                       : "rows of the database are damaged that no other region could bear out");
    return SK_E_CORRUPT;
}

int sk_db_open(sk_db *db, sk_store *store, const sk_db_identity *identity, sk_buf *error)
{
    memset(db, 0, sizeof *db);
    db->store = store;
    if (!sk_region_name_valid(sk_bytes_str(identity->region))) {
        sk_buf_printf(error, "the region's name is not valid: 1 to %d of a-z, 0-9 and '-'", SK_REGION_NAME_MAX);
        return SK_E_CONFIG;
    }
    strcpy(db->region, identity->region);
    sk_sums_init(&db->sums, SK_LEAF_ROWS);
    sk_quarantine_init(&db->quarantine);
    db->rules_stale = db->members_stale = true;
    sk_bytes stored;
    bool same_life = true, is_break = true;
    int status = sk_record_check_meta(store, error);
    int found = status ? status : sk_record_get(store, SK_CF_META, KEY_IDENTITY, &stored, NULL);
    if (found < 0) status = found;
    if (found == 0) {
        status = create(db, identity);
        db->audit.stage = SK_AUDIT_ROWS; /* it has no history */
    }
    if (found > 0) status = check_identity(db, stored, identity, error, &same_life, &is_break);
    if (found > 0 && !status) status = sk_db_reload(db);
    if (found > 0 && !status) sk_audit_started(db);
    if (found > 0 && !status) status = look_again(db, error);
    if (!status && !same_life) {
        /* A copy, a restored image, or another boot of the machine: some of our dots may be elsewhere already. */
        put_identity(db, identity);
        status = sk_db_new_incarnation(db, is_break ? identity->incarnation : identity->incarnation & ~(uint64_t)1);
    }
    if (status) {
        if (error->len == 0 && status == SK_E_CORRUPT)
            sk_buf_printf(error, "the database is damaged: " SK_RECORD_ADVICE);
        else if (error->len == 0)
            sk_buf_printf(error, "the database cannot be read: %s", sk_error_text(status));
        sk_db_close(db);
        return status;
    }
    (void)sk_db_seal(db); /* also where nothing is in it: the number of the open batch is known from here on */
    return 0;
}

static void free_rules(sk_db *db)
{
    for (uint32_t i = 0; i < db->rule_count; i++) free((void *)(uintptr_t)db->rules[i].prefix.data);
    free(db->rules);
    db->rules = NULL;
    db->rule_count = 0;
}

void sk_db_close(sk_db *db)
{
    sk_fold_free(db);
    sk_sums_reset(&db->sums);
    sk_audit_free(&db->audit);
    sk_quarantine_free(&db->quarantine);
    sk_origins_free(&db->origins);
    sk_vv_free(&db->vv);
    sk_vv_free(&db->floor);
    sk_vv_free(&db->kept);
    sk_vv_free(&db->revisit_by);
    sk_vv_free(&db->scan_until);
    sk_vv_free(&db->txn.seen);
    sk_vv_free(&db->txn.told);
    free(db->txn.touched);
    free(db->txn.index);
    db->txn.touched = NULL;
    db->txn.index = NULL;
    sk_arena_free(&db->txn.arena);
    sk_buf_free(&db->txn.ops);
    sk_buf_free(&db->page.value);
    sk_arena_free(&db->scratch);
    sk_arena_free(&db->sizes);
    sk_buf_free(&db->pack);
    sk_buf_free(&db->revisit_from);
    free_rules(db);
}

uint64_t sk_db_seal(sk_db *db)
{
    sk_assert(!db->txn.active);
    sk_assert(db->failed == 0);
    sk_db_history_flush(db);
    if (db->dirty) put_state(db);
    db->dirty = false;
    return db->sealed = sk_store_seal(db->store);
}

/* -- rows -------------------------------------------------------------------------------------------------------------------- */

int sk_db_row_read(const sk_db *db, sk_bytes value, sk_arena *arena, sk_row *row)
{
    int status = sk_row_read(value, NULL, arena, row);
    for (uint32_t i = 0; !status && i < row->count; i++)
        if (row->entries[i].dot.origin >= db->origins.count) status = SK_E_CORRUPT;
    return status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
}

int sk_db_row(sk_db *db, sk_bytes raw, sk_arena *arena, sk_row *row)
{
    sk_bytes value;
    uint64_t batch = 0;
    *row = (sk_row){0};
    if (!raw.data) return SK_E_MEMORY;
    int found = sk_store_get(db->store, SK_CF_ROW, raw, &value, &batch);
    if (batch > db->read_batch) db->read_batch = batch;
    if (found <= 0) return found;
    value = sk_arena_copy(arena, value);
    return value.data ? sk_db_row_read(db, value, arena, row) : SK_E_MEMORY;
}

bool sk_db_row_is_there(sk_db *db, sk_bytes raw)
{
    sk_bytes value;
    return sk_store_get(db->store, SK_CF_ROW, raw, &value, NULL) > 0;
}

int sk_db_row_sensible(sk_db *db, sk_bytes raw, sk_arena *arena, sk_row *row, bool *sense)
{
    int status = sk_db_row(db, raw, arena, row);
    bool unreadable = status == SK_E_CORRUPT && !db->failed && sk_db_row_is_there(db, raw);
    *sense = !unreadable && (status || sk_row_possible(row, &db->vv));
    if (!*sense) *row = (sk_row){0};
    return unreadable ? 0 : status;
}

void sk_db_fetch(sk_db *db, sk_table table, sk_bytes key, sk_bytes member)
{
    uint8_t room[256]; /* longer keys come without the hint */
    sk_buf raw = {.data = room, .cap = sizeof room, .max = sizeof room};
    sk_rowkey_pack(&raw, table, key, member);
    if (!raw.full) sk_store_fetch(db->store, SK_CF_ROW, sk_buf_view(&raw));
}

sk_row_name sk_row_name_of(sk_arena *arena, sk_table table, sk_bytes key, sk_bytes member)
{
    sk_row_name name = {.key = {table, key, member}};
    /* Packed straight into the arena: at the worst each byte of the key is escaped. */
    size_t room = 2 * key.len + member.len + 3;
    uint8_t *bytes = sk_arena_take(arena, room);
    if (!bytes) return name;
    sk_buf buf = {.data = bytes, .cap = room, .max = room};
    sk_rowkey_pack(&buf, table, key, member);
    name.raw = sk_buf_view(&buf);
    return name;
}

/* A row that is damaged is left to the audit, as is a size that cannot be. */
static int resize_key(sk_db *db, const sk_row_name *member, int by)
{
    db->txn.resized = true;
    sk_arena *arena = &db->sizes;
    sk_arena_reset(arena);
    sk_row_name name = sk_row_name_of(arena, SK_TABLE_KEY, member->key.key, SK_BYTES_NONE);
    sk_row old;
    int status = sk_db_row(db, name.raw, arena, &old);
    if (!status) {
        sk_row new = old;
        uint64_t *size = member->key.table == SK_TABLE_HASH ? &new.fields : &new.members;
        if (by > 0 || *size > 0) *size += (uint64_t)(int64_t)by;
        status = sk_db_row_put(db, &name, &old, &new);
    }
    return status == SK_E_CORRUPT && sk_db_row_is_there(db, name.raw) ? 0 : status;
}

int sk_db_row_put(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new)
{
    db->dirty = true;
    uint64_t key_hash = sk_row_key_hash(name->raw);
    sk_digest before_put = sk_row_digest_hashed(&db->origins, key_hash, old);
    sk_digest after_put = sk_row_digest_hashed(&db->origins, key_hash, new);
    sk_row_counts change = {.conflicts = (uint64_t)sk_derived_conflicted(name->key.table, new) -
                                         sk_derived_conflicted(name->key.table, old)};
    if (name->key.table == SK_TABLE_KEY) change.keys = (uint64_t)sk_key_row_exists(new) - sk_key_row_exists(old);
    if (sk_row_has_rest(old) || sk_row_has_rest(new))
        change.rest = sk_row_rest(name->raw, new) - sk_row_rest(name->raw, old);
    db->digest += after_put - before_put;
    db->rest += change.rest;
    db->keys += change.keys;
    db->conflicts += change.conflicts;
    sk_buf_reset(&db->pack);
    sk_row_pack(&db->pack, new, true);
    if (sk_row_empty(new))
        sk_store_remove(db->store, SK_CF_ROW, name->raw);
    else
        sk_store_put(db->store, SK_CF_ROW, name->raw, sk_buf_view(&db->pack));
    sk_sums_change(&db->sums, name->raw, before_put, after_put, &change, new, db->sealed + 1);
    sk_derived_change(db, name, old, new, change.conflicts);
    int status = SK_E_MALFORMED;
    switch (name->key.table) {
    case SK_TABLE_KEY: status = 0; break;
    case SK_TABLE_HASH:
    case SK_TABLE_SET: {
        bool was = sk_row_live(old, SK_CLASS_CONTENT), is = sk_row_live(new, SK_CLASS_CONTENT);
        status = was == is ? 0 : resize_key(db, name, is ? 1 : -1);
        break;
    }
    case SK_TABLE_POLICY: db->rules_stale = true; return 0;
    case SK_TABLE_MEMBER: db->members_stale = true; return 0;
    }
    if (!status && before_put != after_put && db->on_change) db->on_change(db->self, name->key.key);
    return status;
}

int sk_db_row_mend(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new)
{
    sk_digest digest = db->digest;
    sk_row_counts committed = {db->rest, db->keys, db->conflicts};
    int status = sk_db_row_put(db, name, old, new);
    db->digest = digest;
    db->rest = committed.rest;
    db->keys = committed.keys;
    db->conflicts = committed.conflicts;
    return status;
}

/* What a look at everything shows may rest on what is not committed: a reply waits for it. */
static void rest_on_all(sk_db *db)
{
    if (sk_store_open_bytes(db->store) || sk_store_pending_bytes(db->store)) db->read_batch = UINT64_MAX;
}

/* -- policies ------------------------------------------------------------------------------------------------------------------- */

static int add_rule(void *self, sk_bytes raw, const sk_row *row)
{
    sk_db *db = self;
    sk_register read;
    if (sk_register_read(row, &db->origins, &db->scratch, &read)) return SK_E_MEMORY;
    if (read.count == 0 || db->rule_count == SK_POLICIES_MAX) return 0;
    sk_bytes value = read.siblings[read.newest].value;
    db->rules = sk_realloc(db->rules, (db->rule_count + 1) * sizeof *db->rules);
    uint8_t *prefix = sk_alloc(raw.len);
    memcpy(prefix, raw.data + 1, raw.len - 1);
    db->rules[db->rule_count++] = (sk_policy_rule){
        .prefix = {prefix, raw.len - 1},
        .policy = sk_bytes_equal(value, sk_bytes_str("newest")) ? SK_POLICY_NEWEST : SK_POLICY_SIBLINGS,
    };
    return 0;
}

sk_policy sk_db_policy(sk_db *db, sk_bytes key)
{
    if (db->rules_stale) {
        free_rules(db);
        sk_arena_reset(&db->scratch);
        uint8_t table = SK_TABLE_POLICY;
        if (sk_db_each(db, sk_bytes_of(&table, 1), SK_BYTES_NONE, add_rule, db) == 0) db->rules_stale = false;
        bool committed = sk_store_open_bytes(db->store) == 0 && sk_store_pending_bytes(db->store) == 0;
        db->rules_batch = committed ? 0 : db->sealed + 1;
    }
    if (db->rules_batch > db->read_batch) db->read_batch = db->rules_batch;
    sk_policy policy = SK_POLICY_SIBLINGS;
    size_t longest = 0;
    for (uint32_t i = 0; i < db->rule_count; i++)
        if (db->rules[i].prefix.len >= longest && sk_bytes_starts(key, db->rules[i].prefix)) {
            longest = db->rules[i].prefix.len;
            policy = db->rules[i].policy;
        }
    return policy;
}

/* -- iteration -------------------------------------------------------------------------------------------------------------------- */

static int each(sk_db *db, sk_cf cf, sk_bytes prefix, sk_bytes from, sk_visit *visit, void *self)
{
    sk_buf end = {0};
    sk_buf_bytes(&end, prefix);
    sk_rowkey_successor(&end);
    sk_bytes first = from.data ? from : prefix;
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, cf, first, end.len ? sk_buf_view(&end) : SK_BYTES_NONE);
    sk_arena arena = {0};
    sk_bytes key, value;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        sk_row row = {0};
        sk_arena_reset(&arena);
        status = cf == SK_CF_ROW ? sk_db_row_read(db, value, &arena, &row) : 0;
        if (!status) status = visit(self, key, cf == SK_CF_ROW ? &row : NULL);
        if (status) break;
    }
    sk_arena_free(&arena);
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&end);
    return status;
}

int sk_db_each(sk_db *db, sk_bytes prefix, sk_bytes from, sk_visit *visit, void *self)
{
    rest_on_all(db);
    return each(db, SK_CF_ROW, prefix, from, visit, self);
}

int sk_db_each_derived(sk_db *db, sk_bytes prefix, sk_bytes from, sk_visit *visit, void *self)
{
    rest_on_all(db);
    return each(db, SK_CF_DERIVED, prefix, from, visit, self);
}
