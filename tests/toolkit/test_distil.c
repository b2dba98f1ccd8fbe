/* The float net as teacher in the training net: it computes what the float net computes in a test,
 * only the student learns, with labels or without; nothing of it is exported. */
#include "data/images/image_codecs.h"
#include "data/images/image_encode.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/schedule/plan.h"
#include "train/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* BatchNorm, Dropout in and out of place, a ReLU in place. */
#define BODY                                                                                       \
    "layer { name: 'c1' type: 'Convolution' bottom: 'data' top: 'c1' convolution_param { "         \
    "num_output: 8 kernel_size: 5 stride: 2 bias_term: false weight_filler { type: 'msra' } } }"   \
    "layer { name: 'b1' type: 'BatchNorm' bottom: 'c1' top: 'c1' }"                                \
    "layer { name: 's1' type: 'Scale' bottom: 'c1' top: 'c1' scale_param { bias_term: true } }"    \
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"                                     \
    "layer { name: 'd1' type: 'Dropout' bottom: 'c1' top: 'd1' }"                                  \
    "layer { name: 'c2' type: 'Convolution' bottom: 'd1' top: 'c2' convolution_param { "           \
    "num_output: 8 kernel_size: 3 stride: 2 weight_filler { type: 'msra' } } }"                    \
    "layer { name: 'r2' type: 'ReLU' bottom: 'c2' top: 'c2' }"                                     \
    "layer { name: 'd2' type: 'Dropout' bottom: 'c2' top: 'c2' }"                                  \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c2' top: 'ip' inner_product_param { "        \
    "num_output: 10 weight_filler { type: 'xavier' } } }"
#define DATA(phase, source)                                                                        \
    "layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: " phase           \
    " } transform_param { scale: 0.00390625 } data_param { source: '" source                       \
    "' batch_size: 16 backend: LMDB } } "
#define SOURCES DATA("TRAIN", "train_lmdb") DATA("TEST", "test_lmdb")
#define DEPLOY                                                                                     \
    "layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 16 dim: 1 dim: 28 "   \
    "dim: 28 } } } "
#define JUDGES                                                                                     \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"      \
    "layer { name: 'accuracy' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'accuracy' "      \
    "include { phase: TEST } }"

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    qf_context_set_seed(context, 1);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 400, 96, 1));
    test_write_text(context, "net.prototxt", SOURCES BODY JUDGES);
    test_write_text(context, "solver.prototxt",
                    "net: 'net.prototxt' base_lr: 0.02 momentum: 0.9 lr_policy: 'fixed' max_iter: "
                    "60 test_iter: 6 test_interval: 60 test_initialization: false snapshot_prefix: "
                    "'float' random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

static bool plan_teaches(const qf_retrain_options *options, const char *part)
{
    qf_plan *plan;
    assert_ok(context, qf_quant_retrain_plan(context, "net.prototxt", "float_iter_60.caffemodel",
                                             "config.json", options, &plan));
    const qf_plan_row *last = plan->row[plan->rows - 1];
    const bool teaches = strcmp(last->treatment, "teaches") == 0;
    if (teaches && !strstr(last->detail, part))
        fail_msg("expected \"%s\" in: %s", part, last->detail);
    qf_plan_destroy(plan);
    return teaches;
}

static qf_status prepare(const char *model, const qf_retrain_options *options)
{
    QF_TRY(qf_create_quant_retrain_config(context, "config.json", model, "float_iter_60.caffemodel",
                                          NULL));
    return qf_prepare_quant_retrain_model(context, model, "float_iter_60.caffemodel", "config.json",
                                          "m.prototxt", "m.caffemodel", "record.txt", options);
}

static qf_net *open_net(const char *model, const char *weights, qf_phase phase)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, phase, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, weights));
    return net;
}

static void feed(qf_net *net, const float *values, size_t count)
{
    float *to;
    qf_blob *data = qf_net_blob(net, "data");
    assert_int_equal(qf_blob_count(data), count);
    assert_ok(context, qf_blob_mutable_data(data, &to));
    memcpy(to, values, count * sizeof *to);
}

static const float *values_of(qf_net *net, const char *blob)
{
    const float *values;
    assert_non_null(qf_net_blob(net, blob));
    assert_ok(context, qf_blob_data(qf_net_blob(net, blob), &values));
    return values;
}

static float loss_weight(const qf_net *net, const char *name)
{
    const qf_layer *layer = qf_net_find_layer(net, name);
    return layer ? layer->loss_weight[0] : -1;
}

