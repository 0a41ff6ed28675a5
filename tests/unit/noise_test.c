/* gossip/noise: the published vectors, every way in which a handshake must fail, and the channel's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gossip/noise.h"

/* Noise_IK_25519_ChaChaPoly_BLAKE2b from vectors/cacophony.txt of github.com/haskell-cryptography/cacophony (commit
 * 8ee9d41e34a1a596cfa3ab12aa4069ff87dc1247); github.com/mcginty/snow has the same in tests/vectors/cacophony.txt. */
static const char vector_prologue[] = "4a6f686e2047616c74";
static const char vector_init_static[] = "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
static const char vector_init_ephemeral[] = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
static const char vector_init_remote_static[] = "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";
static const char vector_resp_static[] = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
static const char vector_resp_ephemeral[] = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
static const char vector_handshake_hash[] = "1c8fa891cb414fedba6daa7c6f4ae0a6d98e5f9768cc9cecd27e805614943ee9"
                                            "c8a1b27fbfb76dc197255c8aa69f6b4285c423840b8bedf45e652ca64f797d81";
static const struct {
    const char *payload, *ciphertext;
} vector_messages[] = {
    {"4c756477696720766f6e204d69736573",
     "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944ba83a447b38c83e327ad936929812f624884847b7831e95e"
     "197b2f797088efdd2f88f1db7e1fb0e99c64419097af91cee64e470f4b6fcd9298ce0b56fe20f86e13bf70439c538e3602a7127af71a29c"
     "c"},
    {"4d757272617920526f746862617264",
     "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088439f069b267a06b3de3e"
     "cb1043bcb098e9af91d9c64748d998c7b47890871571"},
    {"462e20412e20486179656b", "cd54383060e7a28434cca27fb1cc524cfbabeb18181589df219d07"},
    {"4361726c204d656e676572", "a856d3bf0246bfc476c655009cd1ed677b8dcc5b349ae8ef2a05f2"},
    {"4a65616e2d426170746973746520536179", "49063084b2c51f098337cb8a13739ac848f907e67cfb2cc8a8b60586467aa02fc7"},
    {"457567656e2042f6686d20766f6e2042617765726b",
     "8b9709d23b47e4639df7678d7a21741eba4ef1e9c60383001c7435549c20f9d56f30e935d3"},
};

typedef struct {
    uint8_t data[512];
    size_t len;
} piece;

static piece from_hex(const char *hex)
{
    piece out = {.len = 0};
    assert_int_equal(sodium_hex2bin(out.data, sizeof out.data, hex, strlen(hex), NULL, &out.len, NULL), 0);
    return out;
}

static sk_bytes view(const piece *p) { return sk_bytes_of(p->data, p->len); }

static void assert_hex(const uint8_t *data, int len, const char *hex)
{
    piece expected = from_hex(hex);
    assert_int_equal(len, expected.len);
    assert_memory_equal(data, expected.data, expected.len);
}

static sk_noise_keypair keypair_hex(const char *hex)
{
    sk_noise_keypair pair;
    sk_noise_keypair_init(&pair, from_hex(hex).data);
    return pair;
}

static sk_noise_keypair keypair_filled(uint8_t byte)
{
    uint8_t secret[SK_NOISE_KEY];
    sk_noise_keypair pair;
    memset(secret, byte, sizeof secret);
    sk_noise_keypair_init(&pair, secret);
    return pair;
}

/* Two nodes that know each other, and their two messages. */
typedef struct {
    sk_noise_keypair client_key, server_key;
    sk_noise_handshake client, server;
    piece first, second;
} talk;

static const char prologue[] = "skerry test";

static void talk_init(talk *t)
{
    memset(t, 0, sizeof *t);
    t->client_key = keypair_filled(1);
    t->server_key = keypair_filled(2);
    sk_noise_initiator_init(&t->client, &t->client_key, t->server_key.public, sk_bytes_str(prologue));
    sk_noise_responder_init(&t->server, &t->server_key, sk_bytes_str(prologue));
}

static int talk_write_1(talk *t, uint8_t random)
{
    uint8_t seed[SK_NOISE_KEY];
    memset(seed, random, sizeof seed);
    int len = sk_noise_write_1(&t->client, seed, sk_bytes_str("hello"), t->first.data);
    t->first.len = len > 0 ? (size_t)len : 0;
    return len;
}

