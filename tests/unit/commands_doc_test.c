/* COMMANDS.md says of the commands what the table says: its generated part is what node/commands_doc.c prints. With
 * SK_GOLDEN_WRITE set the page is written anew, and what stands before and after the part is kept. */
#include "node/commands_doc.h"

#include "node/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char PAGE[] = SK_TEST_DATA "/../../COMMANDS.md";

/* With a NUL behind it. */
static void read_page(sk_buf *page)
{
    char piece[4096];
    size_t len;
    FILE *file = fopen(PAGE, "rb");
    assert_non_null(file);
    while ((len = fread(piece, 1, sizeof piece, file)) > 0) sk_buf_bytes(page, sk_bytes_of(piece, len));
    fclose(file);
    sk_buf_byte(page, 0);
}

static void write_page(const char *before, size_t before_len, const sk_buf *part, const char *after)
{
    FILE *file = fopen(PAGE, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(before, 1, before_len, file), before_len);
    assert_int_equal(fwrite(part->data, 1, part->len, file), part->len);
    assert_int_equal(fwrite(after, 1, strlen(after), file), strlen(after));
    assert_int_equal(fclose(file), 0);
}

static void page_is_the_table(void **state)
{
    (void)state;
    sk_buf page = {0}, part = {0};
    sk_commands_doc(&part);
    read_page(&page);
    char *text = (char *)page.data, *begin = strstr(text, SK_COMMANDS_DOC_BEGIN), *end = strstr(text, SK_COMMANDS_DOC_END);
    assert_non_null(begin);
    assert_non_null(end);
    assert_true(begin < end);
    end += strlen(SK_COMMANDS_DOC_END);
    if (getenv("SK_GOLDEN_WRITE")) {
        write_page(text, (size_t)(begin - text), &part, end);
    } else {
        *end = 0;
        sk_buf_byte(&part, 0);
        assert_string_equal(begin, (char *)part.data);
    }
    sk_buf_free(&page);
    sk_buf_free(&part);
}

/* How often `line` begins a line of the part. */
static size_t lines(const sk_buf *part, const char *line)
{
    size_t count = 0;
    for (const char *at = (const char *)part->data; (at = strstr(at, line)); at++) count += at[-1] == '\n';
    return count;
}

static void find_line(const sk_buf *part, const sk_command *parent, const sk_command *command)
{
    char line[80];
    snprintf(line, sizeof line, "| `%s%s%s", parent ? parent->name : "", parent ? " " : "", command->name);
    for (char *at = line; *at; at++)
        if (*at >= 'a' && *at <= 'z') *at -= 'a' - 'A';
    if (lines(part, line) == 0) fail_msg("no line begins with %s", line);
    for (const sk_command *sub = command->subcommands; sub && sub->name; sub++) find_line(part, command, sub);
}

static void look(void *self, const sk_command *command)
{
    find_line(self, NULL, command);
}

static void every_command_has_a_line(void **state)
{
    (void)state;
    sk_buf part = {0};
    sk_commands_doc(&part);
    sk_buf_byte(&part, 0);
    sk_command_each(look, &part);
    assert_int_equal(lines(&part, "| `SIBLINGS RESOLVE key context value [FIELD field] \\| key"), 1);
    assert_int_equal(lines(&part, "| `GET key` | Get the value of a key | 1.0.0 |  |\n"), 1);
    assert_int_equal(lines(&part, "| `EXEC` | Execute all commands issued after MULTI | 1.2.0 |  |\n"), 1);
    assert_int_equal(lines(&part, "| `AUTH"), 1);
    sk_buf_free(&part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_the_table),
        cmocka_unit_test(every_command_has_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
