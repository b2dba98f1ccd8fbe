/* Where oneDNN computes no signal can come, in any thread; around it the masks are the user's. The
 * functions of oneDNN that compute are replaced here by ones that look at the masks first. */
#include "base/signals.h"
#include "device/device.h"
#include "harness/fixture.h"
#include "net/net.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- what oneDNN's replacements see ---- */

static dnnl_version_t pretended;      /* version of oneDNN; major 0: the real one */
static atomic_int calls, open_calls;  /* into oneDNN; those with a thread that signals may enter */
static void (*inside)(void) = NULL;   /* called within each call */
static volatile sig_atomic_t handled; /* signals */

static bool is_blocked(int number)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, number);
}

/* All that can come from outside, none of what an instruction causes. */
static bool thread_is_closed(void)
{
    static const int outside[] = {SIGHUP,    SIGINT,  SIGQUIT,  SIGUSR1, SIGUSR2,
                                  SIGPIPE,   SIGALRM, SIGTERM,  SIGCHLD, SIGTSTP,
                                  SIGVTALRM, SIGPROF, SIGWINCH, SIGIO,   SIGURG};
    static const int caused[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    bool closed = is_blocked(SIGRTMIN) && is_blocked(SIGRTMAX);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        closed &= is_blocked(outside[i]);
    for (size_t i = 0; i < sizeof caused / sizeof *caused; i++)
        closed &= !is_blocked(caused[i]);
    return closed;
}

/* In how many threads is the answer yes? */
static int count_threads(bool (*question)(void))
{
    int count = 0;
#pragma omp parallel num_threads(omp_get_max_threads()) reduction(+ : count)
    count += question();
    return count;
}

static void look(void)
{
    const bool closed = omp_in_parallel()
                            ? thread_is_closed()
                            : count_threads(thread_is_closed) == omp_get_max_threads();
    calls++;
    open_calls += !closed;
    if (inside)
        inside();
}

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        fail_msg("%s", dlerror());
    return found;
}

const dnnl_version_t *dnnl_version(void)
{
    return pretended.major ? &pretended : ((const dnnl_version_t *(*)(void))real(__func__))();
}

