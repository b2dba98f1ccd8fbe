/* From a SolverParameter to a solver with its nets. */
#include "base/file.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/sized_options.h"
#include "layers/quantised/search_n.h"
#include "train/average_precision.h"
#include "train/snapshot.h"
#include "train/solver.h"

#include <stdlib.h>
#include <string.h>

/* SSD's eval_type, and MobileNet-YOLO's. What a test makes of an output follows from its layer. */
static const struct {
    const char *name;
    bool of_detections;
} eval_types[] = {{"classification", false},
                  {"detection", true},
                  {"segmentation", false},
                  {"detection_segmentation", true}};

/* NULL: there is no such type. */
static const bool *evaluates_detections(const Caffe__SolverParameter *param)
{
    for (size_t i = 0; i < sizeof eval_types / sizeof *eval_types; i++)
        if (strcmp(param->eval_type, eval_types[i].name) == 0)
            return &eval_types[i].of_detections;
    return NULL;
}

void qf_solver_destroy(qf_solver *solver)
{
    if (!solver)
        return;
    /* Test nets borrow from the training net, so they go first. */
    for (int i = 0; i < solver->test_net_count; i++)
        qf_net_destroy(solver->test_nets[i]);
    if (solver->net && solver->history)
        for (int i = 0; i < solver->net->learnable_count * solver->rule->histories; i++)
            qf_tensor_release(solver->history[i]);
    qf_net_destroy(solver->net);
    qf_free(solver->test_nets);
    qf_free(solver->history);
    qf_free(solver->losses);
    qf_divergence_release(&solver->watch);
    qf_buffer_release(&solver->settings);
    qf_message_free(solver->param);
    qf_free(solver);
}

/* The net message of one source: a file, named by this field of the solver, or one written inside
 * the solver, in <field>_param. */
typedef struct net_source {
    const char *file;
    const Caffe__NetParameter *inlined;
    const char *field;
} net_source;

static qf_status read_source(qf_context *context, const net_source *source,
                             Caffe__NetParameter **out)
{
    if (source->file)
        return qf_within(context, qf_net_param_read(context, source->file, out), "%s",
                         source->field);
    return qf_message_copy(context, source->inlined, out);
}

/* Caffe merges states: phase first, then the net's own, then the solver's; later ones win. */
static qf_status merge_state(qf_context *context, Caffe__NetParameter *net, Caffe__Phase phase,
                             const Caffe__NetState *extra)
{
    if (!net->state)
        QF_TRY(qf_message_new(context, &caffe__net_state__descriptor, &net->state));
    Caffe__NetState *state = net->state;
    if (!state->has_phase) {
        state->has_phase = true;
        state->phase = phase;
    }
    if (!extra)
        return QF_OK;
    if (extra->has_phase)
        state->phase = extra->phase;
    if (extra->has_level) {
        state->has_level = true;
        state->level = extra->level;
    }
    for (size_t i = 0; i < extra->n_stage; i++)
        QF_TRY(qf_append_string(context, &state->n_stage, &state->stage, extra->stage[i]));
    return QF_OK;
}

static qf_status build_net(qf_solver *solver, const net_source *source, Caffe__Phase phase,
                           const Caffe__NetState *state, qf_net *share, qf_net **out)
{
    qf_context *context = solver->context;
    Caffe__NetParameter *param;
    QF_TRY(read_source(context, source, &param));
    qf_status status = merge_state(context, param, phase, state);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, share, out);
    qf_message_free(param);
    return qf_within(context, status, "%s", source->file ? source->file : source->field);
}

static qf_status load_weights(qf_solver *solver, qf_net *net, const char *caffemodels)
{
    char *list = qf_strdup(caffemodels), *rest = list;
    if (!list)
        return qf_fail(solver->context, QF_E_MEMORY, "no memory for a file name");
    qf_status status = QF_OK;
    for (char *file; status == QF_OK && (file = strsep(&rest, ","));) {
        file += strspn(file, " ");
        qf_info(solver->context, "Finetuning from %s", file);
        status =
            qf_snapshot_meant_weights(solver->context, qf_net_load_weights_file(net, file), file);
    }
    qf_free(list);
    return status;
}

/* The weights that the solver's own settings name. */
static qf_status load_own_weights(qf_solver *solver, qf_net *net)
{
    for (size_t i = 0; i < solver->param->n_weights; i++)
        QF_TRY(load_weights(solver, net, solver->param->weights[i]));
    /* A test net has the training net's parameters, of which is spoken once. */
    return solver->param->n_weights && !net->shares_with
               ? qf_net_check_weights(net, "the solver's weights")
               : QF_OK;
}

