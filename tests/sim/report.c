/* What many runs had: how much, and what share of them which fault. */
#include "tests/sim/world.h"

#include <stdio.h>

static const char *had_name(uint32_t had)
{
    static const char *const names[] = {
        [SIM_HAD_MANY] = "10 to 50 regions",
        [SIM_HAD_ALWAYS] = "durability always",
        [SIM_HAD_INTERVAL] = "interval or os",
        [SIM_HAD_COMPLETE] = "complete",
        [SIM_HAD_PARTIAL] = "partial",
        [SIM_HAD_ONE_WAY] = "one way",
        [SIM_HAD_ISOLATED] = "isolated",
        [SIM_HAD_BRIDGE] = "bridge",
        [SIM_HAD_RING] = "ring",
        [SIM_HAD_TORN] = "batch torn by a power loss",
        [SIM_HAD_FULL] = "disk full",
        [SIM_HAD_DRIFT] = "clocks that drift",
        [SIM_HAD_HOUR] = "a clock off by hours",
        [SIM_HAD_TEN_YEARS] = "ten years ahead",
        [SIM_HAD_STALE_END] = "session replaced at one end",
        [SIM_HAD_TRANSFER] = "transfer",
        [SIM_HAD_RECONCILE] = "reconcile",
        [SIM_HAD_RESUMED] = "resumed",
        [SIM_HAD_ROLLBACK] = "rollback",
        [SIM_HAD_INCARNATION] = "new incarnation",
        [SIM_HAD_REWOUND] = "all regions rewound",
        [SIM_HAD_IMPORT] = "import",
        [SIM_HAD_JOIN] = "join",
        [SIM_HAD_RETIRED] = "forgotten for good",
        [SIM_HAD_RETRY] = "retry",
        [SIM_HAD_PUT_OFF] = "request waited for rows",
        [SIM_HAD_HELD_FOR_ROWS] = "delta waited for rows",
        [SIM_HAD_MOVED_TOKEN] = "token carried elsewhere",
        [SIM_HAD_OLD_CONTEXT] = "old context",
        [SIM_HAD_POLICY] = "policy changed",
        [SIM_HAD_WATCH_RAN] = "EXEC of what is watched",
        [SIM_HAD_WATCH_VOID] = "EXEC void",
        [SIM_HAD_CALM] = "judged calm rounds",
        [SIM_HAD_LAGGARD] = "history cap crossed",
        [SIM_HAD_LAGGARD_MID] = "… in mid-transfer",
    };
    if (had < SIM_HAD_SHAPE) return sim_fault_name((sim_fault)had);
    if (had < SIM_HAD_MANY) return sim_shape_name((sim_shape)(had - SIM_HAD_SHAPE));
    return names[had];
}

/* "what: a 12 %, b 7 %", of all runs. */
static void print_shares(const sim_counts *counts, const char *what, uint32_t from, uint32_t to)
{
    printf("%s:", what);
    for (uint32_t had = from; had <= to; had++)
        printf("%s %s %.1f %%", had == from ? "" : ",", had_name(had),
               100.0 * (double)counts->runs_with[had] / (double)counts->runs);
    printf("\n");
}

static void print_numbers(const sim_counts *counts, double seconds)
{
#define N(field) (unsigned long long)counts->field
    double hours = (double)counts->simulated_ms / 3600000;
    printf("%llu runs, %llu events, %.1f simulated hours in %.0f s: %.3f simulated hours a second\n", N(runs),
           N(events), hours, seconds, seconds > 0 ? hours / seconds : 0);
    printf("%llu requests, %llu replies, %llu void; %llu transactions\n", N(requests), N(replies), N(voided),
           N(transactions));
    printf("%llu messages; transfers: %llu begun (%llu reconciles, %llu resumed; %llu questions, %llu lists of rows "
           "wanted), "
           "%llu ended; %llu resends, %llu duplicates\n",
           N(messages), N(transfers), N(transfers_reconcile), N(transfers_resumed), N(questions), N(wants),
           N(transfers_ended), N(resends), N(duplicates));
    printf("%llu deltas over links; %llu of them in %llu calm rounds, each once; %llu rounds were too rough to judge\n",
           N(deltas), N(calm_deltas), N(calm_rounds), N(rough_rounds));
    printf("faults: %llu cuts, %llu partitions, %llu packets lost, %llu kills, %llu power losses, %llu deaths between "
           "two effects, %llu stops, %llu restores, %llu amnesias, %llu clones, %llu rewinds, %llu imports, %llu bytes "
           "flipped (%llu found, %llu refused, of which %llu because nobody could bear out its rows), %llu disks worn (%llu that alone have what a lost one had), %llu rows led astray, %llu disk failures, %llu clock jumps, %llu asked again; %llu rollbacks, %llu dots reused\n",
           N(cuts), N(partitions), N(lost), N(kills), N(power_losses), N(midways), N(stops), N(restores), N(amnesias),
           N(clones), N(rewinds), N(imports), N(flips), N(flips_found),
           N(flips_refused), N(flips_unproven), N(worn), N(tails), N(strays), N(disk_failures), N(clock_jumps), N(agains), N(rollbacks),
           N(dots_reused));
    printf("checks: %llu of all rows, %llu replies against the model, %llu reads for durability, %llu WAIT, %llu "
           "SESSION AFTER, %llu EXEC after WATCH that were done and %llu void; %llu GET of a key in conflict and "
           "%llu of its newest value, %llu siblings listed; %llu conflicts refused, %llu keys expired\n",
           N(checks), N(replies_checked), N(reads_checked), N(waits), N(tokens), N(watches_ran), N(watches_void),
           N(conflicts_shown), N(newest_shown), N(siblings_listed), N(conflicts), N(expired));
    printf("members: %llu forgotten, %llu added, %llu with a new key, %llu clashes, %llu retired, %llu joins\n",
           N(forgets), N(adds), N(rekeys), N(clashes), N(retirements), N(joins));
#undef N
}

void sim_report_counts(const sim_counts *counts, double seconds)
{
    if (counts->runs == 0) return;
    print_numbers(counts, seconds);
    printf("shares of the runs:\n");
    print_shares(counts, "  struck", SIM_HAD_FAULT, SIM_HAD_SHAPE - 1);
    print_shares(counts, "  links", SIM_HAD_SHAPE, SIM_HAD_MANY - 1);
    print_shares(counts, "  partitions", SIM_HAD_COMPLETE, SIM_HAD_RING);
    print_shares(counts, "  nodes", SIM_HAD_MANY, SIM_HAD_INTERVAL);
    print_shares(counts, "  disks, clocks", SIM_HAD_TORN, SIM_HAD_STALE_END);
    print_shares(counts, "  came to", SIM_HAD_TRANSFER, SIM_HAD_COUNT - 1);
}