static void it_is_the_float_net(void **state)
{
    (void)state;
    const qf_retrain_options options = {.size = sizeof options, .distil = QF_DISTIL_ON};
    test_write_text(context, "deploy.prototxt", DEPLOY BODY);
    assert_ok(context, prepare("net.prototxt", &options));
    qf_net *net = open_net("m.prototxt", "m.caffemodel", QF_TRAIN);
    qf_net *alone = open_net("deploy.prototxt", "float_iter_60.caffemodel", QF_TEST);
    for (int pass = 0; pass < 2; pass++) { /* of the first, ActivationQAT begins */
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_net_backward(net));
        feed(alone, values_of(net, "data"), 16 * 28 * 28);
        assert_ok(context, qf_net_forward(alone, NULL));
        assert_memory_equal(values_of(net, "teacher/ip"), values_of(alone, "ip"),
                            160 * sizeof(float));
    }
    qf_net_destroy(net);
    qf_net_destroy(alone);
}

static bool is_teachers(const qf_net *net, const qf_group *group)
{
    return strncmp(net->layers[group->first]->name, "teacher/", 8) == 0;
}

/* Its layers run as in a float net that is tested, and leave nothing behind. */
static void it_costs_little(void **state)
{
    (void)state;
    test_needs_the_host();
    const qf_retrain_options options = {.size = sizeof options, .distil = QF_DISTIL_ON};
    assert_ok(context, prepare("net.prototxt", &options));
    qf_net *net = open_net("m.prototxt", "m.caffemodel", QF_TRAIN);
    qf_net_keep_blobs(net, false);
    assert_ok(context, qf_net_forward(net, NULL));
    int fused = 0;
    for (int g = 0; g < net->plan->group_count; g++) {
        const qf_group *group = &net->plan->groups[g];
        fused += group->fusion == &qf_inference_fusion && group->ran && is_teachers(net, group);
        if (group->fusion == &qf_inference_fusion)
            assert_true(is_teachers(net, group));
    }
    assert_int_equal(fused, 2);
    assert_ok(context, qf_net_backward(net));
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        if (strncmp(layer->name, "teacher/", 8) != 0 || !layer->param_count)
            continue;
        assert_false(net->layer_need_backward[l]);
        for (int p = 0; p < layer->param_count; p++)
            assert_true(qf_tensor_is_zero(layer->params[p].blob->diff));
    }
    qf_net_destroy(net);
}

static void labels_and_teacher_share_the_loss(void **state)
{
    (void)state;
    const qf_retrain_options options = {
        .size = sizeof options, .distil = QF_DISTIL_ON, .distil_weight = 0.75};
    assert_ok(context, prepare("net.prototxt", &options));
    assert_true(plan_teaches(&options, "learned are ip; weight 0.75, losses 0.25"));
    assert_false(plan_teaches(NULL, ""));
    qf_net *net = open_net("m.prototxt", "m.caffemodel", QF_TRAIN);
    assert_float_equal(loss_weight(net, "loss"), 0.25, 1e-7);
    assert_float_equal(loss_weight(net, "teacher/distil_ip"), 0.75, 1e-7);
    qf_net_destroy(net);
    net = open_net("m.prototxt", "m.caffemodel", QF_TEST);
    assert_float_equal(loss_weight(net, "loss"), 1, 0);
    assert_non_null(qf_net_find_layer(net, "accuracy"));
    for (int l = 0; l < net->layer_count; l++)
        assert_null(strstr(net->layers[l]->name, "teacher"));
    qf_net_destroy(net);
}

static bool same_files(const char *a, const char *b)
{
    qf_buffer first = {0}, second = {0};
    assert_ok(context, qf_file_read(context, a, &first));
    assert_ok(context, qf_file_read(context, b, &second));
    const bool same = first.size == second.size && memcmp(first.data, second.data, first.size) == 0;
    qf_buffer_release(&first);
    qf_buffer_release(&second);
    return same;
}

/* Whoever does not ask for it gets AMCT's files. */
static void it_is_asked_for(void **state)
{
    (void)state;
    const qf_retrain_options off = {
        .size = sizeof off, .distil = QF_DISTIL_OFF, .distil_temperature = 3, .distil_weight = 1};
    assert_ok(context, prepare("net.prototxt", NULL));
    assert_int_equal(system("cp m.prototxt amct.prototxt && cp m.caffemodel amct.caffemodel"), 0);
    assert_ok(context, prepare("net.prototxt", &off));
    assert_true(same_files("m.prototxt", "amct.prototxt"));
    assert_true(same_files("m.caffemodel", "amct.caffemodel"));
    assert_false(test_file_has(context, "m.prototxt", "teacher"));
}

