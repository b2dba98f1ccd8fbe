/* A model's files in a folder: made once, with weights whose BatchNorm has seen a batch. */
#include "bench.h"

#include <string.h>
#include <unistd.h>

static const char *const names[FILE_COUNT] = {
    [FLOAT_TRAIN] = "float.prototxt",
    [FLOAT_DEPLOY] = "float_deploy.prototxt",
    [FLOAT_WEIGHTS] = "float.caffemodel",
    [QAT_TRAIN] = "qat.prototxt",
    [QAT_WEIGHTS] = "qat.caffemodel",
    [INT8_DEPLOY] = "int8_deploy_model.prototxt",
    [INT8_WEIGHTS] = "int8_deploy_weights.caffemodel",
    [FLOAT_SOLVER] = "float_solver.prototxt",
    [QAT_SOLVER] = "qat_solver.prototxt",
    [DISTIL_TRAIN] = "distil.prototxt",
    [DISTIL_WEIGHTS] = "distil.caffemodel",
    [DISTIL_SOLVER] = "distil_solver.prototxt",
    [LSQ_TRAIN] = "lsq.prototxt",
    [LSQ_WEIGHTS] = "lsq.caffemodel",
    [LSQ_SOLVER] = "lsq_solver.prototxt",
    [LSQ_PLUS_TRAIN] = "lsq_plus.prototxt",
    [LSQ_PLUS_WEIGHTS] = "lsq_plus.caffemodel",
    [LSQ_PLUS_SOLVER] = "lsq_plus_solver.prototxt",
    [PACT_TRAIN] = "pact.prototxt",
    [PACT_WEIGHTS] = "pact.caffemodel",
    [PACT_SOLVER] = "pact_solver.prototxt",
    [TQT_TRAIN] = "tqt.prototxt",
    [TQT_WEIGHTS] = "tqt.caffemodel",
    [TQT_SOLVER] = "tqt_solver.prototxt",
    [CALIBRATION] = "calibration.prototxt",
    [CALIBRATION_WEIGHTS] = "calibration.caffemodel",
};

void files_name(const char *folder, bench_files *out)
{
    snprintf(out->folder, sizeof out->folder, "%s", folder);
    for (int i = 0; i < FILE_COUNT; i++) {
        qf_buffer path = {0};
        qf_buffer_print(&path, "%s/%s", folder, names[i]);
        out->path[i] = qf_strdup(qf_buffer_text(&path));
        qf_buffer_release(&path);
    }
}

static void scratch(const bench_files *f, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", f->folder, name);
}

void files_release(bench_files *f, bool remove)
{
    static const char *const others[] = {"config.json",         "record.txt",
                                         "settings.cfg",        "prepared.prototxt",
                                         "prepared.caffemodel", "int8_quant.json"};
    char path[512];
    for (int i = 0; i < FILE_COUNT; i++) {
        if (remove && f->path[i])
            unlink(f->path[i]);
        qf_free(f->path[i]);
    }
    for (size_t i = 0; remove && f->folder[0] && i < sizeof others / sizeof *others; i++) {
        scratch(f, others[i], path, sizeof path);
        unlink(path);
    }
    if (remove && f->folder[0])
        rmdir(f->folder);
    *f = (bench_files){0};
}

static qf_status write_text(qf_context *context, const char *path, const qf_buffer *text)
{
    return qf_file_write(context, path, text->data, text->size, 0644);
}

static qf_status write_model(qf_context *context, const bench_model *model, bool deploy, int batch,
                             const char *path)
{
    qf_buffer text = {0};
    model_print(model, deploy, batch, &text);
    qf_status status = write_text(context, path, &text);
    qf_buffer_release(&text);
    return status;
}

/* A rate so low that made-up data do not drive a net anywhere, yet every weight changes. */
static qf_status write_solver(qf_context *context, const char *net, const char *path)
{
    qf_buffer text = {0};
    qf_buffer_print(&text,
                    "net: '%s'\ntype: 'SGD'\nbase_lr: 1e-6\nlr_policy: 'fixed'\nmomentum: 0.9\n"
                    "weight_decay: 0.0005\nsnapshot_after_train: false\n",
                    net);
    qf_status status = write_text(context, path, &text);
    qf_buffer_release(&text);
    return status;
}

static qf_status fill_inputs(qf_net *net)
{
    for (int i = 0; i < net->input_count; i++) {
        float *values;
        qf_blob *blob = net->blobs[net->inputs[i]];
        QF_TRY(qf_blob_mutable_data(blob, &values));
        for (size_t k = 0, n = qf_blob_count(blob); k < n; k++)
            values[k] = qf_random_uniform(&net->context->random, -1, 1);
    }
    return QF_OK;
}

/* Loads `weights` (NULL: fillers), runs one batch, saves what the net has then. */
static qf_status run_and_save(qf_context *context, const char *model, qf_phase phase,
                              const char *weights, const char *to)
{
    qf_net *net;
    QF_TRY(qf_net_create(context, model, phase, 0, NULL, 0, &net));
    qf_status status = weights ? qf_net_load_weights(net, weights) : QF_OK;
    if (status == QF_OK)
        status = fill_inputs(net);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    if (status == QF_OK)
        status = qf_net_save_weights(net, to);
    qf_net_destroy(net);
    return status;
}