static int talk_write_2(talk *t, uint8_t random)
{
    uint8_t seed[SK_NOISE_KEY];
    memset(seed, random, sizeof seed);
    int len = sk_noise_write_2(&t->server, seed, sk_bytes_str("welcome"), t->second.data);
    t->second.len = len > 0 ? (size_t)len : 0;
    return len;
}

static void talk_finish(talk *t, sk_noise_channel *client, sk_noise_channel *server)
{
    uint8_t payload[64];
    assert_int_equal(talk_write_1(t, 3), SK_NOISE_OVERHEAD_1 + 5);
    assert_int_equal(sk_noise_read_1(&t->server, view(&t->first), payload), 5);
    assert_memory_equal(payload, "hello", 5);
    assert_memory_equal(sk_noise_remote_static(&t->server), t->client_key.public, SK_NOISE_KEY);
    assert_int_equal(talk_write_2(t, 4), SK_NOISE_OVERHEAD_2 + 7);
    assert_int_equal(sk_noise_read_2(&t->client, view(&t->second), payload), 7);
    assert_memory_equal(payload, "welcome", 7);
    sk_noise_split(&t->client, client);
    sk_noise_split(&t->server, server);
}

static void channels(sk_noise_channel *client, sk_noise_channel *server)
{
    talk t;
    talk_init(&t);
    talk_finish(&t, client, server);
}

/* -- The vectors --------------------------------------------------------------------------------------------------- */

static void test_vectors(void **state)
{
    (void)state;
    uint8_t sealed[512], opened[512];
    piece text = from_hex(vector_prologue), remote = from_hex(vector_init_remote_static);
    sk_noise_keypair client_key = keypair_hex(vector_init_static), server_key = keypair_hex(vector_resp_static);
    assert_memory_equal(server_key.public, remote.data, SK_NOISE_KEY);

    sk_noise_handshake client, server;
    sk_noise_initiator_init(&client, &client_key, remote.data, view(&text));
    sk_noise_responder_init(&server, &server_key, view(&text));

    piece payload = from_hex(vector_messages[0].payload);
    int len = sk_noise_write_1(&client, from_hex(vector_init_ephemeral).data, view(&payload), sealed);
    assert_hex(sealed, len, vector_messages[0].ciphertext);
    assert_hex(opened, sk_noise_read_1(&server, sk_bytes_of(sealed, (size_t)len), opened), vector_messages[0].payload);
    assert_memory_equal(sk_noise_remote_static(&server), client_key.public, SK_NOISE_KEY);

    payload = from_hex(vector_messages[1].payload);
    len = sk_noise_write_2(&server, from_hex(vector_resp_ephemeral).data, view(&payload), sealed);
    assert_hex(sealed, len, vector_messages[1].ciphertext);
    assert_hex(opened, sk_noise_read_2(&client, sk_bytes_of(sealed, (size_t)len), opened), vector_messages[1].payload);

    sk_noise_channel ends[2];
    sk_noise_split(&client, &ends[0]);
    sk_noise_split(&server, &ends[1]);
    assert_hex(ends[0].hash, SK_NOISE_HASH, vector_handshake_hash);
    assert_hex(ends[1].hash, SK_NOISE_HASH, vector_handshake_hash);

    for (size_t i = 2; i < sizeof vector_messages / sizeof *vector_messages; i++) {
        payload = from_hex(vector_messages[i].payload);
        len = sk_noise_channel_seal(&ends[i % 2], view(&payload), sealed);
        assert_hex(sealed, len, vector_messages[i].ciphertext);
        len = sk_noise_channel_open(&ends[1 - i % 2], sk_bytes_of(sealed, (size_t)len), opened);
        assert_hex(opened, len, vector_messages[i].payload);
    }
}

/* -- Handshakes that must fail ------------------------------------------------------------------------------------- */

static void test_handshake_and_wipe(void **state)
{
    (void)state;
    talk t;
    sk_noise_channel client, server;
    talk_init(&t);
    talk_finish(&t, &client, &server);
    assert_memory_equal(client.hash, server.hash, SK_NOISE_HASH);
    assert_memory_not_equal(client.send.key, client.receive.key, SK_NOISE_KEY);
    assert_true(sodium_is_zero((uint8_t *)&t.client, sizeof t.client));
    assert_true(sodium_is_zero((uint8_t *)&t.server, sizeof t.server));
    sk_noise_channel_wipe(&client);
    assert_true(sodium_is_zero((uint8_t *)&client, sizeof client));
}