/* The student's last layer forgets what it knew. */
static void disturb(qf_net *net)
{
    float *values;
    qf_layer *layer = qf_net_find_layer(net, "ip_weight_qat");
    assert_non_null(layer);
    qf_blob *master = layer->params[1].blob;
    assert_ok(context, qf_blob_mutable_data(master, &values));
    for (size_t i = 0; i < qf_blob_count(master); i++)
        values[i] *= i % 3 ? 1 : -1;
}

static void it_teaches_without_labels(void **state)
{
    (void)state;
    const qf_retrain_options options = {
        .size = sizeof options, .distil = QF_DISTIL_AUTO, .no_labels = 1};
    qf_solver *solver;
    assert_ok(context, prepare("net.prototxt", &options));
    test_write_text(context, "taught.prototxt",
                    "net: 'm.prototxt' base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 40 "
                    "test_iter: 6 test_interval: 40 test_initialization: false snapshot_prefix: "
                    "'taught' random_seed: 1");
    assert_ok(context, qf_solver_create(context, "taught.prototxt", &solver));
    assert_ok(context, qf_solver_load_weights(solver, "m.caffemodel"));
    qf_net *net = qf_solver_net(solver);
    assert_null(qf_net_find_layer(net, "loss"));
    assert_null(qf_net_find_layer(net, "accuracy"));
    assert_float_equal(loss_weight(net, "teacher/distil_ip"), 1, 0);
    disturb(net);
    float first, last;
    assert_ok(context, qf_net_forward(net, &first));
    assert_ok(context, qf_solver_solve(solver));
    assert_ok(context, qf_net_forward(net, &last));
    if (!(last < 0.5f * first))
        fail_msg("the loss was %g and is %g", (double)first, (double)last);
    qf_solver_destroy(solver);
}

/* A resumed run is the run that was not stopped, and the teacher stays what it was. */
static void it_is_in_snapshots(void **state)
{
    (void)state;
    const qf_retrain_options options = {.size = sizeof options, .distil = QF_DISTIL_ON};
    assert_ok(context, prepare("net.prototxt", &options));
    test_write_text(context, "whole.prototxt",
                    "net: 'm.prototxt' base_lr: 0.01 momentum: 0.9 weight_decay: 0.01 lr_policy: "
                    "'fixed' max_iter: 6 snapshot: 3 test_iter: 6 test_interval: 6 "
                    "test_initialization: false snapshot_prefix: 'w' random_seed: 1");
    test_command(0, "Optimization Done.", "",
                 "train --solver whole.prototxt --weights m.caffemodel");
    assert_int_equal(system("cp w_iter_6.caffemodel whole.caffemodel"), 0);
    test_command(0, "Optimization Done.", "",
                 "train --solver whole.prototxt --snapshot w_iter_3.solverstate");
    assert_true(same_files("w_iter_6.caffemodel", "whole.caffemodel"));
    qf_net *before = open_net("m.prototxt", "m.caffemodel", QF_TRAIN);
    qf_net *after = open_net("m.prototxt", "whole.caffemodel", QF_TRAIN);
    for (int l = 0; l < before->layer_count; l++) {
        const qf_layer *layer = before->layers[l];
        for (int p = 0; p < layer->param_count && strncmp(layer->name, "teacher/", 8) == 0; p++) {
            const float *a, *b;
            assert_ok(context, qf_blob_data(layer->params[p].blob, &a));
            assert_ok(context, qf_blob_data(after->layers[l]->params[p].blob, &b));
            assert_memory_equal(a, b, qf_blob_count(layer->params[p].blob) * sizeof *a);
        }
    }
    qf_net_destroy(before);
    qf_net_destroy(after);
}