static qf_status build_training_net(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    const net_source sources[] = {
        {param->train_net, param->train_net_param, "train_net"},
        {param->net, param->net_param, "net"},
    };
    const net_source *chosen = NULL;
    int count = 0;
    for (int i = 0; i < 2; i++) {
        count += (sources[i].file != NULL) + (sources[i].inlined != NULL);
        if (!chosen && (sources[i].file || sources[i].inlined))
            chosen = &sources[i];
    }
    if (count != 1)
        return qf_fail(solver->context, QF_E_FORMAT,
                       "a solver must name its training net in exactly one of the fields net, "
                       "net_param, train_net and train_net_param, but %d are given",
                       count);
    qf_info(solver->context, "Creating training net %s %s%s%s",
            chosen->file ? "from" : "specified in", chosen->field,
            chosen->file ? " file: " : "_param.", chosen->file ? chosen->file : "");
    QF_TRY(build_net(solver, chosen, CAFFE__PHASE__TRAIN, param->train_state, NULL, &solver->net));
    return load_own_weights(solver, solver->net);
}

/* Caffe's rule: test_net_param, then test_net, then the shared net as often as test_iter is left.
 */
static net_source test_source(const qf_solver *solver, size_t index)
{
    const Caffe__SolverParameter *param = solver->param;
    if (index < param->n_test_net_param)
        return (net_source){NULL, param->test_net_param[index], "test_net"};
    if (index < param->n_test_net_param + param->n_test_net)
        return (net_source){param->test_net[index - param->n_test_net_param], NULL, "test_net"};
    return (net_source){param->net, param->net_param, "net"};
}

/* A TEST phase that is too short for a search of shifts shows only in the export. */
static void warn_of_short_test(const qf_solver *solver, const qf_net *net, int batches)
{
    const qf_layer *most = NULL;
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        if (strcmp(layer->type->name, "SearchN") == 0 &&
            (!most || qf_search_n_batches(layer) > qf_search_n_batches(most)))
            most = layer;
    }
    if (most && qf_search_n_batches(most) > batches)
        qf_warning(solver->context,
                   "test_iter is %d, but layer %s searches shifts over %d batches (batch_num): "
                   "without that many the record lacks them, and the export does without; set "
                   "test_iter to at least %d",
                   batches, most->name, qf_search_n_batches(most), qf_search_n_batches(most));
}

static qf_status build_test_nets(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    size_t given = param->n_test_net + param->n_test_net_param, count = param->n_test_iter;
    bool generic = param->net || param->net_param;
    if (count < given || (!generic && count != given))
        return qf_fail(
            context, QF_E_FORMAT,
            "test_iter must be given once for each test net: there are %zu test nets and "
            "%zu test_iter",
            given, count);
    if (param->n_test_state && param->n_test_state != count)
        return qf_fail(context, QF_E_FORMAT,
                       "test_state must be given never or once for each of the %zu test nets",
                       count);
    if (count && param->test_interval <= 0)
        return qf_fail(context, QF_E_FORMAT, "test nets need a test_interval > 0");
    solver->test_nets = qf_alloc(count, sizeof(qf_net *));
    if (!solver->test_nets)
        return qf_fail(context, QF_E_MEMORY, "no memory for test nets");
    for (size_t i = 0; i < count; i++) {
        const net_source source = test_source(solver, i);
        qf_info(context, "Creating test net (#%zu) specified by %s%s%s", i, source.field,
                source.file ? " file: " : "_param", source.file ? source.file : "");
        QF_TRY(build_net(solver, &source, CAFFE__PHASE__TEST,
                         param->n_test_state ? param->test_state[i] : NULL, solver->net,
                         &solver->test_nets[i]));
        solver->test_net_count++;
        warn_of_short_test(solver, solver->test_nets[i], param->test_iter[i]);
        if (*evaluates_detections(param) && !qf_net_has_detections(solver->test_nets[i]))
            return qf_fail(solver->context, QF_E_FORMAT,
                           "eval_type is \"%s\", but test net #%zu does not end in a "
                           "DetectionEvaluate layer",
                           param->eval_type, i);
        /* It shares the training net's parameters; layers that only it has load here. */
        QF_TRY(load_own_weights(solver, solver->test_nets[i]));
    }
    return QF_OK;
}