static void test_wrong_server_key(void **state)
{
    (void)state;
    talk t;
    uint8_t payload[64];
    talk_init(&t);
    sk_noise_keypair other = keypair_filled(9);
    sk_noise_initiator_init(&t.client, &t.client_key, other.public, sk_bytes_str(prologue));
    talk_write_1(&t, 3);
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);

    /* An impostor who holds the server's public key and not its secret. */
    talk_init(&t);
    talk_write_1(&t, 3);
    other = t.server_key;
    other.secret[5] ^= 1;
    sk_noise_responder_init(&t.server, &other, sk_bytes_str(prologue));
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);
}

static void test_wrong_client_key(void **state)
{
    (void)state;
    talk t;
    uint8_t payload[64];
    /* A client that claims another's public key: `ss` does not come out. */
    talk_init(&t);
    sk_noise_keypair thief = t.client_key;
    thief.secret[5] ^= 1;
    sk_noise_initiator_init(&t.client, &thief, t.server_key.public, sk_bytes_str(prologue));
    talk_write_1(&t, 3);
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);

    /* A client with a key of its own is read, and the allowlist sees that key. */
    talk_init(&t);
    sk_noise_keypair stranger = keypair_filled(9);
    sk_noise_initiator_init(&t.client, &stranger, t.server_key.public, sk_bytes_str(prologue));
    talk_write_1(&t, 3);
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), 5);
    assert_memory_equal(sk_noise_remote_static(&t.server), stranger.public, SK_NOISE_KEY);
}

static void test_wrong_prologue(void **state)
{
    (void)state;
    talk t;
    uint8_t payload[64];
    const char *others[] = {"", "skerry tesT", "skerry test ", "skerry tes"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        talk_init(&t);
        talk_write_1(&t, 3);
        sk_noise_responder_init(&t.server, &t.server_key, sk_bytes_str(others[i]));
        assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);
    }
}

/* Message 2 by somebody who did not answer this message 1 fails, and the right one still works after it. */
static void test_wrong_answer(void **state)
{
    (void)state;
    talk t, other;
    uint8_t payload[64];
    talk_init(&t);
    talk_init(&other);
    talk_write_1(&t, 3);
    talk_write_1(&other, 5);
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), 5);
    assert_int_equal(sk_noise_read_1(&other.server, view(&other.first), payload), 5);
    talk_write_2(&t, 4);
    talk_write_2(&other, 4);
    assert_int_equal(sk_noise_read_2(&t.client, view(&other.second), payload), SK_E_CRYPTO);
    assert_int_equal(sk_noise_read_2(&t.client, view(&t.second), payload), 7);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    talk t;
    uint8_t payload[64];
    talk_init(&t);
    talk_write_1(&t, 3);
    sk_noise_handshake before = t.server;
    for (size_t i = 0; i < t.first.len; i++) {
        t.first.data[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);
        assert_memory_equal(&t.server, &before, sizeof before);
        t.first.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), 5);
    talk_write_2(&t, 4);
    before = t.client;
    for (size_t i = 0; i < t.second.len; i++) {
        t.second.data[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(sk_noise_read_2(&t.client, view(&t.second), payload), SK_E_CRYPTO);
        assert_memory_equal(&t.client, &before, sizeof before);
        t.second.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    assert_int_equal(sk_noise_read_2(&t.client, view(&t.second), payload), 7);
}

/* Bit 255 of an X25519 public key does not count in the product: the hash must still catch it (flipped above only by
 * chance of i % 8). */
static void test_flipped_ignored_bit(void **state)
{
    (void)state;
    talk t;
    uint8_t payload[64];
    talk_init(&t);
    talk_write_1(&t, 3);
    t.first.data[31] ^= 0x80;
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), SK_E_CRYPTO);
    t.first.data[31] ^= 0x80;
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), 5);
    talk_write_2(&t, 4);
    t.second.data[31] ^= 0x80;
    assert_int_equal(sk_noise_read_2(&t.client, view(&t.second), payload), SK_E_CRYPTO);
}

/* Copies into memory of exactly that size, so that the sanitizer sees a read beyond it. */
static int read_exact(int (*read)(sk_noise_handshake *, sk_bytes, uint8_t *), sk_noise_handshake *handshake,
                      const uint8_t *data, size_t len, size_t overhead)
{
    uint8_t *copy = malloc(len), *out = malloc(len > overhead ? len - overhead : 0);
    if (len) memcpy(copy, data, len);
    int result = read(handshake, sk_bytes_of(copy, len), out);
    free(copy);
    free(out);
    return result;
}

