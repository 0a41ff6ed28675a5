#include "storage/index.h"

#include <stdlib.h>

enum { WORTH_IT = 2 << 20 }; /* bytes: one huge page */

static size_t bytes_of(size_t slots)
{
    return slots * sizeof(sk_index_slot);
}

static void give_back(sk_index *index, sk_index_slot *slots, size_t count)
{
    if (index->prefault) sk_prefault_forget(index->prefault, slots, bytes_of(count));
    free(slots);
}

void sk_index_prepare(sk_index *index)
{
    size_t bytes = bytes_of(index->room * 2);
    if (!index->prefault || index->next || bytes < WORTH_IT) return;
    index->next = sk_alloc(bytes);
    sk_prefault_ask(index->prefault, index->next, bytes);
}

void sk_index_grow(sk_index *index)
{
    sk_index old = *index;
    index->room = old.room ? old.room * 2 : SK_INDEX_FIRST_SLOTS;
    index->slots = old.next ? old.next : sk_alloc(bytes_of(index->room));
    index->next = NULL;
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].item) sk_index_place(index, old.slots[i].hash, old.slots[i].item);
    give_back(index, old.slots, old.room);
}

void sk_index_trim(sk_index *index)
{
    give_back(index, index->next, index->room * 2);
    index->next = NULL;
}

void sk_index_free(sk_index *index)
{
    sk_index_trim(index);
    give_back(index, index->slots, index->room);
    *index = (sk_index){0};
}
