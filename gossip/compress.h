/* zstd over one direction of a link: all that is compressed is one stream, flushed after each piece, so that a piece is
 * written in terms of what came before it. That is what makes single small values small; a dictionary, made beforehand
 * from data that nobody has yet, is not needed (tests/bench/RESULTS.md has both).
 *
 * Each piece that is compressed must be opened, in order, by one decompressor; pieces that are sent as they are leave no
 * trace in either. What does not get smaller is left alone for a while: after a piece that was not worth it the next
 * ones are sent as they are, twice as many each time.
 *
 * Invariants:
 *  1. A decompressor writes at most one byte more than it was told to expect, and takes a bounded amount of memory
 *     (SK_COMPRESS_WINDOW and the like of it) whatever it is given.
 *  2. After an error it is of no more use: the stream has no place where it could begin again. */
#ifndef SK_GOSSIP_COMPRESS_H
#define SK_GOSSIP_COMPRESS_H

#include "crdt/error.h"
#include "crdt/memory.h"

enum {
    SK_COMPRESS_WINDOW_LOG = 16, /* how far back, as a power of two: 64 KiB */
    SK_COMPRESS_LEVEL = 1,
    SK_COMPRESS_REST_MAX = 1024, /* pieces sent as they are before the next attempt */
    SK_COMPRESS_KB = 512,        /* about what either side of a stream takes; nothing before its first piece */
};

/** Treat it as opaque; all zeros is a fresh one. */
typedef struct {
    void *stream;        /* owned */
    uint32_t rest, next; /* pieces to leave alone; how many after the next that is not worth it */
    uint64_t plain_bytes, packed_bytes; /* of the pieces that were compressed */
} sk_compressor;

/** Room that sk_compress needs for a piece of `len`. */
size_t sk_compress_bound(size_t len);
/** Whether the next piece shall be compressed. Counts it as left alone if not. */
bool sk_compress_wanted(sk_compressor *compressor);
/** Compresses a piece into `out`, which has room for sk_compress_bound(plain.len). Returns its length. */
size_t sk_compress(sk_compressor *compressor, sk_bytes plain, uint8_t *out);
void sk_compressor_free(sk_compressor *compressor);

/** As above. */
typedef struct {
    void *stream; /* owned */
} sk_decompressor;

/** Opens a piece that shall have `len` bytes; `out` has room for one more.
 *  @return SK_OK, or SK_E_MALFORMED: it is no such piece. */
int sk_decompress(sk_decompressor *decompressor, sk_bytes packed, uint8_t *out, size_t len);
void sk_decompressor_free(sk_decompressor *decompressor);

#endif
