#include "node/inspect.h"

#include "node/context.h"
#include "node/fold.h"
#include "node/record.h"

#include <inttypes.h>

/* The database as it stands on the disk, without the opening, which may write. */
static int load(sk_store *store, sk_db *db, sk_inspection *says)
{
    static const sk_bytes identity = {(const uint8_t *)"identity", 8};
    *db = (sk_db){.store = store, .rules_stale = true};
    sk_sums_init(&db->sums, SK_LEAF_ROWS);
    sk_bytes stored;
    int found = sk_record_get(store, SK_CF_META, identity, &stored, NULL);
    if (found <= 0) return found ? found : SK_E_CORRUPT;
    sk_reader reader = sk_reader_of(stored);
    sk_bytes region = sk_read_bytes(&reader), cluster = sk_read_bytes(&reader);
    if (reader.bad || !sk_region_name_valid(region)) return SK_E_CORRUPT;
    memcpy(db->region, region.data, region.len);
    if (says) {
        sk_buf_bytes(&says->region, region);
        sk_buf_bytes(&says->cluster, cluster);
    }
    return sk_db_reload(db);
}

int sk_inspect(sk_store *store, sk_inspection *says)
{
    sk_db db;
    *says = (sk_inspection){0};
    int status = load(store, &db, says);
    if (!status) {
        says->incarnation = db.origins.list[db.own].incarnation;
        says->keys = db.keys;
        says->conflicts = db.conflicts;
        says->digest = db.digest;
        sk_vv_text(&db, &db.vv, &says->vector);
    }
    sk_db_close(&db);
    return status;
}

void sk_inspection_free(sk_inspection *says)
{
    sk_buf_free(&says->region);
    sk_buf_free(&says->cluster);
    sk_buf_free(&says->vector);
}

/* -- everything ---------------------------------------------------------------------------------------------------- */

static void say(sk_buf *faults, const char *what, uint64_t count, const char *then)
{
    if (count) sk_buf_printf(faults, "%s: %" PRIu64 "; %s\n", what, count, then);
}

static void say_rows(const sk_audit *audit, const sk_sums *sums, sk_buf *faults)
{
    sk_reader names = sk_reader_of(sk_buf_view(&audit->names));
    sk_bytes raw;
    bool repaired;
    while (sk_audit_next_name(&names, &raw, &repaired)) {
        sk_buf_printf(faults, "the row \"");
        sk_record_name(faults, raw);
        sk_buf_printf(faults, "\" makes no sense: a node takes it from a peer\n");
    }
    say(faults, "more rows that make no sense", audit->nameless, "a node takes them from a peer");
    if (sums->state == SK_SUMS_DIFFERENT && !sums->senseless)
        sk_buf_printf(faults, "the %" PRIu64 " rows are not those that were committed: a node takes what differs from a peer\n",
                      sums->rows);
}

static void say_all(const sk_db *db, sk_buf *faults)
{
    const sk_audit *audit = &db->audit;
    if (audit->unreadable)
        sk_buf_printf(faults, "a file cannot be read: " SK_RECORD_ADVICE "\n");
    say_rows(audit, &db->sums, faults);
    if (audit->beyond) sk_buf_printf(faults, "counters that were reset are damaged: " SK_RECORD_ADVICE "\n");
    if (audit->lost) sk_buf_printf(faults, "rows of a transfer are lost: a node takes them from a peer\n");
    say(faults, "damaged records of the history", audit->damaged_history,
        "a node begins it anew, and reconciles peers that lack something");
    if (!audit->lost)
        say(faults, "damaged rows of an unfinished transfer", audit->damaged_staged, "a node asks for it again");
    say(faults, "hashes and sets with another size than was noted", audit->mended_sizes, "a node mends it");
    say(faults, "entries of indexes, or counts, that the rows belie", audit->mended_derived, "a node mends them");
}

/* History that is damaged begins anew only when nothing is being folded in, which is not done here: it is told without. */
static bool waits_for_fold(const sk_db *db)
{
    return sk_fold_active(db) && db->audit.history_damaged && db->audit.stage >= SK_AUDIT_ROWS && !db->audit.rows_again &&
           db->sums.state != SK_SUMS_SCANNING;
}

int sk_inspect_all(sk_store *store, uint64_t *rows, sk_buf *faults)
{
    enum { ENTRIES = 4096 };
    sk_db db = {0};
    *rows = 0;
    int status = sk_record_check_meta(store, faults);
    if (status && faults->len) sk_buf_byte(faults, '\n');
    if (!status) {
        int more = status = load(store, &db, NULL);
        if (!status) more = 1;
        while (more > 0 && !waits_for_fold(&db)) more = sk_audit_step(&db, ENTRIES);
        if (more < 0) status = more;
        say_all(&db, faults);
        *rows = db.sums.rows;
        sk_db_close(&db);
    }
    if (status && faults->len == 0) sk_buf_printf(faults, "it cannot be read: %s\n", sk_error_text(status));
    return !status && faults->len ? SK_E_CORRUPT : status;
}

/* -- in a backup's record ----------------------------------------------------------------------------------------- */

void sk_inspection_pack(sk_buf *out, const sk_inspection *says)
{
    sk_pack_bytes(out, sk_buf_view(&says->region));
    sk_pack_bytes(out, sk_buf_view(&says->cluster));
    sk_pack_bytes(out, sk_buf_view(&says->vector));
    sk_pack_uint(out, says->incarnation);
    sk_pack_uint(out, says->keys);
    sk_pack_uint(out, says->conflicts);
    sk_pack_uint(out, (uint64_t)(says->digest >> 64));
    sk_pack_uint(out, (uint64_t)says->digest);
}

int sk_inspection_read(sk_bytes bytes, sk_inspection *says)
{
    *says = (sk_inspection){0};
    sk_reader reader = sk_reader_of(bytes);
    sk_buf_bytes(&says->region, sk_read_bytes(&reader));
    sk_buf_bytes(&says->cluster, sk_read_bytes(&reader));
    sk_buf_bytes(&says->vector, sk_read_bytes(&reader));
    says->incarnation = sk_read_uint(&reader);
    says->keys = sk_read_uint(&reader);
    says->conflicts = sk_read_uint(&reader);
    says->digest = (sk_digest)sk_read_uint(&reader) << 64;
    says->digest |= sk_read_uint(&reader);
    return sk_reader_done(&reader) ? SK_OK : SK_E_CORRUPT;
}
