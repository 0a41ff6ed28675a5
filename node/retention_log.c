#include "node/retention_log.h"

#include "node/log.h"

enum { LOOK_EVERY_MS = 200 };

unsigned sk_retention_level(unsigned level, uint64_t percent)
{
    static const uint64_t begins[] = {0, 50, 80}, ends[] = {0, 40, 70};
    while (level > 0 && percent < ends[level]) level--;
    while (level < 2 && percent >= begins[level + 1]) level++;
    return level;
}

static void warn(const sk_replica *replica, sk_retained kept, uint64_t percent, uint32_t holder)
{
    sk_retained held = sk_retention_of(replica, holder);
    const char *name = sk_engine_peer_status(replica->engine, holder).region;
    const sk_retention_cap *cap = &replica->retention.cap;
    sk_log(SK_LOG_WARN, "history.grows", sk_log_uint("percent", percent), sk_log_uint("bytes", kept.bytes),
           sk_log_uint("bytes_max", cap->bytes), sk_log_uint("age_s", kept.age_ms / 1000),
           sk_log_uint("age_max_s", cap->age_ms / 1000), sk_log_text("held_by", name),
           sk_log_uint("held_bytes", held.bytes), sk_log_uint("since_s", held.age_ms / 1000),
           sk_log_text("effect", "at 100 percent history goes on without that region; when it returns it is reconciled"));
}

static void look_at(sk_retention_log *log, const sk_replica *replica, uint32_t index)
{
    bool is_peer = sk_engine_is_peer(replica->engine, index);
    sk_peer_status peer = {0};
    if (is_peer) peer = sk_engine_peer_status(replica->engine, index);
    if (peer.laggard == log->laggard[index]) return;
    log->laggard[index] = peer.laggard;
    if (!is_peer) return;
    sk_retained lost = replica->retention.lost[index];
    if (peer.laggard && lost.bytes == 0 && lost.age_ms == 0)
        sk_log(SK_LOG_WARN, "history.not_kept", sk_log_text("region", peer.region),
               sk_log_text("why", "it lacked more than the cap before this start; when it returns it is reconciled"));
    else if (peer.laggard)
        sk_log(SK_LOG_WARN, "history.crossed", sk_log_text("region", peer.region), sk_log_uint("bytes", lost.bytes),
               sk_log_uint("bytes_max", replica->retention.cap.bytes), sk_log_uint("since_s", lost.age_ms / 1000),
               sk_log_uint("age_max_s", replica->retention.cap.age_ms / 1000),
               sk_log_text("effect", "no history is kept for this region any more; when it returns it is reconciled, and "
                                     "nothing is lost"));
    else
        sk_log(SK_LOG_INFO, "history.kept_again", sk_log_text("region", peer.region));
}

void sk_retention_log_look(sk_retention_log *log, const sk_replica *replica)
{
    if (replica->now_ms < log->look_at_ms) return;
    log->look_at_ms = replica->now_ms + LOOK_EVERY_MS;
    for (uint32_t i = 0; i < SK_RETENTION_PEERS; i++) look_at(log, replica, i);
    sk_retained kept = sk_retention_all(replica);
    uint64_t percent = sk_retention_percent(&replica->retention, kept);
    unsigned level = sk_retention_level(log->level, percent);
    uint32_t holder = sk_retention_holder(replica);
    if (level > log->level && holder == SK_RETENTION_PEERS) return; /* it is on its way out */
    if (level > log->level) warn(replica, kept, percent, holder);
    log->level = level;
}
