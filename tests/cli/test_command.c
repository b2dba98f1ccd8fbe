/* The qaffe command as a person or a script meets it: exit codes, messages, AMCT's log, and what
 * lies there after a failure. */
#include "harness/command.h"
#include "harness/fixture.h"

#include "data/stores/sample_store.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NET                                                                                        \
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { scale: 0.01 } "        \
    "data_param { source: '%s' batch_size: 20 backend: LMDB } }"                                   \
    "layer { name: 'a/c1' type: 'Convolution' bottom: 'x' top: 'c1' convolution_param { "          \
    "num_output: 4 kernel_size: 5 stride: 3 weight_filler { type: 'msra' } } }"                    \
    "layer { name: 'b1' type: 'BatchNorm' bottom: 'c1' top: 'c1' }"                                \
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"                                     \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c1' top: 'ip' inner_product_param { "        \
    "num_output: 10 weight_filler { type: 'xavier' } } }"                                          \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"      \
    "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { "      \
    "phase: TEST } }"

#define MODEL "--model net.prototxt --weights float_iter_10.caffemodel "
#define AMCT_LOG "amct_log/amct_caffe.log"
#define PREPARE(to)                                                                                \
    "qat prepare " MODEL "--config config.json --out-model " to                                    \
    "modified.prototxt --out-weights " to "modified.caffemodel --record " to "record.txt "

