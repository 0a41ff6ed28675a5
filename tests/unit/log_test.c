/* What a line looks like, that no value can break it, where lines go, and that a level that is off costs nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crdt/error.h"
#include "node/log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t when_ms = 1795255200123; /* 2026-11-21T10:00:00.123Z */

static void expect_line(sk_log_format format, sk_log_field field, const char *tail)
{
    char line[SK_LOG_LINE], expected[SK_LOG_LINE];
    size_t len = sk_log_render(line, sizeof line, format, when_ms, SK_LOG_WARN, "e", &field, 1);
    if (format == SK_LOG_AS_TEXT) {
        snprintf(expected, sizeof expected, "2026-11-21T10:00:00.123Z WARN  e %s\n", tail);
    } else {
        snprintf(expected, sizeof expected,
                 "{\"time\":\"2026-11-21T10:00:00.123Z\",\"level\":\"warn\",\"event\":\"e\",%s}\n", tail);
    }
    assert_true(len < sizeof line);
    line[len] = 0;
    assert_string_equal(line, expected);
}

static void expect_both(sk_log_field field, const char *text, const char *json)
{
    expect_line(SK_LOG_AS_TEXT, field, text);
    expect_line(SK_LOG_AS_JSON, field, json);
}

static void a_line_is_time_level_event_and_fields(void **state)
{
    (void)state;
    char line[SK_LOG_LINE];
    sk_log_field fields[] = {sk_log_text("peer", "us"), sk_log_int("rtt_ms", 3)};
    size_t len = sk_log_render(line, sizeof line, SK_LOG_AS_TEXT, when_ms, SK_LOG_INFO, "link.up", fields, 2);
    line[len] = 0;
    assert_string_equal(line, "2026-11-21T10:00:00.123Z INFO  link.up peer=us rtt_ms=3\n");
    len = sk_log_render(line, sizeof line, SK_LOG_AS_JSON, when_ms, SK_LOG_INFO, "link.up", fields, 2);
    line[len] = 0;
    assert_string_equal(line, "{\"time\":\"2026-11-21T10:00:00.123Z\",\"level\":\"info\",\"event\":\"link.up\","
                              "\"peer\":\"us\",\"rtt_ms\":3}\n");
}

static void numbers_and_flags(void **state)
{
    (void)state;
    expect_both(sk_log_int("n", INT64_MIN), "n=-9223372036854775808", "\"n\":-9223372036854775808");
    expect_both(sk_log_uint("n", UINT64_MAX), "n=18446744073709551615", "\"n\":18446744073709551615");
    expect_both(sk_log_real("n", 1.5), "n=1.5", "\"n\":1.5");
    expect_both(sk_log_real("n", INFINITY), "n=inf", "\"n\":null");
    expect_both(sk_log_flag("n", true), "n=true", "\"n\":true");
    expect_both(sk_log_fault(SK_E_DISK_FULL), "error=\"the disk is full\"", "\"error\":\"the disk is full\"");
    expect_both(sk_log_text("n", NULL), "n=\"\"", "\"n\":\"\"");
}

static void values_cannot_break_the_line(void **state)
{
    (void)state;
    expect_both(sk_log_text("v", "a b"), "v=\"a b\"", "\"v\":\"a b\"");
    expect_both(sk_log_text("v", "x=1"), "v=\"x=1\"", "\"v\":\"x=1\"");
    expect_both(sk_log_text("v", "\"\\"), "v=\"\\\"\\\\\"", "\"v\":\"\\\"\\\\\"");
    expect_both(sk_log_text("v", "a\n\r\t"), "v=\"a\\n\\r\\t\"", "\"v\":\"a\\n\\r\\t\"");
    expect_both(sk_log_text("v", "\x1b[31m\x7f"), "v=\"\\u001b[31m\\u007f\"", "\"v\":\"\\u001b[31m\\u007f\"");
    expect_both(sk_log_bytes("v", sk_bytes_of("a\0b", 3)), "v=\"a\\u0000b\"", "\"v\":\"a\\u0000b\"");
    expect_both(sk_log_text("v", "\xc2\x9b"), "v=\"\\u009b\"", "\"v\":\"\\u009b\"");            /* C1 */
    expect_both(sk_log_text("v", "sk\xc3\xa4r"), "v=\"sk\xc3\xa4r\"", "\"v\":\"sk\xc3\xa4r\""); /* good UTF-8 stays */
    expect_both(sk_log_text("v", "\xf0\x9f\xaa\xa8"), "v=\"\xf0\x9f\xaa\xa8\"", "\"v\":\"\xf0\x9f\xaa\xa8\"");
}

