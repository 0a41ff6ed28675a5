/* skerryctl: region add, forget, rekey. */
#include "node/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(const char *text)
{
    fprintf(stderr, "skerryctl: %s\n", text);
    return CTL_USAGE;
}

/* Asks the one node; "OK" or why not. */
static int tell(ctl_tool *ctl, int words, const char *const *question)
{
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], words, question);
    if (!answer) return CTL_FAILED;
    freeReplyObject(answer);
    if (!ctl->json) {
        puts("OK");
        return CTL_OK;
    }
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "node", sk_bytes_str(ctl->nodes[0].name));
    ctl_json_bool(&json, "ok", true);
    ctl_json_close(&json, '}');
    ctl_json_print(&json);
    return CTL_OK;
}

int ctl_region_add(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    const char *question[4 + CTL_ADDRESSES_MAX] = {"REGION", "ADD", argv[0], ctl->public_key};
    if (!ctl->public_key) return complain("region add needs --public-key KEY");
    for (int i = 0; i < ctl->address_count; i++) question[4 + i] = ctl->addresses[i];
    return tell(ctl, 4 + ctl->address_count, question);
}

int ctl_region_forget(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    const char *question[] = {"REGION", "FORGET", argv[0], ctl->public_key};
    return tell(ctl, ctl->public_key ? 4 : 3, question);
}

/* "90", "90s", "30m", "24h" or "7d" in seconds; -1: it is none of these. */
static int64_t seconds_of(const char *text)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    char *end;
    long long count = strtoll(text, &end, 10);
    if (end == text || count < 0 || count > 100000000) return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0) return count * units[i].seconds;
    return -1;
}

int ctl_region_rekey(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    char keep[24];
    int64_t seconds = ctl->keep ? seconds_of(ctl->keep) : seconds_of("24h");
    const char *question[] = {"REGION", "REKEY", argv[0], ctl->public_key, "KEEP", keep};
    if (!ctl->public_key) return complain("region rekey needs --public-key KEY");
    if (seconds < 0) return complain("--keep takes a time such as 24h, 30m, 7d or a number of seconds");
    snprintf(keep, sizeof keep, "%" PRId64, seconds);
    return tell(ctl, 6, question);
}
