/* skerryctl's printing (node/ctl_print.c), which is linked into no library: stored bytes reach neither a terminal nor a
 * JSON reader raw. */
#include "node/ctl_print.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

sk_bytes ctl_text(const redisReply *reply)
{
    return sk_bytes_of(reply->str, reply->len);
}

size_t ctl_count(const redisReply *array)
{
    return array->elements;
}

static void shows(const char *bytes, size_t len, const char *wanted)
{
    sk_buf out = {0};
    ctl_show(&out, sk_bytes_of(bytes, len));
    sk_buf_byte(&out, 0);
    assert_string_equal((char *)out.data, wanted);
    sk_buf_free(&out);
}

static void text_is_safe(void **state)
{
    (void)state;
    shows("plain text", 10, "plain text");
    shows("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
    shows("", 0, "\"\"");
    shows("a\0b", 3, "\"a\\x00b\"");
    shows("\x1b[31m\"\\\n", 8, "\"\\x1b[31m\\\"\\\\\\n\"");
    shows("\xc3", 1, "\"\\xc3\"");
    shows("\xc2\x9b", 2, "\"\\xc2\\x9b\"");
}

static void document(ctl_json *json, const char *wanted)
{
    sk_buf_byte(&json->out, 0);
    assert_string_equal((char *)json->out.data, wanted);
    sk_buf_free(&json->out);
}

static void json_is_json(void **state)
{
    (void)state;
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_open(&json, "list", '[');
    ctl_json_int(&json, NULL, -5);
    ctl_json_bool(&json, NULL, true);
    ctl_json_open(&json, NULL, '[');
    ctl_json_close(&json, ']');
    ctl_json_close(&json, ']');
    ctl_json_text(&json, "a\"b", sk_bytes_str("\"\\\n\x1b\x7f\xc3\xbc"));
    ctl_json_text(&json, "bytes", sk_bytes_of("\xff\0two", 5));
    ctl_json_text(&json, "none", SK_BYTES_NONE);
    ctl_json_close(&json, '}');
    document(&json, "{\"list\":[-5,true,[]],\"a\\\"b\":\"\\\"\\\\\\u000a\\u001b\\u007f\xc3\xbc\","
                    "\"bytes\":{\"base64\":\"/wB0d28=\"},\"none\":\"\"}");
}

static void maps_become_objects(void **state)
{
    (void)state;
    redisReply name = {.type = REDIS_REPLY_STRING, .str = (char *)(uintptr_t)"n", .len = 1};
    redisReply number = {.type = REDIS_REPLY_INTEGER, .integer = 7};
    redisReply *four[] = {&name, &number, &name, &name};
    redisReply map = {.type = REDIS_REPLY_ARRAY, .elements = 4, .element = four};
    ctl_json json = {.comma = false};
    ctl_json_map(&json, NULL, &map);
    document(&json, "{\"n\":7,\"n\":\"n\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_safe),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(maps_become_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
