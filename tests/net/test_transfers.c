/* What quantised training moves between the host and a device of its own: the images, their labels
 * and the loss; a solver's step also the ends of clip ranges, from which the host makes the
 * factors. No weights, no statistics or numbers of channels, no values between layers. */
#include "harness/fixture.h"
#include "train/solver.h"

#include <string.h>

#define CONVOLUTION(name, bottom, more)                                                            \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name "' " more      \
    " convolution_param { num_output: 24 kernel_size: 3 pad: 1 bias_term: false "                  \
    "weight_filler { type: 'msra' } } }\n"                                                         \
    "layer { name: '" name "_bn' type: 'BatchNorm' bottom: '" name "' top: '" name "' }\n"         \
    "layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name                  \
    "' scale_param { bias_term: true } }\n"                                                        \
    "layer { name: '" name "_relu' type: 'ReLU' bottom: '" name "' top: '" name "' }\n"
#define QUANTISED(name, bottom)                                                                    \
    "layer { name: '" name "_q' type: 'ActivationQAT' bottom: '" bottom "' top: '" name "_q' "     \
    "param { lr_mult: 1 } param { lr_mult: 1 } "                                                   \
    "retrain_data_quant_param { clip_max: 1.5 clip_min: -0.5 ifmr_init: false } }\n"               \
    "layer { name: '" name "_w' type: 'WeightQAT' bottom: '" name "_q' top: '" name                \
    "_w' param { name: '" name "_codes' lr_mult: 1 decay_mult: 0 } param { name: '" name           \
    "_master' } retrain_weight_quant_param { cout: 24 cin: 24 h: 3 w: 3 channel_wise: true } "     \
    "}\n" CONVOLUTION(name, name "_w",                                                             \
                      "param { name: '" name "_codes' lr_mult: 1 decay_mult: 0 }")

enum {
    STEPS = 3,
    IMAGES = 3 * 5 * 11 * 9 * (int)sizeof(float),
    LABELS = 3 * (int)sizeof(float),
    LOSS = (int)sizeof(float)
};

static const char net_text[] =
    "layer { name: 'in' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
    "  shape { dim: 3 dim: 5 dim: 11 dim: 9 } shape { dim: 3 } data_filler { type: 'gaussian' } "
    "  data_filler { type: 'uniform' min: 0 max: 3.9 } } }\n" CONVOLUTION("a", "data", "")
        QUANTISED("b", "a") QUANTISED(
            "c", "b") "layer { name: 'sum' type: 'Eltwise' bottom: 'a' bottom: 'c' top: 'sum' }\n"
                      "layer { name: 'sum_relu' type: 'ReLU' bottom: 'sum' top: 'sum' }\n"
                      "layer { name: 'ip' type: 'InnerProduct' bottom: 'sum' top: 'ip' "
                      "inner_product_param {"
                      "  num_output: 4 weight_filler { type: 'gaussian' std: 0.02 } } }\n"
                      "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' "
                      "top: 'loss' }\n";

static qf_solver *open_solver(void)
{
    static const char settings[] =
        "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 weight_decay: 0.0005 "
        "max_iter: 10 random_seed: 5 snapshot_prefix: 'run' snapshot_after_train: false";
    qf_solver *solver;
    assert_ok(context, qf_file_write(context, "net.prototxt", net_text, strlen(net_text), 0644));
    assert_ok(context, qf_file_write(context, "solver.prototxt", settings, strlen(settings), 0644));
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    return solver;
}

/* Bytes of the ends of clip ranges. */
static uint64_t bytes_of_ends(const qf_net *net)
{
    uint64_t bytes = 0;
    for (int i = 0; i < net->learnable_count; i++) {
        const char *type = net->layers[net->learnables[i].layer]->type->name;
        if (strcmp(type, "ActivationQAT") == 0)
            bytes += qf_blob_count(net->learnables[i].blob) * sizeof(float);
    }
    return bytes;
}

static qf_transfers since(const qf_transfers *before)
{
    return (qf_transfers){.uploaded = context->transfers.uploaded - before->uploaded,
                          .downloaded = context->transfers.downloaded - before->downloaded};
}

static void passes_move_images_labels_and_the_loss(void **state)
{
    (void)state;
    float loss;
    assert_ok(context, qf_context_set_device(context, "paranoid"));
    qf_solver *solver = open_solver();
    assert_ok(context, qf_solver_step(solver, 2)); /* until everything is where it will be */
    assert_ok(context, qf_net_forward(solver->net, &loss)); /* brings what the last step changed */
    assert_ok(context, qf_net_backward(solver->net));
    const qf_transfers before = context->transfers;
    for (int i = 0; i < STEPS; i++) {
        assert_ok(context, qf_net_forward(solver->net, &loss));
        assert_ok(context, qf_net_backward(solver->net));
    }
    const qf_transfers moved = since(&before);
    assert_int_equal(moved.uploaded, STEPS * (IMAGES + LABELS));
    assert_int_equal(moved.downloaded, STEPS * LOSS);
    qf_solver_destroy(solver);
}

static void a_step_moves_ends_of_ranges_besides(void **state)
{
    (void)state;
    assert_ok(context, qf_context_set_device(context, "paranoid"));
    qf_solver *solver = open_solver();
    assert_ok(context, qf_solver_step(solver, 2));
    const qf_transfers before = context->transfers;
    assert_ok(context, qf_solver_step(solver, STEPS));
    const uint64_t up = since(&before).uploaded / STEPS, down = since(&before).downloaded / STEPS;
    const uint64_t ends = bytes_of_ends(solver->net);
    assert_in_range(up, IMAGES + LABELS, IMAGES + LABELS + ends);
    assert_in_range(down, LOSS, LOSS + ends);
    print_message("a step: %llu bytes to the device, %llu back; images %d, labels %d, ends %llu\n",
                  (unsigned long long)up, (unsigned long long)down, IMAGES, LABELS,
                  (unsigned long long)ends);
    qf_solver_destroy(solver);
}

static void the_host_moves_nothing(void **state)
{
    (void)state;
    qf_context *host;
    qf_context *kept = context;
    assert_int_equal(qf_context_create(&host), QF_OK);
    context = host;
    assert_ok(context, qf_context_set_device(context, "cpu"));
    qf_solver *solver = open_solver();
    assert_ok(context, qf_solver_step(solver, 2));
    assert_int_equal(context->transfers.uploads + context->transfers.downloads, 0);
    qf_solver_destroy(solver);
    qf_context_destroy(host);
    context = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_move_images_labels_and_the_loss),
        cmocka_unit_test(a_step_moves_ends_of_ranges_besides),
        cmocka_unit_test(the_host_moves_nothing),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
