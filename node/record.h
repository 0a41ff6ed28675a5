/* Records that know themselves: what stands in the families meta, history and staged carries a sum over its family, its key
 * and its value. It is checked wherever such a record is read.
 *
 * Rows carry none: what all of them come to is kept with each commit (node/sums.h). Nor do derived entries, which follow
 * from the rows (node/derived.h).
 *
 * The sum is CRC-32C, which finds with certainty whatever is wrong within 32 bits in a row, so any byte that was flipped; it
 * guards against faults, not against forgers.
 *
 * Stored: the value, then the sum, big-endian. */
#ifndef SK_NODE_RECORD_H
#define SK_NODE_RECORD_H

#include "storage/store.h"

enum { SK_RECORD_SUM_BYTES = 4 };

/** What a person can do about a database that is damaged: the end of a sentence. */
#define SK_RECORD_ADVICE                                                                                               \
    "restore a backup (skerryctl restore), or move the data directory away and let an empty one join (join.region)"

/** CRC-32C of bytes that follow those of which it was `before` (0 at the beginning). */
uint32_t sk_record_crc(uint32_t before, sk_bytes bytes);
/** Puts a record. The sum is appended to `value`, and taken off again. */
void sk_record_put(sk_store *store, sk_cf cf, sk_bytes key, sk_buf *value);
/** The same of a value of one byte. */
void sk_record_put_byte(sk_store *store, sk_cf cf, sk_bytes key, uint8_t value);
/** The value of what was read under a key. SK_E_CORRUPT. */
int sk_record_open(sk_cf cf, sk_bytes key, sk_bytes stored, sk_bytes *value);
/** As sk_store_get. SK_E_CORRUPT also for a record that is not what was put. */
int sk_record_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch);
/** As sk_store_snapshot_get, likewise. */
int sk_record_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key, sk_buf *value);
/** Reads all meta records. SK_E_CORRUPT, and a sentence that names the one that is damaged. */
int sk_record_check_meta(sk_store *store, sk_buf *error);
/** Appends a key for people: its beginning, what cannot be printed escaped. */
void sk_record_name(sk_buf *text, sk_bytes key);

#endif
