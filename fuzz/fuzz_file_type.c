/* What a file is, told from its beginning. */
#include "fuzz.h"
#include "model/file_type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const qf_file_type whole = qf_file_type_of_bytes(data, size, size);
    const qf_file_type begun = qf_file_type_of_bytes(data, size, (uint64_t)size + (1 << 20));
    fuzz_require(whole >= 0 && whole < QF_FILE_TYPES && begun >= 0 && begun < QF_FILE_TYPES,
                 "a type that there is not");
    qf_context *context = fuzz_context();
    const char *path = fuzz_file(data, size);
    const qf_file_type wanted = size ? (qf_file_type)(data[size - 1] % QF_FILE_TYPES) : 0;
    qf_status status = qf_fail(context, QF_E_FORMAT, "%s is not what it should be", path);
    fuzz_require(qf_wrong_file(context, status, path, wanted) == QF_E_FORMAT, "another status");
    qf_context_destroy(context);
    return 0;
}
