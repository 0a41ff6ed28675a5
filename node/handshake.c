#include "node/handshake.h"

#include "gossip/engine.h"
#include "node/key.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

enum { MARK = 8, FEATURES = 1, ANSWER_MESSAGE_2 = 0, ANSWER_REFUSED = 1 };

static const char magic[4] = {'S', 'K', 'R', 'Y'};

__attribute__((format(printf, 3, 4))) static int fail(sk_handshake *handshake, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(handshake->why, sizeof handshake->why, format, args);
    va_end(args);
    return error;
}

/* -- the preamble ------------------------------------------------------------------------------------------------- */

/* Tells clusters apart before any key is used, without saying their names to strangers. */
static void cluster_mark(const char *cluster, uint8_t mark[MARK])
{
    uint8_t hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)cluster, strlen(cluster), NULL, 0);
    memcpy(mark, hash, MARK);
}

static void put_name(sk_buf *out, const char *name)
{
    sk_buf_byte(out, (uint8_t)strlen(name));
    sk_buf_bytes(out, sk_bytes_str(name));
}

static void put_preamble(sk_buf *out, const sk_handshake_self *self, const char *to)
{
    uint8_t mark[MARK];
    cluster_mark(self->cluster, mark);
    sk_buf_append(out, magic, sizeof magic);
    sk_buf_byte(out, SK_PROTOCOL_VERSION);
    sk_buf_append(out, mark, sizeof mark);
    sk_buf_byte(out, self->features);
    put_name(out, self->region);
    put_name(out, to);
}

static bool take_name(sk_bytes *rest, sk_bytes *name)
{
    if (rest->len == 0 || rest->data[0] > rest->len - 1) return false;
    *name = sk_bytes_of(rest->data + 1, rest->data[0]);
    *rest = sk_bytes_of(name->data + name->len, rest->len - 1 - name->len);
    return sk_region_name_valid(*name);
}

/* What both sides mix in first: the preamble as it was sent, and the whole name of the cluster. */
static void put_prologue(sk_buf *out, sk_bytes preamble, const char *cluster)
{
    sk_buf_bytes(out, preamble);
    sk_buf_bytes(out, sk_bytes_str(cluster));
}

/* -- the one who calls -------------------------------------------------------------------------------------------- */

int sk_handshake_dial(sk_handshake *handshake, const sk_handshake_self *self, size_t peer,
                      const uint8_t random[SK_NOISE_KEY], sk_buf *out)
{
    uint8_t message[SK_NOISE_OVERHEAD_1];
    sk_buf preamble = {0}, prologue = {0};
    *handshake = (sk_handshake){.self = self, .initiator = true, .peer = peer, .step = SK_HANDSHAKE_ANSWER,
                                .own_features = self->features};
    memcpy(handshake->key, self->peers[peer].public_key, sizeof handshake->key);
    put_preamble(&preamble, self, self->peers[peer].region);
    put_prologue(&prologue, sk_buf_view(&preamble), self->cluster);
    sk_noise_initiator_init(&handshake->noise, self->key, self->peers[peer].public_key, sk_buf_view(&prologue));
    int len = sk_noise_write_1(&handshake->noise, random, SK_BYTES_NONE, message);
    if (len > 0) {
        sk_frame_put(out, sk_buf_view(&preamble));
        sk_frame_put(out, sk_bytes_of(message, (size_t)len));
    }
    sk_buf_free(&preamble);
    sk_buf_free(&prologue);
    if (len > 0) return SK_OK;
    return fail(handshake, len, "the public_key configured for %s is not a key", self->peers[peer].region);
}

/* What a person should do about a refusal. */
static int explain_refusal(sk_handshake *handshake, int code)
{
    const sk_handshake_self *self = handshake->self;
    const char *peer = self->peers[handshake->peer].region;
    char ours[SK_KEY_HEX];
    switch (code) {
    case SK_E_VERSION:
        return fail(handshake, code, "it does not speak protocol version %d: upgrade the older of the two nodes",
                    SK_PROTOCOL_VERSION);
    case SK_E_CLUSTER:
        return fail(handshake, code,
                    "it says that it is not region %s of cluster %s, or has no region %s among its peers: compare "
                    "address, cluster and peers of both",
                    peer, self->cluster, self->region);
    case SK_E_AUTH:
        sk_key_hex(self->key->public, ours);
        return fail(handshake, code, "it has another public_key for %s than this node's, which is %s", self->region,
                    ours);
    case SK_E_CRYPTO:
        return fail(handshake, code, "it cannot open what was sealed for it: the public_key configured here for %s is "
                    "not the one of its key file", peer);
    case SK_E_FORGOTTEN:
        sk_key_hex(self->key->public, ours);
        return fail(handshake, code,
                    "this region was forgotten by %s: add it again there (skerryctl region add %s --address … "
                    "--public-key %s) and it rejoins with its writes", peer, self->region, ours);
    case SK_E_CLASH:
    case SK_E_REPLACED:
    case SK_E_LINK_DOWN:
    case SK_E_PROTOCOL:
    case SK_E_BUSY:
    case SK_E_DUPLICATE:
    case SK_E_SHUTDOWN: return fail(handshake, code, "it refused: %s", sk_error_text(code));
    default: /* anybody may have sent it: a number without a place here, 0 included, is an error like others */
        return fail(handshake, SK_E_PROTOCOL, "it refused, for a reason that has no place here (%d)", code);
    }
}

