/* The handshake between two nodes: works however its bytes are cut, and each way in which two nodes may not fit
 * together is refused with a sentence on both sides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/handshake.h"

#include <sodium.h>
#include <stdio.h>

typedef struct {
    sk_noise_keypair key, other_key;
    sk_config_peer peer;
    sk_handshake_self self;
    sk_handshake handshake;
    sk_noise_channel channel;
    sk_buf out;
    int status;
} side;

static side a, b; /* a calls b */
static int admission;

static int admit(void *context, size_t peer)
{
    assert_ptr_equal(context, &b);
    assert_int_equal(peer, 0);
    return admission;
}

static void make(side *s, const char *region, uint8_t fill)
{
    uint8_t secret[SK_NOISE_KEY];
    memset(s, 0, sizeof *s);
    memset(secret, fill, sizeof secret);
    sk_noise_keypair_init(&s->key, secret);
    memset(secret, fill + 1, sizeof secret);
    sk_noise_keypair_init(&s->other_key, secret);
    s->self = (sk_handshake_self){.region = region, .cluster = "c", .key = &s->key, .peers = &s->peer, .peer_count = 1};
}

static void setup_pair(void)
{
    make(&a, "eu", 10);
    make(&b, "us", 20);
    strcpy(a.peer.region, "us");
    strcpy(b.peer.region, "eu");
    memcpy(a.peer.public_key, b.key.public, SK_NOISE_KEY);
    memcpy(b.peer.public_key, a.key.public, SK_NOISE_KEY);
    b.self.admit = admit;
    b.self.context = &b;
    admission = SK_OK;
}

static void free_pair(void)
{
    sk_buf_free(&a.out);
    sk_buf_free(&b.out);
}

/* Gives `to` what `from` has to say, `step` bytes at a time. */
static void carry(side *from, side *to, size_t step)
{
    uint8_t random[SK_NOISE_KEY];
    memset(random, 99, sizeof random);
    sk_buf in = {0};
    to->status = SK_E_PARTIAL;
    for (size_t at = 0; at < from->out.len && to->status == SK_E_PARTIAL; at += step) {
        sk_buf_append(&in, from->out.data + at, step < from->out.len - at ? step : from->out.len - at);
        sk_bytes rest = sk_buf_view(&in);
        to->status = sk_handshake_input(&to->handshake, &rest, random, &to->out, &to->channel);
        sk_buf_consume(&in, in.len - rest.len);
    }
    if (to->status == SK_OK) assert_int_equal(in.len, 0);
    sk_buf_free(&in);
    sk_buf_reset(&from->out);
}

static void run(size_t step)
{
    uint8_t random[SK_NOISE_KEY];
    memset(random, 88, sizeof random);
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    sk_handshake_await(&b.handshake, &b.self);
    carry(&a, &b, step);
    carry(&b, &a, step);
}

static void assert_talk(side *from, side *to)
{
    sk_frame_decoder decoder;
    sk_bytes message, input;
    sk_buf wire = {0};
    sk_frame_decoder_init(&decoder, 100, false);
    assert_int_equal(sk_frame_encode(&(sk_frame_encoder){.rekey = false}, &from->channel, sk_bytes_str("hello"), &wire), SK_OK);
    input = sk_buf_view(&wire);
    assert_int_equal(sk_frame_decode(&decoder, &to->channel, &input, &message), SK_OK);
    assert_true(sk_bytes_equal(message, sk_bytes_str("hello")));
    sk_frame_decoder_free(&decoder);
    sk_buf_free(&wire);
}

static void test_works_however_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step < 300; step++) {
        setup_pair();
        run(step);
        assert_int_equal(b.status, SK_OK);
        assert_int_equal(a.status, SK_OK);
        assert_int_equal(b.handshake.peer, 0);
        assert_memory_equal(a.channel.hash, b.channel.hash, SK_NOISE_HASH);
        assert_talk(&a, &b);
        assert_talk(&b, &a);
        free_pair();
    }
}

static void assert_refused(int theirs, const char *word, int ours, const char *our_word)
{
    run(7);
    assert_int_equal(b.status, theirs);
    if (!strstr(b.handshake.why, word)) fail_msg("%s: %s is not in it", b.handshake.why, word);
    assert_int_equal(a.status, ours);
    if (!strstr(a.handshake.why, our_word)) fail_msg("%s: %s is not in it", a.handshake.why, our_word);
    free_pair();
}

