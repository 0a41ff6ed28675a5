/* Causal contexts and session tokens: a version vector that a client carries, opaque to it.
 *
 * It names origins by region and incarnation, so it means the same in every region. The context of SIBLINGS GET also
 * says which row it was read from (a hash of its row key: one of another key is a mistake that would remove what nobody
 * has looked at), and what the counts of that row had come to, so that RESOLVE takes back exactly what its reader saw.
 * Text: base64 without padding, safe in URLs; a checksum refuses one that was cut or mistyped. */
#ifndef SK_NODE_CONTEXT_H
#define SK_NODE_CONTEXT_H

#include "node/db.h"

typedef struct {
    sk_vv vv;         /* owned; in our numbers */
    bool unknown;     /* it names an origin that we have not heard of yet: we are behind it */
    sk_reset *resets; /* in the arena */
    uint32_t reset_count;
    uint64_t row_hash; /* 0: of no row, a session's token */
} sk_context;

/** The text for a vector, of the row `raw` with the counts that `row` has (both none for a session's token), in the
 *  arena; data NULL if it did not fit. */
sk_bytes sk_context_text(const sk_db *db, const sk_vv *vv, sk_bytes raw, const sk_row *row, sk_arena *arena);
/** Was it read from the row of this row key? */
bool sk_context_is_of(const sk_context *context, sk_bytes raw);
/** SK_E_MALFORMED if it is not one of ours. Free the vector either way. */
int sk_context_parse(const sk_db *db, sk_bytes text, sk_arena *arena, sk_context *context);

/** Appends a vector for people: "ap-0123456789abcdef:5 eu-…:7", in the same order everywhere. */
void sk_vv_text(const sk_db *db, const sk_vv *vv, sk_buf *text);

#endif
