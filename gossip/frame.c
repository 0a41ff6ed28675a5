#include "gossip/frame.h"

#include <sodium.h>

enum {
    FLAG_MORE = 1,
    FLAG_COMPRESSED = 2,
    FLAG_REKEY = 4,
    FLAGS = FLAG_MORE | FLAG_COMPRESSED | FLAG_REKEY,
    PACKED_MAX = SK_NOISE_PLAINTEXT_MAX - SK_FRAME_FLAG - SK_FRAME_PACKED,
    GROWTH_MAX = SK_NOISE_PLAINTEXT_MAX - SK_FRAME_FLAG - SK_FRAME_PART_MAX, /* of a part that is compressed */
    SPARE = SK_FRAME_FLAG + GROWTH_MAX,
    MESSAGE_KEEP = 2 * SK_MESSAGE_MAX, /* what a larger message has taken is given back behind it */
};

static void put_header(uint8_t *at, size_t len)
{
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
}

static size_t get_header(const uint8_t *at) { return (size_t)at[0] << 8 | at[1]; }

int sk_frame_take(sk_bytes input, size_t body_max, sk_bytes *body)
{
    if (input.len < SK_FRAME_HEADER) return SK_E_PARTIAL;
    size_t len = get_header(input.data);
    if (len > body_max) return SK_E_TOO_LARGE;
    if (input.len - SK_FRAME_HEADER < len) return SK_E_PARTIAL;
    *body = sk_bytes_of(input.data + SK_FRAME_HEADER, len);
    return SK_OK;
}

int sk_frame_put(sk_buf *out, sk_bytes body)
{
    if (body.len > SK_NOISE_MESSAGE_MAX) return SK_E_TOO_LARGE;
    uint8_t *at = sk_buf_reserve(out, SK_FRAME_HEADER + body.len);
    if (!at) return SK_E_MEMORY;
    put_header(at, body.len);
    if (body.len) memcpy(at + SK_FRAME_HEADER, body.data, body.len);
    out->len += SK_FRAME_HEADER + body.len;
    return SK_OK;
}

/* -- Encoding ------------------------------------------------------------------------------------------------------ */

size_t sk_frame_encoded_len(size_t len)
{
    size_t records = len ? (len - 1) / SK_FRAME_PART_MAX + 1 : 1;
    return len + records * SK_FRAME_OVERHEAD;
}

/* How long a compressed part is made at least (invariant 4). */
static size_t padded_len(size_t plain, size_t packed)
{
    size_t least = (plain + SK_FRAME_RATIO_MAX - 1) / SK_FRAME_RATIO_MAX;
    return packed < least ? least : packed;
}

/* What goes into a record behind the flags; returns its length. */
static size_t put_compressed(sk_compressor *compressor, sk_bytes part, uint8_t *at)
{
    sk_assert(sk_compress_bound(part.len) <= PACKED_MAX);
    size_t packed = sk_compress(compressor, part, at + SK_FRAME_PACKED), padded = padded_len(part.len, packed);
    put_header(at, part.len);
    put_header(at + SK_FRAME_HEADER, packed);
    memset(at + SK_FRAME_PACKED + packed, 0, padded - packed);
    return SK_FRAME_PACKED + padded;
}

/* One record. Returns its bytes, or an error. */
static int put_record(sk_frame_encoder *encoder, sk_noise_channel *channel, sk_bytes part, uint8_t flags, uint8_t *at)
{
    uint8_t *plain = at + SK_FRAME_HEADER;
    size_t len = part.len;
    plain[0] = flags;
    if (flags & FLAG_COMPRESSED)
        len = put_compressed(&encoder->compressor, part, plain + SK_FRAME_FLAG);
    else if (part.len)
        memcpy(plain + SK_FRAME_FLAG, part.data, part.len);
    int sealed = sk_noise_channel_seal(channel, sk_bytes_of(plain, SK_FRAME_FLAG + len), plain);
    if (sealed < 0) return sealed;
    if (flags & FLAG_REKEY) sk_noise_rekey(&channel->send);
    put_header(at, (size_t)sealed);
    return SK_FRAME_HEADER + sealed;
}