static void test_lengths(void **state)
{
    (void)state;
    static uint8_t big[SK_NOISE_MESSAGE_MAX + 1], out[SK_NOISE_MESSAGE_MAX + 1];
    talk t;
    uint8_t seed[SK_NOISE_KEY] = {7};
    talk_init(&t);
    assert_int_equal(sk_noise_read_1(&t.server, SK_BYTES_NONE, out), SK_E_MALFORMED);
    assert_int_equal(sk_noise_read_1(&t.server, sk_bytes_of(big, sizeof big), out), SK_E_TOO_LARGE);
    size_t room = SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_1;
    assert_int_equal(sk_noise_write_1(&t.client, seed, sk_bytes_of(big, room + 1), out), SK_E_TOO_LARGE);
    talk_write_1(&t, 3);
    for (size_t len = 0; len < t.first.len; len++) {
        assert_int_equal(read_exact(sk_noise_read_1, &t.server, t.first.data, len, SK_NOISE_OVERHEAD_1),
                         len < SK_NOISE_OVERHEAD_1 ? SK_E_MALFORMED : SK_E_CRYPTO);
    }
    assert_int_equal(sk_noise_read_1(&t.server, sk_bytes_of(t.first.data, t.first.len + 1), out), SK_E_CRYPTO);
    assert_int_equal(read_exact(sk_noise_read_1, &t.server, t.first.data, t.first.len, SK_NOISE_OVERHEAD_1), 5);

    room = SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_2;
    assert_int_equal(sk_noise_write_2(&t.server, seed, sk_bytes_of(big, room + 1), out), SK_E_TOO_LARGE);
    talk_write_2(&t, 4);
    assert_int_equal(sk_noise_read_2(&t.client, sk_bytes_of(big, sizeof big), out), SK_E_TOO_LARGE);
    for (size_t len = 0; len < t.second.len; len++) {
        assert_int_equal(read_exact(sk_noise_read_2, &t.client, t.second.data, len, SK_NOISE_OVERHEAD_2),
                         len < SK_NOISE_OVERHEAD_2 ? SK_E_MALFORMED : SK_E_CRYPTO);
    }
    assert_int_equal(read_exact(sk_noise_read_2, &t.client, t.second.data, t.second.len, SK_NOISE_OVERHEAD_2), 7);
}

/* The largest payloads, and none at all, go through. */
static void test_payload_extremes(void **state)
{
    (void)state;
    static uint8_t big[SK_NOISE_MESSAGE_MAX], sealed[SK_NOISE_MESSAGE_MAX], opened[SK_NOISE_MESSAGE_MAX];
    uint8_t seed[SK_NOISE_KEY] = {7};
    memset(big, 0xab, sizeof big);
    for (int full = 0; full < 2; full++) {
        talk t;
        talk_init(&t);
        size_t len = full ? SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_1 : 0;
        int wrote = sk_noise_write_1(&t.client, seed, sk_bytes_of(full ? big : NULL, len), sealed);
        assert_int_equal(wrote, len + SK_NOISE_OVERHEAD_1);
        assert_int_equal(sk_noise_read_1(&t.server, sk_bytes_of(sealed, (size_t)wrote), opened), len);
        assert_memory_equal(opened, big, len);
        len = full ? SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_2 : 0;
        wrote = sk_noise_write_2(&t.server, seed, sk_bytes_of(full ? big : NULL, len), sealed);
        assert_int_equal(wrote, len + SK_NOISE_OVERHEAD_2);
        assert_int_equal(sk_noise_read_2(&t.client, sk_bytes_of(sealed, (size_t)wrote), opened), len);
        assert_memory_equal(opened, big, len);
    }
}

static void test_small_order_keys(void **state)
{
    (void)state;
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        talk t;
        talk_init(&t);
        sk_noise_initiator_init(&t.client, &t.client_key, from_hex(points[i]).data, sk_bytes_str(prologue));
        sk_noise_handshake before = t.client;
        assert_int_equal(talk_write_1(&t, 3), SK_E_CRYPTO);
        assert_memory_equal(&t.client, &before, sizeof before);
    }
}

