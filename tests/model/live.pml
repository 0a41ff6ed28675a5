/* Live transactions and the disk: what leaves a node, when a dot is new, and what a crash takes.
 *
 * A node applies in memory and syncs later. A crash takes it back to its disk; node 0 may also come back as an old copy
 * of its disk. What was once sent may arrive at any time, at anyone, in any order, more than once, or never. A client who
 * got a reply, and a peer who got an acknowledgement, hold a promise: it stands on the disk.
 *
 *   right:                                  nodes crash, and node 0 comes back as an old copy
 *
 *   wrong: REPLY_BEFORE_DISK                a reply leaves before its write is on disk
 *   wrong: ACK_BEFORE_DISK                  a peer is told of what is not on disk yet
 *   wrong: SENT_BEFORE_DISK                 a transaction leaves before it is on disk
 *   wrong: NO_DEPENDENCIES                  a transaction is applied when it is its origin's next, whatever it rests on
 *   wrong: OUT_OF_ORDER                     a transaction is applied when others' are there, whatever its origin did before
 *   wrong: SAME_INCARNATION                 an old copy goes on under its old origin
 *   wrong: REMOVES_UNSEEN                   a write takes out what its origin had not seen */
#define ORIGINS 4 /* one a node, and node 0's after it came back */
#define SEQS 2
#include "dots.inc"

byte limit[NODES] = { 3, 1, 0 };
byte disk[NODES], disk_live[NODES];
byte promised[NODES]; /* by replies and acknowledgements of this disk */
byte wire;            /* what has ever been sent */
byte origin[NODES];   /* under which each writes; set below */
bit copied, restored;
byte copy_vv, copy_live;

/* As soon as it may: what leaves node n, its replies, what it tells others that it has. */
inline leaves(n, what)
{
    wire = wire | (what)
}

inline promise(n, what)
{
    promised[n] = promised[n] | (what)
}

inline write(n, add)
{
    d_step {
        limit[n] > 0 && (add || live[n] != 0) && may_write(vv[n], origin[n]);
        limit[n]--;
        next_dot(vv[n], origin[n]);
        assert(!has(wire | vv[0] | vv[1] | vv[2] | disk[0] | disk[1] | disk[2], d)); /* a dot names one transaction */
        make(n, 0, add);
        live[n] = applied(live[n], d);
        vv[n] = vv[n] | dot(d);
#ifdef SENT_BEFORE_DISK
        leaves(n, dot(d));
#endif
#ifdef REPLY_BEFORE_DISK
        promise(n, dot(d));
#endif
        printf("node %d: transaction %d adds %d\n", n, d, add);
        entries = live[n];
        judge(vv[n])
    }
}

inline sync(n)
{
    d_step {
        disk[n] != vv[n];
        disk[n] = vv[n];
        disk_live[n] = live[n];
        leaves(n, disk[n]);
        promise(n, disk[n]);
        printf("node %d: %d is on disk\n", n, disk[n])
    }
}

#ifdef NO_DEPENDENCIES
#define causes(x) (seen[x] & of_origin((x) / SEQS))
#else
#ifdef OUT_OF_ORDER
#define causes(x) (seen[x] & ~of_origin((x) / SEQS))
#else
#define causes(x) seen[x]
#endif
#endif
inline deliver(n, x)
{
    d_step {
        has(wire, x) && !has(vv[n], x) && within(causes(x), vv[n]);
        d = x;
#ifdef REMOVES_UNSEEN
        live[n] = adds & dot(d);
#else
        live[n] = applied(live[n], d);
#endif
        vv[n] = vv[n] | dot(d);
#ifdef ACK_BEFORE_DISK
        promise(n, dot(d));
#endif
        printf("node %d: applies %d\n", n, d);
        entries = live[n];
        judge(vv[n])
    }
}

inline deliver_any(n)
{
    if
    :: deliver(n, 0) :: deliver(n, 1) :: deliver(n, 2) :: deliver(n, 3)
    :: deliver(n, 4) :: deliver(n, 5) :: deliver(n, 6) :: deliver(n, 7)
    fi
}

/* What only this node's memory had is as if it had never been. */
inline unmake(n)
{
    gone = vv[n] & ~disk[n] & of_origin(origin[n]) & ~wire;
    i = 0;
    do
    :: i < DOTS -> seen[i] = (has(gone, i) -> 0 : seen[i]); i++
    :: else -> break
    od;
    touch[0] = touch[0] & ~gone;
    adds = adds & ~gone;
    replaces = replaces & ~gone
}

inline crash(n)
{
    d_step {
        vv[n] != disk[n];
        unmake(n);
        vv[n] = disk[n];
        live[n] = disk_live[n];
        printf("node %d: crashes, having %d\n", n, vv[n]);
        assert(within(promised[n], vv[n])); /* nothing acknowledged is lost */
        entries = live[n];
        judge(vv[n])
    }
}

inline copy()
{
    d_step {
        !copied;
        copied = 1;
        copy_vv = disk[0];
        copy_live = disk_live[0];
        printf("node 0: a copy is made of %d\n", copy_vv)
    }
}

inline restore()
{
    d_step {
        copied && !restored && disk[0] != copy_vv;
        restored = 1;
        unmake(0);
        vv[0] = copy_vv;
        disk[0] = copy_vv;
        live[0] = copy_live;
        disk_live[0] = copy_live;
        promised[0] = 0;
#ifndef SAME_INCARNATION
        origin[0] = 3;
#endif
        copy_vv = 0;
        copy_live = 0;
        printf("node 0: comes back as the copy, having %d\n", vv[0])
    }
}

active proctype model()
{
    d_step {
        origin[1] = 1;
        origin[2] = 2
    };
    do
    :: write(0, 1) :: write(0, 0) :: write(1, 1) :: write(1, 0) :: write(2, 1) :: write(2, 0)
    :: sync(0) :: sync(1) :: sync(2)
    :: deliver_any(0) :: deliver_any(1) :: deliver_any(2)
    :: crash(0) :: crash(1) :: crash(2)
    :: copy() :: restore()
    :: else -> break
    od
}
