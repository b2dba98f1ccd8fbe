/* Tensors with values on the host, on a device, and on both: what is read is what was written last,
 * wherever; what need not move does not; and the device's memory is closed to everybody else. */
#include "device/device.h"
#include "harness/fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 2 * 3 * 5 * 7 };

static qf_tensor *tensor_of(int batch, int channels, int height, int width)
{
    const qf_shape shape = qf_shape_make(4, (int[]){batch, channels, height, width});
    qf_tensor *tensor;
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    return tensor;
}

static void write_host(qf_tensor *tensor, float first)
{
    float *values;
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = first + (float)i;
}

/* As an operation of the device does. */
static void write_device(qf_tensor *tensor, qf_form form, float first)
{
    QF_ON_DEVICE(context);
    float *values;
    assert_ok(context, qf_device_write(context, tensor, form, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = first + (float)i;
}

static void add_on_device(qf_tensor *tensor, float addend)
{
    QF_ON_DEVICE(context);
    float *values;
    assert_ok(context, qf_device_update(context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] += addend;
}

static void expect_host(qf_tensor *tensor, float first)
{
    const float *values;
    assert_ok(context, qf_read(context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        assert_true(values[i] == first + (float)i);
}

static qf_transfers moved_since(const qf_transfers *before)
{
    const qf_transfers *now = &context->transfers;
    return (qf_transfers){now->uploads - before->uploads, now->uploaded - before->uploaded,
                          now->downloads - before->downloads, now->downloaded - before->downloaded};
}

static int start_on_paranoid(void **state)
{
    return test_start(state) || qf_context_set_device(context, "paranoid") != QF_OK;
}

static void the_last_write_is_read(void **state)
{
    (void)state;
    qf_tensor *t = tensor_of(2, 3, 5, 7);
    write_host(t, 1);
    add_on_device(t, 10);
    expect_host(t, 11);
    write_host(t, 3);
    add_on_device(t, 1);
    add_on_device(t, 1);
    expect_host(t, 5);
    write_device(t, QF_PLAIN, 40);
    expect_host(t, 40);
    qf_tensor_set_zero(t);
    add_on_device(t, 0);
    const float *values;
    assert_ok(context, qf_read(context, t, QF_PLAIN, &values));
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == 0);
    qf_tensor_release(t);
}

static void only_what_is_asked_for_moves(void **state)
{
    (void)state;
    qf_tensor *t = tensor_of(2, 3, 5, 7), *copy = tensor_of(1, 1, 1, 1);
    write_host(t, 1);
    const qf_transfers before = context->transfers;
    add_on_device(t, 1);
    add_on_device(t, 1);
    assert_ok(context, qf_tensor_copy(context, copy, t));
    add_on_device(copy, 1);
    qf_transfers moved = moved_since(&before);
    assert_int_equal(moved.uploads, 1);
    assert_int_equal(moved.uploaded, COUNT * sizeof(float));
    assert_int_equal(moved.downloads, 0);
    expect_host(copy, 4);
    expect_host(copy, 4); /* stays */
    expect_host(t, 3);
    moved = moved_since(&before);
    assert_int_equal(moved.downloads, 2);
    qf_tensor_release(copy);
    qf_tensor_release(t);
}

static void shared_arrays_part_when_written(void **state)
{
    (void)state;
    qf_tensor *a = tensor_of(2, 3, 5, 7), *b = tensor_of(1, 1, 1, 1);
    write_device(a, QF_PLAIN, 1);
    assert_ok(context, qf_tensor_share(context, b, a));
    add_on_device(b, 5);
    expect_host(a, 1);
    expect_host(b, 6);
    assert_ok(context, qf_tensor_swap(context, a, b));
    expect_host(a, 6);
    qf_tensor_release(b);
    qf_tensor_release(a);
}

/* Orders and codes are converted where they lie. */
static void forms_change_on_the_device(void **state)
{
    (void)state;
    qf_tensor *t = tensor_of(2, 3, 5, 7);
    uint8_t *codes;
    const float *values;
    {
        QF_ON_DEVICE(context);
        assert_ok(context, qf_device_write(context, t, QF_CODES, &codes));
        for (int i = 0; i < COUNT; i++)
            codes[i] = (uint8_t)i;
        t->code_scale = 0.5f;
        t->code_zero = 3;
    }
    const qf_transfers before = context->transfers;
    {
        QF_ON_DEVICE(context);
        assert_ok(context, qf_device_read(context, t, QF_PLAIN, &values));
        assert_true(values[1] == 0.5f * (float)(1 * 3 - 3)); /* channel 0, second pixel */
    }
    assert_int_equal(moved_since(&before).uploads + moved_since(&before).downloads, 0);
    assert_ok(context, qf_read(context, t, QF_NHWC, &values));
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == 0.5f * (float)((i & 255) - 3));
    const qf_shape flat = qf_shape_make(1, (int[]){COUNT}); /* keeps C order */
    write_device(t, QF_NHWC, 0);
    assert_ok(context, qf_tensor_reshape(context, t, &flat));
    assert_ok(context, qf_read(context, t, QF_PLAIN, &values));
    assert_true(values[1] == 3); /* channels were innermost: the second pixel is three on */
    qf_tensor_release(t);
}

static void memory_is_used_again(void **state)
{
    (void)state;
    const size_t used = qf_pool_used(context);
    for (int round = 0; round < 50; round++) {
        qf_tensor *t[8];
        for (int i = 0; i < 8; i++) {
            t[i] = tensor_of(16, 8, 8 + i, 9);
            write_device(t[i], QF_PLAIN, (float)i);
        }
        for (int i = 0; i < 8; i++)
            expect_host(t[i], (float)i);
        for (int i = 0; i < 8; i++)
            qf_tensor_release(t[(i * 3) % 8]);
    }
    assert_int_equal(qf_pool_used(context), used);
}

/* ---- what nobody may do ---- */

static float *kept; /* a pointer from an operation that is over */

static void read_after_the_operation(qf_tensor *t)
{
    write_device(t, QF_PLAIN, 1);
    {
        QF_ON_DEVICE(context);
        (void)qf_device_read(context, t, QF_PLAIN, (void *)&kept);
    }
    *(volatile float *)kept;
}

static void write_what_was_read(qf_tensor *t)
{
    QF_ON_DEVICE(context);
    (void)qf_device_read(context, t, QF_PLAIN, (void *)&kept);
    *(volatile float *)kept = 1;
}

static void touch_what_was_not_asked_for(qf_tensor *t)
{
    QF_ON_DEVICE(context);
    *(volatile float *)t->array[QF_PLACE_DEVICE][QF_PLAIN]->bytes = 1;
}

/* How a child that does this ends. */
static int end_of(void (*deed)(qf_tensor *), qf_tensor *t)
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        deed(t);
        _exit(0);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void its_memory_is_closed_to_others(void **state)
{
    (void)state;
    qf_tensor *t = tensor_of(2, 3, 5, 7);
    write_device(t, QF_PLAIN, 1);
    assert_int_equal(end_of(read_after_the_operation, t), SIGSEGV);
    assert_int_equal(end_of(write_what_was_read, t), SIGSEGV);
    assert_int_equal(end_of(touch_what_was_not_asked_for, t), SIGSEGV);
    float *values;
    assert_fails(context, qf_device_read(context, t, QF_PLAIN, &values), "outside its operations");
    expect_host(t, 1);
    qf_tensor_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_write_is_read),
        cmocka_unit_test(only_what_is_asked_for_moves),
        cmocka_unit_test(shared_arrays_part_when_written),
        cmocka_unit_test(forms_change_on_the_device),
        cmocka_unit_test(memory_is_used_again),
        cmocka_unit_test(its_memory_is_closed_to_others),
    };
    return cmocka_run_group_tests(tests, start_on_paranoid, test_stop);
}
