/* What is compared: whole iterations of a solver, or forward passes. */
#include "bench.h"

#include <string.h>
#include <time.h>

const contender_type contender_types[] = {
    [FLOAT_STEP] = {"float", "float step", FLOAT_TRAIN, FLOAT_WEIGHTS, FLOAT_SOLVER, false},
    [QAT_STEP] = {"qat", "QAT step", QAT_TRAIN, QAT_WEIGHTS, QAT_SOLVER, false},
    [QAT_BF16_STEP] = {"qat-bf16", "QAT step, bf16 backward", QAT_TRAIN, QAT_WEIGHTS, QAT_SOLVER,
                       true},
    [DISTIL_STEP] = {"distil", "QAT step with a teacher", DISTIL_TRAIN, DISTIL_WEIGHTS,
                     DISTIL_SOLVER, false},
    [LSQ_STEP] = {"lsq", "QAT step, ranges by LSQ", LSQ_TRAIN, LSQ_WEIGHTS, LSQ_SOLVER, false},
    [LSQ_PLUS_STEP] = {"lsq+", "QAT step, ranges by LSQ+", LSQ_PLUS_TRAIN, LSQ_PLUS_WEIGHTS,
                       LSQ_PLUS_SOLVER, false},
    [PACT_STEP] = {"pact", "QAT step, ranges by PACT", PACT_TRAIN, PACT_WEIGHTS, PACT_SOLVER,
                   false},
    [TQT_STEP] = {"tqt", "QAT step, ranges by TQT", TQT_TRAIN, TQT_WEIGHTS, TQT_SOLVER, false},
    [FLOAT_INFERENCE] = {"float-inference", "float inference", FLOAT_DEPLOY, FLOAT_WEIGHTS, -1,
                         false},
    [INT8_INFERENCE] = {"int8-inference", "int8 inference", INT8_DEPLOY, INT8_WEIGHTS, -1, false},
    [CONTENDERS] = {0},
};

bool contender_available(const contender_type *type)
{
    return !type->backward_bf16 || (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
                                       dnnl_cpu_isa_avx512_core_bf16;
}

static clockid_t clock_used = CLOCK_MONOTONIC;

void clock_of_processor(void)
{
    clock_used = CLOCK_PROCESS_CPUTIME_ID;
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(clock_used, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static qf_status open_net(contender *c, const bench_files *files)
{
    const contender_type *type = c->type;
    if (type->solver >= 0) {
        QF_TRY(qf_solver_create(c->context, files->path[type->solver], &c->solver));
        QF_TRY(qf_solver_load_weights(c->solver, files->path[type->weights]));
        c->net = qf_solver_net(c->solver);
        return QF_OK;
    }
    QF_TRY(qf_net_create(c->context, files->path[type->model], QF_TEST, 0, NULL, 0, &c->net));
    QF_TRY(qf_net_load_weights(c->net, files->path[type->weights]));
    for (int i = 0; i < c->net->input_count; i++) {
        float *values;
        qf_blob *blob = c->net->blobs[c->net->inputs[i]];
        QF_TRY(qf_blob_mutable_data(blob, &values));
        for (size_t k = 0, n = qf_blob_count(blob); k < n; k++)
            values[k] = qf_random_uniform(&c->context->random, -1, 1);
    }
    return QF_OK;
}

qf_status contender_open(qf_context *context, const contender_type *type, const bench_files *files,
                         contender *out)
{
    *out = (contender){.type = type, .context = context, .best = 1e30, .best_without_update = 1e30};
    QF_TRY(open_net(out, files));
    out->net->timing = true;
    qf_net_keep_blobs(out->net, false);
    out->forward = qf_alloc((size_t)out->net->layer_count, sizeof(double));
    out->backward = qf_alloc((size_t)out->net->layer_count, sizeof(double));
    return out->forward && out->backward ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory");
}

void contender_close(contender *c)
{
    if (c->solver)
        qf_solver_destroy(c->solver);
    else
        qf_net_destroy(c->net);
    qf_free(c->forward);
    qf_free(c->backward);
    *c = (contender){0};
}

/* One iteration; *computed: seconds but for the update. */
static qf_status iterate(contender *c, double *taken, double *computed)
{
    for (int l = 0; l < c->net->layer_count; l++)
        c->net->layers[l]->forward_cost.seconds = c->net->layers[l]->backward_cost.seconds = 0;
    qf_context_set_compute(c->context, QF_COMPUTE_AUTO,
                           c->type->backward_bf16 ? QF_BACKWARD_BF16 : QF_BACKWARD_F32);
    const double start = seconds_now();
    if (c->solver)
        qf_net_clear_param_diffs(c->net);
    QF_TRY(qf_net_forward(c->net, NULL));
    if (c->solver)
        QF_TRY(qf_net_backward(c->net));
    *computed = seconds_now() - start;
    if (c->solver)
        QF_TRY(qf_solver_apply_update(c->solver));
    *taken = seconds_now() - start;
    return QF_OK;
}

qf_status contender_turn(contender *c, bool counts)
{
    const double turn = 0.05; /* small nets repeat, or the first iteration's cold caches count */
    const double start = seconds_now();
    do {
        double taken, computed;
        QF_TRY(iterate(c, &taken, &computed));
        if (!counts)
            return QF_OK;
        if (computed < c->best_without_update)
            c->best_without_update = computed;
        if (taken < c->best) { /* the layers of the best iteration, so that they add up */
            c->best = taken;
            for (int l = 0; l < c->net->layer_count; l++) {
                c->forward[l] = c->net->layers[l]->forward_cost.seconds;
                c->backward[l] = c->net->layers[l]->backward_cost.seconds;
            }
        }
    } while (seconds_now() - start < turn);
    return QF_OK;
}

double contender_type_sum(const contender *c, const char *type)
{
    double sum = 0;
    for (int l = 0; c->net && l < c->net->layer_count; l++)
        if (strcmp(c->net->layers[l]->type->name, type) == 0)
            sum += c->forward[l] + c->backward[l];
    return sum;
}
