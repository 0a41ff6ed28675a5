/* skerryctl: siblings list|get|resolve, policy list|get|set. Each of these asks the first node. */
#include "node/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int print_ok(const ctl_tool *ctl)
{
    puts(ctl->json ? "{\"ok\":true}" : "OK");
    return CTL_OK;
}

/* -- siblings list ------------------------------------------------------------------------------------------------- */

static void list_conflict(const redisReply *conflict, sk_buf *text, ctl_json *json)
{
    const redisReply *field = ctl_field(conflict, "field");
    ctl_show(text, ctl_text(ctl_field(conflict, "key")));
    if (field) {
        sk_buf_printf(text, "  field ");
        ctl_show(text, ctl_text(field));
    }
    sk_buf_printf(text, "  %" PRId64 " siblings\n", ctl_int(ctl_field(conflict, "siblings")));
    ctl_json_map(json, NULL, conflict);
}

int ctl_siblings_list(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc, (void)argv;
    sk_buf text = {0}, cursor = {0};
    ctl_json json = {.comma = false};
    bool more = true;
    ctl_json_open(&json, NULL, '[');
    sk_buf_byte(&cursor, '0');
    while (more) {
        sk_bytes question[] = {sk_bytes_str("SIBLINGS"), sk_bytes_str("LIST"), sk_buf_view(&cursor)};
        redisReply *answer = ctl_ask_bytes(ctl, &ctl->nodes[0], 3, question);
        if (!answer) break;
        const redisReply *list = ctl_count(answer) == 2 ? answer->element[1] : NULL;
        for (size_t i = 0; i < ctl_count(list); i++) list_conflict(list->element[i], &text, &json);
        sk_buf_reset(&cursor);
        if (list) sk_buf_bytes(&cursor, ctl_text(answer->element[0]));
        more = cursor.len && !sk_bytes_equal(sk_buf_view(&cursor), sk_bytes_str("0"));
        freeReplyObject(answer);
    }
    bool failed = more; /* the loop was left without an answer */
    ctl_json_close(&json, ']');
    if (!failed && ctl->json) ctl_json_print(&json);
    if (!failed && !ctl->json) ctl_print(&text);
    sk_buf_free(&text);
    sk_buf_free(&json.out);
    sk_buf_free(&cursor);
    return failed ? CTL_FAILED : CTL_OK;
}

/* -- siblings get -------------------------------------------------------------------------------------------------- */

static void show_sibling(const redisReply *sibling, sk_buf *text)
{
    int64_t ms = ctl_int(ctl_field(sibling, "time_ms"));
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char when[32] = "?";
    if (gmtime_r(&seconds, &utc)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    sk_bytes region = ctl_text(ctl_field(sibling, "region")), type = ctl_text(ctl_field(sibling, "type"));
    sk_buf_printf(text, "%.*s  %s.%03dZ  %.*s  ", (int)region.len, (const char *)region.data, when, (int)(ms % 1000),
                  (int)type.len, (const char *)type.data);
    const redisReply *size = ctl_field(sibling, "size");
    if (size)
        sk_buf_printf(text, "of %" PRId64, ctl_int(size));
    else
        ctl_show(text, ctl_text(ctl_field(sibling, "value")));
    sk_buf_byte(text, '\n');
}

int ctl_siblings_get(ctl_tool *ctl, int argc, char **argv)
{
    const char *question[] = {"SIBLINGS", "GET", argv[0], "FIELD", argc > 1 ? argv[1] : ""};
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], argc > 1 ? 5 : 3, question);
    if (!answer) return CTL_FAILED;
    const redisReply *siblings = ctl_field(answer, "siblings");
    sk_bytes context = ctl_text(ctl_field(answer, "context"));
    sk_buf text = {0};
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "context", context);
    ctl_json_open(&json, "siblings", '[');
    for (size_t i = 0; i < ctl_count(siblings); i++) {
        show_sibling(siblings->element[i], &text);
        ctl_json_map(&json, NULL, siblings->element[i]);
    }
    ctl_json_close(&json, ']');
    ctl_json_close(&json, '}');
    sk_buf_printf(&text, "context  ");
    sk_buf_bytes(&text, context);
    sk_buf_byte(&text, '\n');
    int outcome = ctl_count(siblings) ? CTL_OK : CTL_NO;
    ctl_print_either(ctl, &json, &text);
    freeReplyObject(answer);
    return outcome;
}

/* -- siblings resolve ---------------------------------------------------------------------------------------------- */

int ctl_siblings_resolve(ctl_tool *ctl, int argc, char **argv)
{
    const char *question[7] = {"SIBLINGS", "RESOLVE", argv[0], argv[1]};
    int words = 6;
    if (ctl->keep ? argc != 2 : argc < 3) {
        fprintf(stderr, "skerryctl: siblings resolve takes KEY CONTEXT and either VALUE [FIELD] or --keep TYPE\n");
        return CTL_USAGE;
    }
    if (ctl->keep) {
        question[4] = "KEEP";
        question[5] = ctl->keep;
    } else {
        question[4] = argv[2];
        question[5] = "FIELD";
        question[6] = argc > 3 ? argv[3] : NULL;
        words = argc > 3 ? 7 : 5;
    }
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], words, question);
    if (!answer) return CTL_FAILED;
    int64_t left = ctl_int(answer);
    freeReplyObject(answer);
    if (ctl->json)
        printf("{\"resolved\":%s,\"siblings\":%" PRId64 "}\n", left <= 1 ? "true" : "false", left);
    else if (left <= 1)
        puts("resolved");
    else
        printf("not resolved: %" PRId64 " siblings, of which some were written since this context was given\n", left);
    return left <= 1 ? CTL_OK : CTL_NO;
}

/* -- policy -------------------------------------------------------------------------------------------------------- */

int ctl_policy_list(ctl_tool *ctl, int argc, char **argv)
{
    static const char *const question[] = {"POLICY", "LIST"};
    (void)argc, (void)argv;
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], 2, question);
    if (!answer) return CTL_FAILED;
    sk_buf text = {0};
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '[');
    for (size_t i = 0; i + 1 < ctl_count(answer); i += 2) {
        sk_bytes prefix = ctl_text(answer->element[i]), policy = ctl_text(answer->element[i + 1]);
        ctl_show(&text, prefix);
        sk_buf_printf(&text, "  %.*s\n", (int)policy.len, (const char *)policy.data);
        ctl_json_open(&json, NULL, '{');
        ctl_json_text(&json, "prefix", prefix);
        ctl_json_text(&json, "policy", policy);
        ctl_json_close(&json, '}');
    }
    ctl_json_close(&json, ']');
    ctl_print_either(ctl, &json, &text);
    freeReplyObject(answer);
    return CTL_OK;
}

int ctl_policy_get(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    const char *question[] = {"POLICY", "GET", argv[0]};
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], 3, question);
    if (!answer) return CTL_FAILED;
    sk_bytes policy = ctl_text(answer);
    printf(ctl->json ? "{\"policy\":\"%.*s\"}\n" : "%.*s\n", (int)policy.len, (const char *)policy.data);
    freeReplyObject(answer);
    return CTL_OK;
}

int ctl_policy_set(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    const char *question[] = {"POLICY", "SET", argv[0], argv[1]};
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], 4, question);
    if (!answer) return CTL_FAILED;
    freeReplyObject(answer);
    return print_ok(ctl);
}
