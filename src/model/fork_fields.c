/* Fields of Caffe's forks that change nothing on the devices here: where something is computed, in
 * which type, which of a library's algorithms, what is printed or measured. Read, kept and
 * mentioned.
 *
 * A name with "=value" is one of a field that changes something unless it has this value. Forks:
 * NVIDIA's, Intel's, Cambricon's, SSD's and its heirs, yjxiong's, happynear's, synopsys's. */
#include "model/kept_text.h"

#include <string.h>

static const struct {
    const char *message; /* "": any */
    const char *names;   /* separated by blanks */
} idle[] = {
    {"", "engine"},
    {"NetParameter",
     "mem_param opt_level top_mlu_dtype debug_dtype multinode compile_net_state "
     "bn_stats_batch_size=0 "
     "default_forward_type default_backward_type default_forward_math default_backward_math "
     "default_cudnn_math_override default_conv_algos_override eltwise_mem_sharing reduce_buckets "
     "global_grad_scale global_grad_scale_adaptive"},
    {"LayerParameter",
     "forward_type backward_type forward_math backward_math cudnn_math_override debug debug_dtype "
     "mem_param blobs_dtype bottom_mlu_dtype top_mlu_dtype external_output sparsity showtop "
     "reshape_every_iter quantization_param"},
    {"ConvolutionParameter",
     "cudnn_convolution_algo_seeker conv_algos_override conv_algorithm sparse_mode "
     "weight_fixed=false relu=false same_mode=false yuv_input=false dis_mode=false "
     "gen_mode=false submanifold_sparse=false"},
    {"InnerProductParameter", "sparse_mode weight_fixed=false dis_mode=false gen_mode=false"},
    {"BatchNormParameter",
     "stats_batch_size=0 relu=false icnet=false use_alpha_beta=false disable_mean=false "
     "disable_variance=false"},
    {"BNParameter", "icnet=false"},
    {"PoolingParameter", "torch_pooling=false avg_include_pad=true pad_type=0"},
    {"ReLUParameter", "fuse"},
    {"ScaleParameter", "dis_mode=false gen_mode=false"},
    {"RecurrentParameter", "sparse_mode"},
    {"ConcatParameter", "per_fla_fuse"},
    {"DropoutParameter", "random_seed"},
    {"SoftmaxParameter", "normalize_type=Softmax label_smooth_factor=0 hard_ratio=1"},
    {"LossParameter", "label_smoothing=0 adaptive_weighting=false"},
    {"DataParameter",
     "threads parser_threads cache precache disk_reader_threads huge_video_dataset verbose "
     "rand_permute=false"},
    {"TransformationParameter",
     "use_gpu_transform forward_packing display debug_params random_seed num_labels flow=false "
     "is_flow=false bgr2rgb=false "
     "cvt_bgr2rgb=false multi_scale=false fix_crop=false more_fix_crop=false center_crop=false "
     "original_image=false smooth_filtering=false enable_classf_aug=false "
     "contrast_brightness_adjustment=false caffe_yolo=false "
     "pad=0"},
    {"ImageDataParameter",
     "threads cache precache short_side=0 min_height=0 min_width=0 dataset_share_per_node=1"},
    {"MemoryDataParameter", "source share_in_parallel"},
    {"MultiBoxLossParameter", "ignore_difficult_gt=false"},
    {"AnnotatedDataParameter", "difficult_label_warmup=false"},
    {"SolverParameter",
     "store_blobs_in_old_format solver_data_type "
     "test_and_snapshot_last_epochs=0 larc=false larc_eta larc_policy larc_turbo=false "
     "local_lr_auto=false local_gw_ratio disabled_update=false test_offset=0 group_id richness "
     "plateau_winsize gan_solver=false "
     "momentum_policy=fixed max_momentum momentum_power "
     "weight_decay_policy=fixed max_weight_decay weight_decay_power clip_weights=-1"},
};

/* What fields do, for the refusal: with other values than those above, or with any. */
static const struct {
    const char *message, *names, *effect;
} effects[] = {
    {"SolverParameter", "larc larc_turbo",
     "it gives each layer a learning rate by the norms of its weights and gradients (LARC of "
     "NVIDIA's Caffe)"},
    {"SolverParameter", "local_lr_auto",
     "it gives each layer a learning rate by the norms of its weights and gradients (LARS of "
     "Intel's Caffe)"},
    {"SolverParameter", "momentum_policy", "it changes the momentum on the way (NVIDIA's Caffe)"},
    {"SolverParameter", "weight_decay_policy",
     "it changes the weight decay on the way (NVIDIA's Caffe)"},
    {"SolverParameter", "clip_weights", "it cuts weights after each step"},
    {"SolverParameter", "gan_solver", "it trains two nets in turns (synopsys-caffe)"},
    {"SolverParameter", "disabled_update", "it leaves the weights as they are (Intel's Caffe)"},
    {"SolverParameter", "test_and_snapshot_last_epochs",
     "it tests and writes snapshots after the last epochs (NVIDIA's Caffe)"},
    {"SolverParameter", "test_offset", "it moves the iterations of tests (Intel's Caffe)"},
    {"AnnotatedDataParameter", "difficult_label_warmup",
     "it leaves boxes marked difficult out of the first twentieth of a training (MobileNet-YOLO)"},
    {"ImageDataParameter", "short_side min_height min_width",
     "it resizes images and keeps the ratio of their sides (NVIDIA's and Intel's Caffe)"},
};

