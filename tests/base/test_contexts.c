/* Contexts in threads of one process, or taken in turns by one thread: each computes with its own
 * number of threads, on its own device. */
#include "harness/one_layer.h"

#include <omp.h>
#include <pthread.h>
#include <string.h>

static const char net_text[] =
    "layer { name: 'data' type: 'DummyData' top: 'data' dummy_data_param {"
    "  shape { dim: 4 dim: 3 dim: 12 dim: 12 } data_filler { type: 'gaussian' std: 1 } } }"
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param {"
    "  num_output: 8 kernel_size: 3 weight_filler { type: 'xavier' } } }"
    "layer { name: 'seen' type: 'Python' bottom: 'conv' top: 'seen' python_param {"
    "  module: 'm' layer: 'l' } }";

/* A layer that looks how many threads a team would have. */
typedef struct observer {
    int seen, passes;
} observer;

static qf_status setup(void *user, qf_layer *layer, void **state)
{
    (void)user;
    (void)layer;
    *state = NULL;
    return QF_OK;
}

static qf_status reshape(void *user, qf_layer *layer, void *state)
{
    const int dimensions[] = {1};
    (void)user;
    (void)state;
    return qf_blob_reshape(qf_layer_top(layer, 0), dimensions, 1);
}

static qf_status look(void *user, qf_layer *layer, void *state)
{
    observer *observer = user;
    (void)layer;
    (void)state;
    observer->seen = omp_get_max_threads();
    observer->passes++;
    return QF_OK;
}

static void destroy(void *user, void *state)
{
    (void)user;
    (void)state;
}

static const qf_python_layers layers = {.size = sizeof layers,
                                        .setup = setup,
                                        .reshape = reshape,
                                        .forward = look,
                                        .backward = look,
                                        .destroy = destroy};

typedef struct job {
    int threads;
    observer observer;
    qf_context *context;
    qf_net *net;
    qf_status status;
} job;

static qf_status build(job *job)
{
    QF_TRY(qf_context_create(&job->context));
    qf_context_set_threads(job->context, job->threads);
    QF_TRY(qf_context_set_python_layers(job->context, &layers, &job->observer));
    return test_net_of(job->context, net_text, QF_TEST, &job->net);
}

static void release(job *job)
{
    qf_net_destroy(job->net);
    qf_context_destroy(job->context);
}

static void *build_and_run(void *argument)
{
    job *job = argument;
    job->status = build(job);
    for (int i = 0; i < 20 && job->status == QF_OK; i++) {
        job->status = qf_net_forward(job->net, NULL);
        if (job->status == QF_OK && job->observer.seen != job->threads)
            job->status = QF_E_MISMATCH;
    }
    return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    pthread_t thread[2];
    job jobs[2] = {{.threads = 1}, {.threads = 2}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, build_and_run, &jobs[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        assert_ok(jobs[i].context, jobs[i].status);
        assert_int_equal(jobs[i].observer.passes, 20);
        release(&jobs[i]);
    }
}

static void one_thread_serves_both(void **state)
{
    (void)state;
    job jobs[2] = {{.threads = 1}, {.threads = 2}};
    for (int i = 0; i < 2; i++)
        assert_ok(jobs[i].context, build(&jobs[i]));
    const int before = omp_get_max_threads();
    for (int pass = 0; pass < 4; pass++) {
        job *job = &jobs[pass % 2];
        assert_ok(job->context, qf_net_forward(job->net, NULL));
        assert_int_equal(job->observer.seen, job->threads);
        assert_int_equal(omp_get_max_threads(), before);
    }
    for (int i = 0; i < 2; i++)
        release(&jobs[i]);
}

/* A context made here and used there takes its number of threads along. */
static void *run(void *argument)
{
    job *job = argument;
    job->status = qf_net_forward(job->net, NULL);
    return NULL;
}

static void the_number_goes_with_the_context(void **state)
{
    (void)state;
    pthread_t thread;
    job job = {.threads = 3};
    assert_ok(job.context, build(&job));
    assert_int_equal(pthread_create(&thread, NULL, run, &job), 0);
    pthread_join(thread, NULL);
    assert_ok(job.context, job.status);
    assert_int_equal(job.observer.seen, 3);
    release(&job);
}

static void the_device_is_chosen_before_nets_are_made(void **state)
{
    (void)state;
    job job = {.threads = 1};
    qf_context *context = test_context();
    assert_ok(context, qf_context_set_device(context, "paranoid"));
    assert_string_equal(qf_context_device(context), "paranoid");
    assert_ok(context, qf_context_set_device(context, "cpu"));
    assert_string_equal(qf_context_device(context), "cpu");
    assert_fails(context, qf_context_set_device(context, "tpu"), "there is no device 'tpu'");
    assert_int_equal(qf_context_set_device(context, "cuda:0"), QF_E_UNSUPPORTED);
    assert_string_equal(qf_context_device(context), "cpu");
    qf_context_destroy(context);
    assert_ok(job.context, build(&job));
    const char *other = strcmp(qf_context_device(job.context), "cpu") == 0 ? "paranoid" : "cpu";
    assert_fails(job.context, qf_context_set_device(job.context, other), "before the first net");
    release(&job);
}

static void devices_are_listed(void **state)
{
    (void)state;
    assert_true(qf_device_count() >= 2);
    assert_string_equal(qf_device_name(0), "cpu");
    for (int i = 0; i < qf_device_count(); i++) {
        uint64_t free, total;
        assert_true(strlen(qf_device_description(i)) > 0);
        assert_true(qf_device_memory(i, &free, &total));
        assert_true(free <= total && total > 0);
    }
    assert_null(qf_device_name(-1));
    assert_null(qf_device_description(qf_device_count()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_disturb_each_other),
        cmocka_unit_test(one_thread_serves_both),
        cmocka_unit_test(the_number_goes_with_the_context),
        cmocka_unit_test(the_device_is_chosen_before_nets_are_made),
        cmocka_unit_test(devices_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
