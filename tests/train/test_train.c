/* `train` as a run of hours meets the world: signals, and solvers with several nets. The expected
 * log lines are those that BVLC Caffe (commit 9b89154) writes for the same files. */
#include "harness/command.h"
#include "harness/fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATA(phase, source, batch)                                                                 \
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' include { phase: " phase " } "           \
    "transform_param { scale: 0.01 } data_param { source: '" source "' batch_size: " batch         \
    " backend: LMDB } } "
#define PRODUCT                                                                                    \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "         \
    "num_output: 10 weight_filler { type: 'xavier' } } } "
#define LOSS(rule)                                                                                 \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' " rule  \
    "} "
#define ACCURACY(name, k, rule)                                                                    \
    "layer { name: '" name "' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: '" name           \
    "' accuracy_param { top_k: " k " } include { phase: TEST " rule " } } "
#define NET                                                                                        \
    DATA("TRAIN", "train_lmdb", "20")                                                              \
    DATA("TEST", "test_lmdb", "20")                                                                \
    PRODUCT                                                                                        \
    "layer { name: 'drop' type: 'Dropout' bottom: 'ip' top: 'ip' dropout_param { "                 \
    "dropout_ratio: 0.1 } include { phase: TRAIN stage: 'drop' min_level: 2 } } " LOSS(            \
        "exclude { phase: TEST stage: 'scores' } ") ACCURACY("top1", "1", "stage: 'scores'")       \
        ACCURACY("top3", "3", "min_level: 1")

static int set_up(void **state)
{
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 200, 60, 1));
    test_write_text(context, "net.prototxt", "name: 'shared' " NET);
    test_write_text(context, "other.prototxt", "name: 'other' " NET);
    test_write_text(context, "endless.prototxt",
                    "net: 'net.prototxt' test_iter: 3 test_interval: 1000000 base_lr: 0.01 "
                    "lr_policy: 'fixed' max_iter: 100000000 display: 20 snapshot_prefix: 'endless' "
                    "random_seed: 1");
    return 0;
}

/* ---- signals ---- */

/* A training without end in the background; its log goes to `log.txt`. */
static pid_t start(const char *program, const char *arguments)
{
    char *line = test_format("exec %s %s >log.txt 2>&1", program, arguments);
    test_write_text(context, "log.txt", ""); /* there before the child opens it */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    qf_free(line);
    return child;
}