static void bytes_that_are_not_utf8(void **state)
{
    (void)state;
    expect_both(sk_log_text("v", "\xff"), "v=\"\\xff\"", "\"v\":\"\xef\xbf\xbd\"");
    expect_both(sk_log_text("v", "\x80"), "v=\"\\x80\"", "\"v\":\"\xef\xbf\xbd\"");
    expect_both(sk_log_text("v", "\xc3"), "v=\"\\xc3\"", "\"v\":\"\xef\xbf\xbd\"");                      /* short */
    expect_both(sk_log_text("v", "\xc0\xaf"), "v=\"\\xc0\\xaf\"", "\"v\":\"\xef\xbf\xbd\xef\xbf\xbd\""); /* overlong */
    expect_line(SK_LOG_AS_TEXT, sk_log_text("v", "\xed\xa0\x80"), "v=\"\\xed\\xa0\\x80\"");              /* surrogate */
    expect_line(SK_LOG_AS_TEXT, sk_log_text("v", "\xf4\x90\x80\x80"), "v=\"\\xf4\\x90\\x80\\x80\""); /* > U+10FFFF */
    expect_line(SK_LOG_AS_TEXT, sk_log_text("v", "\xf8\x88\x80\x80"), "v=\"\\xf8\\x88\\x80\\x80\"");
}

static void a_long_value_is_cut_between_characters(void **state)
{
    (void)state;
    char value[3000], expected[3100];
    memset(value, 'x', sizeof value);
    value[SK_LOG_VALUE - 1] = '\xc3'; /* a two-byte character across the limit */
    value[SK_LOG_VALUE] = '\xa4';
    snprintf(expected, sizeof expected, "v=%.*s truncated=true", SK_LOG_VALUE - 1, value);
    expect_line(SK_LOG_AS_TEXT, sk_log_bytes("v", sk_bytes_of(value, sizeof value)), expected);
}

static void lines_stay_within_their_limit(void **state)
{
    (void)state;
    char bad[SK_LOG_VALUE];
    char *line = malloc(SK_LOG_LINE); /* exactly, so that a sanitizer sees a byte too many */
    memset(bad, 1, sizeof bad);
    sk_log_field fields[] = {sk_log_bytes("a", sk_bytes_of(bad, sizeof bad)),
                             sk_log_bytes("b", sk_bytes_of(bad, sizeof bad)), sk_log_int("c", 1)};
    size_t len = sk_log_render(line, SK_LOG_LINE, SK_LOG_AS_JSON, when_ms, SK_LOG_INFO, "e", fields, 3);
    static const char end[] = "\",\"c\":1,\"truncated\":true}\n";
    assert_true(len > sizeof end);
    assert_memory_equal(line + len - (sizeof end - 1), end, sizeof end - 1);
    for (size_t cap = 256; cap < 1000; cap++) {
        len = sk_log_render(line, cap, SK_LOG_AS_TEXT, when_ms, SK_LOG_INFO, "e", fields, 3);
        assert_true(len <= cap);
        assert_int_equal(line[len - 1], '\n');
    }
    free(line);
}

/* -- where lines go ------------------------------------------------------------------------------------------------ */

static char folder[64], path[96], rotated[96];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/skerry-log-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(rotated, sizeof rotated, "%s/log.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    sk_log_close();
    unlink(path);
    unlink(rotated);
    return rmdir(folder);
}

static size_t slurp(const char *name, char *text, size_t cap)
{
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, cap - 1, file);
    text[len] = 0;
    fclose(file);
    return len;
}

static int evaluated;

static int64_t evaluate(void) { return ++evaluated; }

