/* Error texts, and what counts as an error, were recorded from Redis 7.0.15; "unauthenticated" from one with a
 * password. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/resp.h"

/* -- a stream of requests, told as text ---------------------------------------------------------------------------- */

/* What a parser made of a stream: "[arg|arg]" for each command, then the error's text or "+n" for n bytes left over. */
typedef struct {
    sk_resp_parser parser;
    sk_buf pending, told;
    uint8_t *guarded; /* input ends where this mapping's last, forbidden page begins */
    size_t room;
} teller;

static void teller_init(teller *t, size_t most)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *t = (teller){.room = (most + page - 1) / page * page};
    t->guarded = mmap(NULL, t->room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(t->guarded != MAP_FAILED);
    assert_int_equal(mprotect(t->guarded + t->room, page, PROT_NONE), 0);
    sk_resp_init(&t->parser);
    t->parser.limits.authenticated = true;
}

static void teller_free(teller *t)
{
    munmap(t->guarded, t->room + (size_t)sysconf(_SC_PAGESIZE));
    sk_resp_free(&t->parser);
    sk_buf_free(&t->pending);
    sk_buf_free(&t->told);
}

static void tell_command(teller *t, const sk_bytes *argv, size_t argc)
{
    for (size_t i = 0; i < argc; i++) {
        sk_buf_byte(&t->told, i ? '|' : '[');
        sk_buf_bytes(&t->told, argv[i]);
    }
    sk_buf_byte(&t->told, ']');
}

/* More bytes arrive. The whole input moves to another place, which ends at the guard page. */
static int teller_feed(teller *t, const char *bytes, size_t len)
{
    sk_buf_append(&t->pending, bytes, len);
    for (;;) {
        size_t used, argc, have = t->pending.len;
        sk_bytes *argv;
        memset(t->guarded, 0xEE, t->room);
        uint8_t *input = t->guarded + t->room - have;
        if (have) memcpy(input, t->pending.data, have);
        int status = sk_resp_parse(&t->parser, input, have, &used, &argv, &argc);
        sk_resp_check(&t->parser);
        if (status == SK_OK) tell_command(t, argv, argc);
        sk_buf_consume(&t->pending, used);
        if (status != SK_OK) return status;
    }
}

static void teller_end(teller *t, int status)
{
    if (status == SK_E_MALFORMED) {
        sk_buf_append(&t->told, sk_resp_error(&t->parser), strlen(sk_resp_error(&t->parser)));
    } else {
        assert_int_equal(status, SK_E_PARTIAL);
        assert_string_equal(sk_resp_error(&t->parser), "");
        if (t->pending.len) sk_buf_printf(&t->told, "+%zu", t->pending.len);
    }
    sk_buf_byte(&t->told, 0);
}

/* The stream in pieces that end at `first`, `second` and its end. */
static void check_cut(const char *stream, size_t len, size_t first, size_t second, const char *expected)
{
    teller t;
    teller_init(&t, len);
    int status = teller_feed(&t, stream, first);
    if (status == SK_E_PARTIAL) status = teller_feed(&t, stream + first, second - first);
    if (status == SK_E_PARTIAL) status = teller_feed(&t, stream + second, len - second);
    teller_end(&t, status);
    if (strcmp((char *)t.told.data, expected)) fail_msg("'%s' cut at %zu, %zu: %s", stream, first, second, t.told.data);
    teller_free(&t);
}

static void check_every_cut(const char *stream, size_t len, const char *expected)
{
    for (size_t first = 0; first <= len; first++)
        for (size_t second = first; second <= len; second++) check_cut(stream, len, first, second, expected);
    teller t;
    teller_init(&t, len);
    int status = SK_E_PARTIAL;
    for (size_t i = 0; i < len && status == SK_E_PARTIAL; i++) status = teller_feed(&t, stream + i, 1);
    teller_end(&t, status);
    assert_string_equal((char *)t.told.data, expected);
    teller_free(&t);
}

typedef struct {
    const char *stream, *told;
} recorded;

