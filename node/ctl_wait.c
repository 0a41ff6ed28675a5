/* skerryctl wait-converged: waits until regions agree.
 *
 * Of several nodes: when their version vectors and digests are equal. Of one: when every link is up and every other
 * member has acknowledged, on disk, exactly what this one has; then equal state follows, but is not compared. */
#include "node/ctl.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 60, POLL_MS = 50 };

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* CTL_OK, CTL_NO or CTL_FAILED for one node's view. */
static int one_agrees(ctl_tool *ctl)
{
    static const char *const question[] = {"REGION", "LIST"};
    redisReply *regions = ctl_ask(ctl, &ctl->nodes[0], 2, question);
    if (!regions) return CTL_FAILED;
    sk_bytes own = ctl_count(regions) ? ctl_text(ctl_field(regions->element[0], "vector")) : SK_BYTES_NONE;
    int outcome = ctl_count(regions) ? CTL_OK : CTL_FAILED;
    for (size_t i = 1; i < ctl_count(regions); i++) {
        const redisReply *region = regions->element[i];
        if (!ctl_is_peer(region)) continue;
        if (!ctl_is_up(region) || !sk_bytes_equal(ctl_text(ctl_field(region, "vector")), own)) outcome = CTL_NO;
    }
    freeReplyObject(regions);
    return outcome;
}

/* The same for several: all answers of one round are equal. */
static int all_agree(ctl_tool *ctl)
{
    static const char *const question[] = {"DIGEST"};
    redisReply *first = NULL;
    int outcome = CTL_OK;
    for (int i = 0; i < ctl->node_count && outcome == CTL_OK; i++) {
        redisReply *answer = ctl_ask(ctl, &ctl->nodes[i], 1, question);
        if (!answer) outcome = CTL_FAILED;
        if (answer && first &&
            (!sk_bytes_equal(ctl_text(ctl_field(first, "digest")), ctl_text(ctl_field(answer, "digest"))) ||
             !sk_bytes_equal(ctl_text(ctl_field(first, "vector")), ctl_text(ctl_field(answer, "vector")))))
            outcome = CTL_NO;
        if (first)
            freeReplyObject(answer);
        else
            first = answer;
    }
    freeReplyObject(first);
    return outcome;
}

int ctl_wait_converged(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc, (void)argv;
    double started = now_s(), limit = ctl->timeout_s > 0 ? ctl->timeout_s : WAIT_S;
    int outcome;
    for (int i = 0; i < ctl->node_count; i++) ctl->nodes[i].quiet = true; /* a node may be starting */
    while ((outcome = ctl->node_count > 1 ? all_agree(ctl) : one_agrees(ctl)) != CTL_OK && now_s() - started < limit)
        usleep(POLL_MS * 1000);
    for (int i = 0; i < ctl->node_count; i++) ctl->nodes[i].quiet = false;
    if (outcome == CTL_FAILED) /* once more, to say why */
        outcome = ctl->node_count > 1 ? all_agree(ctl) : one_agrees(ctl);
    if (ctl->json)
        printf("{\"converged\":%s,\"waited_ms\":%.0f}\n", outcome == CTL_OK ? "true" : "false",
               (now_s() - started) * 1000);
    else if (outcome != CTL_FAILED)
        puts(outcome == CTL_OK ? "converged" : "not converged");
    return outcome;
}
