/* replay.c — runs a fuzz target once over each file of a corpus folder, in name order, so that what a fuzzer found once stays
 * a unit test. The empty input always runs first. A crash names the file on stderr before it.
 *
 *     replay_<name> FOLDER|FILE…
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4 << 20, PATH_TEXT_MAX = 4096 };

static int replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    /* The exact size on the heap, so that ASan sees the first byte read past the end. */
    struct stat st;
    if (fstat(fileno(file), &st) != 0 || st.st_size > INPUT_MAX) {
        fprintf(stderr, "%s: can't be read, or larger than %d bytes\n", path, (int)INPUT_MAX);
        fclose(file);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: could not be read whole\n", path);
        free(data);
        fclose(file);
        return 1;
    }
    fclose(file);

    fprintf(stderr, "replay %s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
    return 0;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, not_hidden, alphasort);
    if (count < 0)
        return 0; /* a target without a corpus yet */

    int failures = 0;
    for (int i = 0; i < count; i++) {
        char path[PATH_TEXT_MAX];
        int len = snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        failures += len >= (int)sizeof(path) ? 1 : replay_file(path);
        free(entries[i]);
    }
    free(entries);
    return failures;
}

int main(int argc, char **argv)
{
    static const uint8_t EMPTY[1] = {0};
    LLVMFuzzerTestOneInput(EMPTY, 0);

    int failures = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool is_file = stat(argv[i], &st) == 0 && S_ISREG(st.st_mode);
        failures += is_file ? replay_file(argv[i]) : replay_folder(argv[i]);
    }
    fprintf(stderr, "%d files replayed\n", replayed);
    return failures == 0 ? 0 : 1;
}
