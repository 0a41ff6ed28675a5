#include "node/address.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void what_is_read_is_printed_again(void **state)
{
    static const char *const texts[] = {"10.0.0.2:7201", "eu.example.net:1", "[::1]:65535", "[fd00::1]:7201", "a_b-c.:9"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sk_address address;
        char text[SK_ADDRESS_TEXT];
        assert_true(sk_address_parse(texts[i], &address));
        sk_address_print(&address, text);
        assert_string_equal(text, texts[i]);
    }
}

static void the_longest_name_fits(void **state)
{
    (void)state;
    char text[SK_ADDRESS_HOST_MAX + 8], printed[SK_ADDRESS_TEXT];
    sk_address address;
    memset(text, 'a', SK_ADDRESS_HOST_MAX);
    strcpy(text + SK_ADDRESS_HOST_MAX, ":65535");
    assert_true(sk_address_parse(text, &address));
    sk_address_print(&address, printed);
    assert_string_equal(printed, text);
    text[SK_ADDRESS_HOST_MAX] = 'a';
    strcpy(text + SK_ADDRESS_HOST_MAX + 1, ":1");
    assert_false(sk_address_parse(text, &address));
}

static void what_is_no_address(void **state)
{
    static const char *const texts[] = {"", ":", "a", "a:", ":1", "a:0", "a:65536", "a:100000000000000000001", "a b:1",
                                        "::1:7", "[x]:1", "[::1]", "[::1:1", "[]:1", "a:-1", "a:1 ", "[::1%lo]:1"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sk_address address = {.host = "kept", .port = 7};
        assert_false(sk_address_parse(texts[i], &address));
        assert_string_equal(address.host, "kept");
        assert_int_equal(address.port, 7);
    }
}

static sk_address parsed(const char *text)
{
    sk_address address;
    assert_true(sk_address_parse(text, &address));
    return address;
}

static void numbers_need_no_lookup(void **state)
{
    (void)state;
    struct sockaddr_storage out;
    sk_address v4 = parsed("127.0.0.1:7201"), v6 = parsed("[::1]:7"), name = parsed("localhost:7"), odd = parsed("1.2.3:7");
    assert_true(sk_address_numeric(&v4, &out));
    assert_int_equal(out.ss_family, AF_INET);
    assert_int_equal(ntohs(((struct sockaddr_in *)&out)->sin_port), 7201);
    assert_int_equal(ntohl(((struct sockaddr_in *)&out)->sin_addr.s_addr), 0x7f000001);
    assert_true(sk_address_numeric(&v6, &out));
    assert_int_equal(out.ss_family, AF_INET6);
    assert_int_equal(ntohs(((struct sockaddr_in6 *)&out)->sin6_port), 7);
    assert_false(sk_address_numeric(&name, &out));
    assert_false(sk_address_numeric(&odd, &out));
}

static void names_are_equal_whatever_their_case(void **state)
{
    (void)state;
    sk_address a = parsed("EU.example:7"), b = parsed("eu.Example:7"), c = parsed("eu.example:8"), d = parsed("us.example:7");
    assert_true(sk_address_equal(&a, &b));
    assert_false(sk_address_equal(&a, &c));
    assert_false(sk_address_equal(&a, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_printed_again),
        cmocka_unit_test(the_longest_name_fits),
        cmocka_unit_test(what_is_no_address),
        cmocka_unit_test(numbers_need_no_lookup),
        cmocka_unit_test(names_are_equal_whatever_their_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
