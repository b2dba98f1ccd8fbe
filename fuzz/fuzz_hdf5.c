/* HDF5 files as our code reads them: whatever names, shapes and types the data sets have. libhdf5
 * itself is not made for hostile files (docs/limits.md), so the file is one that it wrote, and the
 * input says what is in it: four bytes a data set. */
#include "base/memory.h"
#include "data/stores/hdf5_array.h"
#include "fuzz.h"

#include <hdf5.h>
#include <unistd.h>

static const char *const names[] = {"data", "label", "/data/conv/0", "history"};
enum { NAMES = sizeof names / sizeof *names };

static hid_t type_of(unsigned choice)
{
    switch (choice % 8) {
    case 0:
        return H5Tcopy(H5T_NATIVE_FLOAT);
    case 1:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case 2:
        return H5Tcopy(H5T_NATIVE_UINT8);
    case 3:
        return H5Tcopy(H5T_STD_I64BE);
    case 4:
        return H5Tcopy(H5T_C_S1);
    case 5: { /* texts of any length: pointers in memory */
        hid_t type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, H5T_VARIABLE);
        return type;
    }
    case 6:
        return H5Tcreate(H5T_COMPOUND, 8);
    default:
        return H5Tcreate(H5T_OPAQUE, 3);
    }
}

/* name and type, axes, and two sizes. */
static void put_set(hid_t file, hid_t links, const uint8_t *bytes)
{
    hsize_t dims[32];
    const int axes = bytes[1] % 33;
    for (int i = 0; i < axes; i++)
        dims[i] = i < 2 ? bytes[2 + i] : 1 + (bytes[3] >> (i % 7) & 1);
    hid_t space =
        axes ? H5Screate_simple(axes, dims, NULL) : H5Screate(bytes[2] % 2 ? H5S_NULL : H5S_SCALAR);
    hid_t type = type_of(bytes[0] / NAMES);
    hid_t set =
        H5Dcreate2(file, names[bytes[0] % NAMES], type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    if (set >= 0)
        H5Dclose(set);
    H5Tclose(type);
    H5Sclose(space);
}

static void make_file(const char *path, const uint8_t *data, size_t size)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
          links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    fuzz_require(file >= 0, "cannot write an HDF5 file");
    for (size_t at = 0; at + 4 <= size && at < 4 * 16; at += 4)
        put_set(file, links, data + at);
    H5Pclose(links);
    H5Fclose(file);
}

static void read_set(qf_context *context, int64_t file, const char *name)
{
    qf_hdf5_shape shape;
    qf_buffer content = {0};
    int integer;
    if (qf_hdf5_describe(context, file, name, &shape) == QF_OK && shape.count <= 1 << 20) {
        float *values = qf_alloc(shape.count, sizeof *values);
        if (values)
            (void)qf_hdf5_read(context, file, name, values);
        qf_free(values);
        (void)qf_hdf5_read_bytes(context, file, name, &content);
    }
    (void)qf_hdf5_read_text(context, file, name, &content);
    (void)qf_hdf5_read_integer(context, file, name, &integer);
    (void)qf_hdf5_group_size(file, name);
    qf_buffer_release(&content);
}

static qf_status look(void *user, const char *name, const qf_hdf5_shape *shape)
{
    (void)user;
    return *name == '/' && shape->axes >= 0 ? QF_OK : QF_E_FORMAT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t file;
    fuzz_enter_folder();
    qf_context *context = fuzz_context();
    make_file("input.h5", data, size);
    if (qf_hdf5_open(context, "input.h5", &file) == QF_OK)
        for (int i = 0; i < NAMES; i++)
            read_set(context, file, names[i]);
    if (file >= 0)
        (void)qf_hdf5_each_array(context, file, look, NULL);
    qf_hdf5_close(file);
    qf_context_destroy(context);
    return 0;
}