/* How a net is prepared: who teaches, and how ranges and scales learn. */
typedef struct way {
    qf_distil distil;
    const char *ranges, *scales;
} way;
static const way plain = {QF_DISTIL_OFF, "ulq_quantize", "arq_retrain"};

/* Nets to train besides the float one. */
static const struct trained {
    int model, weights, solver;
    way way;
} trained[] = {
    {QAT_TRAIN, QAT_WEIGHTS, QAT_SOLVER, {QF_DISTIL_OFF, "ulq_quantize", "arq_retrain"}},
    {DISTIL_TRAIN, DISTIL_WEIGHTS, DISTIL_SOLVER, {QF_DISTIL_ON, "ulq_quantize", "arq_retrain"}},
    {LSQ_TRAIN, LSQ_WEIGHTS, LSQ_SOLVER, {QF_DISTIL_OFF, "lsq_quantize", "lsq_retrain"}},
    {LSQ_PLUS_TRAIN,
     LSQ_PLUS_WEIGHTS,
     LSQ_PLUS_SOLVER,
     {QF_DISTIL_OFF, "lsq_plus_quantize", "lsq_retrain"}},
    {PACT_TRAIN, PACT_WEIGHTS, PACT_SOLVER, {QF_DISTIL_OFF, "pact_quantize", "arq_retrain"}},
    {TQT_TRAIN, TQT_WEIGHTS, TQT_SOLVER, {QF_DISTIL_OFF, "tqt_quantize", "tqt_retrain"}},
};

static qf_status prepare(qf_context *context, const bench_files *f, int model, int batch_num,
                         const way *how, const char *prepared, const char *prepared_weights)
{
    const qf_retrain_options options = {.size = sizeof options, .distil = how->distil};
    char config[512], record[512], settings[512];
    qf_buffer text = {0};
    scratch(f, "config.json", config, sizeof config);
    scratch(f, "record.txt", record, sizeof record);
    scratch(f, "settings.cfg", settings, sizeof settings);
    qf_buffer_print(&text,
                    "batch_num: %d\nretrain_data_quant_config { %s { } }\n"
                    "retrain_weight_quant_config { %s { channel_wise: true } }\n",
                    batch_num ? batch_num : 1, how->ranges, how->scales);
    qf_status status = write_text(context, settings, &text);
    qf_buffer_release(&text);
    QF_TRY(status);
    QF_TRY(qf_create_quant_retrain_config(context, config, f->path[model], f->path[FLOAT_WEIGHTS],
                                          settings));
    return qf_prepare_quant_retrain_model(context, f->path[model], f->path[FLOAT_WEIGHTS], config,
                                          prepared, prepared_weights, record, &options);
}

/* A test pass over the prepared net finds ranges and shifts; then it is exported. */
static qf_status export(qf_context *context, const bench_files *f)
{
    char prepared[512], weights[512], config[512], record[512], prefix[512];
    scratch(f, "prepared.prototxt", prepared, sizeof prepared);
    scratch(f, "prepared.caffemodel", weights, sizeof weights);
    scratch(f, "config.json", config, sizeof config);
    scratch(f, "record.txt", record, sizeof record);
    scratch(f, "int8", prefix, sizeof prefix);
    QF_TRY(prepare(context, f, FLOAT_DEPLOY, 1, &plain, prepared, weights));
    QF_TRY(run_and_save(context, prepared, QF_TEST, weights, weights));
    return qf_save_quant_retrain_model(context, prepared, weights, QF_SAVE_DEPLOY, prefix, record,
                                       config);
}

qf_status files_make(qf_context *context, const bench_model *model, int batch, int batch_num,
                     bench_files *f)
{
    char *const *path = f->path;
    if (!qf_file_exists(path[INT8_WEIGHTS])) { /* the last one made */
        QF_TRY(write_model(context, model, false, batch, path[FLOAT_TRAIN]));
        QF_TRY(write_model(context, model, true, batch, path[FLOAT_DEPLOY]));
        QF_TRY(write_solver(context, path[FLOAT_TRAIN], path[FLOAT_SOLVER]));
        QF_TRY(run_and_save(context, path[FLOAT_TRAIN], QF_TRAIN, NULL, path[FLOAT_WEIGHTS]));
        for (size_t i = 0; i < sizeof trained / sizeof *trained; i++) {
            const struct trained *t = &trained[i];
            QF_TRY(write_solver(context, path[t->model], path[t->solver]));
            QF_TRY(prepare(context, f, FLOAT_TRAIN, 1, &t->way, path[t->model], path[t->weights]));
        }
        QF_TRY(export(context, f));
    }
    if (batch_num)
        QF_TRY(prepare(context, f, FLOAT_TRAIN, batch_num, &plain, path[CALIBRATION],
                       path[CALIBRATION_WEIGHTS]));
    return QF_OK;
}
