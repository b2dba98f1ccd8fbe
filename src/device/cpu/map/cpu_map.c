/* The host's map family. */
#include "device/cpu/map/cpu_map.h"

const qf_map_family qf_cpu_map = {
    .apply = qf_map_apply,
    .apply_backward = qf_map_apply_backward,
    .weighted_sum = qf_map_weighted_sum,
    .multiply = qf_map_multiply,
    .divide_backward = qf_map_divide_backward,
    .maximum = qf_map_maximum,
    .select = qf_map_select,
    .scale = qf_map_scale,
    .scale_negatives = qf_map_scale_negatives,
    .sums = qf_map_sums,
    .rectify_both = qf_map_rectify_both,
    .rectify_both_backward = qf_map_rectify_both_backward,
    .lstm_forward = qf_map_lstm_forward,
    .lstm_backward = qf_map_lstm_backward,
};
