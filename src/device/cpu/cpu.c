/* The host's families: oneDNN and loops of our own. */
#include "device/cpu/cpu.h"

static const qf_convolve_family convolve = {
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

static const qf_multiply_family multiply = {
    .create = qf_inner_product_create,
    .destroy = qf_inner_product_destroy,
    .forward = qf_inner_product_forward,
    .forward_integer = qf_inner_product_forward_integer,
    .backward_data = qf_inner_product_backward_data,
    .backward_weights = qf_inner_product_backward_weights,
};

static const qf_pool_family pool = {
    .create = qf_pooling_create,
    .destroy = qf_pooling_destroy,
    .forward = qf_pooling_forward,
    .forward_integer = qf_pooling_forward_integer,
    .backward = qf_pooling_backward,
};

static const qf_normalise_family normalise = {
    .lrn_forward = qf_lrn_forward,
    .lrn_backward = qf_lrn_backward,
    .moments = qf_channel_moments,
};

static const qf_sweep_family sweep = {
    .forward = qf_sweep_forward,
    .backward = qf_sweep_backward,
    .requantise = qf_requantise,
};

static const qf_reduce_family reduce = {
    .channel_sums = qf_channel_sums,
    .channel_products = qf_channel_products,
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
    NULL,
};

const qf_device qf_cpu = {
    .name = "cpu",
    .description = "the host's processor",
    .convolve = &convolve,
    .multiply = &multiply,
    .pool = &pool,
    .normalise = &normalise,
    .sweep = &sweep,
    .reduce = &reduce,
    .map = &qf_cpu_map,
    .quantise = &qf_cpu_quantise,
    .update = &qf_cpu_update,
    .lists = lists,
};
