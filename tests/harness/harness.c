#include "harness/harness.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder(const char *variable, const char *beside_checkout)
{
    const char *path = getenv(variable);
    if (!path || !*path)
        path = beside_checkout;
    return access(path, R_OK) == 0 ? path : NULL;
}

static const char *whole_golden_folder(void)
{
    return folder("QAFFE_GOLDEN", QAFFE_SOURCE_DIR "/../shared/golden");
}

/* The few have no nets, whose weights are large. */
bool test_golden_is_whole(void)
{
    const char *whole = whole_golden_folder();
    char *nets = whole ? test_format("%s/caffe/nets", whole) : NULL;
    bool is_whole = nets && access(nets, R_OK) == 0;
    qf_free(nets);
    return is_whole;
}

const char *test_golden_folder(void)
{
    const char *whole = whole_golden_folder();
    if (!whole)
        puts("skipped: most recorded cases: only the few in tests/golden are walked; QAFFE_GOLDEN "
             "names the whole set");
    return whole ? whole : QAFFE_SOURCE_DIR "/tests/golden";
}

const char *test_data_folder(void)
{
    const char *data = folder("QAFFE_DATA", QAFFE_SOURCE_DIR "/../shared/data");
    if (!data)
        puts("skipped: QAFFE_DATA does not name a folder of models and data");
    return data;
}

void test_needs_the_host(void)
{
    const char *device = getenv("QAFFE_DEVICE");
    if (!device || !*device || strcmp(device, "cpu") == 0)
        return;
    print_message("skipped on %s: it is about the host's kernels and memory\n", device);
    skip();
}

qf_context *test_context(void)
{
    qf_context *context;
    assert_int_equal(qf_context_create(&context), QF_OK);
    qf_context_set_seed(context, 1);
    return context;
}

/* Without a context: making one sets the number of threads anew. */
static qf_buffer read_whole(const char *path)
{
    qf_buffer whole = {0};
    char part[4096];
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    for (size_t count; (count = fread(part, 1, sizeof part, file)) > 0;)
        qf_buffer_append(&whole, part, count);
    fclose(file);
    return whole;
}

test_array test_load_npy(const char *path)
{
    static const struct {
        const char *name;
        char type;
        size_t size;
    } types[] = {{"'<f4'", 'f', 4}, {"'<f8'", 'd', 8}, {"'<i4'", 'i', 4}};
    test_array array = {0};
    qf_buffer file = read_whole(path);
    const unsigned char *bytes = (const unsigned char *)file.data;
    if (file.size < 10 || memcmp(bytes, "\x93NUMPY\x01", 7) != 0)
        fail_msg("%s is not a .npy file of version 1.0", path);
    size_t header = bytes[8] + 256u * bytes[9], offset = 10 + header, size = 0;
    char *text = calloc(header + 1, 1);
    memcpy(text, bytes + 10, header);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strstr(text, types[i].name))
            array.type = types[i].type, size = types[i].size;
    char *cursor = strstr(text, "'shape': (");
    if (!array.type || !cursor)
        fail_msg("%s has an element type or header that tests do not know: %s", path, text);
    array.count = 1;
    for (cursor += 10; *cursor != ')';) {
        if (*cursor == ',' || *cursor == ' ') {
            cursor++;
            continue;
        }
        array.shape[array.axes] = strtoul(cursor, &cursor, 10);
        array.count *= array.shape[array.axes++];
    }
    free(text);
    assert_int_equal(file.size - offset, array.count * size);
    array.data = qf_alloc(array.count, size);
    memcpy(array.data, file.data + offset, array.count * size);
    qf_buffer_release(&file);
    return array;
}

char *test_make_directory(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = test_format("%s/qaffe-test-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void test_remove_directory(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static char *entered;

int test_enter_folder(void **state)
{
    (void)state;
    entered = test_make_directory();
    return chdir(entered);
}

int test_leave_folder(void **state)
{
    (void)state;
    const int left = chdir("/");
    test_remove_directory(entered);
    qf_free(entered);
    return left;
}

char *test_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    assert_true(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    char *copy = qf_strdup(text);
    free(text);
    return copy;
}

char *test_replace(const char *text, const char *from, const char *to)
{
    qf_buffer out = {0};
    for (const char *next; (next = strstr(text, from)); text = next + strlen(from))
        qf_buffer_print(&out, "%.*s%s", (int)(next - text), text, to);
    qf_buffer_print(&out, "%s", text);
    char *replaced = qf_strdup(qf_buffer_text(&out));
    qf_buffer_release(&out);
    return replaced;
}

bool test_find_documented(const char *type, test_documented *out)
{
    static const char path[] = QAFFE_SOURCE_DIR "/docs/layers.md";
    char line[1024], name[64], counts[3][16], remark[8];
    bool found = false;
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    while (!found && fgets(line, sizeof line, file)) {
        const int fields = sscanf(line, "| `%63[^`]` | %15s | %15s | %15s | %7[^|\n ]", name,
                                  counts[0], counts[1], counts[2], remark);
        found = fields >= 4 && strcmp(name, type) == 0;
        *out = (test_documented){atoi(counts[0]), atoi(counts[1]), atoi(counts[2]), fields == 5};
    }
    fclose(file);
    return found;
}