static int set_up(void **state)
{
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 200, 40, 1));
    char *net = test_format(NET, "train_lmdb");
    test_write_text(context, "net.prototxt", net);
    qf_free(net);
    test_write_text(context, "solver.prototxt",
                    "net: 'net.prototxt' test_iter: 2 test_interval: 10 test_initialization: false "
                    "base_lr: 0.01 lr_policy: 'fixed' max_iter: 10 snapshot: 10 display: 5 "
                    "snapshot_prefix: 'float' random_seed: 1");
    test_write_text(
        context, "qat.prototxt",
        "net: 'modified.prototxt' test_iter: 2 test_interval: 10 test_initialization: false "
        "base_lr: 0.001 lr_policy: 'fixed' max_iter: 10 snapshot: 10 "
        "snapshot_prefix: 'qat' random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

#define AUTO "ptq auto " MODEL "--config ptq.json --test-iterations 1 "

/* Any loss is allowed; none that a quantised net can keep within, so that all layers stay float. */
static void calibrating_automatically(void **state)
{
    (void)state;
    test_command(0, "success", "", "ptq config " MODEL "--out ptq.json --batch-num 1");
    test_command(2, "--config FILE is missing", "", "ptq auto " MODEL);
    test_command(1, "Can not find the config_file at none.json", "",
                 "ptq auto " MODEL "--config none.json");
    test_command(0, "next: qaffe verify --model auto/m", "",
                 AUTO "--max-loss 1000000 --out auto/m --record auto.txt");
    assert_non_null(strstr(test_output, "all (the original)"));
    assert_non_null(strstr(test_output, "good enough"));
    assert_true(test_file_has(context, "auto.txt", "scale_d"));
    assert_true(test_file_has(context, "auto/m_deploy_model.prototxt", "DeQuant"));
    test_command(0, "0 differ", "", "verify --model auto/m --iterations 2");
    /* No images are there to test: nothing is written. */
    test_command(1, "missing_lmdb", "", AUTO "--test-data missing_lmdb --out no/m");
    assert_int_equal(rmdir("no"), 0); /* it is empty */
}

static void usage(void **state)
{
    (void)state;
    test_command(0, "qat run", "", "--help");
    test_command(0, "Usage: qaffe train", "", "train --help");
    test_command(2, "did you mean \"train\"", "", "trian");
    test_command(2, "solver", "", "train");
    test_command(2, "--iterations", "", "test --model m --weights w --iteration 3");
    test_command(2, "", "", "test --model m --weights w --iterations many");
    test_command(2, "one more word", "", "qat");
}

/* ---- Caffe's programs ---- */

static void flags_are_read_as_gflags_does(void **state)
{
    (void)state;
    static const char *const spellings[] = {
        "tools/caffe test -model net.prototxt -weights float_iter_10.caffemodel -iterations 1",
        "tools/caffe --model=net.prototxt --weights=float_iter_10.caffemodel --iterations=1 test",
        "tools/caffe --model net.prototxt test --nologtostderr -weights float_iter_10.caffemodel "
        "--iterations 1 --level=0 -stage \"\"",
        "tools/caffe.bin test -model=net.prototxt -weights=float_iter_10.caffemodel,"
        "float_iter_10.caffemodel -iterations=1 -alsologtostderr=1",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        test_tool(0, "Batch 0, loss = ", spellings[i]);
        assert_null(strstr(test_output, "------")); /* Caffe has no table */
    }
    test_tool(1, "ERROR: unknown command line flag 'solvr'", "tools/caffe train -solvr s");
    test_tool(1, "ERROR: illegal value 'x' specified for int32 flag 'iterations'",
              "tools/caffe time --iterations=x");
    test_tool(1, "ERROR: flag '-solver' is missing its argument", "tools/caffe train -solver");
    test_tool(1, "the flag -solver FILE is missing", "tools/caffe train");
    test_tool(1, "unknown action \"trian\"", "tools/caffe trian");
    test_tool(1, "-sigint_effect", "tools/caffe --help");
    test_tool(0, "caffe version 1.0.0", "tools/caffe -version");
    test_tool(1, "there is no GPU", "tools/caffe train --solver solver.prototxt --gpu 0,1");
    test_tool(1, "there is no GPU", "tools/caffe device_query -gpu all");
    test_tool(0, "paranoid", "tools/caffe device_query");
    test_tool(1, "there is no device 'tpu'", "tools/caffe device_query --device tpu");
    test_tool(0, "Querying GPUs", "tools/caffe device_query");
    test_tool(1, "INPUT_DB [OUTPUT_FILE]", "tools/compute_image_mean");
    test_tool(1, "'tiff'", "tools/convert_imageset --encode_type=tiff ./ list.txt no_lmdb");
}

static void logs_are_kept_where_glog_keeps_them(void **state)
{
    (void)state;
    assert_int_equal(mkdir("logs", 0755), 0);
    test_tool(0, "",
              "tools/caffe test --log_dir=logs -minloglevel=1 -model net.prototxt -weights "
              "float_iter_10.caffemodel -iterations 1");
    assert_string_equal(test_output, "");
    test_tool(0, "",
              "tools/caffe test --log_dir=logs -model net.prototxt -weights "
              "float_iter_10.caffemodel -iterations 1");
    assert_true(test_file_has(context, "logs/caffe.INFO", "Log line format: [IWEF]mmdd"));
    assert_true(test_file_has(context, "logs/caffe.INFO", "] Batch 0, loss = "));
}

/* A file of the wrong kind: the sentence names the right one. */
static void snapshots_of_the_wrong_kind(void **state)
{
    (void)state;
    test_command(
        1, "resume from float_iter_10.solverstate, or start from these weights with --weights", "",
        "train --solver solver.prototxt --snapshot float_iter_10.caffemodel");
    test_command(1, "take float_iter_10.caffemodel, or resume from the state with --snapshot", "",
                 "train --solver solver.prototxt --weights float_iter_10.solverstate");
}

/* Weights move between the formats, and state does. */
static void hdf5_snapshots_resume(void **state)
{
    (void)state;
    test_write_text(
        context, "hdf5.prototxt",
        "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 10 snapshot: 5 "
        "snapshot_prefix: 'h5/run' snapshot_format: HDF5 snapshot_diff: true random_seed: 1");
    test_command(0, "Snapshotting solver state to HDF5 file h5/run_iter_5.solverstate.h5", "",
                 "train --solver hdf5.prototxt");
    test_command(
        0, "cmp: the same", "cp h5/run_iter_10.caffemodel.h5 alone.h5; (",
        "train --solver hdf5.prototxt --snapshot h5/run_iter_5.solverstate.h5 2>/dev/null); "
        "cmp alone.h5 h5/run_iter_10.caffemodel.h5 && echo cmp: the same");
    test_command(
        1, "alone.h5 is an HDF5 file, but a solver's state in HDF5 (.solverstate.h5) is expected",
        "", "train --solver hdf5.prototxt --snapshot alone.h5"); /* weights under another name */
}

static void models_are_shown(void **state)
{
    (void)state;
    test_command(0, "folded into a/c1 when exporting", "",
                 "inspect --model net.prototxt --weights float_iter_10.caffemodel");
    assert_non_null(strstr(test_output, "20 x 4 x 8 x 8"));
    assert_non_null(strstr(test_output, "% of them in int8"));
    test_command(0, "\"multiply_adds\": 128000", "", "inspect --model net.prototxt --json");
    test_command(0, "n0 -> n1 [label=\"20 x 1 x 28 x 28\"]", "",
                 "inspect --model net.prototxt --dot");
    test_command(2, "exclude each other", "", "inspect --model net.prototxt --dot --json");

    /* Another shape, and a source that is not there. */
    char *net = test_format(NET, "nowhere_lmdb");
    test_write_text(context, "nowhere.prototxt", net);
    qf_free(net);
    test_command(1, "nowhere_lmdb", "", "inspect --model nowhere.prototxt");
    assert_non_null(strstr(test_output, "--shape x=1x3x224x224"));
    test_command(0, "3 x 4 x 12 x 9", "",
                 "inspect --model nowhere.prototxt --shape x=3x1x40x30 --phase TRAIN");
    test_command(0, "1 x 4 x 8 x 8", "",
                 "inspect --model net.prototxt --shape x=1x1x28x28,label=1 "
                 "--weights float_iter_10.caffemodel");
    test_command(1, "the net has shape 10 432 (4320), the weights file has 10 256 (2560)", "",
                 "inspect --model net.prototxt --shape x=1x1x40x30 "
                 "--weights float_iter_10.caffemodel");
    test_command(1, "a shape is given for 'c1'", "", "inspect --model net.prototxt --shape c1=1");
    static const char *const wrong[] = {"x", "x=", "x=1x", "x=1,2", "x=0x1", "x=1x1x28x28y"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *arguments = test_format("inspect --model net.prototxt --shape %s", wrong[i]);
        test_command(1, "is not a shape; expected NAME=SIZES", "", arguments);
        qf_free(arguments);
    }
    test_command(1, "missing.prototxt", "", "inspect --model missing.prototxt");
}

/* The six steps by hand, with AMCT's log beside them. */
static void the_flow_writes_amct_s_log(void **state)
{
    (void)state;
    struct stat info;
    test_command(0, " - INFO - [AMCT]:[Configuration]: 2 layers", "umask 0;",
                 "qat config " MODEL "--out config.json");
    assert_true(test_file_has(context, "amct_log/amct_caffe.log",
                              " - INFO - [AMCT]:[Configuration]: 2 layers"));
    assert_int_equal(stat("amct_log", &info), 0);
    assert_int_equal(info.st_mode & 0777, 0750);
    assert_int_equal(stat("amct_log/amct_caffe.log", &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);

    test_command(0, "statistics frozen", "AMCT_LOG_LEVEL=error AMCT_LOG_FILE_LEVEL=Debug",
                 PREPARE("") "--batch-norm frozen");
    assert_null(strstr(test_output, "[AMCT]"));
    assert_true(test_file_has(context, "modified.prototxt", "use_global_stats: true"));
    assert_true(test_file_has(context, "amct_log/amct_caffe.log",
                              " - DEBUG - [AMCT]:[Prepare]: Do layer: [ip]"));
    assert_false(test_file_has(context, "amct_log/amct_caffe.log",
                               "[Configuration]")); /* the old log is gone */

    test_command(0, "statistics go on training", "", PREPARE("") "--batch-norm train");
    assert_true(strstr(test_output, "will be overwritten by AMCT"));
    assert_false(test_file_has(context, "modified.prototxt", "use_global_stats"));

    test_command(0, "Optimization Done.", "",
                 "train --solver qat.prototxt --weights modified.caffemodel --freeze-bn-after 5");
    test_command(
        0, "Next:", "AMCT_LOG_LEVEL=DEBUG",
        "qat export --model modified.prototxt --weights qat_iter_10.caffemodel --out results/m "
        "--record record.txt --config config.json");
    assert_true(strstr(test_output, "Do layer: [a/c1] fusion with [b1] success!"));
    assert_true(test_file_has(context, "results/m_quant.json", "\"_datadump_original_op_names\""));
    assert_true(test_file_has(context, "results/m_quant.json", "\"name\": \"m\",\n  \"graph\": ["));
    assert_true(test_file_has(context, "results/m_quant.json", "\"a/c1_dequant_layer\""));
    assert_false(test_file_has(context, "results/m_quant.json", "\"input\""));
    assert_true(test_file_has(context, "results/m_quant.json", "\"s\": \"b1\""));
    test_command(0, "0 differ", "", "verify --model results/m --iterations 2");
    test_command(0, "acc = ", "AMCT_LOG_FILE_LEVEL=DEBUG",
                 "test --model results/m_deploy_model.prototxt --weights "
                 "results/m_deploy_weights.caffemodel --iterations 2");
    assert_true(test_file_has(context, "amct_log/a%2Fc1_dequant_layer.log",
                              "[DEBUG][layer_log.c][DeQuant]["));
    assert_true(qf_file_exists("amct_log/ip_0_quant_layer.log"));
}

/* The log of the last run outlives a command that comes to nothing, and a second process. */
static void the_log_outlives_failures(void **state)
{
    (void)state;
    static const char *const failing[] = {
        "qat run --model missing.prototxt --weights float_iter_10.caffemodel",
        "qat run --model net.prototxt --weights missing.caffemodel",
        "qat run " MODEL "--train-data missing_lmdb",
        "qat config --model missing.prototxt --weights float_iter_10.caffemodel --out c.json",
        ("qat prepare --model net.prototxt --weights float_iter_10.caffemodel --config "
         "missing.json --out-model m.prototxt --out-weights m.caffemodel --record r.txt"),
        "qat export --model missing.prototxt --weights w --record r.txt --out results/x",
    };
    test_command(0, "Configuration]: 2 layers can be quantised", "",
                 "qat config " MODEL "--out config.json");
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        test_command(1, "missing", "", failing[i]);
        assert_true(test_file_has(context, AMCT_LOG, "2 layers can be quantised"));
    }
    assert_true(test_file_has(context, AMCT_LOG, "ERROR - [AMCT]:[Configuration]: "));
    test_command(2, "did you mean", "", "qat run --modle net.prototxt");
    assert_true(test_file_has(context, AMCT_LOG, "2 layers can be quantised"));

    test_command(0, "Another process writes amct_log/amct_caffe.log",
                 "exec 9<amct_log/amct_caffe.log; flock 9;", PREPARE(""));
    assert_true(test_file_has(context, AMCT_LOG, "2 layers can be quantised"));
    assert_true(test_file_has(context, AMCT_LOG, "The modified model is saved"));
    test_command(0, "", "", PREPARE(""));
    assert_false(test_file_has(context, AMCT_LOG, "2 layers can be quantised"));
    assert_false(test_file_has(context, AMCT_LOG, "ERROR"));
    test_command(0, "cannot write amct_log/amct_caffe.log",
                 "rm amct_log/amct_caffe.log; ln -s /dev/full amct_log/amct_caffe.log;",
                 PREPARE(""));
    assert_int_equal(unlink(AMCT_LOG), 0);
}

static void log_levels_are_checked(void **state)
{
    (void)state;
    test_command(1, "AMCT_LOG_LEVEL{'LOUD'} is invalid, only support", "AMCT_LOG_LEVEL=LOUD",
                 "qat config " MODEL "--out none.json");
    assert_false(qf_file_exists("none.json"));
    test_command(1, "AMCT_LOG_FILE_LEVEL{'7'}", "AMCT_LOG_FILE_LEVEL=7",
                 "qat config " MODEL "--out none.json");
}

/* No file may grow beyond 4 KiB: the kernel answers as for a full disk. What was there stays. */
static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    test_command(0, "", "", "qat config " MODEL "--out config.json");
    test_write_text(context, "full/modified.caffemodel", "precious");
    test_write_text(context, "full/modified.prototxt", "precious");
    test_write_text(context, "full/record.txt", "precious");
    test_command(1,
                 "cannot write full/modified.caffemodel: the file would be larger than is allowed",
                 "ulimit -f 4;", PREPARE("full/"));
    assert_true(test_file_has(context, "full/modified.caffemodel", "precious"));
    assert_true(test_file_has(context, "full/modified.prototxt", "precious"));
    assert_true(test_file_has(context, "full/record.txt", "precious"));
    test_command(1, "cannot", "", PREPARE("/proc/no/"));
    test_command(1, "ulimit -f", "ulimit -f 4;", "train --solver solver.prototxt");
    assert_true(qf_file_exists("float_iter_10.caffemodel"));
    assert_int_equal(system("ls full float_iter* | grep partial"), 1 << 8);
    test_command(0, "cannot keep the log in the folder of --log_dir", "mkdir -p logs; ulimit -f 2;",
                 "caffe test --log_dir=logs -model net.prototxt -weights float_iter_10.caffemodel "
                 "-iterations 2");
    assert_non_null(strstr(test_output, "Batch 1, loss = "));
    assert_int_equal(system(QAFFE_COMMAND " train --solver solver.prototxt 2>/dev/full"), 1 << 8);
}

