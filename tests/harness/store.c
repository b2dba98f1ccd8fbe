/* Databases of small images. */
#include "harness/store.h"

#include "harness/fixture.h"

#include <stdio.h>
#include <string.h>

void test_write_store(const char *path, qf_store_format format, int count)
{
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, path, format, &writer));
    for (int i = count; i-- > 0;) { /* they come back in order of the keys */
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        uint8_t pixels[12];
        char key[16];
        memset(pixels, i, sizeof pixels);
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = 3;
        datum.width = 4;
        datum.label = 100 + i;
        datum.data.data = pixels;
        datum.data.len = sizeof pixels;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}
