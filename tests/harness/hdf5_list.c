/* Data for HDF5Data layers, in the working directory. */
#include "harness/hdf5_list.h"

#include "data/stores/hdf5_writer.h"
#include "harness/command.h"
#include "harness/fixture.h"

void test_put_hdf5(const char *name, const test_top *arrays)
{
    qf_hdf5_writer writer;
    char *file = test_format("%s.h5", name), *list = test_format("%s.txt", name);
    qf_status status = qf_hdf5_create(context, file, &writer);
    for (const test_top *a = arrays; a->name && status == QF_OK; a++)
        status = qf_hdf5_put_floats(&writer, a->name, a->dims, a->axes, a->values);
    assert_ok(context, qf_hdf5_finish(&writer, status));
    test_write_text(context, list, file);
    qf_free(file);
    qf_free(list);
}