dnnl_status_t dnnl_sgemm(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                         float alpha, const float *a, dnnl_dim_t lda, const float *b,
                         dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc)
{
    const __typeof__(&dnnl_sgemm) original = real(__func__);
    look();
    return original(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

dnnl_status_t dnnl_gemm_u8s8s32(char transa, char transb, char offsetc, dnnl_dim_t m, dnnl_dim_t n,
                                dnnl_dim_t k, float alpha, const uint8_t *a, dnnl_dim_t lda,
                                uint8_t ao, const int8_t *b, dnnl_dim_t ldb, int8_t bo, float beta,
                                int32_t *c, dnnl_dim_t ldc, const int32_t *co)
{
    const __typeof__(&dnnl_gemm_u8s8s32) original = real(__func__);
    look();
    return original(transa, transb, offsetc, m, n, k, alpha, a, lda, ao, b, ldb, bo, beta, c, ldc,
                    co);
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream,
                                     int count, const dnnl_exec_arg_t *arguments)
{
    const __typeof__(&dnnl_primitive_execute) original = real(__func__);
    look();
    return original(primitive, stream, count, arguments);
}

/* ---- the user's masks ---- */

static bool thread_is_users(void)
{
    return !is_blocked(SIGALRM) && !is_blocked(SIGPROF) && !is_blocked(SIGRTMIN) &&
           is_blocked(SIGUSR2);
}

/* The user blocks SIGUSR2, in all threads, and nothing else. */
static void expect_users_masks(void)
{
    assert_int_equal(count_threads(thread_is_users), omp_get_max_threads());
}

static void block_usr2(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void start_counting(void)
{
    calls = open_calls = 0;
    inside = NULL;
    pretended.major = 0;
}

static void expect_closed_calls(int at_least)
{
    assert_int_equal(open_calls, 0);
    assert_true(calls >= at_least);
    expect_users_masks();
}

/* ---- nets ---- */

static void write_text(const char *name, const char *text)
{
    assert_ok(context, qf_file_write(context, name, text, strlen(text), 0640));
}

#define FILLER "weight_filler { type: 'xavier' } "
#define DATA                                                                                       \
    "force_backward: true layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' "                  \
    "dummy_data_param { shape { dim: 4 dim: 3 dim: 32 dim: 32 } shape { dim: 4 } data_filler { "   \
    "type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 1 } } } "
#define CONVOLUTION(name, bottom, settings)                                                        \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name                \
    "' convolution_param { " settings " " FILLER "} } "
#define PRODUCT(bottom)                                                                            \
    "layer { name: 'ip' type: 'InnerProduct' bottom: '" bottom                                     \
    "' top: 'ip' inner_product_param { num_output: 10 " FILLER "} } "
#define LOSS "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' top: 'l' } "

/* Of every place that calls oneDNN in float: few channels, 1 × 1, any, Deconvolution, products. */
static const char all_kinds[] = DATA CONVOLUTION("a", "x",
                                                 "num_output: 16 kernel_size: 3 stride: 2")
    CONVOLUTION("b", "a", "num_output: 64 kernel_size: 1") CONVOLUTION(
        "c", "b",
        "num_output: 8 kernel_size: 3 dilation: 2") "layer { name: 'u' type: 'Deconvolution' "
                                                    "bottom: 'c' top: 'u' convolution_param { "
                                                    "num_output: 8 kernel_size: 4 stride: 2 " FILLER
                                                    "} } " PRODUCT("u") LOSS;

static qf_solver *make_solver(const char *net, const char *more)
{
    char *text = test_format("net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 100 "
                             "snapshot_after_train: false random_seed: 1 %s",
                             more);
    qf_solver *solver;
    write_text("net.prototxt", net);
    write_text("solver.prototxt", text);
    qf_free(text);
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    return solver;
}

static int set_up(void **state)
{
    block_usr2();
    test_start_in_folder(state);
    qf_context_set_threads(context, 3);
    count_threads(thread_is_users); /* the host has made OpenMP's threads before */
    return 0;
}

/* ---- tests ---- */

static void passes_are_closed(void **state)
{
    test_needs_the_host();
    (void)state;
    qf_solver *solver = make_solver(all_kinds, "");
    qf_net *net = qf_solver_net(solver);
    for (int threads = 1; threads <= 4; threads++) {
        qf_context_set_threads(context, threads);
        start_counting();
        assert_ok(context, qf_solver_step(solver, 2));
        expect_closed_calls(20);
        start_counting();
        assert_ok(context, qf_net_forward(net, NULL));
        expect_closed_calls(5);
        start_counting();
        assert_ok(context, qf_net_backward(net));
        expect_closed_calls(5);
    }
    qf_context_set_threads(context, 3);
    qf_solver_destroy(solver);
}

/* Quantised training, search, export, int8 models, comparison. */
static void the_flow_is_closed(void **state)
{
    test_needs_the_host();
    (void)state;
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_net *net;
    qf_qat_set_defaults(&options);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 200, 100, 1));
    options.model = QAFFE_SOURCE_DIR "/examples/lenet/lenet_train_test.prototxt";
    options.weights = "float.caffemodel";
    options.iterations = 2;
    options.save_path = "run/all";
    start_counting();
    assert_ok(context, qf_net_create(context, options.model, QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, options.weights));
    qf_net_destroy(net);
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
    expect_closed_calls(100);
}

/* Operations called by themselves, not by a pass. */
static void single_operations_are_closed(void **state)
{
    test_needs_the_host();
    (void)state;
    const qf_device *device = qf_device_of(context);
    const qf_inner_product_shape product = {.rows = 4, .inputs = 300, .outputs = 5};
    qf_tensor *tensors[3];
    qf_inner_product *p;
    for (int i = 0; i < 3; i++) {
        const int dimensions[][2] = {{4, 300}, {5, 300}, {4, 5}};
        const qf_shape shape = qf_shape_make(2, dimensions[i]);
        float *values;
        assert_ok(context, qf_tensor_create(context, &tensors[i]));
        assert_ok(context, qf_tensor_reshape(context, tensors[i], &shape));
        assert_ok(context, qf_write(context, tensors[i], QF_PLAIN, &values));
        memset(values, 0, qf_shape_count(&shape) * sizeof *values);
    }
    assert_ok(context, device->multiply->create(context, &product, &p));
    start_counting();
    assert_ok(context,
              device->multiply->forward(context, p, tensors[0], tensors[1], NULL, tensors[2]));
    expect_closed_calls(1);
    device->multiply->destroy(p);
    for (int i = 0; i < 3; i++)
        qf_tensor_release(tensors[i]);
}

static void newer_versions_need_nothing(void **state)
{
    test_needs_the_host();
    (void)state;
    static const struct {
        int version[3];
        bool closed;
    } rows[] = {{{2, 6, 3}, true},   {{3, 11, 1}, true},  {{3, 4, 9}, true},
                {{3, 11, 2}, false}, {{3, 12, 0}, false}, {{4, 0, 0}, false}};
    qf_solver *solver = make_solver(all_kinds, "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        start_counting();
        pretended = (dnnl_version_t){
            .major = rows[i].version[0], .minor = rows[i].version[1], .patch = rows[i].version[2]};
        assert_ok(context, qf_solver_step(solver, 1));
        assert_true(calls > 0);
        assert_int_equal(open_calls, rows[i].closed ? 0 : calls);
        expect_users_masks();
    }
    start_counting();
    qf_solver_destroy(solver);
}

/* ---- code of the user's ---- */

static int asked; /* how often it ran */

static void see(void)
{
    asked++;
    expect_users_masks();
}

static void sink(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user, (void)level, (void)file, (void)line, (void)text;
    see();
}

static qf_action act(void *user)
{
    (void)user;
    see();
    return QF_CONTINUE;
}

static void progress(void *user, const qf_progress *now)
{
    (void)user, (void)now;
    see();
}

static qf_status iterate(void *user, bool ready)
{
    (void)user, (void)ready;
    see();
    return QF_OK;
}

static void callbacks_have_the_users_mask(void **state)
{
    test_needs_the_host();
    (void)state;
    qf_solver *solver = make_solver(all_kinds, "display: 1 debug_info: true");
    start_counting();
    asked = 0;
    qf_context_set_log(context, sink, NULL, QF_DEBUG); /* debug_info logs after each layer */
    qf_solver_set_callbacks(solver, act, progress, NULL);
    qf_solver_set_iteration_callback(solver, iterate, NULL);
    assert_ok(context, qf_solver_step(solver, 2));
    qf_context_set_log(context, NULL, NULL, QF_INFO);
    assert_true(asked > 40);
    expect_closed_calls(20);
    qf_solver_destroy(solver);
}

static qf_net *inner; /* a net that a layer of the user's runs */

static qf_status python_setup(void *user, qf_layer *layer, void **own)
{
    (void)user, (void)layer;
    *own = NULL;
    return QF_OK;
}

static qf_status python_reshape(void *user, qf_layer *layer, void *own)
{
    (void)user, (void)own;
    see();
    return qf_blob_reshape(qf_layer_top(layer, 0), (const int[]){4, 300}, 2);
}

static qf_status python_run(void *user, qf_layer *layer, void *own)
{
    (void)user, (void)own, (void)layer;
    const int before = calls;
    see();
    assert_ok(context, qf_net_forward(inner, NULL));
    assert_true(calls > before);
    expect_users_masks();
    return QF_OK;
}

static void python_destroy(void *user, void *own)
{
    (void)user, (void)own;
}

/* Between two products a layer of the user's, which runs a net itself. */
static void layers_of_the_users_have_its_mask(void **state)
{
    test_needs_the_host();
    (void)state;
    static const qf_python_layers layers = {.size = sizeof layers,
                                            .setup = python_setup,
                                            .reshape = python_reshape,
                                            .forward = python_run,
                                            .backward = python_run,
                                            .destroy = python_destroy};
    assert_ok(context, qf_context_set_python_layers(context, &layers, NULL));
    write_text("inner.prototxt", all_kinds);
    assert_ok(context, qf_net_create(context, "inner.prototxt", QF_TRAIN, 0, NULL, 0, &inner));
    qf_solver *solver = make_solver(
        DATA CONVOLUTION(
            "a", "x", "num_output: 8 kernel_size: 3") "layer { name: 'p' type: "
                                                      "'Python' bottom: 'a' top: 'p' python_param "
                                                      "{ module: 'm' layer: 'L' } } " PRODUCT("p")
                                                          LOSS,
        "");
    start_counting();
    asked = 0;
    assert_ok(context, qf_solver_step(solver, 2));
    assert_true(asked >= 4);
    expect_closed_calls(20);
    qf_solver_destroy(solver);
    qf_net_destroy(inner);
}

/* ---- delivery ---- */

static void on_signal(int number)
{
    (void)number;
    handled++;
}

static int calls_before_delivery; /* −1: it was delivered too early */

/* Within the first call a signal comes; each call takes a while. */
static void raise_once(void)
{
    if (calls == 1)
        pthread_kill(pthread_self(), SIGALRM);
    if (handled && calls_before_delivery == 0)
        calls_before_delivery = calls == 1 ? -1 : calls - 1;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* A pass may take long: a signal waits for a layer, not for all of it. */
static void signals_are_delivered_between_layers(void **state)
{
    test_needs_the_host();
    (void)state;
    struct sigaction action = {.sa_handler = on_signal}, before;
    qf_solver *solver = make_solver(all_kinds, "");
    qf_net *net = qf_solver_net(solver);
    assert_ok(context, qf_net_forward(net, NULL));
    sigaction(SIGALRM, &action, &before);
    start_counting();
    handled = calls_before_delivery = 0;
    inside = raise_once;
    assert_ok(context, qf_net_forward(net, NULL));
    inside = NULL;
    assert_int_equal(handled, 1);
    assert_in_range(calls_before_delivery, 1, 3); /* a layer may need several calls */
    expect_closed_calls(5);
    sigaction(SIGALRM, &before, NULL);
    qf_solver_destroy(solver);
}

static void *report_mask(void *closed)
{
    *(bool *)closed = thread_is_closed();
    return NULL;
}

static void own_threads_receive_nothing(void **state)
{
    (void)state;
    bool closed = false;
    pthread_t thread;
    assert_int_equal(qf_signals_start_thread(&thread, report_mask, &closed), 0);
    pthread_join(thread, NULL);
    assert_true(closed);
    expect_users_masks();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_are_closed),
        cmocka_unit_test(the_flow_is_closed),
        cmocka_unit_test(single_operations_are_closed),
        cmocka_unit_test(newer_versions_need_nothing),
        cmocka_unit_test(callbacks_have_the_users_mask),
        cmocka_unit_test(layers_of_the_users_have_its_mask),
        cmocka_unit_test(signals_are_delivered_between_layers),
        cmocka_unit_test(own_threads_receive_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