/* Message 1 replayed: it is read again, as it must be, but gives other keys, and whoever replays cannot go on. */
static void test_replayed_message_1(void **state)
{
    (void)state;
    talk t;
    sk_noise_channel client, server, ghost;
    uint8_t payload[64], sealed[64];
    talk_init(&t);
    talk_finish(&t, &client, &server);

    sk_noise_responder_init(&t.server, &t.server_key, sk_bytes_str(prologue));
    assert_int_equal(sk_noise_read_1(&t.server, view(&t.first), payload), 5);
    piece old_answer = t.second;
    talk_write_2(&t, 6);
    assert_memory_not_equal(old_answer.data, t.second.data, old_answer.len);
    sk_noise_split(&t.server, &ghost);
    assert_memory_not_equal(ghost.hash, server.hash, SK_NOISE_HASH);

    /* What the true client sealed for its own session does not open in the replayed one, nor the other way round. */
    int len = sk_noise_channel_seal(&client, sk_bytes_str("pay"), sealed);
    assert_int_equal(sk_noise_channel_open(&ghost, sk_bytes_of(sealed, (size_t)len), payload), SK_E_CRYPTO);
    len = sk_noise_channel_seal(&ghost, sk_bytes_str("paid"), sealed);
    assert_int_equal(sk_noise_channel_open(&client, sk_bytes_of(sealed, (size_t)len), payload), SK_E_CRYPTO);
}

/* A recorded message 2 does not satisfy a client that begins again. */
static void test_replayed_message_2(void **state)
{
    (void)state;
    talk t;
    sk_noise_channel client, server;
    uint8_t payload[64];
    talk_init(&t);
    talk_finish(&t, &client, &server);
    sk_noise_initiator_init(&t.client, &t.client_key, t.server_key.public, sk_bytes_str(prologue));
    talk_write_1(&t, 8);
    assert_int_equal(sk_noise_read_2(&t.client, view(&t.second), payload), SK_E_CRYPTO);
}

/* -- The channel --------------------------------------------------------------------------------------------------- */

static void test_channel_order(void **state)
{
    (void)state;
    sk_noise_channel client, server;
    uint8_t one[32], two[32], out[32];
    channels(&client, &server);
    int len = sk_noise_channel_seal(&client, sk_bytes_str("one"), one);
    assert_int_equal(sk_noise_channel_seal(&client, sk_bytes_str("two"), two), len);
    sk_bytes first = sk_bytes_of(one, (size_t)len), second = sk_bytes_of(two, (size_t)len);

    sk_noise_channel before = server;
    assert_int_equal(sk_noise_channel_open(&server, second, out), SK_E_CRYPTO); /* out of order */
    assert_memory_equal(&server, &before, sizeof before);
    assert_int_equal(sk_noise_channel_open(&client, first, out), SK_E_CRYPTO); /* reflected */
    assert_int_equal(sk_noise_channel_open(&server, first, out), 3);
    assert_memory_equal(out, "one", 3);
    assert_int_equal(sk_noise_channel_open(&server, first, out), SK_E_CRYPTO); /* replayed */
    assert_int_equal(sk_noise_channel_open(&server, second, two), 3);          /* in place */
    assert_memory_equal(two, "two", 3);
}

static void test_channel_tampering(void **state)
{
    (void)state;
    sk_noise_channel client, server;
    uint8_t sealed[64], out[64];
    channels(&client, &server);
    int len = sk_noise_channel_seal(&client, sk_bytes_str("a message"), sealed);
    for (int i = 0; i < len * 8; i++) {
        sealed[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)len), out), SK_E_CRYPTO);
        sealed[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (int cut = 0; cut < len; cut++) {
        assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)cut), out),
                         cut < SK_NOISE_TAG ? SK_E_MALFORMED : SK_E_CRYPTO);
    }
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)len), out), 9);
}

static void test_channel_lengths(void **state)
{
    (void)state;
    static uint8_t big[SK_NOISE_MESSAGE_MAX + 1];
    sk_noise_channel client, server;
    channels(&client, &server);
    sk_noise_channel before = client;
    assert_int_equal(sk_noise_channel_seal(&client, sk_bytes_of(big, SK_NOISE_PLAINTEXT_MAX + 1), big), SK_E_TOO_LARGE);
    assert_memory_equal(&client, &before, sizeof before);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(big, sizeof big), big), SK_E_TOO_LARGE);
    memset(big, 0x5a, sizeof big);
    assert_int_equal(sk_noise_channel_seal(&client, sk_bytes_of(big, SK_NOISE_PLAINTEXT_MAX), big),
                     SK_NOISE_MESSAGE_MAX);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(big, SK_NOISE_MESSAGE_MAX), big),
                     SK_NOISE_PLAINTEXT_MAX);
    for (size_t i = 0; i < SK_NOISE_PLAINTEXT_MAX; i++) assert_int_equal(big[i], 0x5a);
    assert_int_equal(sk_noise_channel_seal(&client, SK_BYTES_NONE, big), SK_NOISE_TAG);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(big, SK_NOISE_TAG), big), 0);
}

