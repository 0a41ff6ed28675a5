#include "gossip/frame.h"

#include <sodium.h>

enum { FLAG_LAST = 0, FLAG_MORE = 1 };

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

int sk_frame_encode(sk_noise_channel *channel, sk_bytes message, sk_buf *out)
{
    if (message.len > SK_FRAME_MESSAGE_MAX) return SK_E_TOO_LARGE;
    size_t total = sk_frame_encoded_len(message.len);
    uint8_t *at = sk_buf_reserve(out, total);
    if (!at) return SK_E_MEMORY;

    sk_noise_cipher before = channel->send;
    int result = SK_OK;
    bool more;
    do {
        more = message.len > SK_FRAME_PART_MAX;
        size_t part = more ? SK_FRAME_PART_MAX : message.len;
        uint8_t *plain = at + SK_FRAME_HEADER;
        plain[0] = more ? FLAG_MORE : FLAG_LAST;
        if (part) memcpy(plain + SK_FRAME_FLAG, message.data, part);
        int sealed = sk_noise_channel_seal(channel, sk_bytes_of(plain, SK_FRAME_FLAG + part), plain);
        if (sealed < 0) {
            channel->send = before; /* what it sealed so far is never sent */
            result = sealed;
            goto out;
        }
        put_header(at, (size_t)sealed);
        at += SK_FRAME_HEADER + sealed;
        message = sk_bytes_of(part ? message.data + part : message.data, message.len - part);
    } while (more);
    out->len += total;
out:
    sodium_memzero(&before, sizeof before);
    return result;
}

/* -- Decoding ------------------------------------------------------------------------------------------------------ */

void sk_frame_decoder_init(sk_frame_decoder *decoder, size_t message_max)
{
    sk_assert(message_max <= SK_FRAME_MESSAGE_MAX);
    *decoder = (sk_frame_decoder){.message_max = message_max};
    decoder->record.max = SK_FRAME_RECORD_MAX;
    decoder->message.max = message_max + SK_FRAME_FLAG; /* the flag of a last part lies behind it for a moment */
}

void sk_frame_decoder_free(sk_frame_decoder *decoder)
{
    sk_buf_free(&decoder->record);
    sk_buf_free(&decoder->message);
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
    size_t part = len - SK_FRAME_FLAG - SK_NOISE_TAG;
    return part > decoder->message_max - decoder->message.len ? SK_E_TOO_LARGE : SK_OK;
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

/* Opens one record behind the parts so far. 1: the message is complete, 0: more parts follow. */
static int open_record(sk_frame_decoder *decoder, sk_noise_channel *channel, sk_bytes ciphertext)
{
    sk_buf *message = &decoder->message;
    uint8_t *at = sk_buf_reserve(message, ciphertext.len - SK_NOISE_TAG);
    sk_assert(at != NULL); /* check_length saw to it */
    int opened = sk_noise_channel_open(channel, ciphertext, at);
    if (opened < 0) return opened;

    uint8_t flag = at[0];
    size_t part = (size_t)opened - SK_FRAME_FLAG;
    if (flag != FLAG_LAST && flag != FLAG_MORE) return SK_E_MALFORMED;
    if (flag == FLAG_MORE && part != SK_FRAME_PART_MAX) return SK_E_MALFORMED;
    if (flag == FLAG_LAST && part == 0 && message->len > 0) return SK_E_MALFORMED;
    memmove(at, at + SK_FRAME_FLAG, part);
    message->len += part;
    return flag == FLAG_LAST;
}

int sk_frame_decode(sk_frame_decoder *decoder, sk_noise_channel *channel, sk_bytes *input, sk_bytes *message)
{
    if (decoder->complete) {
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