static qf_status check_settings(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    char near[64];
    solver->rule = qf_solver_rule_find(param->type);
    if (!solver->rule)
        return qf_fail(context, QF_E_ARGUMENT, "unknown solver type '%s'; the nearest are %s",
                       param->type,
                       qf_nearest_three(near, sizeof near, param->type, qf_solver_rule_name));
    if (solver->rule->check)
        QF_TRY(solver->rule->check(context, param));
    QF_TRY(qf_learning_rate_check(context, param));
    if (param->iter_size < 1 || param->average_loss < 1)
        return qf_fail(context, QF_E_ARGUMENT, "iter_size and average_loss must be at least 1");
    if (param->max_iter < 0)
        return qf_fail(context, QF_E_ARGUMENT, "max_iter must not be negative");
    if (strcmp(param->regularization_type, "L1") != 0 &&
        strcmp(param->regularization_type, "L2") != 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "unknown regularization_type '%s'; there are L1 and L2",
                       param->regularization_type);
    for (size_t i = 0; i < param->n_test_iter; i++)
        if (param->test_iter[i] < 1)
            return qf_fail(context, QF_E_ARGUMENT, "test_iter must be at least 1");
    if (!evaluates_detections(param))
        return qf_fail(context, QF_E_ARGUMENT,
                       "unknown eval_type '%s'; there are classification, detection, segmentation "
                       "and detection_segmentation",
                       param->eval_type);
    if (param->ap_version)
        QF_TRY(qf_ap_version_find(context, param->ap_version, &(qf_ap_version){0}));
    if (param->snapshot > 0 || param->snapshot_after_train)
        QF_TRY(qf_within(context, qf_snapshot_probe(context, param), "snapshot_prefix"));
    return QF_OK;
}

static qf_status create_history(qf_solver *solver)
{
    int learnables = solver->net->learnable_count, count = learnables * solver->rule->histories;
    solver->history = qf_alloc((size_t)count, sizeof *solver->history);
    solver->losses = qf_alloc((size_t)solver->param->average_loss, sizeof *solver->losses);
    if (!solver->history || !solver->losses)
        return qf_fail(solver->context, QF_E_MEMORY, "no memory for the solver's history");
    for (int i = 0; i < count; i++) {
        QF_TRY(qf_tensor_create(solver->context, &solver->history[i]));
        QF_TRY(qf_tensor_reshape(solver->context, solver->history[i],
                                 qf_blob_shape(solver->net->learnables[i % learnables].blob)));
    }
    return QF_OK;
}

static void log_settings(qf_solver *solver)
{
    qf_buffer text = {0};
    qf_text_print(solver->param, &text);
    qf_info(solver->context, "Initializing solver from parameters: \n%s", qf_buffer_text(&text));
    qf_buffer_release(&text);
}

qf_status qf_solver_create_from_param(qf_context *context, const Caffe__SolverParameter *param,
                                      qf_solver **out)
{
    *out = NULL;
    qf_solver *solver = qf_alloc(1, sizeof *solver);
    if (!solver)
        return qf_fail(context, QF_E_MEMORY, "no memory for a solver");
    solver->context = context;
    solver->freeze_batch_norm_after = -1;
    solver->bf16_cost = qf_device_of(context)->convolve->bf16_cost;
    qf_status status = qf_message_copy(context, param, &solver->param);
    if (status != QF_OK)
        goto done;
    log_settings(solver);
    if (param->has_solver_mode && param->solver_mode == CAFFE__SOLVER_PARAMETER__SOLVER_MODE__GPU)
        qf_warning(context, "solver_mode is GPU, but this build computes on the CPU");
    if (param->random_seed >= 0)
        qf_context_set_seed(context, param->random_seed);
    if ((status = check_settings(solver)) != QF_OK ||
        (status = build_training_net(solver)) != QF_OK ||
        (status = build_test_nets(solver)) != QF_OK || (status = create_history(solver)) != QF_OK)
        goto done;
    qf_info(context, "Solver scaffolding done.");
    *out = solver;
    solver = NULL;
done:
    qf_solver_destroy(solver);
    return status;
}

qf_status qf_solver_create(qf_context *context, const char *solver_prototxt, qf_solver **out)
{
    return qf_solver_create_with(context, solver_prototxt,
                                 &(qf_solver_options){.size = sizeof(qf_solver_options)}, out);
}

