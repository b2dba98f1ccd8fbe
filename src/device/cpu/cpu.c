/* The host's families: oneDNN and loops of our own. */
#include "device/cpu/cpu.h"
#include "device/cpu/quantise/ifmr_count.h"
#include "device/cpu/sweep/shift_search.h"

const qf_convolve_family qf_cpu_convolve = {
    .create = qf_convolution_create,
    .destroy = qf_convolution_destroy,
    .forward = qf_convolution_forward,
    .forward_integer = qf_convolution_forward_integer,
    .transposed = qf_deconvolution_forward,
    .transposed_integer = qf_deconvolution_forward_integer,
    .takes_bf16 = qf_convolution_takes_bf16,
    .backward = qf_convolution_backward,
    .backward_data = qf_convolution_backward_data,
    .backward_weights = qf_convolution_backward_weights,
    .bf16_cost = qf_cpu_bf16_cost,
    .forward_fused = qf_convolution_forward_fused,
    .forward_requantised = qf_convolution_forward_requantised,
};

const qf_multiply_family qf_cpu_multiply = {
    .create = qf_inner_product_create,
    .destroy = qf_inner_product_destroy,
    .forward = qf_inner_product_forward,
    .forward_integer = qf_inner_product_forward_integer,
    .backward_data = qf_inner_product_backward_data,
    .backward_weights = qf_inner_product_backward_weights,
    .batched = qf_multiply_batched,
};

const qf_pool_family qf_cpu_pool = {
    .create = qf_pooling_create,
    .destroy = qf_pooling_destroy,
    .forward = qf_pooling_forward,
    .forward_integer = qf_pooling_forward_integer,
    .backward = qf_pooling_backward,
};

const qf_normalise_family qf_cpu_normalise = {
    .lrn_forward = qf_lrn_forward,
    .lrn_backward = qf_lrn_backward,
    .lrn_terms = qf_lrn_terms,
    .lrn_apply = qf_lrn_apply,
    .lrn_apply_backward = qf_lrn_apply_backward,
    .standardise = qf_standardise,
    .standardise_backward = qf_standardise_backward,
    .unit_length = qf_unit_length,
    .unit_length_backward = qf_unit_length_backward,
    .unit_length_backward_scale = qf_unit_length_backward_scale,
    .moments = qf_moments,
    .batch_statistics = qf_batch_statistics,
    .running_statistics = qf_running_statistics,
    .backward = qf_normalise_backward,
};

const qf_sweep_family qf_cpu_sweep = {
    .search_begin = qf_shift_search_begin,
    .search_end = qf_shift_search_end,
    .search_destroy = qf_shift_search_destroy,
    .count_begin = qf_ifmr_count_begin,
    .count_end = qf_ifmr_count_end,
    .count_destroy = qf_ifmr_count_destroy,
    .forward = qf_sweep_forward,
    .forward_convolved = qf_sweep_forward_convolved,
    .backward = qf_sweep_backward,
    .requantise = qf_requantise,
};

const qf_reduce_family qf_cpu_reduce = {
    .outer_sums = qf_outer_sums,
    .inner_sums = qf_inner_sums,
    .inner_sums_backward = qf_inner_sums_backward,
    .softmax = qf_softmax,
    .softmax_backward = qf_softmax_backward,
    .softmax_loss = qf_softmax_loss_forward,
    .softmax_loss_backward = qf_softmax_loss_backward,
    .divergence = qf_softmax_divergence,
    .value_loss = qf_value_loss_forward,
    .value_loss_backward = qf_value_loss_backward,
    .label_ranks = qf_label_ranks,
};

const qf_move_family qf_cpu_move = {
    .copy = qf_strided_copy,
    .gather = qf_gather_rows,
    .scatter = qf_scatter_rows,
};

static const qf_implementations *const lists[] = {
    &qf_convolve_forward_list,
    &qf_convolve_forward_integer_list,
    &qf_convolve_transposed_list,
    &qf_convolve_transposed_integer_list,
    &qf_convolve_backward_list,
    &qf_convolve_backward_data_list,
    &qf_convolve_backward_weights_list,
    &qf_convolve_forward_fused_list,
    &qf_convolve_forward_requantised_list,
    &qf_convolve_forward_swept_list,
    &qf_multiply_forward_list,
    &qf_multiply_forward_integer_list,
    &qf_pool_forward_list,
    &qf_sweep_requantise_list,
    &qf_sweep_search_list,
    &qf_quantise_activations_list,
    &qf_quantise_activations_backward_list,
    &qf_quantise_ifmr_list,
    NULL,
};

const qf_device qf_cpu = {
    .name = "cpu",
    .description = "the host's processor",
#define FAMILY(name) .name = &qf_cpu_##name,
    QF_FAMILIES(FAMILY)
#undef FAMILY
        .lists = lists,
};