static void check_all(const recorded *list, size_t count)
{
    for (size_t i = 0; i < count; i++) check_every_cut(list[i].stream, strlen(list[i].stream), list[i].told);
}

/* -- requests ------------------------------------------------------------------------------------------------------ */

static void multibulk_requests_are_the_same_however_cut(void **state)
{
    (void)state;
    static const recorded list[] = {
        {"*1\r\n$4\r\nPING\r\n", "[PING]"},
        {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\n$1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "[SET|k|v\r\n$1][GET|k]"},
        {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET|]"},
        {"*0\r\n*1\r\n$4\r\nPING\r\n*-1\r\n*-7\r\n", "[PING]"},
        {"*1\r\n$4\r\nPING\r\nECHO a\r\n*1\r\n$4\r\nPI", "[PING][ECHO|a]+10"},
        {"*1\r\n$12\r\nhello world!\r\n", "[hello world!]"},
        {"*1\rx$4\rxPINGxxPING\r\n", "[PING][PING]"},
        {"*11\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n$"
         "1\r\nj\r\n"
         "$1\r\nk\r\n",
         "[a|b|c|d|e|f|g|h|i|j|k]"},
    };
    check_all(list, sizeof list / sizeof *list);
    check_every_cut("*1\r\n$3\r\na\0b\r\n", 13, "[a"); /* told up to the NUL */
}

static void inline_requests_are_split_as_in_redis(void **state)
{
    (void)state;
    static const recorded list[] = {
        {"PING\r\n", "[PING]"},
        {"PING\n", "[PING]"},
        {"\r\n \r\n\nPING\n", "[PING]"},
        {" \tECHO  a \t b \r\n", "[ECHO|a|b]"},
        {"ECHO 'a\\'b' 'c\\n'\r\n", "[ECHO|a'b|c\\n]"},
        {"ECHO \"\\x41\\x4aZ\\n\\r\\t\\b\\a\\q\\\"\\\\\\xzz\\x4\"\r\n", "[ECHO|AJZ\n\r\t\b\aq\"\\xzzx4]"},
        {"ECHO a\"b c\" d'e f'\r\n", "[ECHO|ab c|de f]"},
        {"ECHO a\vb\r\n\vECHO a\r\n", "[ECHO|a\vb][ECHO|a]"},
        {"ECHO \"\" ''\r\n", "[ECHO||]"},
        {"ECHO a\rb\r\n", "[ECHO|a|b]"},
        {"ECHO \"a\rb\"\r\n", "[ECHO|a\rb]"},
        {"ECHO \"a\"\vb\r\n", "[ECHO|a|b]"},
        {"\"*1\"\r\n", "[*1]"},
        {"PING\r", "+5"},
    };
    check_all(list, sizeof list / sizeof *list);
    teller t;
    teller_init(&t, 16);
    assert_int_equal(teller_feed(&t, "ECHO a\0b\r\n", 10), SK_E_PARTIAL);
    assert_int_equal(t.told.len, 10);
    assert_memory_equal(t.told.data, "[ECHO|a\0b]", 10);
    teller_free(&t);
}

