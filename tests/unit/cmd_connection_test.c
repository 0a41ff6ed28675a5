/* Commands about the connection (node/cmd_connection.c). What is expected was asked of Redis 7.0. */
#include "tests/unit/replica_harness.h"

#include "node/password.h"

static void small_ones(void **state)
{
    region *eu = *state;
    expect(eu, "PING", "+PONG");
    expect(eu, "PING hi", "$2 hi");
    expect(eu, "PING a b", "-ERR wrong number of arguments for 'ping' command");
    expect(eu, "ECHO hi", "$2 hi");
    expect(eu, "SELECT 0", "+OK");
    expect(eu, "SELECT x", "-ERR value is not an integer or out of range");
    expect(eu, "SELECT 99999999999",
           "-ERR value is out of range, value must between -2147483648 and 2147483647");
    expect(eu, "SELECT 1", "-ERR DB index is out of range");
    expect(eu, "SELECT -1", "-ERR DB index is out of range");
    assert_false(eu->client->close_after_reply);
    expect(eu, "QUIT", "+OK");
    assert_true(eu->client->close_after_reply);
}

static void hello_switches(void **state)
{
    region *eu = *state;
    expect_begins(eu, "HELLO",
                  "*14 $6 server $6 skerry $7 version $6 7.0.15 $5 proto :2 $2 id :1 $4 mode $10 standalone");
    expect_begins(eu, "HELLO 3 SETNAME me", "%7 $6 server $6 skerry $7 version $6 7.0.15 $5 proto :3");
    expect(eu, "CLIENT GETNAME", "$2 me");
    expect(eu, "GET none", "_");
    expect(eu, "HELLO x", "-ERR Protocol version is not an integer or out of range");
    expect(eu, "HELLO 4", "-NOPROTO unsupported protocol version");
    expect(eu, "HELLO 2 foo", "-ERR Syntax error in HELLO option 'foo'");
    expect(eu, "HELLO 2 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'");
    expect(eu, "HELLO 2 AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_int_equal(eu->client->proto, 3);
    expect(eu, "RESET", "+RESET");
    expect(eu, "GET none", "$-1");
    expect(eu, "CLIENT GETNAME", "$-1");
}

static void auth_without_a_password(void **state)
{
    region *eu = *state;
    expect(eu, "AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you "
                         "sure your configuration is correct?");
    expect(eu, "AUTH default x", "+OK");
    expect(eu, "AUTH other x", "-WRONGPASS invalid username-password pair or user is disabled.");
    expect(eu, "AUTH 1 2 3", "-ERR syntax error");
}

static void auth_with_a_password(void **state)
{
    (void)state;
    region eu;
    char hash[SK_PASSWORD_HASH_MAX];
    assert_true(sk_password_hash(sk_bytes_str("secret"), hash));
    region_open(&eu, "eu", NULL, hash);
    expect(&eu, "GET a", "-NOAUTH Authentication required.");
    expect(&eu, "EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.");
    expect(&eu, "HELLO 3", "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
                           "<user> <pass> option can be used to authenticate the client and select the RESP protocol "
                           "version at the same time");
    assert_int_equal(eu.client->proto, 2);
    expect(&eu, "AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.");
    expect(&eu, "AUTH other secret", "-WRONGPASS invalid username-password pair or user is disabled.");
    expect(&eu, "GET a", "-NOAUTH Authentication required.");
    expect(&eu, "AUTH secret", "+OK");
    expect(&eu, "GET a", "$-1");
    expect(&eu, "AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.");
    expect(&eu, "GET a", "$-1");
    expect(&eu, "RESET", "+RESET");
    expect(&eu, "GET a", "-NOAUTH Authentication required.");
    expect_begins(&eu, "HELLO 3 AUTH default secret", "%7");
    expect(&eu, "GET a", "_");
    region_close(&eu);
}

static void client_says_who(void **state)
{
    region *eu = *state;
    sk_client *second = sk_client_new(eu->replica);
    strcpy(second->address, "127.0.0.1:5");
    expect(eu, "CLIENT ID", ":1");
    expect(eu, "CLIENT SETNAME a\tb", "-ERR Client names cannot contain spaces, newlines or special characters.");
    expect(eu, "CLIENT SETNAME me", "+OK");
    expect(eu, "CLIENT SETINFO lib-name py", "+OK");
    expect(eu, "CLIENT SETINFO LIB-VER 5.1", "+OK");
    expect(eu, "CLIENT SETINFO other 5.1", "-ERR Unrecognized option 'other'");
    expect(eu, "CLIENT SETINFO lib-ver 5\t1", "-ERR lib-ver cannot contain spaces, newlines or special characters.");
    const char *info = ask(eu, "CLIENT INFO");
    assert_non_null(strstr(info, " cmd=client|info user=default "));
    assert_non_null(strstr(info, "id=1 addr= laddr= name=me age=0 idle=0 flags=N db=0"));
    assert_non_null(strstr(info, " multi=-1 ") );
    assert_non_null(strstr(info, " resp=2 lib-name=py lib-ver=5.1"));
    assert_null(strstr(info, "id=2"));
    const char *list = ask(eu, "CLIENT LIST");
    assert_true(strstr(list, "id=1 ") < strstr(list, "id=2 addr=127.0.0.1:5 "));
    assert_null(strstr(ask(eu, "CLIENT LIST ID 2 7"), "id=1"));
    expect(eu, "CLIENT LIST ID 7", "$0 ");
    expect(eu, "CLIENT LIST TYPE pubsub", "$0 ");
    assert_non_null(strstr(ask(eu, "CLIENT LIST TYPE normal"), "id=2"));
    expect(eu, "CLIENT LIST TYPE x", "-ERR Unknown client type 'x'");
    expect(eu, "CLIENT LIST ID x", "-ERR Invalid client ID");
    expect(eu, "CLIENT LIST ID", "-ERR syntax error");
    expect(eu, "CLIENT LIST foo", "-ERR syntax error");
    expect(eu, "CLIENT NO-EVICT x", "-ERR syntax error");
    expect(eu, "CLIENT NO-EVICT on", "+OK");
    expect(eu, "CLIENT NO-TOUCH ON", "+OK");
    assert_non_null(strstr(ask(eu, "CLIENT INFO"), " flags=eT "));
    expect(eu, "CLIENT foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    expect(eu, "CLIENT", "-ERR wrong number of arguments for 'client' command");
    expect(eu, "CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command");
    expect_begins(eu, "HELLO 3", "%7");
    expect_begins(eu, "CLIENT LIST", "=");
}

/* -- passwords that are checked elsewhere ------------------------------------------------------------------------- */

static char given[64]; /* to be checked; empty: nothing was asked */

static void check_elsewhere(void *owner, sk_bytes password)
{
    assert_ptr_equal(owner, given);
    snprintf(given, sizeof given, "%.*s", (int)password.len, (const char *)password.data);
}

/* The request waits for the check of this password, and then is made again. */
static void waits_for(region *eu, const char *request, const char *password, bool fits)
{
    expect(eu, request, "");
    assert_string_equal(given, password);
    assert_int_equal(eu->client->block, SK_BLOCK_PASSWORD);
    region_turn(eu, 10); /* nobody else answers it */
    assert_int_equal(eu->client->block, SK_BLOCK_PASSWORD);
    given[0] = 0;
    if (fits) sk_password_remember(eu->replica->options.password_hash, sk_bytes_str(password));
    sk_client_password_checked(eu->client, fits);
    assert_int_equal(eu->replica->blocked_count, 0);
}

static void a_check_may_take_its_time(void **state)
{
    (void)state;
    static const char wrong[] = "-WRONGPASS invalid username-password pair or user is disabled.";
    char hash[SK_PASSWORD_HASH_MAX];
    region eu;
    assert_true(sk_password_hash(sk_bytes_str("later"), hash));
    region_open(&eu, "eu", NULL, hash);
    eu.client->check_password = check_elsewhere;
    eu.client->owner = given;
    waits_for(&eu, "AUTH bad", "bad", false);
    expect(&eu, "AUTH bad", wrong);
    expect(&eu, "AUTH other bad", wrong); /* no check is needed for that */
    expect(&eu, "GET a", "-NOAUTH Authentication required.");
    waits_for(&eu, "AUTH bad", "bad", false); /* a verdict is used once */
    expect(&eu, "AUTH bad", wrong);
    waits_for(&eu, "HELLO 3 AUTH default later AUTH default bad", "later", true);
    waits_for(&eu, "HELLO 3 AUTH default later AUTH default bad", "bad", false);
    expect(&eu, "HELLO 3 AUTH default later AUTH default bad", wrong);
    expect_begins(&eu, "HELLO 3 AUTH default later", "%7");
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "AUTH bad", "+QUEUED");
    expect(&eu, "AUTH later", "+QUEUED");
    expect(&eu, "EXEC", "*2 -ERR a password that is not known yet cannot be checked inside MULTI +OK");
    expect(&eu, "AUTH bad", ""); /* and it leaves meanwhile */
    region_close(&eu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)
        ONE(small_ones), ONE(hello_switches), ONE(auth_without_a_password), cmocka_unit_test(auth_with_a_password),
        ONE(client_says_who), cmocka_unit_test(a_check_may_take_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
