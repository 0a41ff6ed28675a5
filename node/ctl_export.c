/* skerryctl: export and import, a stream of bytes (node/stream.h) from a node into a file and back. */
#include "node/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10, BUSY_TRIES = 50, BUSY_MS = 200 };

static int complain_file(const char *file, const char *what)
{
    fprintf(stderr, "skerryctl: %s cannot be %s: %s\n", file, what, strerror(errno));
    return CTL_FAILED;
}

static bool is_standard(const char *file) { return strcmp(file, "-") == 0; }

/* OK as a reply. False after an error was printed. */
static bool tell(ctl_tool *ctl, ctl_node *node, const char *command, const char *subcommand)
{
    const char *question[] = {command, subcommand};
    redisReply *reply = ctl_ask(ctl, node, 2, question);
    if (!reply) return false;
    freeReplyObject(reply);
    return true;
}

/* The bytes are borrowed from the reply. */
static int write_whole(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t done = write(fd, data, len);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        data += done;
        len -= (size_t)done;
    }
    return 0;
}

static int read_export(ctl_tool *ctl, ctl_node *node, const char *file, int fd, uint64_t *bytes)
{
    static const char *const question[] = {"EXPORT", "READ"};
    for (;;) {
        redisReply *reply = ctl_ask(ctl, node, 2, question);
        if (!reply) return CTL_FAILED;
        sk_bytes piece = ctl_text(reply);
        int failed = write_whole(fd, (const char *)piece.data, piece.len);
        *bytes += piece.len;
        bool last = piece.len == 0;
        freeReplyObject(reply);
        if (failed) return complain_file(file, "written");
        if (last) return CTL_OK;
    }
}

/* Into FILE.part, which becomes FILE when all of it is there and on the disk. */
static int export_into(ctl_tool *ctl, const char *file, uint64_t *bytes)
{
    char *part = sk_alloc(strlen(file) + sizeof ".part");
    sprintf(part, "%s.part", file);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int outcome = fd < 0 ? complain_file(part, "made") : read_export(ctl, &ctl->nodes[0], part, fd, bytes);
    if (outcome == CTL_OK && fsync(fd) < 0) outcome = complain_file(part, "written");
    if (fd >= 0 && close(fd) < 0 && outcome == CTL_OK) outcome = complain_file(part, "written");
    if (outcome == CTL_OK && rename(part, file) < 0) outcome = complain_file(file, "made");
    if (outcome != CTL_OK && fd >= 0) unlink(part);
    free(part);
    return outcome;
}

/* Whether a file may take the place of what has that name; not of a pipe or a device, /dev/stdout among them. */
static bool may_be_replaced(const char *file)
{
    struct stat there;
    if (stat(file, &there) < 0 || S_ISREG(there.st_mode)) return true;
    fprintf(stderr, "skerryctl: %s is no file; to write into a pipe: export -\n", file);
    return false;
}

int ctl_export(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    uint64_t bytes = 0;
    if (!is_standard(argv[0]) && !may_be_replaced(argv[0])) return CTL_FAILED;
    if (!tell(ctl, &ctl->nodes[0], "EXPORT", "OPEN")) return CTL_FAILED;
    if (is_standard(argv[0])) return read_export(ctl, &ctl->nodes[0], argv[0], STDOUT_FILENO, &bytes);
    int outcome = export_into(ctl, argv[0], &bytes);
    if (outcome != CTL_OK) return outcome;
    if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_open(&json, NULL, '{');
        ctl_json_int(&json, "bytes", (int64_t)bytes);
        ctl_json_close(&json, '}');
        ctl_json_print(&json);
    } else {
        printf("%" PRIu64 " bytes\n", bytes);
    }
    return CTL_OK;
}

/* While a transfer comes in from another region it is tried again. */
static bool open_import(ctl_tool *ctl, ctl_node *node)
{
    static const char *const question[] = {"IMPORT", "OPEN"};
    for (int i = 1;; i++) {
        node->quiet = i < BUSY_TRIES;
        redisReply *reply = ctl_ask(ctl, node, 2, question);
        bool open = reply != NULL;
        if (reply) freeReplyObject(reply);
        if (open || i == BUSY_TRIES) {
            node->quiet = false;
            return open;
        }
        usleep(BUSY_MS * 1000);
    }
}

static int send_import(ctl_tool *ctl, ctl_node *node, const char *file, int fd)
{
    char *piece = sk_alloc(PIECE_BYTES);
    int outcome = CTL_OK;
    for (;;) {
        ssize_t got = read(fd, piece, PIECE_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) outcome = complain_file(file, "read");
        if (got <= 0) break;
        sk_bytes question[] = {sk_bytes_str("IMPORT"), sk_bytes_str("WRITE"), {(const uint8_t *)piece, (size_t)got}};
        redisReply *reply = ctl_ask_bytes(ctl, node, 3, question);
        if (!reply) outcome = CTL_FAILED;
        if (!reply) break;
        freeReplyObject(reply);
    }
    free(piece);
    return outcome;
}

static int commit_import(ctl_tool *ctl, ctl_node *node)
{
    static const char *const question[] = {"IMPORT", "COMMIT"};
    redisReply *reply = ctl_ask(ctl, node, 2, question);
    if (!reply) return CTL_FAILED;
    if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_map(&json, NULL, reply);
        ctl_json_print(&json);
    } else {
        printf("%" PRId64 " rows\n", ctl_int(ctl_field(reply, "rows")));
    }
    freeReplyObject(reply);
    return CTL_OK;
}

int ctl_import(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    int fd = is_standard(argv[0]) ? STDIN_FILENO : open(argv[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0) return complain_file(argv[0], "opened");
    int outcome = open_import(ctl, &ctl->nodes[0]) ? CTL_OK : CTL_FAILED;
    if (outcome == CTL_OK) outcome = send_import(ctl, &ctl->nodes[0], argv[0], fd);
    if (outcome == CTL_OK) outcome = commit_import(ctl, &ctl->nodes[0]);
    if (fd != STDIN_FILENO) close(fd);
    return outcome;
}
