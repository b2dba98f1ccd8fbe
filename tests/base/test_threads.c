/* Training is the same from run to run for the same number of threads: snapshots agree in every
 * byte. And the threads that make others wait briefly (base/waiting.h)
 * come and go. */
#include "base/clock.h"
#include "base/waiting.h"
#include "harness/harness.h"
#include "train/solver.h"

#include <dirent.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const nets[] = {
    /* LeNet's layers, small */
    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
    "  shape { dim: 16 dim: 1 dim: 20 dim: 20 } shape { dim: 16 }"
    "  data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 3 } } }"
    "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1' convolution_param {"
    "  num_output: 20 kernel_size: 5 weight_filler { type: 'xavier' } } }"
    "layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1'"
    "  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }"
    "layer { name: 'ip1' type: 'InnerProduct' bottom: 'pool1' top: 'ip1' inner_product_param {"
    "  num_output: 50 weight_filler { type: 'xavier' } } }"
    "layer { name: 'relu1' type: 'ReLU' bottom: 'ip1' top: 'ip1' }"
    "layer { name: 'ip2' type: 'InnerProduct' bottom: 'ip1' top: 'ip2' inner_product_param {"
    "  num_output: 10 weight_filler { type: 'xavier' } } }"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: 'loss' }",
    /* convolution and BatchNorm with a shortcut */
    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
    "  shape { dim: 8 dim: 3 dim: 24 dim: 24 } shape { dim: 8 }"
    "  data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 1 } } }"
    "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param {"
    "  num_output: 32 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: 'msra' } } }"
    "layer { name: 'a_bn' type: 'BatchNorm' bottom: 'a' top: 'a' }"
    "layer { name: 'a_scale' type: 'Scale' bottom: 'a' top: 'a' scale_param { bias_term: true } }"
    "layer { name: 'a_relu' type: 'ReLU' bottom: 'a' top: 'a' }"
    "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param {"
    "  num_output: 32 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: 'msra' } } }"
    "layer { name: 'b_bn' type: 'BatchNorm' bottom: 'b' top: 'b' }"
    "layer { name: 'sum' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'sum' }"
    "layer { name: 'pool' type: 'Pooling' bottom: 'sum' top: 'pool'"
    "  pooling_param { pool: AVE global_pooling: true } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param {"
    "  num_output: 5 weight_filler { type: 'xavier' } } }"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }",
};

static void write_text(qf_context *context, const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

/* Ten iterations with clipped gradients; the weights and the solver's state as files. */
static void train(const char *folder, const char *net, int threads, qf_buffer out[2])
{
    qf_context *context = test_context();
    char *model = test_format("%s/net.prototxt", folder);
    char *solver_file = test_format("%s/solver.prototxt", folder);
    char *settings = test_format("net: '%s' base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 "
                                 "weight_decay: 0.001 clip_gradients: 1 max_iter: 10 "
                                 "random_seed: 5 snapshot_prefix: '%s/run'",
                                 model, folder);
    qf_solver *solver;
    qf_context_set_threads(context, threads);
    write_text(context, model, net);
    write_text(context, solver_file, settings);
    assert_ok(context, qf_solver_create(context, solver_file, &solver));
    assert_ok(context, qf_solver_solve(solver));
    qf_solver_destroy(solver);
    static const char *const endings[] = {"caffemodel", "solverstate"};
    for (int i = 0; i < 2; i++) {
        char *path = test_format("%s/run_iter_10.%s", folder, endings[i]);
        out[i] = (qf_buffer){0};
        assert_ok(context, qf_file_read(context, path, &out[i]));
        qf_free(path);
    }
    qf_free(settings);
    qf_free(solver_file);
    qf_free(model);
    qf_context_destroy(context);
}

static void runs_agree(void **state)
{
    (void)state;
    char *folder = test_make_directory();
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++)
        for (int threads = 1; threads <= 2; threads++) {
            qf_buffer first[2], second[2];
            train(folder, nets[n], threads, first);
            train(folder, nets[n], threads, second);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(first[i].size, second[i].size);
                assert_memory_equal(first[i].data, second[i].data, first[i].size);
                qf_buffer_release(&first[i]);
                qf_buffer_release(&second[i]);
            }
        }
    test_remove_directory(folder);
    qf_free(folder);
}

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Threads start and end in their own time: for half a minute at most. */
static bool threads_become(int expected)
{
    for (int i = 0; i < 3000 && count_threads() != expected; i++)
        usleep(10000);
    return count_threads() == expected;
}

static bool waiting_is_managed(void)
{
#ifdef __clang__ /* its OpenMP never gives threads back */
    return false;
#endif
    return omp_get_num_procs() > 1 && !getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT");
}

/* Until the library decided that threads sleep soon: half a minute at most. */
static bool looks_keep_a_team(int expected)
{
    const double end = qf_seconds() + 30;
    while (count_threads() != expected && qf_seconds() < end)
        qf_waiting_look();
    return threads_become(expected);
}

/* On one processor together with a process that wants it, too. */
static void a_team_is_kept_beside_other_work(void **state)
{
    (void)state;
    if (!waiting_is_managed() || access("/proc/thread-self/schedstat", R_OK) != 0)
        skip();
    const int before = count_threads();
    qf_context *first = test_context(), *second = test_context();
    assert_int_equal(count_threads(), before);
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int i = 0; CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    const pid_t other = fork();
    if (other == 0) {
        alarm(60);
        for (;;)
            __asm__ volatile("");
    }
    assert_true(looks_keep_a_team(before + 2));
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    sched_setaffinity(0, sizeof all, &all);
    qf_context_destroy(first);
    assert_true(threads_become(before + 2));
    if (omp_get_num_procs() > 2) {
        qf_context_set_threads(second, omp_get_num_procs() - 1);
        assert_true(threads_become(before + 3));
    }
    qf_context_destroy(second);
    assert_true(threads_become(before));
}

static void a_team_that_is_not_needed_ends(void **state)
{
    (void)state;
    if (!waiting_is_managed())
        skip();
    const int before = count_threads();
    qf_context *context = test_context();
    for (int i = 0; i < 3; i++) {
        qf_waiting_keep_team(true);
        assert_true(threads_become(before + 2));
        qf_waiting_keep_team(false);
        assert_true(threads_become(before + 1));
    }
    qf_context_destroy(context);
    assert_true(threads_become(before));
}

static void *make_contexts(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        qf_context *context = test_context();
        qf_waiting_keep_team(i % 3 > 0);
        qf_context_destroy(context);
    }
    return NULL;
}

static void contexts_come_and_go_in_several_threads(void **state)
{
    (void)state;
    if (!waiting_is_managed())
        skip();
    const int before = count_threads();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_contexts, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(threads_become(before));
}

/* The child has the memory of the team that is kept, but none of its threads. */
static void a_fork_can_destroy_what_it_inherits(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_waiting_keep_team(true);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* instead of waiting for ever */
        qf_context_destroy(context);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_team_is_kept_beside_other_work),
        cmocka_unit_test(a_team_that_is_not_needed_ends),
        cmocka_unit_test(contexts_come_and_go_in_several_threads),
        cmocka_unit_test(a_fork_can_destroy_what_it_inherits),
        cmocka_unit_test(runs_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
