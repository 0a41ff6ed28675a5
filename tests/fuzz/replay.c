/* Runs a fuzz target once over every file of the folders named: the kept corpus, as an ordinary test. A file that cannot be
 * read, or a folder without any, is an error: what was to be checked has not been. */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    long size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    rewind(file);
    bool known = size >= 0 && size < LONG_MAX;                               /* of a folder it is not */
    uint8_t *data = known ? malloc(size > 0 ? (size_t)size : 1) : NULL; /* exactly its size: a read beyond it is seen */
    bool whole = data && fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    if (whole) LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return whole;
}

/* How many inputs there are; 0 after saying why not. */
static int replay_folder(const char *path)
{
    int count = 0;
    bool whole = true;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && whole && (entry = readdir(folder));) {
        char name[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        whole = replay_file(name);
        count += whole;
        if (!whole) fprintf(stderr, "%s: it cannot be read\n", name);
    }
    if (folder) closedir(folder);
    if (count == 0) fprintf(stderr, "%s: there are no inputs in it\n", path);
    return whole ? count : 0;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        int more = replay_folder(argv[i]);
        if (more == 0) return 1;
        count += more;
    }
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