/* What is read is not written over, whatever it is called. */
static void inputs_are_kept(void **state)
{
    (void)state;
    test_command(0, "", "", "qat config " MODEL "--out config.json");
    test_command(1, "'./net.prototxt' is read and would be written over", "",
                 "qat config " MODEL "--out ./net.prototxt");
    test_command(1, "'linked' is read and would be written over",
                 "ln -sf float_iter_10.caffemodel linked;",
                 "qat prepare " MODEL "--config config.json --out-model modified.prototxt "
                 "--out-weights linked --record record.txt");
    test_command(1, "two outputs have the same name './x'", "",
                 "qat prepare " MODEL
                 "--config config.json --out-model x --out-weights ./x --record record.txt");
    test_command(0, "Accuracy", "", "inspect " MODEL);
}

static int lines_of(const char *text, size_t *longest)
{
    int lines = 0;
    *longest = 0;
    for (size_t length; *text; text += length + (text[length] == '\n'), lines++) {
        length = strcspn(text, "\n");
        if (length > *longest && text[0] != '\r') /* the live line is taken away again */
            *longest = length;
    }
    return lines;
}

/* The number behind `label` in what the last command wrote, `column` words further. */
static double number_at(const char *label, int column)
{
    const char *at = strstr(test_output, label);
    assert_non_null(at);
    for (at += strlen(label); column > 0; column--)
        at += strcspn(at + strspn(at, " "), " \n") + strspn(at, " ");
    return strtod(at, NULL);
}

