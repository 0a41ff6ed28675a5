/* What a copy of a database says of itself, and whether its rows are what it says: for backups.
 *
 * The store is one that is only read (sk_rocksdb_open_copy); nothing here writes. */
#ifndef SK_NODE_INSPECT_H
#define SK_NODE_INSPECT_H

#include "crdt/row.h"
#include "storage/store.h"

typedef struct {
    sk_buf region, cluster, vector; /* text; `vector` as REGION LIST shows one */
    uint64_t incarnation;           /* of its region's last life */
    uint64_t keys, conflicts;
    sk_digest digest;
} sk_inspection;

/** Reads what it says. 0, SK_E_CORRUPT, SK_E_IO. Free it in any case. */
int sk_inspect(sk_store *store, sk_inspection *says);
/** Reads all rows and the history: SK_E_CORRUPT, with a sentence, when something cannot be read or is not what the database
 *  says. */
int sk_inspect_rows(sk_store *store, uint64_t *rows, sk_buf *error);
void sk_inspection_free(sk_inspection *says);

/** As a backup's record carries it (sk_manifest.about). */
void sk_inspection_pack(sk_buf *out, const sk_inspection *says);
/** 0 or SK_E_CORRUPT; free it in any case. */
int sk_inspection_read(sk_bytes bytes, sk_inspection *says);

#endif
