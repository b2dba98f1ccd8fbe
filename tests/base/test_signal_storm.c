/* A host with timers of its own, whose handlers run on whichever thread the system picks, and with
 * OpenMP's threads made before the library is used: training gives the same bits as in silence. */
#include "harness/fixture.h"
#include "net/net.h"

#include <omp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static atomic_int handled; /* signals, in whichever thread */

/* Products that are long enough for the kernels that use the stack pointer for other things. */
static const char net[] =
    "layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { "
    "shape { dim: 20 dim: 1 dim: 28 dim: 28 } shape { dim: 20 } data_filler { type: 'gaussian' "
    "std: 1 } data_filler { type: 'constant' value: 1 } } } "
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { "
    "num_output: 8 kernel_size: 5 weight_filler { type: 'xavier' } } } "
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } } "
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' top: 'l' } ";

static int set_up(void **state)
{
    int threads = 0;
    test_start_in_folder(state);
    assert_ok(context, qf_file_write(context, "net.prototxt", net, strlen(net), 0640));
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    assert_true(threads >= 1);
    return 0;
}

/* A frame of some size, as handlers of profilers and of Python have. */
static void on_signal(int number)
{
    volatile char frame[2048];
    memset((char *)frame, number, sizeof frame);
    handled += frame[17] == number;
}

static void set_timers(int microseconds)
{
    const struct itimerval often = {{0, microseconds}, {0, microseconds}};
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    assert_int_equal(setitimer(ITIMER_PROF, &often, NULL), 0);
}

/* The weights after so many iterations, in `out`. */
static void train(const char *file, int iterations, qf_buffer *out)
{
    static const char solver_text[] =
        "net: 'net.prototxt' base_lr: 0.001 momentum: 0.9 lr_policy: 'fixed' max_iter: 100000 "
        "snapshot_after_train: false random_seed: 1";
    qf_solver *solver;
    assert_ok(context,
              qf_file_write(context, "solver.prototxt", solver_text, strlen(solver_text), 0640));
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    assert_ok(context, qf_solver_step(solver, iterations));
    assert_ok(context, qf_net_save_weights(qf_solver_net(solver), file));
    qf_solver_destroy(solver);
    assert_ok(context, qf_file_read(context, file, out));
}

static void a_storm_changes_nothing(void **state)
{
    (void)state;
    enum { ITERATIONS = 600, MICROSECONDS = 50 };
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    qf_buffer silent = {0}, stormy = {0};
    train("silent.caffemodel", ITERATIONS, &silent);
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGPROF, &action, NULL);
    set_timers(MICROSECONDS);
    train("stormy.caffemodel", ITERATIONS, &stormy);
    set_timers(0);
    assert_true(handled > 100);
    assert_int_equal(silent.size, stormy.size);
    assert_memory_equal(silent.data, stormy.data, silent.size);
    qf_buffer_release(&silent);
    qf_buffer_release(&stormy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_storm_changes_nothing)};
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