static void test_refusals(void **state)
{
    (void)state;
    setup_pair();
    a.self.cluster = "d";
    assert_refused(SK_E_CLUSTER, "another cluster", SK_E_CLUSTER, "compare");

    setup_pair();
    strcpy(a.peer.region, "ap"); /* its address leads to us */
    assert_refused(SK_E_CLUSTER, "looks for region ap here, but this is us", SK_E_CLUSTER, "not region ap");

    setup_pair();
    strcpy(b.peer.region, "ap");
    assert_refused(SK_E_CLUSTER, "eu is not among the peers", SK_E_CLUSTER, "no region eu among its peers");

    setup_pair();
    memcpy(b.peer.public_key, a.other_key.public, SK_NOISE_KEY);
    assert_refused(SK_E_AUTH, "not the one known", SK_E_AUTH, "another public_key for eu");

    setup_pair();
    memcpy(a.peer.public_key, b.other_key.public, SK_NOISE_KEY);
    assert_refused(SK_E_CRYPTO, "sealed its first message for another key", SK_E_CRYPTO,
                   "public_key configured here for us");

    static const int codes[] = {SK_E_LINK_DOWN, SK_E_DUPLICATE, SK_E_SHUTDOWN};
    for (size_t i = 0; i < 3; i++) {
        setup_pair();
        admission = codes[i];
        assert_refused(codes[i], sk_error_text(codes[i]), codes[i], sk_error_text(codes[i]));
    }
}

static void test_other_version(void **state)
{
    (void)state;
    uint8_t random[SK_NOISE_KEY] = {1};
    setup_pair();
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    a.out.data[SK_FRAME_HEADER + 4]++;
    sk_handshake_await(&b.handshake, &b.self);
    carry(&a, &b, 1000);
    assert_int_equal(b.status, SK_E_VERSION);
    assert_non_null(strstr(b.handshake.why, "upgrade"));
    carry(&b, &a, 1000);
    assert_int_equal(a.status, SK_E_VERSION);
    free_pair();
}

/* Whoever changes one bit on the way breaks it, and never the process. */
static void test_every_bit_matters(void **state)
{
    (void)state;
    uint8_t random[SK_NOISE_KEY] = {1};
    setup_pair();
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    size_t len = a.out.len;
    free_pair();
    for (size_t bit = 0; bit < len * 8; bit++) {
        setup_pair();
        assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
        a.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        sk_handshake_await(&b.handshake, &b.self);
        carry(&a, &b, 1000);
        assert_int_not_equal(b.status, SK_OK);
        free_pair();
    }
}

/* The preamble is in clear, but what it says is sealed into the handshake: even where two regions had one key, nobody
 * on the way could turn the call of one into that of the other. */
static void test_names_are_bound(void **state)
{
    (void)state;
    uint8_t random[SK_NOISE_KEY] = {1};
    sk_config_peer two[2];
    setup_pair();
    two[0] = two[1] = b.peer;
    strcpy(two[1].region, "ap");
    b.self.peers = two;
    b.self.peer_count = 2;
    b.self.admit = NULL;
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    uint8_t *name = memmem(a.out.data, a.out.len, "eu", 2);
    assert_non_null(name);
    memcpy(name, "ap", 2);
    sk_handshake_await(&b.handshake, &b.self);
    carry(&a, &b, 1000);
    assert_int_equal(b.handshake.peer, 1);
    assert_int_equal(b.status, SK_E_CRYPTO);
    free_pair();
}

/* Each side learns what the other can read; bits that nobody knows yet disturb nobody, and none can be changed on the way. */
static void test_features(void **state)
{
    static const uint8_t told[][2] = {{0, 0}, {SK_FEATURE_COMPRESSED, 0}, {0, SK_FEATURE_COMPRESSED}, {0x81, 0xfe}};
    (void)state;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        setup_pair();
        a.self.features = told[i][0];
        b.self.features = told[i][1];
        run(7);
        assert_int_equal(a.status, SK_OK);
        assert_int_equal(b.status, SK_OK);
        assert_int_equal(a.handshake.features, told[i][1]);
        assert_int_equal(b.handshake.features, told[i][0]);
        assert_talk(&a, &b);
        free_pair();
    }
    uint8_t random[SK_NOISE_KEY] = {1};
    setup_pair();
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    a.out.data[2 + 4 + 1 + 8] ^= SK_FEATURE_COMPRESSED;
    sk_handshake_await(&b.handshake, &b.self);
    carry(&a, &b, 1000);
    assert_int_equal(b.status, SK_E_CRYPTO);
    free_pair();
}

static void test_answers_of_something_else(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n", "-ERR unknown command\r\n"};
    uint8_t random[SK_NOISE_KEY] = {1};
    for (size_t i = 0; i < 2; i++) {
        setup_pair();
        assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
        sk_buf_reset(&b.out);
        sk_buf_bytes(&b.out, sk_bytes_str(answers[i]));
        carry(&b, &a, 1000);
        assert_int_equal(a.status, SK_E_PROTOCOL);
        assert_non_null(strstr(a.handshake.why, "not a skerry node"));
        free_pair();
    }
    for (unsigned code = 0; code < 256; code++) { /* a refusal with any code is an error */
        setup_pair();
        assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
        uint8_t refusal[2] = {1, (uint8_t)code};
        sk_frame_put(&b.out, sk_bytes_of(refusal, 2));
        carry(&b, &a, 1000);
        assert_true(a.status < 0 && a.status != SK_E_PARTIAL);
        free_pair();
    }
}

