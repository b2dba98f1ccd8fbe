/*
 * AMCT's flow step by step: configure, prepare, retrain, export, verify.
 *   quantise NET.prototxt WEIGHTS.caffemodel ITERATIONS
 * The net has Data layers for TRAIN and TEST. All files go into the working directory; the models
 * are quantised_fake_quant_* and quantised_deploy_*.
 */
#include <qaffe/qaffe.h>
#include <stdio.h>
#include <stdlib.h>

/* One test at the end: it searches the shifts N and fills the record. */
static int write_solver(const char *path, int iterations)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return 0;
    fprintf(file,
            "net: 'prepared.prototxt' base_lr: 0.001 momentum: 0.9 lr_policy: 'fixed'\n"
            "max_iter: %d test_iter: 4 test_interval: %d test_initialization: false\n"
            "snapshot: %d snapshot_prefix: 'retrained' random_seed: 1\n",
            iterations, iterations, iterations);
    return fclose(file) == 0;
}

static qf_status retrain(qf_context *context, int iterations)
{
    qf_solver *solver;
    if (!write_solver("solver.prototxt", iterations)) {
        qf_context_fail(context, "solver.prototxt cannot be written");
        return QF_E_IO;
    }
    qf_status status = qf_solver_create(context, "solver.prototxt", &solver);
    if (status == QF_OK)
        status = qf_solver_load_weights(solver, "prepared.caffemodel");
    if (status == QF_OK)
        status = qf_solver_solve(solver);
    qf_solver_destroy(solver);
    return status;
}

static qf_status quantise(qf_context *context, const char *model, const char *weights,
                          int iterations)
{
    char trained[64];
    qf_verification *found = NULL;
    snprintf(trained, sizeof trained, "retrained_iter_%d.caffemodel", iterations);
    qf_status status = qf_create_quant_retrain_config(context, "config.json", model, weights, NULL);
    if (status == QF_OK)
        status =
            qf_create_quant_retrain_model(context, model, weights, "config.json",
                                          "prepared.prototxt", "prepared.caffemodel", "record.txt");
    if (status == QF_OK)
        status = retrain(context, iterations);
    if (status == QF_OK)
        status = qf_save_quant_retrain_model(context, "prepared.prototxt", trained, QF_SAVE_BOTH,
                                             "./quantised", "record.txt", "config.json");
    if (status == QF_OK)
        status = qf_verify(context, "./quantised", NULL, 2, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        printf("verified: %zu integers behind %d layers, %zu differ\n", found->compared,
               found->layers, found->differing);
    qf_verification_destroy(found);
    return status;
}

int main(int count, char **argument)
{
    qf_context *context;
    const int iterations = count == 4 ? atoi(argument[3]) : 0;
    if (iterations < 1) {
        fprintf(stderr, "usage: quantise NET.prototxt WEIGHTS.caffemodel ITERATIONS\n");
        return 2;
    }
    if (qf_context_create(&context) != QF_OK)
        return 1;
    const qf_status status = quantise(context, argument[1], argument[2], iterations);
    if (status != QF_OK)
        fprintf(stderr, "quantise: %s\n", qf_error_text(context));
    qf_context_destroy(context);
    return status != QF_OK;
}
