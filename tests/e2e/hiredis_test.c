/* The third client: hiredis, over one connection and in pipelines. Run by c_client.py, with the port of a node and the
 * port of another region's. */
#include <hiredis/hiredis.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static redisContext *open_connection(const char *port)
{
    struct timeval timeout = {30, 0};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", atoi(port), timeout);
    if (!context || context->err || redisSetTimeout(context, timeout) != REDIS_OK) {
        fprintf(stderr, "no connection to port %s: %s\n", port, context ? context->errstr : "out of memory");
        exit(1);
    }
    return context;
}

/* The reply must be of this type; its text (NULL: any) and its number of elements or value (-1: any) as given. */
static void expect(redisReply *reply, int type, const char *text, long long number, const char *what)
{
    bool good = reply && reply->type == type;
    if (good && text) good = strcmp(reply->str, text) == 0;
    if (good && number >= 0)
        good = (type == REDIS_REPLY_ARRAY ? (long long)reply->elements : reply->integer) == number;
    if (!good) {
        fprintf(stderr, "%s: reply of type %d, text %s\n", what, reply ? reply->type : -1,
                reply && reply->str ? reply->str : "(none)");
        exit(1);
    }
    freeReplyObject(reply);
}

static void test_types(redisContext *c)
{
    char binary[] = "\0\r\n\xff";
    expect(redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", -1, "PING");
    expect(redisCommand(c, "SET %s %b", "h:b", binary, sizeof binary), REDIS_REPLY_STATUS, "OK", -1, "SET");
    redisReply *reply = redisCommand(c, "GET h:b");
    if (!reply || reply->len != sizeof binary || memcmp(reply->str, binary, sizeof binary) != 0) exit(1);
    freeReplyObject(reply);
    expect(redisCommand(c, "GET h:none"), REDIS_REPLY_NIL, NULL, -1, "GET of nothing");
    expect(redisCommand(c, "HSET h:h f 1 g 2"), REDIS_REPLY_INTEGER, NULL, 2, "HSET");
    expect(redisCommand(c, "HGETALL h:h"), REDIS_REPLY_ARRAY, NULL, 4, "HGETALL");
    expect(redisCommand(c, "INCR h:h"), REDIS_REPLY_ERROR, NULL, -1, "INCR of a hash");
    expect(redisCommand(c, "SIBLINGS GET h:b"), REDIS_REPLY_ARRAY, NULL, 4, "SIBLINGS GET");
}

static void test_pipeline(redisContext *c)
{
    enum { COUNT = 10000 };
    for (int i = 0; i < COUNT; i++)
        if (redisAppendCommand(c, i % 2 ? "INCR h:count" : "SADD h:set %d", i) != REDIS_OK) exit(1);
    for (int i = 0; i < COUNT; i++) {
        redisReply *reply = NULL;
        if (redisGetReply(c, (void **)&reply) != REDIS_OK) exit(1);
        expect(reply, REDIS_REPLY_INTEGER, NULL, i % 2 ? i / 2 + 1 : 1, "a pipeline's reply");
    }
    expect(redisCommand(c, "SCARD h:set"), REDIS_REPLY_INTEGER, NULL, COUNT / 2, "SCARD");
}

static void test_transaction(redisContext *c)
{
    redisAppendCommand(c, "MULTI");
    redisAppendCommand(c, "SET h:x 1");
    redisAppendCommand(c, "INCR h:x");
    redisAppendCommand(c, "EXEC");
    const char *said[] = {"OK", "QUEUED", "QUEUED"};
    redisReply *reply = NULL;
    for (int i = 0; i < 3; i++) {
        if (redisGetReply(c, (void **)&reply) != REDIS_OK) exit(1);
        expect(reply, REDIS_REPLY_STATUS, said[i], -1, "MULTI");
    }
    if (redisGetReply(c, (void **)&reply) != REDIS_OK) exit(1);
    expect(reply, REDIS_REPLY_ARRAY, NULL, 2, "EXEC");
}

/* What was written here is read there, once the token says so. */
static void test_other_region(redisContext *here, redisContext *there)
{
    expect(redisCommand(here, "SET h:moved yes"), REDIS_REPLY_STATUS, "OK", -1, "SET");
    redisReply *token = redisCommand(here, "SESSION TOKEN");
    if (!token || token->type != REDIS_REPLY_STRING) exit(1);
    expect(redisCommand(there, "SESSION AFTER %b TIMEOUT 30000", token->str, (size_t)token->len), REDIS_REPLY_STATUS,
           "OK", -1, "SESSION AFTER");
    freeReplyObject(token);
    expect(redisCommand(there, "GET h:moved"), REDIS_REPLY_STRING, "yes", -1, "GET in the other region");
    expect(redisCommand(here, "SET h:waited yes"), REDIS_REPLY_STATUS, "OK", -1, "SET");
    expect(redisCommand(here, "WAIT 1 30000"), REDIS_REPLY_INTEGER, NULL, 1, "WAIT");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: hiredis_test PORT OTHER_PORT\n");
        return 2;
    }
    redisContext *here = open_connection(argv[1]), *there = open_connection(argv[2]);
    test_types(here);
    test_pipeline(here);
    test_transaction(here);
    test_other_region(here, there);
    redisFree(here);
    redisFree(there);
    puts("all passed");
    return 0;
}