/* A replayed first message gets an answer, and no channel that the replayer could use. */
static void test_replay(void **state)
{
    (void)state;
    uint8_t random[SK_NOISE_KEY] = {1};
    sk_buf recorded = {0}, confirmation = {0};
    setup_pair();
    assert_int_equal(sk_handshake_dial(&a.handshake, &a.self, 0, random, &a.out), SK_OK);
    sk_buf_bytes(&recorded, sk_buf_view(&a.out));
    sk_handshake_await(&b.handshake, &b.self);
    carry(&a, &b, 1000);
    carry(&b, &a, 1000);
    assert_int_equal(sk_frame_encode(&(sk_frame_encoder){.rekey = false}, &a.channel, SK_BYTES_NONE, &confirmation), SK_OK);

    sk_handshake_await(&b.handshake, &b.self);
    sk_bytes rest = sk_buf_view(&recorded), input = sk_buf_view(&confirmation), message;
    random[5] = 77; /* the responder's ephemeral key is another one this time */
    assert_int_equal(sk_handshake_input(&b.handshake, &rest, random, &b.out, &b.channel), SK_OK);
    sk_frame_decoder decoder;
    sk_frame_decoder_init(&decoder, 100, false);
    assert_int_equal(sk_frame_decode(&decoder, &b.channel, &input, &message), SK_E_CRYPTO);
    sk_frame_decoder_free(&decoder);
    sk_buf_free(&recorded);
    sk_buf_free(&confirmation);
    free_pair();
}

static void test_longest_names_fit(void **state)
{
    (void)state;
    static const char eu[] = "eu-aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", us[] = "us-aaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_int_equal(sizeof eu - 1, SK_CONFIG_REGION_MAX);
    setup_pair();
    a.self.region = eu;
    b.self.region = us;
    strcpy(a.peer.region, us);
    strcpy(b.peer.region, eu);
    run(1);
    assert_int_equal(b.status, SK_OK);
    assert_int_equal(a.status, SK_OK);
    free_pair();
}

static int verdict; /* about the right key of eu */

static int judge(void *context, sk_bytes region, const uint8_t *key)
{
    assert_ptr_equal(context, &b);
    bool known = sk_bytes_equal(region, sk_bytes_str("eu")) || sk_bytes_equal(region, sk_bytes_str("gone"));
    if (!known) return SK_E_CLUSTER;
    if (!key) return SK_OK;
    return memcmp(key, a.key.public, SK_NOISE_KEY) == 0 ? verdict : SK_E_AUTH;
}

/* Members come and go: who calls is told why it is refused, once it has proved its key and not before. */
static void test_judged(void **state)
{
    (void)state;
    static const struct {
        const char *caller;
        int verdict, status;
        bool other_key;
        const char *said;
    } cases[] = {
        {"eu", SK_OK, SK_OK, false, ""},
        {"eu", SK_E_FORGOTTEN, SK_E_FORGOTTEN, false, "this region was forgotten by us: add it again there (skerryctl "
                                                      "region add eu"},
        {"gone", SK_E_FORGOTTEN, SK_E_FORGOTTEN, false, "this region was forgotten by us"}, /* no peer at all */
        {"eu", SK_E_FORGOTTEN, SK_E_AUTH, true, "it has another public_key for eu"},
        {"eu", SK_E_CLASH, SK_E_CLASH, false, "two databases were added"},
        {"eu", SK_E_REPLACED, SK_E_REPLACED, false, "given another key"},
        {"else", SK_OK, SK_E_CLUSTER, false, "has no region else among its peers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setup_pair();
        b.self.judge = judge;
        verdict = cases[i].verdict;
        a.self.region = cases[i].caller;
        if (cases[i].other_key) a.self.key = &a.other_key;
        run(300);
        assert_int_equal(b.status, cases[i].status);
        assert_int_equal(a.status, cases[i].status);
        if (cases[i].status) assert_non_null(strstr(a.handshake.why, cases[i].said));
        if (cases[i].status == SK_OK) assert_memory_equal(b.handshake.key, a.key.public, SK_NOISE_KEY);
        free_pair();
    }
}

int main(void)
{
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_works_however_cut),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_other_version),            cmocka_unit_test(test_every_bit_matters),
        cmocka_unit_test(test_answers_of_something_else), cmocka_unit_test(test_replay),
        cmocka_unit_test(test_longest_names_fit),        cmocka_unit_test(test_names_are_bound),
        cmocka_unit_test(test_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