/* Plan, progress and result on the screen, everything else in a file; on a test set that the batch
 * does not divide, with all that the net puts out. */
static void runs_are_quiet(void **state)
{
    (void)state;
    size_t longest;
    const char *second =
        "layer { name: 'top3' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'top3' "
        "accuracy_param { top_k: 3 } include { phase: TEST } }";
    char *net = test_format(NET "%s", "test_lmdb", second);
    test_write_text(context, "judged.prototxt", net);
    qf_free(net);
#define RUN                                                                                        \
    "qat run --weights float_iter_10.caffemodel --iterations 4 --base-lr 1e-4 --out quiet/q "      \
    "--seed 1 "
    test_command(0, "Next: ", "", RUN "--model judged.prototxt --batch-size 15");
    assert_true(lines_of(test_output, &longest) < 60);
    assert_null(strstr(test_output, "Iteration "));
    assert_non_null(strstr(test_output, "whole test set: 40 items"));
    assert_non_null(strstr(test_output, "model          acc"));
    assert_non_null(strstr(test_output, "Log: quiet/q_run.log"));
    assert_true(test_file_has(context, "quiet/q_run.log", "] Iteration 0 ("));
    assert_true(test_file_has(context, "quiet/q_run.log", "] Plan: ip (InnerProduct) quantised"));
    assert_true(test_file_has(context, "quiet/q_run.log", "] Testing all 40 items in 3 batches."));
    const double accuracy = number_at("\nfloat ", 0), loss = number_at("\nfloat ", 1),
                 top3 = number_at("\nfloat ", 2);

    /* What failed before it began left the log; the old files are spoken of once. */
    test_command(1, "missing", "", RUN "--model missing.prototxt");
    test_command(1, "missing_lmdb", "", RUN "--model net.prototxt --train-data missing_lmdb");
    assert_true(test_file_has(context, "quiet/q_run.log", "] Iteration 0 ("));
    test_command(0, "] Iteration 0 (", "", RUN "--model judged.prototxt --log-level info");
    assert_non_null(strstr(test_output, "The files of an earlier run that begin with quiet/q are"));

    /* A data layer for both phases becomes two where there are data for each. */
    test_command(0, "whole test set: 200 items", "",
                 RUN "--model judged.prototxt --train-data test_lmdb --test-data train_lmdb");
    assert_true(test_file_has(context, "quiet/q_float.prototxt", "source: \"train_lmdb\""));

    /* The same numbers from one batch with all images, whatever tests it. */
    test_command(0, "", "sed -i 's/batch_size: 20/batch_size: 40/' judged.prototxt;",
                 "test --model judged.prototxt --weights float_iter_10.caffemodel --iterations 1");
    assert_true(fabs(number_at("\nacc ", 0) - accuracy) < 1e-4);
    assert_true(fabs(number_at("\ntop3 ", 0) - top3) < 1e-4);
    assert_true(fabs(number_at("\nloss ", 0) - loss) < 1e-4);
    test_command(0, "the whole test set: 40 items", "sed -i 's/: 40/: 7/' judged.prototxt;",
                 "test --model judged.prototxt --weights float_iter_10.caffemodel");
    assert_true(fabs(number_at("\nacc ", 0) - accuracy) < 1e-4);
    test_tool(0, "] Batch 49, ",
              "tools/caffe test -model judged.prototxt -weights float_iter_10.caffemodel");

    /* A log that cannot be written is said; the run goes on. */
    test_command(0, "cannot keep the log in quiet/q_run.log: Is a directory",
                 "rm quiet/q_run.log; mkdir quiet/q_run.log;", RUN "--model judged.prototxt");
}

