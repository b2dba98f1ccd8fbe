/* Recorded command lines of BVLC Caffe: its programs' logs, exit codes and outputs. The folders are
 * walked, so a new case needs no code. Each case runs in a copy of its folder. */
#include "data/stores/datum.h"
#include "data/stores/sample_store.h"
#include "harness/cases.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *golden;

/* ---- running ---- */

/* Everything a case needs, copied; the working directory moves there. */
static char *enter_copy(const test_case *test)
{
    char *folder = test_make_directory();
    char *line = test_format("cp -rL '%s/.' '%s' && chmod -R u+w '%s'", test->path, folder, folder);
    assert_int_equal(system(line), 0);
    assert_int_equal(chdir(folder), 0);
    qf_free(line);
    return folder;
}

static void leave_copy(const test_case *test, char *folder)
{
    assert_int_equal(chdir(test->path), 0);
    test_remove_directory(folder);
    qf_free(folder);
}

static const char *place_of(const char *tool)
{
    return strncmp(tool, "convert_mnist", 13) == 0   ? "examples/mnist"
           : strncmp(tool, "convert_cifar", 13) == 0 ? "examples/cifar10"
                                                     : "tools";
}

/* The exit code; `log` gets what came on stderr. */
static int run_command(const char *tool, const char *arguments, qf_buffer *log)
{
    char *line = test_format("%s/build/%s/%s %s --threads=1 2>&1 >stdout.txt", QAFFE_CAFFE_HOME,
                             place_of(tool), tool, arguments);
    char *threads = strcmp(tool, "caffe") == 0 ? NULL : strstr(line, " --threads=1");
    if (threads) /* only what computes has it */
        memset(threads, ' ', strlen(" --threads=1"));
    char part[4096];
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    for (size_t count; (count = fread(part, 1, sizeof part, pipe)) > 0;)
        qf_buffer_append(log, part, count);
    int code = pclose(pipe);
    qf_free(line);
    assert_true(WIFEXITED(code));
    return WEXITSTATUS(code);
}

static int run_recorded(const json_t *command, qf_buffer *log)
{
    qf_buffer arguments = {0};
    for (size_t i = 1; i < json_array_size(command); i++)
        qf_buffer_print(&arguments, " '%s'", json_string_value(json_array_get(command, i)));
    int code =
        run_command(json_string_value(json_array_get(command, 0)), qf_buffer_text(&arguments), log);
    qf_buffer_release(&arguments);
    return code;
}

/* ---- log/ ---- */

/* Lines that come from Caffe's classes of databases and its layer factory; they depend on how the
 * data are read ahead. */
