/* Goes through the history that stands in a store, which must be sound. */
#ifndef SK_TESTS_HISTORY_CURSOR_H
#define SK_TESTS_HISTORY_CURSOR_H

#include "crdt/memory.h"
#include "node/history.h"
#include "storage/store.h"

typedef struct {
    sk_store *store;
    const sk_vv *floor;
    sk_store_iter *iter;
    sk_bytes key; /* of the record that it has come to */
    sk_history_record record;
} history_cursor;

/* Of a page that the floor cuts what is above it. */
static inline history_cursor history_cursor_begin(sk_store *store, const sk_vv *floor)
{
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    return (history_cursor){.store = store, .floor = floor, .iter = iter};
}

/* False: there is none, and it is over. */
static inline bool history_cursor_record(history_cursor *cursor)
{
    sk_bytes value;
    if (sk_store_next(cursor->store, cursor->iter, &cursor->key, &value) > 0) {
        sk_assert(sk_history_open(cursor->key, value, cursor->floor, &cursor->record) == 0);
        return true;
    }
    sk_store_iter_free(cursor->store, cursor->iter);
    return false;
}

/* The next entry of whatever record. */
static inline bool history_cursor_entry(history_cursor *cursor, sk_history_entry *entry)
{
    while (!sk_history_next(&cursor->record, entry))
        if (!history_cursor_record(cursor)) return false;
    return true;
}

#endif