int sk_frame_encode(sk_frame_encoder *encoder, sk_noise_channel *channel, sk_bytes message, sk_buf *out)
{
    if (message.len > SK_FRAME_MESSAGE_MAX) return SK_E_TOO_LARGE;
    sk_noise_cipher before = channel->send;
    size_t begin = out->len;
    int result = SK_OK;
    bool more;
    do {
        more = message.len > SK_FRAME_PART_MAX;
        sk_bytes part = sk_bytes_of(message.data, more ? SK_FRAME_PART_MAX : message.len);
        bool large = encoder->compress_min && part.len >= encoder->compress_min;
        bool packed = large && sk_compress_wanted(&encoder->compressor);
        uint8_t flags = (more ? FLAG_MORE : 0) | (packed ? FLAG_COMPRESSED : 0) |
                        (encoder->rekey && !more ? FLAG_REKEY : 0);
        uint8_t *at = sk_buf_reserve(out, packed ? SK_FRAME_RECORD_MAX : part.len + SK_FRAME_OVERHEAD);
        int len = at ? put_record(encoder, channel, part, flags, at) : SK_E_MEMORY;
        if (len < 0) {
            channel->send = before; /* what it sealed so far is never sent */
            out->len = begin;
            result = len;
            goto out;
        }
        out->len += (size_t)len;
        message = sk_bytes_of(part.len ? message.data + part.len : message.data, message.len - part.len);
    } while (more);
    encoder->rekeys += encoder->rekey;
    encoder->rekey = false;
out:
    sodium_memzero(&before, sizeof before);
    return result;
}

void sk_frame_encoder_free(sk_frame_encoder *encoder) { sk_compressor_free(&encoder->compressor); }

/* -- Decoding ------------------------------------------------------------------------------------------------------ */

void sk_frame_decoder_init(sk_frame_decoder *decoder, size_t message_max, bool compressed)
{
    sk_assert(message_max <= SK_FRAME_MESSAGE_MAX);
    *decoder = (sk_frame_decoder){.message_max = message_max, .compressed = compressed};
    decoder->record.max = SK_FRAME_RECORD_MAX;
    decoder->message.max = message_max + SPARE; /* flags, and a compressed part as it comes, lie there for a moment */
}

void sk_frame_decoder_free(sk_frame_decoder *decoder)
{
    sk_buf_free(&decoder->record);
    sk_buf_free(&decoder->message);
    sk_buf_free(&decoder->packed);
    sk_decompressor_free(&decoder->decompressor);
}

size_t sk_frame_pending(const sk_frame_decoder *decoder)
{
    return decoder->record.len + (decoder->complete ? 0 : decoder->message.len);
}

static void input_skip(sk_bytes *input, size_t len)
{
    *input = sk_bytes_of(len ? input->data + len : input->data, input->len - len);
}

/* Moves bytes from the input until `record` holds `wanted` of them. */
static bool record_fill(sk_buf *record, sk_bytes *input, size_t wanted)
{
    size_t missing = record->len < wanted ? wanted - record->len : 0;
    size_t len = missing < input->len ? missing : input->len;
    sk_buf_append(record, input->data, len);
    input_skip(input, len);
    return len == missing;
}

/* What a length field alone can tell. */
static int check_length(const sk_frame_decoder *decoder, size_t len)
{
    if (len < SK_FRAME_FLAG + SK_NOISE_TAG) return SK_E_MALFORMED;
    size_t part = len - SK_FRAME_FLAG - SK_NOISE_TAG, most = decoder->message_max - decoder->message.len;
    return part > most + (decoder->compressed ? GROWTH_MAX : 0) ? SK_E_TOO_LARGE : SK_OK;
}

/* The next whole record's ciphertext: straight from the input where all of it is there, else gathered in `record`. */
static int next_record(sk_frame_decoder *decoder, sk_bytes *input, sk_bytes *ciphertext)
{
    sk_buf *record = &decoder->record;
    if (record->len == 0 && input->len >= SK_FRAME_HEADER) {
        int error = check_length(decoder, get_header(input->data));
        if (error) return error;
        if (sk_frame_take(*input, SK_NOISE_MESSAGE_MAX, ciphertext) == SK_OK) {
            input_skip(input, SK_FRAME_HEADER + ciphertext->len);
            return SK_OK;
        }
    }
    if (!record_fill(record, input, SK_FRAME_HEADER)) return SK_E_PARTIAL;
    size_t len = get_header(record->data);
    int error = check_length(decoder, len);
    if (error) return error;
    if (!record_fill(record, input, SK_FRAME_HEADER + len)) return SK_E_PARTIAL;
    *ciphertext = sk_bytes_of(record->data + SK_FRAME_HEADER, len);
    return SK_OK;
}