static bool is_internal(const char *text)
{
    static const char *const starts[] = {"Creating layer ", "Opened lmdb", "output data size",
                                         "Restarting data prefetching", "Waiting for data"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncmp(text, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* The next line without its prefix, every number replaced by #; the severity stays. NULL: the end.
 */
static char *next_line(const char **cursor)
{
    for (;;) {
        if (!**cursor)
            return NULL;
        size_t length = strcspn(*cursor, "\n");
        char *line = test_format("%.*s", (int)length, *cursor), *text = line;
        *cursor += length + ((*cursor)[length] == '\n');
        char *bracket = strstr(line, "] ");
        bool prefixed = strchr("IWEF", line[0]) && isdigit((unsigned char)line[1]) && bracket;
        if (prefixed)
            text = bracket + 2;
        if (prefixed && is_internal(text)) {
            qf_free(line);
            continue;
        }
        qf_buffer out = {0};
        qf_buffer_print(&out, "%c ", prefixed ? line[0] : ' ');
        for (char *c = text; *c;) {
            char *end = c;
            bool in_word = c > text && (isalnum((unsigned char)c[-1]) || c[-1] == '_');
            if (!in_word &&
                (isdigit((unsigned char)*c) || (*c == '-' && isdigit((unsigned char)c[1]))))
                strtod(c, &end);
            qf_buffer_append(&out, end > c ? "#" : c, 1);
            c = end > c ? end : c + 1;
        }
        while (out.size && out.data[out.size - 1] == ' ')
            out.data[--out.size] = '\0';
        qf_free(line);
        line = test_format("%s", qf_buffer_text(&out));
        qf_buffer_release(&out);
        return line;
    }
}

static void compare_logs(test_case *test, const char *name, const char *ours, const char *theirs)
{
    for (int number = 1;; number++) {
        char *a = next_line(&ours), *b = next_line(&theirs);
        bool same = a && b ? strcmp(a, b) == 0 : a == b;
        if (!same)
            test_failure(test, "  %s, line %d:\n    %s\n  expected\n    %s\n", name, number,
                         a ? a : "(end)", b ? b : "(end)");
        bool end = !a || !b || !same;
        qf_free(a);
        qf_free(b);
        if (end)
            return;
    }
}

static qf_buffer load(test_case *test, const char *name)
{
    qf_buffer file = {0};
    assert_ok(test->context, qf_file_read(test->context, name, &file));
    return file;
}

/* `caffe test` on stored weights gives the same scores. */
static void compare_scores(test_case *test, const char *ours, const char *theirs)
{
    const char *at = strstr(theirs, "] Loss: "), *found = strstr(ours, "] Loss: ");
    while (at && found && (at = strstr(at, " = ")) && (found = strstr(found, " = "))) {
        at += 3;
        found += 3;
        if (!test_agrees(strtod(found, NULL), strtod(at, NULL), 2e-5, 0))
            test_failure(test, "  score %.20s, expected %.20s\n", found, at);
    }
}

static void run_logged(test_case *test, const json_t *entry)
{
    qf_buffer ours = {0}, theirs = load(test, json_text(entry, "log"));
    const json_t *command = json_object_get(entry, "command"), *file;
    size_t i;
    int code = run_recorded(command, &ours);
    if (code != 0)
        test_failure(test, "  exit code %d\n", code);
    compare_logs(test, json_text(entry, "log"), qf_buffer_text(&ours), qf_buffer_text(&theirs));
    if (strcmp(json_string_value(json_array_get(command, 1)), "test") == 0)
        compare_scores(test, qf_buffer_text(&ours), qf_buffer_text(&theirs));
    json_array_foreach(json_object_get(entry, "files_written"), i, file)
    {
        if (!qf_file_exists(json_string_value(file)))
            test_failure(test, "  %s was not written\n", json_string_value(file));
    }
    qf_buffer_release(&ours);
    qf_buffer_release(&theirs);
}

/* What Caffe cannot do and qaffe can. */
static bool works_here(const char *net)
{
    static const char *const nets[] = {
        "stochastic_pool_cpu.prototxt",     /* Caffe has it for GPUs only */
        "absval_inplace.prototxt",          /* the sign is kept */
        "softmax_loss_second_top.prototxt", /* the probabilities, as in older Caffes */
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if (strcmp(nets[i], net) == 0)
            return true;
    return false;
}

/* Nets that Caffe refuses: `caffe time` ends with 1 and one sentence. */
static void run_refused(test_case *test, const json_t *nets)
{
    const json_t *net;
    size_t i;
    json_array_foreach(nets, i, net)
    {
        qf_buffer log = {0};
        char *arguments =
            test_format("time -minloglevel 3 -iterations 1 -model '%s'", json_text(net, "file"));
        int code = run_command("caffe", arguments, &log);
        bool refused =
            json_is_true(json_object_get(net, "refused")) && !works_here(json_text(net, "file"));
        const char *text = qf_buffer_text(&log), *end = strchr(text, '\n');
        if (refused && code != 1)
            test_failure(test, "  %s: exit code %d\n", json_text(net, "file"), code);
        else if (refused && (strncmp(text, "caffe time: ", 12) != 0 || !end || end[1]))
            test_failure(test, "  %s: expected one sentence, got: %s\n", json_text(net, "file"),
                         text);
        qf_free(arguments);
        qf_buffer_release(&log);
    }
}

static void run_log(test_case *test)
{
    char *folder = enter_copy(test);
    const json_t *entry, *list = json_object_get(test->json, "commands");
    size_t i;
    json_array_foreach(list, i, entry) run_logged(test, entry);
    if (json_object_get(test->json, "command"))
        run_logged(test, test->json);
    run_refused(test, json_object_get(test->json, "nets"));
    leave_copy(test, folder);
}

/* ---- tools/ ---- */

static bool messages_appear(test_case *test, const char *log, const json_t *messages)
{
    const json_t *message;
    size_t i;
    bool all = true;
    json_array_foreach(messages, i, message)
    {
        const char *text =
            json_is_string(message) ? json_string_value(message) : json_text(message, "text");
        /* Outputs have other names here; an abort's words are Caffe's own. */
        if (strstr(text, "expected") || strstr(text, "Check failed") || strchr(text, '.') ||
            (json_is_object(message) && *json_text(message, "severity") == 'F'))
            continue;
        if (!strstr(log, text)) {
            test_failure(test, "  the log lacks: %s\n", text);
            all = false;
        }
    }
    return all;
}

static void compare_datums(test_case *test, size_t index, const qf_sample *ours,
                           const qf_sample *theirs, double pixels, double rtol, double atol)
{
    qf_image a, b;
    if (ours->key_size != theirs->key_size || memcmp(ours->key, theirs->key, ours->key_size) != 0) {
        test_failure(test, "  item %zu has the key %.*s, expected %.*s\n", index,
                     (int)ours->key_size, (const char *)ours->key, (int)theirs->key_size,
                     (const char *)theirs->key);
        return;
    }
    assert_ok(test->context, qf_datum_decode(test->context, ours->value, ours->value_size,
                                             QF_COLOR_AS_STORED, &a));
    assert_ok(test->context, qf_datum_decode(test->context, theirs->value, theirs->value_size,
                                             QF_COLOR_AS_STORED, &b));
    if (a.channels != b.channels || a.height != b.height || a.width != b.width ||
        a.label != b.label || !a.floats != !b.floats || !a.pixels != !b.pixels) {
        test_failure(
            test, "  item %zu is %d x %d x %d, label %d, expected %d x %d x %d, label %d\n", index,
            a.channels, a.height, a.width, a.label, b.channels, b.height, b.width, b.label);
    } else {
        for (int c = 0; c < a.channels; c++)
            for (int y = 0; y < a.height; y++)
                for (int x = 0; x < a.width; x++) {
                    size_t at = (size_t)c * a.channel_step + (size_t)y * a.row_step +
                                (size_t)x * a.pixel_step;
                    double found = a.floats ? (double)a.floats[at] : a.bytes[at];
                    double expected = b.floats ? (double)b.floats[at] : b.bytes[at];
                    if (!test_agrees(found, expected, a.floats ? rtol : 0,
                                     a.floats ? atol : pixels))
                        test_failure(test, "  item %zu [%d, %d, %d] is %g, expected %g\n", index, c,
                                     y, x, found, expected);
                }
    }
    qf_image_release(&a);
    qf_image_release(&b);
}

static void compare_databases(test_case *test, const char *ours, const char *theirs)
{
    qf_sample_store *a, *b;
    uint64_t count, expected;
    double pixels = json_number(test->json, "pixel_tolerance");
    double rtol = json_number(test->json, "rtol"), atol = json_number(test->json, "atol");
    if (qf_sample_store_open(test->context, theirs, &b) != QF_OK) { /* none, or empty */
        if (qf_sample_store_open(test->context, ours, &a) == QF_OK)
            test_failure(test, "  %s should be empty\n", ours);
        return;
    }
    if (qf_sample_store_open(test->context, ours, &a) != QF_OK) {
        test_failure(test, "  %s\n", qf_error_text(test->context));
        qf_sample_store_close(b);
        return;
    }
    assert_ok(test->context, qf_sample_store_count(test->context, a, &count));
    assert_ok(test->context, qf_sample_store_count(test->context, b, &expected));
    if (count != expected || qf_sample_store_format(a) != qf_sample_store_format(b))
        test_failure(test, "  %s has %d items, expected %d\n", ours, (int)count, (int)expected);
    else
        for (uint64_t i = 0; i < count; i++) {
            qf_sample x, y;
            assert_ok(test->context, qf_sample_store_next(test->context, a, &x));
            assert_ok(test->context, qf_sample_store_next(test->context, b, &y));
            compare_datums(test, i, &x, &y, pixels, rtol, atol);
        }
    qf_sample_store_close(a);
    qf_sample_store_close(b);
}

static void compare_blobs(test_case *test, const char *ours, const char *theirs)
{
    Caffe__BlobProto *a, *b;
    double rtol = json_number(test->json, "rtol");
    assert_ok(test->context, qf_wire_read(test->context, ours, &caffe__blob_proto__descriptor, &a));
    assert_ok(test->context,
              qf_wire_read(test->context, theirs, &caffe__blob_proto__descriptor, &b));
    bool same = a->num == b->num && a->channels == b->channels && a->height == b->height &&
                a->width == b->width && a->n_data == b->n_data;
    for (size_t i = 0; same && i < a->n_data; i++)
        same = test_agrees((double)a->data[i], (double)b->data[i], rtol, 0);
    if (!same)
        test_failure(test, "  %s is not %s\n", ours, theirs);
    qf_message_free(a);
    qf_message_free(b);
}

static void run_tool(test_case *test)
{
    char *folder = enter_copy(test);
    qf_buffer log = {0};
    int code = run_recorded(json_object_get(test->json, "command"), &log);
    bool aborts = json_is_true(json_object_get(test->json, "aborts"));
    if (aborts ? code != 1 : code != (int)json_number(test->json, "exit_code"))
        test_failure(test, "  exit code %d: %s\n", code, qf_buffer_text(&log));
    messages_appear(test, qf_buffer_text(&log), json_object_get(test->json, "messages"));
    const char *database = json_text(test->json, "expected_db");
    const char *file = json_text(test->json, "expected_file");
    const json_t *several = json_object_get(test->json, "expected_dbs"), *entry;
    size_t i;
    if (database && !aborts)
        compare_databases(test, "OUTPUT", database);
    if (file)
        compare_blobs(test, "OUTPUT", file);
    json_array_foreach(several, i, entry)
    {
        const char *name = json_string_value(entry); /* "expected_conv" beside "OUTPUT_conv" */
        char *ours = test_format("OUTPUT%s", strchr(name, '_'));
        compare_databases(test, ours, name);
        qf_free(ours);
    }
    qf_buffer_release(&log);
    leave_copy(test, folder);
}

/* ---- upgrade/ ---- */

static void run_upgrade(test_case *test)
{
    char *folder = enter_copy(test);
    qf_buffer log = {0};
    const char *tool = json_text(test->json, "tool"), *expected = json_text(test->json, "expected");
    char *arguments = test_format("'%s' OUTPUT", json_text(test->json, "input"));
    int code = run_command(tool, arguments, &log);
    const json_t *recorded = json_object_get(test->json, "exit_code");
    if (json_is_integer(recorded) ? code != (int)json_integer_value(recorded) : code == 0)
        test_failure(test, "  exit code %d\n", code);
    messages_appear(test, qf_buffer_text(&log), json_object_get(test->json, "messages"));
    if (!expected && qf_file_exists("OUTPUT"))
        test_failure(test, "  an output was written\n");
    if (expected) {
        qf_buffer ours = load(test, "OUTPUT"), theirs = load(test, expected);
        if (ours.size != theirs.size || memcmp(ours.data, theirs.data, ours.size) != 0)
            test_failure(test, "  the output is not %s\n", expected);
        qf_buffer_release(&ours);
        qf_buffer_release(&theirs);
    }
    qf_free(arguments);
    qf_buffer_release(&log);
    leave_copy(test, folder);
}

static void logs_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/log", 1, run_log);
}

static void tools_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/tools", 1, run_tool);
}

static void upgrade_tools_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/upgrade", 1, run_upgrade);
}

int main(void)
{
    golden = test_golden_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_agree),
        cmocka_unit_test(tools_agree),
        cmocka_unit_test(upgrade_tools_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