static int take_answer(sk_handshake *handshake, sk_bytes *input, sk_noise_channel *channel)
{
    sk_bytes body;
    int status = sk_frame_take(*input, SK_FRAME_HANDSHAKE_MAX, &body);
    if (status == SK_E_PARTIAL) return status;
    const char *peer = handshake->self->peers[handshake->peer].region;
    if (status || body.len < 2)
        return fail(handshake, SK_E_PROTOCOL, "what answers at the address of %s is not a skerry node", peer);
    if (body.data[0] == ANSWER_REFUSED) return explain_refusal(handshake, -(int)body.data[1]);
    if (body.data[0] != ANSWER_MESSAGE_2 || body.len != 1 + SK_NOISE_OVERHEAD_2 + FEATURES)
        return fail(handshake, SK_E_PROTOCOL, "what answers at the address of %s is not a skerry node", peer);
    status = sk_noise_read_2(&handshake->noise, sk_bytes_of(body.data + 1, body.len - 1), &handshake->features);
    if (status < 0) return fail(handshake, status, "its answer was not made with the key configured for %s", peer);
    *input = sk_bytes_of(body.data + body.len, input->len - SK_FRAME_HEADER - body.len);
    sk_noise_split(&handshake->noise, channel);
    handshake->step = SK_HANDSHAKE_OVER;
    return SK_OK;
}

/* -- the one who is called ---------------------------------------------------------------------------------------- */

void sk_handshake_await(sk_handshake *handshake, const sk_handshake_self *self)
{
    *handshake = (sk_handshake){.self = self, .peer = SIZE_MAX, .step = SK_HANDSHAKE_PREAMBLE,
                                .own_features = self->features};
}

static int check_preamble(sk_handshake *handshake, sk_bytes preamble)
{
    const sk_handshake_self *self = handshake->self;
    uint8_t mark[MARK];
    sk_bytes from, to, rest;
    size_t fixed = sizeof magic + 1 + MARK + FEATURES;
    if (preamble.len < sizeof magic + 1 || memcmp(preamble.data, magic, sizeof magic) != 0)
        return fail(handshake, SK_E_MALFORMED, "it does not speak skerry's replication protocol");
    if (preamble.data[sizeof magic] != SK_PROTOCOL_VERSION) /* what follows is then not ours to read */
        return fail(handshake, SK_E_VERSION,
                    "it speaks protocol version %u, this node %d: upgrade the older of the two nodes",
                    preamble.data[sizeof magic], SK_PROTOCOL_VERSION);
    if (preamble.len < fixed) return fail(handshake, SK_E_MALFORMED, "its preamble is too short");
    handshake->features = preamble.data[fixed - FEATURES];
    rest = sk_bytes_of(preamble.data + fixed, preamble.len - fixed);
    if (!take_name(&rest, &from) || !take_name(&rest, &to) || rest.len)
        return fail(handshake, SK_E_MALFORMED, "its preamble does not follow the format");
    cluster_mark(self->cluster, mark);
    if (memcmp(preamble.data + sizeof magic + 1, mark, MARK) != 0)
        return fail(handshake, SK_E_CLUSTER, "region %.*s belongs to another cluster than %s", (int)from.len,
                    (const char *)from.data, self->cluster);
    if (!sk_bytes_equal(to, sk_bytes_str(self->region)))
        return fail(handshake, SK_E_CLUSTER, "region %.*s looks for region %.*s here, but this is %s: correct the "
                    "address in its peers", (int)from.len, (const char *)from.data, (int)to.len, (const char *)to.data,
                    self->region);
    for (size_t i = 0; i < self->peer_count; i++)
        if (sk_bytes_equal(from, sk_bytes_str(self->peers[i].region))) handshake->peer = i;
    memcpy(handshake->region, from.data, from.len);
    if (handshake->peer == SIZE_MAX && (!self->judge || self->judge(self->context, from, NULL) != SK_OK))
        return fail(handshake, SK_E_CLUSTER, "region %.*s is not among the peers of this node", (int)from.len,
                    (const char *)from.data);
    return SK_OK;
}