/* A classifier and a regression, the first with a weight; a blob between. */
static void several_outputs(void **state)
{
    (void)state;
    const qf_retrain_options options = {
        .size = sizeof options, .distil = QF_DISTIL_ON, .distil_blobs = "c1, c2"};
    test_write_text(
        context, "two.prototxt",
        SOURCES BODY
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' "
        "loss_weight: 0.3 }"
        "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }"
        "layer { name: 'quiet' type: 'Silence' bottom: 'prob' }"
        "layer { name: 'pool' type: 'Pooling' bottom: 'data' top: 'pool' pooling_param { pool: AVE "
        "global_pooling: true } }"
        "layer { name: 'mean' type: 'InnerProduct' bottom: 'c2' top: 'mean' inner_product_param { "
        "num_output: 1 weight_filler { type: 'xavier' } } }"
        "layer { name: 'flat' type: 'Flatten' bottom: 'pool' top: 'flat' }"
        "layer { name: 'off' type: 'EuclideanLoss' bottom: 'mean' bottom: 'flat' top: 'off' }");
    qf_net *net;
    assert_ok(context, qf_net_create(context, "two.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "float_two.caffemodel"));
    qf_net_destroy(net);
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "two.prototxt",
                                                      "float_two.caffemodel", NULL));
    assert_ok(context, qf_prepare_quant_retrain_model(
                           context, "two.prototxt", "float_two.caffemodel", "config.json",
                           "m.prototxt", "m.caffemodel", "record.txt", &options));
    net = open_net("m.prototxt", "m.caffemodel", QF_TRAIN);
    static const struct {
        const char *name;
        double weight;
        bool squared;
    } expected[] = {{"teacher/distil_ip", 0.15, false},
                    {"teacher/distil_mean", 0.5, true},
                    {"teacher/distil_c1", 0.5, true},
                    {"teacher/distil_c2", 0.5, true}};
    int lessons = 0;
    for (int l = 0; l < net->layer_count; l++)
        lessons += strcmp(net->layers[l]->type->name, "DistillationLoss") == 0;
    assert_int_equal(lessons, 4);
    for (int i = 0; i < 4; i++) {
        assert_float_equal(loss_weight(net, expected[i].name), expected[i].weight, 1e-7);
        assert_int_equal(
            qf_net_find_layer(net, expected[i].name)->param->distillation_loss_param->kind,
            expected[i].squared);
    }
    assert_float_equal(loss_weight(net, "loss"), 0.15, 1e-7);
    assert_float_equal(loss_weight(net, "off"), 0.5, 1e-7);
    for (int pass = 0; pass < 2; pass++) {
        float loss;
        assert_ok(context, qf_net_forward(net, &loss));
        assert_ok(context, qf_net_backward(net));
        assert_true(isfinite(loss));
    }
    /* In place, the student's c1 is what its ReLU left, as the teacher's is. */
    const float *mine = values_of(net, "c1"), *its = values_of(net, "teacher/c1");
    for (size_t i = 0; i < qf_blob_count(qf_net_blob(net, "c1")); i++)
        assert_true(mine[i] >= 0 && its[i] >= 0);
    qf_net_destroy(net);
}

/* ---- the whole flow ---- */

static qf_qat_options run_options(void)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_set_defaults(&o);
    o.model = "net.prototxt";
    o.weights = "float_iter_60.caffemodel";
    o.iterations = 4;
    o.save_path = "q/m";
    return o;
}

/* A start that is exported has no weights of the teacher, and needs none. */
static void note_lacking(void *user, qf_log_level level, const char *file, int line,
                         const char *text)
{
    (void)level, (void)file, (void)line;
    *(bool *)user |= strstr(text, "got nothing") != NULL;
}

static void run(const qf_qat_options *o, bool teaches)
{
    qf_qat_result *result;
    bool warned = false;
    qf_context_set_log(context, note_lacking, &warned, QF_WARNING);
    assert_ok(context, qf_qat_run(context, o, NULL, NULL, NULL, &result));
    qf_context_set_log(context, NULL, NULL, QF_WARNING);
    assert_false(warned);
    assert_int_equal(test_file_has(context, "q/m_modified.prototxt", "teacher/"), teaches);
    assert_false(test_file_has(context, "q/m_fake_quant_model.prototxt", "teacher"));
    assert_false(test_file_has(context, "q/m_deploy_model.prototxt", "teacher"));
    assert_int_equal(result->verification->differing, 0);
    assert_int_equal(result->rows, 3);
    /* How far the student is from its teacher, where labels say nothing. */
    assert_string_equal(result->validation_name, o->no_labels ? "training loss" : "accuracy");
    qf_qat_result_destroy(result);
    assert_int_equal(system("rm -r q"), 0);
}

static void few_images_need_it(void **state)
{
    (void)state;
    qf_qat_options o = run_options();
    run(&o, true);
    o.distil = QF_DISTIL_OFF;
    run(&o, false);
    o.distil = QF_DISTIL_ON;
    o.no_labels = 1;
    run(&o, true);
}