/* Fields that forks repeat: those of MobileNet-YOLO, and yjxiong's devices of several processes. */
static const struct {
    const char *message, *name;
} repeated[] = {
    {"TransformationParameter", "emit_constraint"},
    {"SolverParameter", "device_id"},
};

enum {
    GROUPS = sizeof idle / sizeof *idle,
    EFFECTS = sizeof effects / sizeof *effects,
    REPEATED = sizeof repeated / sizeof *repeated
};

/* Is the token this word, without the quotes of a string? */
static bool says(const qf_token *token, const char *word, size_t size)
{
    const size_t quote = token->kind == QF_TOKEN_STRING;
    return token->size == size + 2 * quote && memcmp(token->text + quote, word, size) == 0;
}

static bool is_listed(const char *names, const qf_token *name, const qf_token *value)
{
    for (const char *word = names; *word; word += strspn(word, " ")) {
        const size_t size = strcspn(word, " "), plain = strcspn(word, " =");
        if (says(name, word, plain) &&
            (plain == size || says(value, word + plain + 1, size - plain - 1)))
            return true;
        word += size;
    }
    return false;
}

bool qf_fork_field_is_idle(const ProtobufCMessageDescriptor *type, const qf_token *name,
                           const qf_token *value)
{
    for (size_t i = 0; i < GROUPS; i++)
        if ((!*idle[i].message || strcmp(idle[i].message, type->short_name) == 0) &&
            is_listed(idle[i].names, name, value))
            return true;
    return false;
}

/* The value, behind "=", with which a field is without effect; its size in *size. NULL: none. */
static const char *idle_value(const char *names, const qf_token *name, size_t *size)
{
    for (const char *word = names; *word; word += strspn(word, " ")) {
        const size_t whole = strcspn(word, " "), plain = strcspn(word, " =");
        *size = plain < whole ? whole - plain - 1 : 0;
        if (*size && says(name, word, plain))
            return word + plain + 1;
        word += whole;
    }
    return NULL;
}

static const char *effect_of(const ProtobufCMessageDescriptor *type, const qf_token *name)
{
    for (size_t i = 0; i < EFFECTS; i++)
        if (strcmp(effects[i].message, type->short_name) == 0 &&
            is_listed(effects[i].names, name, name))
            return effects[i].effect;
    return NULL;
}

bool qf_fork_field_refusal(const ProtobufCMessageDescriptor *type, const qf_token *name,
                           qf_buffer *out)
{
    const char *effect = effect_of(type, name), *value = NULL;
    size_t size = 0;
    for (size_t i = 0; i < GROUPS && !value; i++)
        if (*idle[i].message && strcmp(idle[i].message, type->short_name) == 0)
            value = idle_value(idle[i].names, name, &size);
    if (!value && !effect)
        return false;
    qf_buffer_print(out, "%s.%.*s of Caffe's forks is ", type->short_name, (int)name->size,
                    name->text);
    if (value)
        qf_buffer_print(out, "read with the value %.*s only: with another ", (int)size, value);
    else
        qf_buffer_print(out, "not read: ");
    qf_buffer_print(out, "%s, which is not done here; remove it",
                    effect ? effect : "it changes what is computed");
    return true;
}

bool qf_fork_field_is_repeated(const ProtobufCMessageDescriptor *type, const char *name)
{
    for (size_t i = 0; i < REPEATED; i++)
        if (strcmp(repeated[i].message, type->short_name) == 0 &&
            strcmp(repeated[i].name, name) == 0)
            return true;
    return false;
}

/* ---- the summary ---- */

void qf_kept_count(qf_kept_summary *summary, const char *name, size_t size)
{
    char shown[sizeof summary->fields[0].name];
    if (size >= sizeof shown)
        size = sizeof shown - 1;
    memcpy(shown, name, size);
    shown[size] = '\0';
    int at = 0;
    while (at < summary->names && strcmp(summary->fields[at].name, shown) != 0)
        at++;
    if (at == QF_KEPT_FIELDS) {
        summary->others++;
        return;
    }
    if (at == summary->names)
        memcpy(summary->fields[summary->names++].name, shown, size + 1);
    summary->fields[at].count++;
}

/* FNV-1a, to know a line again. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
    return hash;
}

void qf_kept_report(qf_context *context, const char *file, const qf_kept_summary *summary)
{
    qf_buffer line = {0};
    if (!summary->names)
        return;
    qf_buffer_print(&line, "%s: fields of a fork of Caffe that change nothing here:", file);
    for (int i = 0; i < summary->names; i++) {
        qf_buffer_print(&line, "%s %s", i ? "," : "", summary->fields[i].name);
        if (summary->fields[i].count > 1)
            qf_buffer_print(&line, " (%d)", summary->fields[i].count);
    }
    if (summary->others)
        qf_buffer_print(&line, ", and %d more", summary->others);
    const uint64_t hash = hash_of(qf_buffer_text(&line));
    if (!line.failed && hash != context->last_mention)
        qf_warning(context, "%s", line.data);
    context->last_mention = hash;
    qf_buffer_release(&line);
}