/* A whole key's worth of messages and into the next, against REKEY() worked out here from the specification. */
static void test_rekey(void **state)
{
    (void)state;
    sk_noise_channel client, server;
    uint8_t sealed[64], out[64], expected[64], fresh[SK_NOISE_KEY + SK_NOISE_TAG], zeros[SK_NOISE_KEY] = {0};
    channels(&client, &server);
    uint8_t nonce[12] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    crypto_aead_chacha20poly1305_ietf_encrypt(fresh, NULL, zeros, sizeof zeros, NULL, 0, NULL, nonce, client.send.key);
    sk_noise_cipher other_way = server.send;

    for (uint32_t i = 0; i < 65536 + 3; i++) {
        int len = sk_noise_channel_seal(&client, sk_bytes_of(&i, sizeof i), sealed);
        assert_int_equal(len, sizeof i + SK_NOISE_TAG);
        if (i == 65536 + 1) {
            uint8_t at[12] = {0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0};
            crypto_aead_chacha20poly1305_ietf_encrypt(expected, NULL, (uint8_t *)&i, sizeof i, NULL, 0, NULL, at,
                                                      fresh);
            assert_memory_equal(sealed, expected, len);
        }
        assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)len), out), sizeof i);
        assert_memory_equal(out, &i, sizeof i);
    }
    assert_memory_equal(client.send.key, fresh, SK_NOISE_KEY);
    assert_memory_equal(server.receive.key, fresh, SK_NOISE_KEY);
    assert_memory_equal(&server.send, &other_way, sizeof other_way); /* each direction counts for itself */
}

/* A message that failed at the border does not count: both sides take their new key at the same message. */
static void test_rekey_border(void **state)
{
    (void)state;
    sk_noise_channel client, server;
    uint8_t sealed[64], bad[64], out[64];
    channels(&client, &server);
    client.send.nonce = server.receive.nonce = 2 * SK_NOISE_REKEY_MESSAGES - 1;
    int len = sk_noise_channel_seal(&client, sk_bytes_str("last"), sealed);
    memcpy(bad, sealed, (size_t)len);
    bad[0] ^= 1;
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(bad, (size_t)len), out), SK_E_CRYPTO);
    assert_memory_not_equal(client.send.key, server.receive.key, SK_NOISE_KEY);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)len), out), 4);
    assert_memory_equal(&client.send, &server.receive, sizeof client.send);
}

static void test_nonce_exhausted(void **state)
{
    (void)state;
    sk_noise_channel client, server;
    uint8_t sealed[64], out[64];
    channels(&client, &server);
    client.send.nonce = server.receive.nonce = UINT64_MAX - 1;
    int len = sk_noise_channel_seal(&client, sk_bytes_str("x"), sealed);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, (size_t)len), out), 1);
    sk_noise_channel before = client;
    assert_int_equal(sk_noise_channel_seal(&client, sk_bytes_str("x"), sealed), SK_E_CRYPTO);
    assert_memory_equal(&client, &before, sizeof before);
    /* Even what is right under that nonce stays shut. */
    uint8_t nonce[12] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, (const uint8_t *)"x", 1, NULL, 0, NULL, nonce,
                                              server.receive.key);
    assert_int_equal(sk_noise_channel_open(&server, sk_bytes_of(sealed, 17), out), SK_E_CRYPTO);
    assert_int_equal(server.receive.nonce, UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_handshake_and_wipe),
        cmocka_unit_test(test_wrong_server_key),
        cmocka_unit_test(test_wrong_client_key),
        cmocka_unit_test(test_wrong_prologue),
        cmocka_unit_test(test_wrong_answer),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_flipped_ignored_bit),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_payload_extremes),
        cmocka_unit_test(test_small_order_keys),
        cmocka_unit_test(test_replayed_message_1),
        cmocka_unit_test(test_replayed_message_2),
        cmocka_unit_test(test_channel_order),
        cmocka_unit_test(test_channel_tampering),
        cmocka_unit_test(test_channel_lengths),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_rekey_border),
        cmocka_unit_test(test_nonce_exhausted),
    };
    if (sodium_init() < 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