static void a_level_that_is_off_evaluates_nothing(void **state)
{
    (void)state;
    char text[4096];
    evaluated = 0;
    assert_int_equal(sk_log_open(path, SK_LOG_WARN, SK_LOG_AS_TEXT), 0);
    sk_log(SK_LOG_INFO, "quiet", sk_log_int("n", evaluate()));
    sk_log_limited(1, SK_LOG_INFO, "quiet", sk_log_int("n", evaluate()));
    assert_int_equal(evaluated, 0);
    assert_int_equal(slurp(path, text, sizeof text), 0);
    sk_log(SK_LOG_WARN, "loud", sk_log_int("n", evaluate()));
    sk_log(SK_LOG_ERROR, "bare");
    assert_int_equal(evaluated, 1);
    sk_log_set_level(SK_LOG_INFO);
    sk_log(SK_LOG_INFO, "quiet", sk_log_int("n", evaluate()));
    slurp(path, text, sizeof text);
    assert_non_null(strstr(text, "Z WARN  loud n=1\n"));
    assert_non_null(strstr(text, "Z ERROR bare\n"));
    assert_non_null(strstr(text, "Z INFO  quiet n=2\n"));
    sk_log_close();
    unlink(path);
}

static void reopening_follows_a_rotation(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(sk_log_open(path, SK_LOG_INFO, SK_LOG_AS_JSON), 0);
    sk_log(SK_LOG_INFO, "first");
    assert_int_equal(rename(path, rotated), 0);
    sk_log(SK_LOG_INFO, "second");
    assert_int_equal(sk_log_reopen(), 0);
    sk_log(SK_LOG_INFO, "third");
    slurp(rotated, text, sizeof text);
    assert_non_null(strstr(text, "\"event\":\"second\"}\n"));
    slurp(path, text, sizeof text);
    assert_null(strstr(text, "second"));
    assert_non_null(strstr(text, "\"event\":\"third\"}\n"));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07, 0); /* not for everybody to read */
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(sk_log_open(path, SK_LOG_DEBUG, SK_LOG_AS_TEXT), 0);
    errno = 0;
    assert_int_equal(sk_log_open("/no/such/folder/log", SK_LOG_ERROR, SK_LOG_AS_JSON), SK_E_IO);
    assert_int_equal(errno, ENOENT);
    sk_log(SK_LOG_DEBUG, "still");
    slurp(path, text, sizeof text);
    assert_non_null(strstr(text, "Z DEBUG still\n"));
}

static void a_full_disk_is_counted_and_leaves_errno(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    uint64_t before = sk_log_lost();
    assert_int_equal(sk_log_open("/dev/full", SK_LOG_INFO, SK_LOG_AS_TEXT), 0);
    errno = ENOTTY;
    sk_log(SK_LOG_INFO, "lost");
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(sk_log_lost(), before + 1);
    sk_log_close();
}

static void a_site_is_limited_and_says_what_it_held_back(void **state)
{
    (void)state;
    sk_log_site site = {0};
    uint32_t suppressed = 99;
    assert_true(sk_log_admit(&site, 2, 7, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_true(sk_log_admit(&site, 2, 7, &suppressed));
    for (int i = 0; i < 5; i++) assert_false(sk_log_admit(&site, 2, 7, &suppressed));
    assert_true(sk_log_admit(&site, 2, 8, &suppressed));
    assert_int_equal(suppressed, 5);
    assert_true(sk_log_admit(&site, 2, 8, &suppressed));
    assert_int_equal(suppressed, 0);
}

static void what_was_held_back_is_a_field(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(sk_log_open(path, SK_LOG_INFO, SK_LOG_AS_TEXT), 0);
    sk_log_write(SK_LOG_INFO, "noisy", SK_LOG_FIELDS(sk_log_int("n", 1)), 2, 12);
    slurp(path, text, sizeof text);
    assert_non_null(strstr(text, "Z INFO  noisy n=1 suppressed=12\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_event_and_fields),
        cmocka_unit_test(numbers_and_flags),
        cmocka_unit_test(values_cannot_break_the_line),
        cmocka_unit_test(bytes_that_are_not_utf8),
        cmocka_unit_test(a_long_value_is_cut_between_characters),
        cmocka_unit_test(lines_stay_within_their_limit),
        cmocka_unit_test(a_level_that_is_off_evaluates_nothing),
        cmocka_unit_test(reopening_follows_a_rotation),
        cmocka_unit_test(a_file_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(a_full_disk_is_counted_and_leaves_errno),
        cmocka_unit_test(a_site_is_limited_and_says_what_it_held_back),
        cmocka_unit_test(what_was_held_back_is_a_field),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