/* Reads the log, until `part` is in it behind `from`; gives the place behind `part`. */
static size_t wait_for(pid_t child, const char *part, size_t from)
{
    for (int i = 0; i < 6000; i++) {
        qf_buffer log = {0};
        assert_ok(context, qf_file_read(context, "log.txt", &log));
        const char *text = qf_buffer_text(&log);
        const char *found = log.size > from ? strstr(text + from, part) : NULL;
        size_t place = found ? (size_t)(found - text) + strlen(part) : 0;
        qf_buffer_release(&log);
        if (found)
            return place;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    kill(child, SIGKILL);
    fail_msg("a minute passed, and the log lacks \"%s\"", part);
    return 0;
}

static int wait_status(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* The iteration of the first snapshot that the log tells of behind `from`. */
static int snapshot_since(pid_t child, size_t from)
{
    size_t place = wait_for(child, "] Snapshotting to binary proto file endless_iter_", from);
    wait_for(child, "] Snapshotting solver state to binary proto file endless_iter_", place);
    qf_buffer log = {0};
    assert_ok(context, qf_file_read(context, "log.txt", &log));
    int iteration = (int)strtol(qf_buffer_text(&log) + place, NULL, 10);
    qf_buffer_release(&log);
    return iteration;
}

/* A state that a signal caused is as good as any other: one more iteration runs from it. */
static void expect_resumable(int iteration)
{
    char *solver = test_format("net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: %d "
                               "snapshot_prefix: 'on' random_seed: 1",
                               iteration + 1);
    char *arguments =
        test_format("train --solver on.prototxt --snapshot endless_iter_%d.solverstate", iteration);
    char *next = test_format("on_iter_%d.caffemodel", iteration + 1);
    test_write_text(context, "on.prototxt", solver);
    test_command(0, next, "", arguments);
    assert_true(qf_file_exists(next));
    qf_free(solver);
    qf_free(arguments);
    qf_free(next);
}

#define CAFFE QAFFE_CAFFE_HOME "/build/tools/caffe"

static void signals_do_what_was_asked(void **state)
{
    (void)state;
    static const struct {
        const char *program, *arguments;
        int snapshot, stop; /* signals with that effect */
    } rows[] = {
        {QAFFE_COMMAND, "train --solver endless.prototxt", SIGHUP, SIGINT},
        {CAFFE, "train -solver endless.prototxt", SIGHUP, SIGINT},
        {CAFFE, "train --solver=endless.prototxt --sigint_effect=snapshot --sighup_effect=stop",
         SIGINT, SIGHUP},
        {QAFFE_COMMAND,
         "train --solver endless.prototxt --sigint-effect snapshot --sighup-effect stop", SIGINT,
         SIGHUP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pid_t child = start(rows[i].program, rows[i].arguments);
        size_t place = wait_for(child, "] Iteration 20 (", 0);
        kill(child, rows[i].snapshot);
        int iteration = snapshot_since(child, place);
        place = wait_for(child, "] Snapshotting solver state", place);
        place = wait_for(child, " iters), loss = ", place); /* it goes on */
        kill(child, rows[i].stop);
        assert_int_equal(wait_status(child), 0);
        int last = snapshot_since(child, place);
        assert_true(last > iteration);
        place = wait_for(child, "] Optimization stopped early.", place);
        wait_for(child, "] Optimization Done.", place);
        expect_resumable(iteration);
        expect_resumable(last);
    }
    test_tool(1, "sigint", "tools/caffe train -solver endless.prototxt -sigint_effect halt");
}

static void signals_can_be_without_effect(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {CAFFE, "train -solver endless.prototxt -sigint_effect none -sighup_effect none"},
        {QAFFE_COMMAND, "train --solver endless.prototxt --sigint-effect none "
                        "--sighup-effect none"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        pid_t child = start(lines[i][0], lines[i][1]);
        size_t place = wait_for(child, "] Iteration 20 (", 0);
        kill(child, SIGINT);
        kill(child, SIGHUP);
        kill(child, SIGINT);
        for (int k = 0; k < 3; k++)
            place = wait_for(child, " iters), loss = ", place);
        kill(child, SIGKILL);
        assert_true(WIFSIGNALED(wait_status(child)));
        assert_false(test_file_has(context, "log.txt", "Snapshotting"));
        assert_false(test_file_has(context, "log.txt", "stopped early"));
    }
}

static void send_until_it_ends(pid_t child, int number, int *ended)
{
    while (waitpid(child, ended, WNOHANG) == 0) {
        kill(child, number);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
}

/* The first Ctrl-C waits for the end of the iteration; the next one does not. */
static void ctrl_c_once_more_ends_it(void **state)
{
    (void)state;
    int ended;
    test_write_text(context, "slow.prototxt",
                    "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 10 "
                    "iter_size: 100000000 snapshot_prefix: 'slow' random_seed: 1");
    pid_t child = start(QAFFE_COMMAND, "train --solver slow.prototxt");
    wait_for(child, "] Starting Optimization", 0);
    send_until_it_ends(child, SIGINT, &ended);
    assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGINT);
    assert_false(test_file_has(context, "log.txt", "Snapshotting"));
}

/* No handler, in no thread: a thread of its own waits for signals. */
static void signals_interrupt_no_thread(void **state)
{
    (void)state;
    pid_t child = start(QAFFE_COMMAND, "train --solver endless.prototxt --sighup-effect none");
    size_t place = wait_for(child, "] Iteration 20 (", 0);
    char *path = test_format("/proc/%d/status", (int)child), line[256];
    FILE *file = fopen(path, "r");
    unsigned long long caught = ~0ull;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "SigCgt: %llx", &caught);
    fclose(file);
    qf_free(path);
    assert_int_equal(caught & (1ull << (SIGINT - 1) | 1ull << (SIGHUP - 1)), 0);
    for (int i = 0; i < 20000; i++)
        kill(child, SIGHUP);
    place = wait_for(child, " iters), loss = ", place);
    kill(child, SIGINT);
    assert_int_equal(wait_status(child), 0);
    wait_for(child, "] Optimization Done.", place);
}

/* Commands that ask for no signals end by them, as any program; nohup's SIGHUP is ignored. */
static void other_commands_end_by_signals(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        int number;
    } rows[] = {
        {QAFFE_COMMAND, SIGINT},           {QAFFE_COMMAND, SIGHUP},
        {QAFFE_COMMAND, SIGTERM},          {"nohup " QAFFE_COMMAND, SIGINT},
        {"nohup " QAFFE_COMMAND, SIGTERM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pid_t child = start(rows[i].program,
                            "time --model net.prototxt --phase TRAIN --iterations 100000000");
        wait_for(child, "] Performing Forward", 0);
        if (strstr(rows[i].program, "nohup"))
            for (int k = 0; k < 100; k++)
                kill(child, SIGHUP);
        kill(child, rows[i].number);
        int ended = wait_status(child);
        assert_true(WIFSIGNALED(ended));
        assert_int_equal(WTERMSIG(ended), rows[i].number);
    }
}

/* A test pass of hours stops, too, and snapshot_after_train: false holds. */
static void a_test_pass_is_interrupted(void **state)
{
    (void)state;
    test_write_text(context, "tests.prototxt",
                    "net: 'net.prototxt' test_iter: 100000000 test_interval: 10 base_lr: 0.01 "
                    "lr_policy: 'fixed' max_iter: 10 snapshot_after_train: false random_seed: 1");
    pid_t child = start(CAFFE, "train -solver tests.prototxt");
    size_t place = wait_for(child, "] Iteration 0, Testing net (#0)", 0);
    kill(child, SIGINT);
    assert_int_equal(wait_status(child), 0);
    place = wait_for(child, "] Test interrupted.", place);
    wait_for(child, "] Optimization stopped early.", place);
    assert_false(test_file_has(context, "log.txt", "Snapshotting"));
}

/* ---- several nets ---- */

/* The lines of the last command's log that tell of nets and their tests, without their prefix,
 * every value behind "= " replaced by #: it is the run's own. */
static void expect_lines(const char *expected)
{
    static const char *const parts[] = {"Creating training net", "Creating test net",
                                        "Testing net (",         "Ignoring source layer ",
                                        "Test net output #",     "Finetuning from "};
    qf_buffer found = {0};
    for (char *rest = test_output, *line; (line = strsep(&rest, "\n"));) {
        const char *text = strstr(line, "] "), *value;
        bool picked = false;
        for (size_t i = 0; text && i < sizeof parts / sizeof *parts; i++)
            picked |= strstr(text, parts[i]) != NULL;
        if (!picked)
            continue;
        for (text += 2; (value = strstr(text, "= ")); text = value + strcspn(value, " )\n")) {
            value += 2;
            qf_buffer_print(&found, "%.*s#", (int)(value - text), text);
        }
        qf_buffer_print(&found, "%s\n", text);
    }
    assert_string_equal(qf_buffer_text(&found), expected);
    qf_buffer_release(&found);
}

#define SETTINGS                                                                                   \
    "test_interval: 5 base_lr: 0.05 lr_policy: 'fixed' max_iter: 5 random_seed: 1 "                \
    "snapshot_prefix: 'several' "

/* Four test nets of three kinds, in Caffe's order, each with its own state and number of batches;
 * the training net has the solver's stage and the command's level. */
static void several_test_nets(void **state)
{
    (void)state;
    test_write_text(
        context, "several.prototxt",
        "net: 'net.prototxt' train_state { stage: 'drop' } "
        "test_net_param { " DATA("TEST", "test_lmdb", "10") PRODUCT LOSS(
            "") "} "
                "test_net: 'other.prototxt' "
                "test_iter: 6 test_iter: 3 test_iter: 2 test_iter: 1 "
                "test_state {} test_state { stage: 'scores' } "
                "test_state { level: 1 stage: 'scores' } test_state { level: 1 } " SETTINGS);
    test_tool(0, "Optimization Done.", "tools/caffe train -solver several.prototxt -level 2");
#define ROUND(iteration)                                                                           \
    "Iteration " iteration ", Testing net (#0)\n"                                                  \
    "Ignoring source layer drop\n"                                                                 \
    "    Test net output #0: loss = # (* 1 = # loss)\n"                                            \
    "Iteration " iteration ", Testing net (#1)\n"                                                  \
    "Ignoring source layer drop\n"                                                                 \
    "Ignoring source layer loss\n"                                                                 \
    "    Test net output #0: top1 = #\n"                                                           \
    "Iteration " iteration ", Testing net (#2)\n"                                                  \
    "Ignoring source layer drop\n"                                                                 \
    "Ignoring source layer loss\n"                                                                 \
    "    Test net output #0: top1 = #\n"                                                           \
    "    Test net output #1: top3 = #\n"                                                           \
    "Iteration " iteration ", Testing net (#3)\n"                                                  \
    "Ignoring source layer drop\n"                                                                 \
    "    Test net output #0: loss = # (* 1 = # loss)\n"                                            \
    "    Test net output #1: top3 = #\n"
    expect_lines("Creating training net from net file: net.prototxt\n"
                 "Creating test net (#0) specified by test_net_param\n"
                 "Creating test net (#1) specified by test_net file: other.prototxt\n"
                 "Creating test net (#2) specified by net file: net.prototxt\n"
                 "Creating test net (#3) specified by net file: net.prototxt\n" ROUND("0")
                     ROUND("5"));
}

/* The other fields that name nets, and `weights`, which all nets start from. */
static void nets_are_named_in_many_ways(void **state)
{
    (void)state;
    test_write_text(context, "files.prototxt",
                    "train_net: 'net.prototxt' test_net: 'net.prototxt' test_net: 'other.prototxt' "
                    "weights: 'several_iter_5.caffemodel' "
                    "weights: 'several_iter_5.caffemodel, several_iter_5.caffemodel' "
                    "test_iter: 3 test_iter: 3 test_state { stage: 'scores' } "
                    "test_state { level: 1 } test_initialization: false " SETTINGS);
#define FINETUNING "Finetuning from several_iter_5.caffemodel\nIgnoring source layer drop\n"
#define WITHOUT_LOSS FINETUNING "Ignoring source layer loss\n"
    test_tool(0, "Optimization Done.", "tools/caffe train -solver files.prototxt");
    expect_lines(
        "Creating training net from train_net file: net.prototxt\n" FINETUNING FINETUNING FINETUNING
        "Creating test net (#0) specified by test_net file: net.prototxt\n" WITHOUT_LOSS
            WITHOUT_LOSS WITHOUT_LOSS
        "Creating test net (#1) specified by test_net file: other.prototxt\n" FINETUNING FINETUNING
            FINETUNING "Iteration 5, Testing net (#0)\n"
        "Ignoring source layer loss\n"
        "    Test net output #0: top1 = #\n"
        "Iteration 5, Testing net (#1)\n"
        "    Test net output #0: loss = # (* 1 = # loss)\n"
        "    Test net output #1: top3 = #\n");

    static const struct {
        const char *solver, *training, *test;
    } rows[] = {
        {"net_param { " NET "} ", "specified in net_param.", "net_param"},
        {"train_net_param { " NET "} test_net_param { " NET "} ", "specified in train_net_param.",
         "test_net_param"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *solver = test_format("%s test_iter: 3 " SETTINGS, rows[i].solver);
        char *lines = test_format("Creating training net %s\n"
                                  "Creating test net (#0) specified by %s\n"
                                  "Iteration 0, Testing net (#0)\n"
                                  "    Test net output #0: loss = # (* 1 = # loss)\n"
                                  "Iteration 5, Testing net (#0)\n"
                                  "    Test net output #0: loss = # (* 1 = # loss)\n",
                                  rows[i].training, rows[i].test);
        test_write_text(context, "param.prototxt", solver);
        test_tool(0, "Optimization Done.", "tools/caffe train -solver param.prototxt");
        expect_lines(lines);
        qf_free(solver);
        qf_free(lines);
    }
}

/* What Caffe's checks refuse. */
static void counts_must_agree(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"net: 'net.prototxt' train_net: 'net.prototxt'", "exactly one of the fields"},
        {"test_net: 'net.prototxt' test_iter: 1 test_interval: 1", "exactly one of the fields"},
        {"net: 'net.prototxt' test_iter: 1", "test_interval > 0"},
        {"net: 'net.prototxt' test_net: 'net.prototxt' test_interval: 1", "once for each test net"},
        {"train_net: 'net.prototxt' test_net: 'net.prototxt' test_iter: 1 test_iter: 1 "
         "test_interval: 1",
         "once for each test net"},
        {"net: 'net.prototxt' test_iter: 1 test_interval: 1 test_state {} test_state {}",
         "each of the 1 test nets"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *solver = test_format("%s base_lr: 0.1 lr_policy: 'fixed' max_iter: 1 "
                                   "snapshot_after_train: false",
                                   rows[i][0]);
        test_write_text(context, "bad.prototxt", solver);
        test_tool(1, rows[i][1], "tools/caffe train -solver bad.prototxt");
        qf_free(solver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_do_what_was_asked),
        cmocka_unit_test(signals_can_be_without_effect),
        cmocka_unit_test(ctrl_c_once_more_ends_it),
        cmocka_unit_test(signals_interrupt_no_thread),
        cmocka_unit_test(other_commands_end_by_signals),
        cmocka_unit_test(a_test_pass_is_interrupted),
        cmocka_unit_test(several_test_nets),
        cmocka_unit_test(nets_are_named_in_many_ways),
        cmocka_unit_test(counts_must_agree),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