/* Tables fit a terminal; elsewhere nothing is cut. */
static void tables_fit_the_terminal(void **state)
{
    (void)state;
    size_t longest;
    test_command(0, "", "", "qat config " MODEL "--out config.json");
    test_command(0, "input measured on the first batch; weights per channel; N over 1 batch", "",
                 PREPARE(""));
    test_command(0, "how, or why",
                 "script -qec \"stty cols 60; AMCT_LOG_LEVEL=error " QAFFE_COMMAND
                 " " PREPARE("") "\" /dev/null | tr -d '\\r'; ",
                 "--version");
    char *table = strstr(test_output, "layer "), *end = strstr(table, "Next: ");
    assert_non_null(end);
    *end = '\0';
    lines_of(table, &longest);
    assert_in_range(longest, 50, 59);
    assert_non_null(strstr(table, "\na/c1 "));
    assert_non_null(strstr(table, "weights"));
}

static void databases_are_named(void **state)
{
    (void)state;
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, "empty_lmdb", QF_STORE_LMDB, &writer));
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
    static const char *const sources[] = {"empty_lmdb", "missing_lmdb"};
    for (size_t i = 0; i < 2; i++) {
        char *net = test_format(NET, sources[i]);
        test_write_text(context, "bad.prototxt", net);
        test_command(1, sources[i], "",
                     "test --model bad.prototxt --weights float_iter_10.caffemodel --iterations 1");
        qf_free(net);
    }
}