qf_status qf_solver_create_as(qf_context *context, const char *solver_prototxt, const char *type,
                              qf_solver **out)
{
    const qf_solver_options options = {.size = sizeof options, .type = type};
    return qf_solver_create_with(context, solver_prototxt, &options, out);
}

static qf_status set_type(qf_context *context, Caffe__SolverParameter *param, const char *type)
{
    static const Caffe__SolverParameter defaults = CAFFE__SOLVER_PARAMETER__INIT;
    if (param->type == defaults.type)
        param->type = NULL; /* a constant, not to be freed */
    return qf_set_string(context, &param->type, type);
}

static qf_status set_weights(qf_context *context, Caffe__SolverParameter *param,
                             const char *weights)
{
    for (size_t i = 0; i < param->n_weights; i++)
        free(param->weights[i]);
    param->n_weights = 0;
    return *weights ? qf_append_string(context, &param->n_weights, &param->weights, weights)
                    : QF_OK;
}

static qf_status set_state(qf_context *context, Caffe__SolverParameter *param,
                           const qf_solver_options *options)
{
    if (!param->train_state)
        QF_TRY(qf_message_new(context, &caffe__net_state__descriptor, &param->train_state));
    Caffe__NetState *state = param->train_state;
    state->has_level = true;
    state->level = options->level;
    for (size_t i = 0; i < options->stage_count; i++)
        QF_TRY(qf_append_string(context, &state->n_stage, &state->stage, options->stages[i]));
    return QF_OK;
}

qf_status qf_solver_create_with(qf_context *context, const char *solver_prototxt,
                                const qf_solver_options *given, qf_solver **out)
{
    *out = NULL;
    qf_solver_options options = {0};
    Caffe__SolverParameter *param;
    QF_TRY(qf_options_take(context, "qf_solver_options", given, &options, sizeof options));
    QF_TRY(qf_solver_param_read(context, solver_prototxt, &param));
    qf_status status = options.type ? set_type(context, param, options.type) : QF_OK;
    if (status == QF_OK && options.weights)
        status = set_weights(context, param, options.weights);
    if (status == QF_OK && options.set_state)
        status = set_state(context, param, &options);
    if (status == QF_OK)
        status = qf_solver_create_from_param(context, param, out);
    qf_message_free(param);
    return qf_within(context, status, "%s", solver_prototxt);
}

qf_status qf_solver_load_weights(qf_solver *solver, const char *caffemodels)
{
    QF_TRY(load_weights(solver, solver->net, caffemodels));
    QF_TRY(qf_net_check_weights(solver->net, caffemodels));
    qf_divergence_restart(&solver->watch);
    for (int i = 0; i < solver->test_net_count; i++)
        QF_TRY(load_weights(solver, solver->test_nets[i], caffemodels));
    return QF_OK;
}

/* ---- settings in the hands of scripts ---- */

const char *qf_solver_settings(qf_solver *solver)
{
    qf_buffer_release(&solver->settings);
    qf_text_print(solver->param, &solver->settings);
    return solver->settings.failed ? NULL : qf_buffer_text(&solver->settings);
}

qf_status qf_solver_change_settings(qf_solver *solver, const char *text)
{
    qf_context *context = solver->context;
    Caffe__SolverParameter *param;
    QF_TRY(qf_text_parse(context, "solver settings", text, strlen(text),
                         &caffe__solver_parameter__descriptor, &param));
    Caffe__SolverParameter *old = solver->param;
    solver->param = param;
    qf_status status =
        strcmp(param->type, old->type) == 0 && param->n_test_iter == old->n_test_iter
            ? check_settings(solver)
            : qf_fail(context, QF_E_ARGUMENT,
                      "type and the number of test_iter cannot change while training");
    float *losses = status == QF_OK ? qf_alloc((size_t)param->average_loss, sizeof *losses) : NULL;
    if (status == QF_OK && !losses)
        status = qf_fail(context, QF_E_MEMORY, "no memory for the solver's losses");
    if (status != QF_OK) {
        solver->param = old;
        qf_message_free(param);
        return status;
    }
    if (param->average_loss != old->average_loss)
        solver->loss_count = 0; /* another window: smoothing begins anew */
    else
        memcpy(losses, solver->losses, (size_t)param->average_loss * sizeof *losses);
    qf_free(solver->losses);
    solver->losses = losses;
    qf_message_free(old);
    return QF_OK;
}
