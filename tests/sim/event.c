/* The queue of events: a binary heap by time, and by order of arrival among those of one time. */
#include "tests/sim/world.h"

static bool before(const sim_event *a, const sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_event_push(sim_world *world, uint64_t at_us, sim_event_kind kind, uint32_t a, uint32_t b, uint64_t n)
{
    sim_events *events = &world->events;
    if (events->count == events->room) {
        events->room = events->room ? events->room * 2 : 256;
        events->heap = sk_realloc(events->heap, events->room * sizeof *events->heap);
    }
    if (at_us < world->now_us) at_us = world->now_us;
    sim_event pushed = {at_us, events->order++, kind, a, b, n};
    uint32_t at = events->count++;
    while (at > 0 && before(&pushed, &events->heap[(at - 1) / 2])) {
        events->heap[at] = events->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->heap[at] = pushed;
}

bool sim_event_pop(sim_world *world, sim_event *event)
{
    sim_events *events = &world->events;
    if (events->count == 0) return false;
    *event = events->heap[0];
    sim_event moved = events->heap[--events->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= events->count) break;
        if (child + 1 < events->count && before(&events->heap[child + 1], &events->heap[child])) child++;
        if (!before(&events->heap[child], &moved)) break;
        events->heap[at] = events->heap[child];
        at = child;
    }
    if (events->count) events->heap[at] = moved;
    return true;
}
