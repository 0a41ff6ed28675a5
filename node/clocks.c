#include "node/clocks.h"

#include "node/log.h"

#include <inttypes.h>

enum { LOOK_EVERY_MS = 500 };

static uint64_t size_of(int64_t offset_ms) { return offset_ms < 0 ? (uint64_t)-offset_ms : (uint64_t)offset_ms; }

static bool differs(const sk_peer_status *peer, bool alarmed, uint64_t limit_ms)
{
    uint64_t offset = size_of(peer->clock_offset_ms);
    if (limit_ms == 0 || !peer->clock_known) return false;
    return alarmed ? offset > limit_ms / 2 : offset > limit_ms + peer->clock_error_ms;
}

static void look_at(sk_clocks *clocks, uint32_t index, const sk_peer_status *peer, uint64_t limit_ms)
{
    bool *alarmed = &clocks->alarmed[index], now = differs(peer, *alarmed, limit_ms);
    if (now == *alarmed) return;
    *alarmed = now;
    clocks->alarms += now;
    if (now)
        sk_log(SK_LOG_WARN, "clock.differs", sk_log_text("peer", peer->region),
               sk_log_int("offset_ms", peer->clock_offset_ms), sk_log_uint("limit_ms", limit_ms),
               sk_log_text("help", "one of the two clocks is wrong: let NTP or the like set both"));
    else
        sk_log(SK_LOG_INFO, "clock.agrees", sk_log_text("peer", peer->region),
               sk_log_int("offset_ms", peer->clock_offset_ms));
}

void sk_clocks_look(sk_clocks *clocks, const sk_replica *replica, uint64_t limit_ms)
{
    if (replica->now_ms < clocks->look_at_ms) return;
    clocks->look_at_ms = replica->now_ms + LOOK_EVERY_MS;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) {
            clocks->alarmed[i] = false;
            continue;
        }
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        look_at(clocks, i, &peer, limit_ms);
    }
    sk_clock_status own = sk_engine_clock(replica->engine, replica->now_ms, replica->wall_ms);
    bool held_back = own.stamp_ms < replica->wall_ms;
    if (held_back == clocks->held_back) return;
    clocks->held_back = held_back;
    if (held_back)
        sk_log(SK_LOG_ERROR, "clock.ahead", sk_log_int("ahead_ms", own.ahead_ms),
               sk_log_text("effect", "writes are stamped by the other regions' clocks; deadlines that only this clock has "
                                     "reached hide their keys here and remove nothing"),
               sk_log_text("help", "this node's clock is ahead of most others: let NTP or the like set it"));
    else
        sk_log(SK_LOG_INFO, "clock.right_again", sk_log_int("ahead_ms", own.ahead_ms));
}

void sk_clocks_info(const sk_clocks *clocks, const sk_replica *replica, sk_buf *text)
{
    sk_clock_status own = sk_engine_clock(replica->engine, replica->now_ms, replica->wall_ms);
    uint32_t alarmed = 0;
    for (uint32_t i = 0; i < SK_MEMBERS_MAX; i++) alarmed += clocks->alarmed[i];
    sk_buf_printf(text,
                  "clock_alarms:%" PRIu32 "\r\nclock_alarms_total:%" PRIu64 "\r\nclock_ahead_ms:%" PRId64
                  "\r\nclock_held_back_ms:%" PRIu64 "\r\n",
                  alarmed, clocks->alarms, own.ahead_ms, replica->wall_ms - own.stamp_ms);
}