static void malformed_requests_get_the_text_of_redis(void **state)
{
    (void)state;
    static const char COUNT[] = "ERR Protocol error: invalid multibulk length";
    static const char BULK[] = "ERR Protocol error: invalid bulk length";
    static const char QUOTES[] = "ERR Protocol error: unbalanced quotes in request";
    const recorded list[] = {
        {"*x\r\n", COUNT},
        {"*\r\n", COUNT},
        {"*2147483648\r\n", COUNT},
        {"*99999999999999999999\r\n", COUNT},
        {"*+1\r\n", COUNT},
        {"* 1\r\n", COUNT},
        {"*01\r\n", COUNT},
        {"*-0\r\n", COUNT},
        {"*1048577\r\n", COUNT}, /* our own limit; Redis 7.0 has INT_MAX */
        {"*1\r\nx\r\n", "ERR Protocol error: expected '$', got 'x'"},
        {"*1\r\n\r\n", "ERR Protocol error: expected '$', got ' '"},
        {"*1\r\n\n\r\n", "ERR Protocol error: expected '$', got ' '"},
        {"*2\r\n$1\r\na\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"},
        {"*1\r\n$-1\r\n", BULK},
        {"*1\r\n$x\r\n", BULK},
        {"*1\r\n$\r\n", BULK},
        {"*1\r\n$04\r\nPING\r\n", BULK},
        {"*1\r\n$536870913\r\n", BULK},
        {"*1\r\n$9999999999\r\n", BULK},
        {"*1\r\n$18446744073709551615\r\n", BULK},
        {"*1\r\n$9223372036854775807\r\n", BULK},
        {"ECHO \"a\r\n", QUOTES},
        {"ECHO 'a\r\n", QUOTES},
        {"ECHO \"a\"b\r\n", QUOTES},
        {"ECHO 'a'b\r\n", QUOTES},
        {"ECHO \"a\\\r\n", QUOTES},
        {"PING\r\n*x\r\nPING\r\n", "[PING]ERR Protocol error: invalid multibulk length"},
    };
    check_all(list, sizeof list / sizeof *list);
}

static void malformed_is_for_ever(void **state)
{
    (void)state;
    teller t;
    teller_init(&t, 64);
    assert_int_equal(teller_feed(&t, "*x\r\n", 4), SK_E_MALFORMED);
    assert_int_equal(teller_feed(&t, "*1\r\n$4\r\nPING\r\n", 14), SK_E_MALFORMED);
    assert_int_equal(t.told.len, 0);
    teller_free(&t);
}

/* `head`, then a's up to `len` bytes in all, then `tail`; fed in pieces of `piece` bytes. */
static void check_long(const char *head, size_t len, const char *tail, size_t piece, const char *expected)
{
    size_t head_len = strlen(head), tail_len = strlen(tail);
    char *stream = malloc(len + tail_len);
    memset(stream, 'a', len);
    memcpy(stream, head, head_len);
    memcpy(stream + len, tail, tail_len);
    len += tail_len;
    teller t;
    teller_init(&t, len);
    int status = SK_E_PARTIAL;
    for (size_t i = 0; i < len && status == SK_E_PARTIAL; i += piece)
        status = teller_feed(&t, stream + i, len - i < piece ? len - i : piece);
    assert_int_equal(status, expected ? SK_E_MALFORMED : SK_E_PARTIAL);
    assert_string_equal(sk_resp_error(&t.parser), expected ? expected : "");
    teller_free(&t);
    free(stream);
}

static void lines_have_a_limit(void **state)
{
    (void)state;
    static const size_t pieces[] = {1 << 20, 16384, 4099};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t piece = pieces[i];
        check_long("", 65536, "", piece, NULL);
        check_long("", 65536, "\n", piece, NULL);
        check_long("", 65537, "\n", piece, "ERR Protocol error: too big inline request");
        check_long("*1", 65537, "", piece, "ERR Protocol error: too big mbulk count string");
        check_long("*1", 65536, "\r\n", piece, "ERR Protocol error: invalid multibulk length");
        check_long("*1\r\n$1", 4 + 65537, "", piece, "ERR Protocol error: too big bulk count string");
        check_long("*1\r\n", 4 + 65537, "", piece, "ERR Protocol error: too big bulk count string");
        check_long("*1\r\n$1", 4 + 65536, "\r\n", piece, "ERR Protocol error: invalid bulk length");
    }
}