static int take_preamble(sk_handshake *handshake, sk_bytes *input)
{
    sk_bytes body;
    sk_buf prologue = {0};
    int status = sk_frame_take(*input, SK_HANDSHAKE_PREAMBLE_MAX, &body);
    if (status == SK_E_PARTIAL) return status;
    if (status) return fail(handshake, SK_E_MALFORMED, "it does not speak skerry's replication protocol");
    status = check_preamble(handshake, body);
    if (status) return status;
    put_prologue(&prologue, body, handshake->self->cluster);
    sk_noise_responder_init(&handshake->noise, handshake->self->key, sk_buf_view(&prologue));
    sk_buf_free(&prologue);
    *input = sk_bytes_of(body.data + body.len, input->len - SK_FRAME_HEADER - body.len);
    handshake->step = SK_HANDSHAKE_MESSAGE_1;
    return SK_OK;
}

static int judge(const sk_handshake *handshake, const uint8_t key[SK_NOISE_KEY])
{
    const sk_handshake_self *self = handshake->self;
    if (self->judge) return self->judge(self->context, sk_bytes_str(handshake->region), key);
    bool fits = sodium_memcmp(key, self->peers[handshake->peer].public_key, SK_NOISE_KEY) == 0;
    return fits ? SK_OK : SK_E_AUTH;
}

static int check_message_1(sk_handshake *handshake, sk_bytes message)
{
    const sk_handshake_self *self = handshake->self;
    char hex[SK_KEY_HEX];
    uint8_t nothing[1];
    if (message.len != SK_NOISE_OVERHEAD_1)
        return fail(handshake, SK_E_MALFORMED, "its first message has a wrong length");
    int status = sk_noise_read_1(&handshake->noise, message, nothing);
    if (status < 0) {
        sk_key_hex(self->key->public, hex);
        return fail(handshake, SK_E_CRYPTO, "region %s sealed its first message for another key: the public_key of %s "
                    "in its peers must be %s", handshake->region, self->region, hex);
    }
    const uint8_t *key = sk_noise_remote_static(&handshake->noise);
    sk_key_hex(key, hex);
    memcpy(handshake->key, key, sizeof handshake->key);
    status = judge(handshake, key);
    if (status == SK_E_AUTH)
        return fail(handshake, status, "whoever says to be region %s has the key %s, which is not the one known for it "
                    "here", handshake->region, hex);
    if (status == SK_E_FORGOTTEN)
        return fail(handshake, status, "region %s (key %s) was forgotten: add it again (skerryctl region add) if it is to "
                    "come back", handshake->region, hex);
    if (status) return fail(handshake, status, "region %s (key %s): %s", handshake->region, hex, sk_error_text(status));
    status = self->admit ? self->admit(self->context, handshake->peer) : SK_OK;
    return status ? fail(handshake, status, "refused: %s", sk_error_text(status)) : SK_OK;
}

static int take_message_1(sk_handshake *handshake, sk_bytes *input, const uint8_t random[SK_NOISE_KEY], sk_buf *out,
                          sk_noise_channel *channel)
{
    sk_bytes body;
    uint8_t answer[1 + SK_NOISE_OVERHEAD_2 + FEATURES] = {ANSWER_MESSAGE_2};
    int status = sk_frame_take(*input, SK_FRAME_HANDSHAKE_MAX, &body);
    if (status == SK_E_PARTIAL) return status;
    if (status) return fail(handshake, SK_E_MALFORMED, "its first message has a wrong length");
    status = check_message_1(handshake, body);
    if (status) return status;
    int len = sk_noise_write_2(&handshake->noise, random, sk_bytes_of(&handshake->own_features, FEATURES), answer + 1);
    if (len < 0) return fail(handshake, len, "its keys cannot be used");
    sk_frame_put(out, sk_bytes_of(answer, 1 + (size_t)len));
    *input = sk_bytes_of(body.data + body.len, input->len - SK_FRAME_HEADER - body.len);
    sk_noise_split(&handshake->noise, channel);
    handshake->step = SK_HANDSHAKE_OVER;
    return SK_OK;
}

/* -- both --------------------------------------------------------------------------------------------------------- */

int sk_handshake_input(sk_handshake *handshake, sk_bytes *input, const uint8_t random[SK_NOISE_KEY], sk_buf *out,
                       sk_noise_channel *channel)
{
    sk_assert(handshake->step != SK_HANDSHAKE_OVER);
    if (handshake->initiator) return take_answer(handshake, input, channel);
    int status = SK_OK;
    if (handshake->step == SK_HANDSHAKE_PREAMBLE) status = take_preamble(handshake, input);
    if (status == SK_OK) status = take_message_1(handshake, input, random, out, channel);
    if (status < 0 && status != SK_E_PARTIAL && status != SK_E_MALFORMED) {
        uint8_t refusal[2] = {ANSWER_REFUSED, (uint8_t)-status};
        sk_frame_put(out, sk_bytes_of(refusal, sizeof refusal));
    }
    return status;
}

void sk_handshake_wipe(sk_handshake *handshake) { sk_noise_handshake_wipe(&handshake->noise); }