/* A compressed part, which lies where the part shall lie. Returns the part's length, or an error. */
static int unpack(sk_frame_decoder *decoder, size_t len)
{
    sk_buf *message = &decoder->message, *packed = &decoder->packed;
    if (!decoder->compressed) return SK_E_PROTOCOL;
    if (len <= SK_FRAME_PACKED) return SK_E_MALFORMED;
    sk_buf_reset(packed);
    sk_buf_append(packed, message->data + message->len, len);
    size_t plain_len = get_header(packed->data), packed_len = get_header(packed->data + SK_FRAME_HEADER);
    if (plain_len == 0 || plain_len > SK_FRAME_PART_MAX || packed_len == 0) return SK_E_MALFORMED;
    if (len - SK_FRAME_PACKED != padded_len(plain_len, packed_len)) return SK_E_MALFORMED;
    if (plain_len > decoder->message_max - message->len) return SK_E_TOO_LARGE;
    const uint8_t *zeros = packed->data + SK_FRAME_PACKED + packed_len, *end = packed->data + packed->len;
    for (; zeros < end; zeros++)
        if (*zeros) return SK_E_MALFORMED;
    uint8_t *at = sk_buf_reserve(message, plain_len + 1);
    sk_assert(at != NULL); /* there is SPARE */
    int status = sk_decompress(&decoder->decompressor, sk_bytes_of(packed->data + SK_FRAME_PACKED, packed_len), at,
                               plain_len);
    return status ? status : (int)plain_len;
}

/* Opens one record behind the parts so far. 1: the message is complete, 0: more parts follow. */
static int open_record(sk_frame_decoder *decoder, sk_noise_channel *channel, sk_bytes ciphertext)
{
    sk_buf *message = &decoder->message;
    uint8_t *at = sk_buf_reserve(message, ciphertext.len - SK_NOISE_TAG);
    sk_assert(at != NULL); /* check_length saw to it */
    int opened = sk_noise_channel_open(channel, ciphertext, at);
    if (opened < 0) return opened;

    uint8_t flags = at[0];
    int part = opened - SK_FRAME_FLAG;
    if (flags & ~FLAGS) return SK_E_MALFORMED;
    memmove(at, at + SK_FRAME_FLAG, (size_t)part);
    if (flags & FLAG_COMPRESSED) part = unpack(decoder, (size_t)part);
    if (part < 0) return part;
    if ((size_t)part > SK_FRAME_PART_MAX) return SK_E_MALFORMED;
    if ((size_t)part > decoder->message_max - message->len) return SK_E_TOO_LARGE;
    if (flags & FLAG_MORE && part != SK_FRAME_PART_MAX) return SK_E_MALFORMED;
    if (!(flags & FLAG_MORE) && part == 0 && message->len > 0) return SK_E_MALFORMED;
    message->len += (size_t)part;
    if (flags & FLAG_REKEY) sk_noise_rekey(&channel->receive);
    return !(flags & FLAG_MORE);
}

int sk_frame_decode(sk_frame_decoder *decoder, sk_noise_channel *channel, sk_bytes *input, sk_bytes *message)
{
    if (decoder->complete) {
        if (decoder->message.cap > MESSAGE_KEEP) sk_buf_free(&decoder->message);
        sk_buf_reset(&decoder->message);
        decoder->complete = false;
    }
    while (!decoder->error) {
        sk_bytes ciphertext;
        int result = next_record(decoder, input, &ciphertext);
        if (result == SK_E_PARTIAL) return result;
        if (result == SK_OK) {
            result = open_record(decoder, channel, ciphertext);
            sk_buf_reset(&decoder->record);
        }
        if (result == 1) {
            decoder->complete = true;
            *message = sk_buf_view(&decoder->message);
            return SK_OK;
        }
        decoder->error = result;
    }
    return decoder->error;
}
