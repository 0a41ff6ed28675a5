/* skerryctl: connections to nodes, questions, and what is in the answers. */
#include "node/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

enum { QUESTION_S = 5, ARGS_MAX = 16 };

bool ctl_node_add(ctl_tool *ctl, const char *text)
{
    if (ctl->node_count == CTL_NODES_MAX) return false;
    ctl_node node = {.port = CTL_PORT};
    const char *host = text, *end = text + strlen(text), *colon = strrchr(text, ':');
    if (*text == '[') {
        host = text + 1;
        end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':')) return false;
        colon = end[1] ? end + 1 : NULL;
    } else if (colon) {
        if (strchr(text, ':') != colon) return false; /* a bare IPv6 address: its port could not be told apart */
        end = colon;
    }
    size_t len = (size_t)(end - host);
    if (len == 0 || len >= sizeof node.host) return false;
    memcpy(node.host, host, len);
    if (colon) {
        char *rest;
        long port = strtol(colon + 1, &rest, 10);
        if (*rest || rest == colon + 1 || port < 1 || port > 65535) return false;
        node.port = (int)port;
    }
    bool v6 = strchr(node.host, ':');
    snprintf(node.name, sizeof node.name, "%s%s%s:%d", v6 ? "[" : "", node.host, v6 ? "]" : "", node.port);
    ctl->nodes[ctl->node_count++] = node;
    return true;
}

int ctl_complain(const ctl_node *node, const char *text)
{
    if (!node->quiet) fprintf(stderr, "skerryctl: %s: %s\n", node->name, text);
    return CTL_FAILED;
}

void ctl_disconnect(ctl_node *node)
{
    if (node->link) redisFree(node->link);
    node->link = NULL;
}

/* The reply to one question on an open link; NULL after printing why not. An error reply keeps the link. */
static redisReply *ask(ctl_node *node, int argc, const sk_bytes *argv)
{
    const char *texts[ARGS_MAX];
    size_t lens[ARGS_MAX];
    sk_assert(argc <= ARGS_MAX);
    for (int i = 0; i < argc; i++) {
        texts[i] = (const char *)argv[i].data;
        lens[i] = argv[i].len;
    }
    redisReply *reply = redisCommandArgv(node->link, argc, texts, lens);
    if (!reply) {
        bool late = node->link->err == REDIS_ERR_IO && errno == EAGAIN;
        ctl_complain(node, late ? "no answer came in time" : node->link->errstr);
        ctl_disconnect(node);
        return NULL;
    }
    if (reply->type != REDIS_REPLY_ERROR) return reply;
    ctl_complain(node, reply->str);
    freeReplyObject(reply);
    return NULL;
}

static bool connect_node(ctl_tool *ctl, ctl_node *node)
{
    double limit = ctl->timeout_s > 0 && ctl->timeout_s < QUESTION_S ? ctl->timeout_s : QUESTION_S;
    struct timeval timeout = {(time_t)limit, (suseconds_t)((limit - (double)(time_t)limit) * 1e6)};
    node->link = redisConnectWithTimeout(node->host, node->port, timeout);
    if (!node->link || node->link->err) {
        ctl_complain(node, node->link ? node->link->errstr : "out of memory");
        ctl_disconnect(node);
        return false;
    }
    redisSetTimeout(node->link, timeout);
    if (!ctl->password) return true;
    sk_bytes auth[] = {sk_bytes_str("AUTH"), sk_bytes_str(ctl->password)};
    redisReply *reply = ask(node, 2, auth);
    if (!reply) ctl_disconnect(node);
    if (reply) freeReplyObject(reply);
    return reply;
}

redisReply *ctl_ask_bytes(ctl_tool *ctl, ctl_node *node, int argc, const sk_bytes *argv)
{
    if (!node->link && !connect_node(ctl, node)) return NULL;
    return ask(node, argc, argv);
}

redisReply *ctl_ask(ctl_tool *ctl, ctl_node *node, int argc, const char *const *argv)
{
    sk_bytes args[ARGS_MAX];
    sk_assert(argc <= ARGS_MAX);
    for (int i = 0; i < argc; i++) args[i] = sk_bytes_str(argv[i]);
    return ctl_ask_bytes(ctl, node, argc, args);
}

/* -- replies ------------------------------------------------------------------------------------------------------- */

sk_bytes ctl_text(const redisReply *reply)
{
    bool text = reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
    return text ? sk_bytes_of(reply->str, reply->len) : SK_BYTES_NONE;
}

int64_t ctl_int(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

size_t ctl_count(const redisReply *array)
{
    return array && array->type == REDIS_REPLY_ARRAY ? array->elements : 0;
}

/* Only of those there is something that they lack. */
bool ctl_is_peer(const redisReply *region) { return ctl_field(region, "lag") != NULL; }

bool ctl_is_up(const redisReply *region)
{
    return sk_bytes_equal(ctl_text(ctl_field(region, "link")), sk_bytes_str("up"));
}

const redisReply *ctl_field(const redisReply *map, const char *name)
{
    for (size_t i = 0; i + 1 < ctl_count(map); i += 2)
        if (sk_bytes_equal(ctl_text(map->element[i]), sk_bytes_str(name))) return map->element[i + 1];
    return NULL;
}