/* A model whose weights, and one whose data, are not numbers. */
static void nan_is_named(void **state)
{
    (void)state;
    Caffe__NetParameter *weights;
    assert_ok(context, qf_net_param_read_binary(context, "float_iter_10.caffemodel", &weights));
    for (size_t i = 0; i < weights->n_layer; i++)
        if (strcmp(weights->layer[i]->name, "ip") == 0)
            weights->layer[i]->blobs[0]->data[3] = strtof("nan", NULL);
    assert_ok(context, qf_wire_write(context, "nan.caffemodel", weights, 0644));
    qf_message_free(weights);
    test_command(0, "", "", "qat config " MODEL "--out config.json");
    test_command(
        1, "Exist NaN in input data, cannot do ARQ quantize. (weight 3 of layer ip)", "",
        "qat prepare --model net.prototxt --weights nan.caffemodel --config config.json "
        "--out-model nan/m.prototxt --out-weights nan/m.caffemodel --record nan/record.txt");
    assert_false(qf_file_exists("nan/m.prototxt"));

    test_command(0, "", "", PREPARE(""));
    test_write_text(context, "steep.prototxt",
                    "net: 'modified.prototxt' base_lr: 1e20 lr_policy: 'fixed' max_iter: 50 "
                    "snapshot_after_train: false random_seed: 1");
    test_command(1, "loss", "", "train --solver steep.prototxt --weights modified.caffemodel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibrating_automatically),
        cmocka_unit_test(usage),
        cmocka_unit_test(flags_are_read_as_gflags_does),
        cmocka_unit_test(logs_are_kept_where_glog_keeps_them),
        cmocka_unit_test(snapshots_of_the_wrong_kind),
        cmocka_unit_test(hdf5_snapshots_resume),
        cmocka_unit_test(models_are_shown),
        cmocka_unit_test(the_flow_writes_amct_s_log),
        cmocka_unit_test(the_log_outlives_failures),
        cmocka_unit_test(log_levels_are_checked),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(inputs_are_kept),
        cmocka_unit_test(runs_are_quiet),
        cmocka_unit_test(tables_fit_the_terminal),
        cmocka_unit_test(databases_are_named),
        cmocka_unit_test(nan_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
