/* Reading the options of data. */
#include "cli/data_options.h"

qf_data_options chosen_data(const arguments *a)
{
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = argument_text(a, "data");
    data.data_type = argument_text(a, "data-type");
    data.batch_size = argument_integer(a, "batch-size");
    data.resize = argument_integer(a, "resize");
    data.scale = argument_number(a, "scale");
    data.mean_file = argument_text(a, "mean-file");
    data.mean_values = argument_text(a, "mean-value");
    return data;
}
