/* What the tests of exports and imports share: a stream out of a database, and one into it. */
#ifndef SK_TESTS_EXPORT_HARNESS_H
#define SK_TESTS_EXPORT_HARNESS_H

#include "node/export.h"
#include "tests/unit/db_harness.h"

/* The whole stream, in pieces of `max` bytes. */
static inline int export_all(database *from, size_t max, sk_buf *out)
{
    sk_export *export;
    int status = sk_export_open(&from->db, "test", 42, &export);
    if (status) return status;
    for (;;) {
        size_t before = out->len;
        status = sk_export_read(export, max, out);
        assert_true(out->len - before <= max);
        if (status || out->len == before) break;
    }
    sk_export_close(export);
    return status;
}

static inline int known_nowhere(void *self, uint64_t seq)
{
    database *with = self;
    return seq > sk_vv_get(&with->db.vv, with->db.own) ? SK_E_PROTOCOL : 0;
}

/* Up to the commit. NULL after an error, which is in `status`. */
static inline sk_import *import_bytes(database *to, sk_bytes stream, size_t piece, int *status)
{
    sk_buf error = {0};
    sk_import *import = sk_import_open(&to->db, "test", known_nowhere, to);
    *status = 0;
    for (size_t at = 0; at < stream.len && !*status; at += piece)
        *status = sk_import_write(
            import, sk_bytes_of(stream.data + at, at + piece < stream.len ? piece : stream.len - at), &error);
    assert_int_equal(error.len > 0, *status != 0);
    sk_buf_free(&error);
    if (!*status) return import;
    sk_import_abort(import);
    return NULL;
}

static inline int import_all(database *to, sk_bytes stream, size_t piece)
{
    sk_buf error = {0};
    sk_stream_end end;
    int status;
    sk_import *import = import_bytes(to, stream, piece, &status);
    if (import) status = sk_import_commit(import, &end, &error);
    assert_true(!import || (error.len > 0) == (status != 0));
    sk_buf_free(&error);
    return status;
}

#endif
