/* Calls of the system that fail on demand: the n-th write to a file, or to a socket, since it was asked for.
 *
 * calls.c defines write, fdatasync and their like in the place of the C library's, for all of a process, its libraries
 * included: linked into a test, or as a library that LD_PRELOAD names (then fault_control is a mapping of the file that
 * SK_FAULT_CONTROL names, so that another process can set it). What does not fail goes to the kernel as it is.
 *
 * looks.c adds, for the code that is linked with it alone (--wrap), the calls that read and look: there a library's own are not
 * counted, which meets its files' contents in its own way.
 *
 * Counted are calls on regular files (not stdin, stdout, stderr) and on internet sockets, and those that make or rename
 * files; not those whose failure nobody is told of, as unlink of something that is already void. */
#ifndef SK_TESTS_FAULT_CALLS_H
#define SK_TESTS_FAULT_CALLS_H

#include <stdbool.h>
#include <stdint.h>

enum { FAULT_DISK = 1, FAULT_SOCKET = 2, FAULT_LOOK = 4 };

typedef struct {
    uint32_t kinds;   /* of calls that are counted; 0: none, nothing fails */
    int32_t error;    /* errno; EINTR: only what reads or writes bytes fails; 0: what writes bytes writes half of them */
    uint64_t first;   /* the first that fails, from 1; 0: none */
    uint64_t length;  /* so many fail, one after the other */
    uint64_t counted; /* calls since counted was zeroed */
    uint64_t failed;  /* likewise, of them that failed, or were short */
} fault_control;

extern fault_control *fault; /* never NULL */

typedef enum { FAULT_NONE, FAULT_FAILS, FAULT_SHORT } fault_verdict;

/* Counts a call of this kind. With FAULT_FAILS errno is set. `moves`: it reads or writes bytes. FAULT_SHORT: of what writes. */
fault_verdict fault_judge(uint32_t kind, bool moves);

#endif