/* Pictures in a folder, and a list of them without labels. */
static void write_pictures(void)
{
    qf_buffer list = {0};
    assert_int_equal(system("mkdir pictures"), 0);
    for (int i = 0; i < 20; i++) {
        qf_image image = {0};
        qf_buffer file = {0};
        char *name = test_format("pictures/p%d.png", i);
        assert_ok(context, qf_image_make(context, 28, 28, 1, &image));
        for (int k = 0; k < 28 * 28; k++)
            image.pixels[k] = (unsigned char)(k * (i + 3) % 251);
        assert_ok(context, qf_image_encode(context, &image, "png", &file));
        assert_ok(context, qf_file_write(context, name, file.data, file.size, 0644));
        qf_buffer_print(&list, "p%d.png\n", i);
        qf_buffer_release(&file);
        qf_image_release(&image);
        qf_free(name);
    }
    test_write_text(context, "list.txt", qf_buffer_text(&list));
    assert_int_equal(system("mv list.txt pictures"), 0);
    qf_buffer_release(&list);
}

static void pictures_alone_suffice(void **state)
{
    (void)state;
    static const char *const sources[] = {"pictures/list.txt", "pictures"};
    qf_qat_options o = run_options();
    write_pictures();
    test_write_text(context, "deploy.prototxt", DEPLOY BODY);
    o.model = "deploy.prototxt";
    o.test_data = "test_lmdb";
    o.scale = 1.0 / 256;
    o.batch_size = 8;
    for (int i = 0; i < 2; i++) {
        qf_qat_result *result;
        o.train_data = sources[i];
        assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
        assert_int_equal(result->verification->differing, 0);
        qf_qat_result_destroy(result);
        qf_net *net;
        assert_ok(context,
                  qf_net_create(context, "q/m_modified.prototxt", QF_TRAIN, 0, NULL, 0, &net));
        assert_null(qf_net_find_layer(net, "loss"));
        assert_float_equal(loss_weight(net, "teacher/distil_ip"), 1, 0);
        qf_net_destroy(net);
        assert_int_equal(system("rm -r q"), 0);
    }
}

/* What the margin makes of the scores follows from labels, which are not there. */
static void margins_need_labels(void **state)
{
    (void)state;
    static const char scores[] = SOURCES BODY;
    static const struct {
        const char *layer, *sentence;
    } rows[] = {
        {"type: 'CosinAddm' bottom: 'ip' bottom: 'label'",
         "layer margin (CosinAddm) computes from the label of each item"},
        {"type: 'MarginInnerProduct' bottom: 'ip' bottom: 'label' margin_inner_product_param { "
         "num_output: 10 weight_filler { type: 'xavier' } }",
         "layer margin (MarginInnerProduct) computes from the label of each item"},
        {"type: 'InnerDistance' bottom: 'ip' bottom: 'label' inner_distance_param { num_output: 10 "
         "update_center_only: true }",
         "layer margin (InnerDistance) computes from the label of each item"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const qf_retrain_options o = {.size = sizeof o, .distil = QF_DISTIL_ON, .no_labels = 1};
        char *text =
            test_format("%s layer { name: 'margin' %s top: 'm' } layer { name: 'loss' "
                        "type: 'SoftmaxWithLoss' bottom: 'm' bottom: 'label' top: 'loss' }",
                        scores, rows[i].layer);
        test_write_text(context, "margin.prototxt", text);
        qf_free(text);
        assert_fails(context, prepare("margin.prototxt", &o), rows[i].sentence);
    }
}

static void refusals(void **state)
{
    (void)state;
    qf_retrain_options o = {.size = sizeof o, .no_labels = 1};
    assert_fails(context, prepare("net.prototxt", &o), "without labels there is nothing to train");
    o.distil = QF_DISTIL_ON;
    o.distil_blobs = "c1,nobody";
    assert_fails(context, prepare("net.prototxt", &o), "a blob 'nobody'");
    o.distil_blobs = "data";
    assert_fails(context, prepare("net.prototxt", &o), "blob 'data' of layer data is nothing");
    o.distil_blobs = NULL;
    o.no_labels = 0;
    o.distil_weight = 1.5;
    assert_fails(context, prepare("net.prototxt", &o), "at most 1, but they are 2 and 1.5");
    o.distil_weight = 0.5;
    o.distil_temperature = -1;
    assert_fails(context, prepare("net.prototxt", &o), "the temperature must be greater than 0");
    test_command(2, "distil", "", "qat prepare --distil sometimes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_float_net),
        cmocka_unit_test(it_costs_little),
        cmocka_unit_test(labels_and_teacher_share_the_loss),
        cmocka_unit_test(it_is_asked_for),
        cmocka_unit_test(it_teaches_without_labels),
        cmocka_unit_test(it_is_in_snapshots),
        cmocka_unit_test(several_outputs),
        cmocka_unit_test(few_images_need_it),
        cmocka_unit_test(pictures_alone_suffice),
        cmocka_unit_test(margins_need_labels),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
