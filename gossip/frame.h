/* Messages on a byte stream, inside a Noise channel.
 *
 *     record  = length (u16, big-endian: bytes of ciphertext) | ciphertext
 *     opened  = flags | part of the message
 *     or        flags | u16 length of the part | u16 length of what follows | the part compressed | zeros
 *     flags   = 1: more records of this message follow | 2: compressed | 4: the next record has a new key
 *
 * A message is one record, unless it is longer than a record can carry. So a small one costs SK_FRAME_OVERHEAD bytes.
 * The handshake's two messages use the same length field around bytes that are not sealed by a channel.
 *
 * Compression (gossip/compress.h) is for those who asked for it in the handshake. New keys: a channel takes one by itself
 * after a count of messages (gossip/noise.h); the flag is for a schedule by time, which only the sender keeps.
 *
 * Invariants:
 * 1. There is one way to cut a message: every part but the last is SK_FRAME_PART_MAX long, and the last of several is
 *    not empty. Anything else is malformed, so a peer cannot keep a decoder busy with empty records.
 * 2. A decoder holds at most one incomplete record and one incomplete message; its buffers grow only with bytes that
 *    have arrived (doubling), never with a length that was announced; a compressed part counts as what it says it is, at
 *    most SK_FRAME_PART_MAX.
 * 3. A length that would take the message over the decoder's limit is refused before its bytes come, or are made.
 * 4. What comes compressed is at most SK_FRAME_RATIO_MAX times its bytes on the wire: a smaller record is filled up with
 *    zeros, by one rule. So nobody makes others work, or remember, out of proportion to what they sent.
 * 5. After an error a decoder stays with that error: the stream has no place where it could begin again. */
#ifndef SK_GOSSIP_FRAME_H
#define SK_GOSSIP_FRAME_H

#include "crdt/memory.h"
#include "gossip/compress.h"
#include "gossip/message.h"
#include "gossip/noise.h"

/* All in bytes. */
enum {
    SK_FRAME_HEADER = 2,
    SK_FRAME_FLAG = 1,
    SK_FRAME_OVERHEAD = SK_FRAME_HEADER + SK_FRAME_FLAG + SK_NOISE_TAG, /* a record over the part it carries */
    SK_FRAME_RECORD_MAX = SK_FRAME_HEADER + SK_NOISE_MESSAGE_MAX,
    SK_FRAME_PACKED = 4,                                                /* both lengths of a compressed part */
    SK_FRAME_PART_MAX = 0xfe00, /* with room for one that does not get smaller when it is compressed */
    SK_FRAME_RATIO_MAX = 64,
    SK_FRAME_MESSAGE_MAX = SK_MESSAGE_LARGEST,
    SK_FRAME_HANDSHAKE_MAX = 4096,      /* strangers get no more than this */
};

/** Looks for a length field and that many bytes at the start of `input`; allocates nothing.
 *  @param body  the bytes after the length field; borrowed from input.
 *  @return SK_OK (SK_FRAME_HEADER + body->len bytes of the input are used up), SK_E_PARTIAL, or SK_E_TOO_LARGE as soon
 *  as the length field says more than `body_max`. */
int sk_frame_take(sk_bytes input, size_t body_max, sk_bytes *body);

/** Appends a length field and `body`, as sk_frame_take reads it: for the handshake's messages.
 *  @return SK_OK, SK_E_TOO_LARGE (above SK_NOISE_MESSAGE_MAX) or SK_E_MEMORY (the buffer's limit). */
int sk_frame_put(sk_buf *out, sk_bytes body);

/** Bytes that sk_frame_encode appends for a message of `len` that is not compressed. */
size_t sk_frame_encoded_len(size_t len);

/** Messages in, bytes out. All zeros is a fresh one. */
typedef struct {
    size_t compress_min; /* parts of so many bytes are compressed; 0: none. May change between messages */
    bool rekey;          /* the next message is the last under its key; goes back to false with it */
    uint64_t rekeys;     /* how often that was */
    sk_compressor compressor;
} sk_frame_encoder;

/** Seals a message of any bytes into records and appends them. After an error the buffer's bytes and the channel's have
 *  not changed; the encoder's have, and the link is of no more use. The message does not point into `out`.
 *  @return SK_OK, SK_E_TOO_LARGE (above SK_FRAME_MESSAGE_MAX), SK_E_MEMORY (the buffer's limit), SK_E_CRYPTO. */
int sk_frame_encode(sk_frame_encoder *encoder, sk_noise_channel *channel, sk_bytes message, sk_buf *out);

/** Gives its memory back. */
void sk_frame_encoder_free(sk_frame_encoder *encoder);

/** Bytes in, messages out. Treat it as opaque. */
typedef struct {
    sk_buf record;      /* the start of a record whose end has not come */
    sk_buf message;     /* the parts so far, or the message handed out last */
    sk_buf packed;      /* a compressed part */
    size_t message_max; /* bytes */
    bool compressed;    /* that may come */
    sk_decompressor decompressor;
    bool complete;      /* `message` was handed out: the next call starts anew */
    int error;          /* what ended the stream; SK_OK while it lives */
} sk_frame_decoder;

/** @param message_max  the longest message to accept, at most SK_FRAME_MESSAGE_MAX
 *  @param compressed   whether the other side was told that it may compress */
void sk_frame_decoder_init(sk_frame_decoder *decoder, size_t message_max, bool compressed);

/** The next message. Call it again and again with the bytes that arrived: it moves `input` past what it took, and takes
 *  all of it before it answers SK_E_PARTIAL.
 *  @param message  holds until the next call with this decoder.
 *  @return SK_OK, SK_E_PARTIAL, or an error after which to hang up: SK_E_MALFORMED, SK_E_TOO_LARGE, SK_E_CRYPTO. */
int sk_frame_decode(sk_frame_decoder *decoder, sk_noise_channel *channel, sk_bytes *input, sk_bytes *message);

/** Bytes that came of a message whose end has not. */
size_t sk_frame_pending(const sk_frame_decoder *decoder);

/** Gives its memory back. */
void sk_frame_decoder_free(sk_frame_decoder *decoder);

#endif
