/* What a database that no node has open says of itself, and whether everything in it is what was put there: for backups, and
 * for the data directory of a node that is stopped.
 *
 * The store is one that is only read (sk_rocksdb_open_copy, sk_rocksdb_open_stopped): what an audit mends stays in its open
 * batch, and nothing here seals. */
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
/** Goes through everything, as the audit of a node does (node/audit.h). SK_E_CORRUPT, or another error, with a line in `faults`
 *  for each thing that is damaged, and what a node would do about it. `rows`: how many there are. */
int sk_inspect_all(sk_store *store, uint64_t *rows, sk_buf *faults);
void sk_inspection_free(sk_inspection *says);

/** As a backup's record carries it (sk_manifest.about). */
void sk_inspection_pack(sk_buf *out, const sk_inspection *says);
/** 0 or SK_E_CORRUPT; free it in any case. */
int sk_inspection_read(sk_bytes bytes, sk_inspection *says);

#endif