static void strangers_are_held_shorter(void **state)
{
    (void)state;
    static const recorded list[] = {
        {"*10\r\n", ""},
        {"*11\r\n", "ERR Protocol error: unauthenticated multibulk length"},
        {"*99999999999\r\n", "ERR Protocol error: invalid multibulk length"},
        {"*1\r\n$16384\r\n", ""},
        {"*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"},
        {"*1\r\n$999999999\r\n", "ERR Protocol error: invalid bulk length"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        teller t;
        teller_init(&t, 64);
        t.parser.limits.authenticated = false;
        teller_feed(&t, list[i].stream, strlen(list[i].stream));
        assert_string_equal(sk_resp_error(&t.parser), list[i].told);
        teller_free(&t);
    }
    /* What follows AUTH in one read is already free of them. */
    static const char stream[] = "AUTH x\r\n*1\r\n$16385\r\n";
    sk_resp_parser p;
    sk_bytes *argv;
    size_t used, argc;
    sk_resp_init(&p);
    assert_int_equal(sk_resp_parse(&p, (const uint8_t *)stream, sizeof stream - 1, &used, &argv, &argc), SK_OK);
    assert_int_equal(used, 8);
    p.limits.authenticated = true;
    const uint8_t *rest = (const uint8_t *)stream + used;
    assert_int_equal(sk_resp_parse(&p, rest, sizeof stream - 1 - used, &used, &argv, &argc), SK_E_PARTIAL);
    sk_resp_free(&p);
}

static void limits_are_the_callers(void **state)
{
    (void)state;
    teller t;
    teller_init(&t, 64);
    t.parser.limits.args_max = 2;
    t.parser.limits.bulk_bytes_max = 3;
    assert_int_equal(teller_feed(&t, "*2\r\n$3\r\nGET\r\n$3\r\nabc\r\n", 22), SK_E_PARTIAL);
    assert_int_equal(teller_feed(&t, "*2\r\n$4\r\n", 8), SK_E_MALFORMED);
    assert_string_equal(sk_resp_error(&t.parser), "ERR Protocol error: invalid bulk length");
    teller_free(&t);
    teller_init(&t, 64);
    t.parser.limits.args_max = 2;
    assert_int_equal(teller_feed(&t, "*3\r\n", 4), SK_E_MALFORMED);
    assert_string_equal(sk_resp_error(&t.parser), "ERR Protocol error: invalid multibulk length");
    teller_free(&t);
}

static void arguments_point_into_the_input(void **state)
{
    (void)state;
    static const char stream[] = "\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nECHO plain \"q q\"\r\n";
    const uint8_t *data = (const uint8_t *)stream;
    size_t len = sizeof stream - 1, used, argc;
    sk_bytes *argv;
    sk_resp_parser p;
    sk_resp_init(&p);
    assert_int_equal(sk_resp_parse(&p, data, len, &used, &argv, &argc), SK_OK);
    assert_int_equal(argc, 2);
    assert_ptr_equal(argv[0].data, data + 10);
    assert_ptr_equal(argv[1].data, data + 19);
    assert_int_equal(used, 22);
    data += used;
    assert_int_equal(sk_resp_parse(&p, data, len - used, &used, &argv, &argc), SK_OK);
    assert_int_equal(argc, 3);
    assert_ptr_equal(argv[1].data, data + 5);
    assert_true(sk_bytes_equal(argv[2], sk_bytes_str("q q")));
    sk_resp_free(&p);
}

static void claims_allocate_nothing(void **state)
{
    (void)state;
    static const char claim[] = "*1000000\r\n$500000000\r\nabc";
    size_t len = sizeof claim - 1, used, argc;
    sk_bytes *argv;
    sk_resp_parser p;
    sk_resp_init(&p);
    p.limits.authenticated = true;
    assert_int_equal(sk_resp_parse(&p, (const uint8_t *)claim, len, &used, &argv, &argc), SK_E_PARTIAL);
    assert_int_equal(p.argv_cap, 0);
    assert_int_equal(sk_resp_wanted(&p, len), SK_RESP_READ_BYTES);
    assert_int_equal(sk_resp_wanted(&p, 1 << 20), 1 << 20);
    assert_int_equal(sk_resp_wanted(&p, 500000000), 500000000 + 22 + 2 - 500000000);
    sk_resp_free(&p);
    static const char small[] = "*1\r\n$10\r\nabc";
    sk_resp_init(&p);
    assert_int_equal(sk_resp_parse(&p, (const uint8_t *)small, 3, &used, &argv, &argc), SK_E_PARTIAL);
    assert_int_equal(sk_resp_wanted(&p, 3), 1);
    assert_int_equal(sk_resp_parse(&p, (const uint8_t *)small, 12, &used, &argv, &argc), SK_E_PARTIAL);
    assert_int_equal(sk_resp_wanted(&p, 12), 9);
    sk_resp_free(&p);
}

/* A parser that began each partial request anew would take hours here: 20,000 arguments, a byte at a time. */
static void a_trickle_is_not_read_again(void **state)
{
    (void)state;
    enum { ARGS = 20000 };
    sk_buf stream = {0};
    sk_buf_printf(&stream, "*%d\r\n", ARGS);
    for (int i = 0; i < ARGS; i++) sk_buf_append(&stream, "$10\r\n0123456789\r\n", 17);
    sk_resp_parser p;
    sk_bytes *argv;
    size_t used, argc;
    sk_resp_init(&p);
    p.limits.authenticated = true;
    for (size_t len = 1; len < stream.len; len++) {
        assert_true(sk_resp_parse(&p, stream.data, len, &used, &argv, &argc) == SK_E_PARTIAL);
        assert_true(used == 0);
    }
    assert_int_equal(sk_resp_parse(&p, stream.data, stream.len, &used, &argv, &argc), SK_OK);
    assert_int_equal(argc, ARGS);
    for (size_t i = 0; i < argc; i++) assert_true(sk_bytes_equal(argv[i], sk_bytes_str("0123456789")));
    assert_true(p.argv_cap >= ARGS);
    assert_int_equal(sk_resp_parse(&p, NULL, 0, &used, &argv, &argc), SK_E_PARTIAL);
    assert_int_equal(p.argv_cap, 0); /* the large array is given back */
    sk_resp_free(&p);
    sk_buf_free(&stream);
}

/* -- replies ------------------------------------------------------------------------------------------------------- */

static void write_all(const sk_reply *r)
{
    sk_reply_ok(r);
    sk_reply_simple(r, "a\r\nb");
    sk_reply_error(r, "ERR x\r\n+OK\n\r\n");
    sk_reply_errorf(r, "ERR unknown command '%s', %d", "a\nb", 7);
    sk_reply_int(r, 0);
    sk_reply_int(r, INT64_MIN);
    sk_reply_bulk(r, sk_bytes_of("a\0\r\n", 4));
    sk_reply_bulk(r, SK_BYTES_NONE);
    sk_reply_bulk_str(r, "twelve bytes");
    sk_reply_null(r);
    sk_reply_null_array(r);
    sk_reply_array(r, 0);
    sk_reply_map(r, 5);
    sk_reply_set(r, 10);
    sk_reply_push(r, 3);
    sk_reply_double(r, 0.1);
    sk_reply_double(r, -INFINITY);
    sk_reply_bool(r, true);
    sk_reply_bool(r, false);
    sk_reply_big_number(r, sk_bytes_str("-123456789012345678901234567890"));
    sk_reply_verbatim(r, "txt", sk_bytes_str("some text"));
}

#define REPLIES_BOTH                                                                                                   \
    "+OK\r\n+a  b\r\n-ERR x  +OK\r\n-ERR unknown command 'a b', 7\r\n:0\r\n:-9223372036854775808\r\n$4\r\na\0\r\n\r\n" \
    "$0\r\n\r\n$12\r\ntwelve bytes\r\n"

static void replies_follow_the_version(void **state)
{
    (void)state;
    static const char resp2[] =
        REPLIES_BOTH "$-1\r\n*-1\r\n*0\r\n*10\r\n*10\r\n*3\r\n$19\r\n0.10000000000000001\r\n$4\r\n-inf\r\n:1\r\n:0\r\n"
                     "$31\r\n-123456789012345678901234567890\r\n$9\r\nsome text\r\n";
    static const char resp3[] =
        REPLIES_BOTH "_\r\n_\r\n*0\r\n%5\r\n~10\r\n>3\r\n,0.10000000000000001\r\n,-inf\r\n#t\r\n#f\r\n"
                     "(-123456789012345678901234567890\r\n=13\r\ntxt:some text\r\n";
    sk_buf out = {0};
    write_all(&(sk_reply){&out, 2});
    assert_int_equal(out.len, sizeof resp2 - 1);
    assert_memory_equal(out.data, resp2, sizeof resp2 - 1);
    sk_buf_reset(&out);
    write_all(&(sk_reply){&out, 3});
    assert_int_equal(out.len, sizeof resp3 - 1);
    assert_memory_equal(out.data, resp3, sizeof resp3 - 1);
    sk_buf_free(&out);
}

static void a_full_buffer_holds_whole_replies(void **state)
{
    (void)state;
    sk_buf out = {.max = 15};
    sk_reply r = {&out, 2};
    sk_reply_bulk_str(&r, "ab"); /* 8 bytes */
    sk_reply_simple(&r, "abcd"); /* 7 bytes: just fits */
    assert_false(out.full);
    sk_reply_simple(&r, "");
    assert_true(out.full);
    sk_reply_int(&r, 1);
    sk_reply_error(&r, "ERR\n");
    assert_int_equal(out.len, 15);
    assert_memory_equal(out.data, "$2\r\nab\r\n+abcd\r\n", 15);
    sk_buf_free(&out);
}

static void long_errors_are_cut(void **state)
{
    (void)state;
    char name[3000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    sk_buf out = {0};
    sk_reply_errorf(&(sk_reply){&out, 2}, "ERR %s", name);
    assert_int_equal(out.len, 1 + 1023 + 2);
    assert_memory_equal(out.data + out.len - 2, "\r\n", 2);
    sk_buf_free(&out);
}

/* As many arguments as are all there, of a request that begins as clients write it. */
static void a_look_ahead_takes_what_is_there(void **state)
{
    (void)state;
    static const char text[] = "*4\r\n$4\r\nHSET\r\n$1\r\nk\r\n$2\r\nff\r\n$0\r\n\r\n*1\r\n";
    static const size_t whole[] = {14, 21, 29}; /* where the first, second, third ends */
    sk_bytes argv[SK_RESP_PEEK];
    for (size_t len = 0; len < sizeof text; len++) {
        size_t want = (len >= whole[0]) + (len >= whole[1]) + (len >= whole[2]);
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        assert_int_equal(sk_resp_peek(exact, len, argv), want);
        if (want > 0) assert_memory_equal(argv[0].data, "HSET", 4);
        if (want > 1) assert_memory_equal(argv[1].data, "k", 1);
        if (want > 2) assert_memory_equal(argv[2].data, "ff", 2);
        if (want > 2) assert_int_equal(argv[2].len, 2);
        free(exact);
    }
    static const char *const others[] = {"GET k\r\n", "*-1\r\n$1\r\nk\r\n", "*0\r\n$1\r\nk\r\n", "$1\r\nk\r\n",
                                         "*1\r\n$-1\r\n", "*1\r\n:1\r\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(sk_resp_peek((const uint8_t *)others[i], strlen(others[i]), argv), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multibulk_requests_are_the_same_however_cut),
        cmocka_unit_test(inline_requests_are_split_as_in_redis),
        cmocka_unit_test(malformed_requests_get_the_text_of_redis),
        cmocka_unit_test(malformed_is_for_ever),
        cmocka_unit_test(lines_have_a_limit),
        cmocka_unit_test(strangers_are_held_shorter),
        cmocka_unit_test(limits_are_the_callers),
        cmocka_unit_test(arguments_point_into_the_input),
        cmocka_unit_test(claims_allocate_nothing),
        cmocka_unit_test(a_trickle_is_not_read_again),
        cmocka_unit_test(replies_follow_the_version),
        cmocka_unit_test(a_full_buffer_holds_whole_replies),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(a_look_ahead_takes_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
