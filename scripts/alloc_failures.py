#!/usr/bin/env python3
"""Let allocations of every command fail, one run for each, and see that each run ends with a sentence.

    scripts/alloc_failures.py [--places N] [--only WORD] [--build FOLDER]

Three ways: one allocation fails, it and all behind it fail, and the command may hold so many bytes only. --places
takes so many evenly spaced ones of each (CTest does); without it every allocation fails in turn, which takes hours.
A run is right where it succeeds and leaves all files that it leaves where nothing fails, or ends with exit code 1 (2 in
one of Caffe's programs), a last line that speaks of memory, and no file that a successful run does not leave, nor one of
another size. Which libraries are left out of which way, and why, is in docs/limits.md. A command that `qaffe help` or
`caffe` lists and COMMANDS lacks is an error."""
import argparse
import concurrent.futures
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMEOUT = 120  # seconds; the longest run takes one
# A way: variables of tests/faults/allocations.c, and what `places` counts.
WAYS = {
    'one': ('FAULT_NUMBER', 'libgomp libdnnl libhdf5', {}),
    'all behind': ('FAULT_NUMBER', 'libgomp libdnnl libhdf5 libstdc++ libc libleveldb', {'FAULT_ALL_AFTER': '1'}),
    'bytes': ('FAULT_BUDGET', 'libgomp liblmdb', {}),
}
# What is left out of "one" besides, by words of the command: HDF5's texts are the C library's; LevelDB's destructors do
# not bear all that its constructors throw while it writes a table.
BESIDES = {'h5': ' libc', 'new_leveldb': ' libstdc++'}

NET = '''
layer { name: "d" type: "Data" top: "x" top: "label" transform_param { scale: 0.01 }
  data_param { source: "%s" batch_size: 10 backend: %s } }
layer { name: "c1" type: "Convolution" bottom: "x" top: "c1"
  convolution_param { num_output: 4 kernel_size: 5 stride: 3 weight_filler { type: "msra" } } }
layer { name: "b1" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "s1" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "p2" type: "Pooling" bottom: "c2" top: "p2" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "p2" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
'''
SOLVER = '''net: "%s" test_iter: 2 test_interval: 2 test_initialization: false base_lr: 0.01 lr_policy: "fixed"
max_iter: 2 snapshot: 2 display: 1 snapshot_prefix: "%s" random_seed: 1 snapshot_format: %s'''
OLD_NET = '''layers { name: "d" type: DATA top: "x" data_param { source: "train_lmdb" batch_size: 5 backend: LMDB } }
layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "ip" inner_product_param { num_output: 3 } blobs_lr: 1 }'''

FACTORS = 'record { key: "%s" value { scale_d: 0.01 offset_d: -3 scale_w: 0.005 offset_w: 0 %s } }\n'

# What automatic calibration leaves on purpose: the same command goes on from it.
RESUMED = 'accuracy_based_auto_calibration_state.json'

FEW_CODES = '''{"version": 1, "batch_num": 1, "ip": {"quant_enable": true,
  "weight_quant_params": {"wts_algo": "nuq_quantize", "num_steps": 16, "num_of_iteration": 1}}}'''

# What is run before; each leaves what later ones read.
PREPARATION = '''
qaffe digits --out . --train 60 --test 20
qaffe train --solver solver.prototxt
qaffe train --solver hdf5.prototxt
mv float_iter_2.caffemodel given.caffemodel
mv float_iter_2.solverstate given.solverstate
mv float_iter_2.caffemodel.h5 given.caffemodel.h5
mv float_iter_2.solverstate.h5 given.solverstate.h5
qaffe train --solver solver.prototxt --checksum
qaffe train --solver hdf5.prototxt --checksum
mv float_iter_2.caffemodel summed.caffemodel
mv float_iter_2.caffemodel.sha256 summed.caffemodel.sha256
mv float_iter_2.solverstate summed.solverstate
mv float_iter_2.solverstate.sha256 summed.solverstate.sha256
mv float_iter_2.caffemodel.h5 summed.caffemodel.h5
mv float_iter_2.caffemodel.h5.sha256 summed.caffemodel.h5.sha256
qaffe qat config --model net.prototxt --weights given.caffemodel --out config.json
qaffe ptq config --model net.prototxt --weights given.caffemodel --out calibration.json
qaffe ptq run --model net.prototxt --weights given.caffemodel --out learned/m --test-iterations 1
  --adaround --adaround-iterations 20 --bias-correction 1
qaffe ptq prepare --model net.prototxt --weights given.caffemodel --config calibration.json
  --out-model measuring.prototxt --out-weights measuring.caffemodel --record measured_record.txt
qaffe qat prepare --model net.prototxt --weights given.caffemodel --config config.json
  --out-model modified.prototxt --out-weights modified.caffemodel --record record.txt
qaffe train --solver qat.prototxt --weights modified.caffemodel
mv qat_iter_2.caffemodel trained.caffemodel
qaffe qat export --model modified.prototxt --weights trained.caffemodel --record record.txt --out ready
qaffe export-onnx --model ready --out given.onnx
tools/convert_imageset --backend=leveldb ./ list.txt images_leveldb
'''
COMMANDS = '''
qaffe help
qaffe version
qaffe layers
qaffe caffe-home
qaffe caffe-home --into checkout
qaffe digits --out new --train 20 --test 10
qaffe train --threads 2 --solver solver.prototxt
qaffe train --threads 2 --solver solver.prototxt --snapshot given.solverstate
qaffe train --threads 1 --solver hdf5.prototxt --snapshot given.solverstate.h5
qaffe train --threads 1 --solver qat.prototxt --weights modified.caffemodel
qaffe test --model net.prototxt --weights given.caffemodel --iterations 1
qaffe test --model ready_deploy_model.prototxt --weights ready_deploy_weights.caffemodel --iterations 1
qaffe test --model net.prototxt --weights given.caffemodel.h5 --iterations 1
qaffe time --model level.prototxt --iterations 1
qaffe inspect --model net.prototxt --weights given.caffemodel
qaffe inspect --model net.prototxt --json
qaffe inspect --check summed.caffemodel summed.caffemodel.h5 summed.solverstate record.txt
qaffe test --model net.prototxt --weights summed.caffemodel --iterations 1
qaffe inspect --model net.prototxt --dot
qaffe qat config --model net.prototxt --weights given.caffemodel --out new.json
qaffe ptq config --model net.prototxt --weights given.caffemodel --out new.json --skip-layers ip
qaffe ptq plan --model net.prototxt --weights given.caffemodel --config calibration.json
qaffe ptq config --model net.prototxt --weights given.caffemodel --out new.json --until c2
qaffe ptq prepare --model net.prototxt --weights given.caffemodel --config calibration.json
  --out-model new.prototxt --out-weights new.caffemodel --record new.txt
qaffe ptq prepare --model net.prototxt --weights given.caffemodel --config calibration.json --equalise on
  --out-model new.prototxt --out-weights new.caffemodel --record new_record.txt
qaffe ptq calibrate --model measuring.prototxt --weights measuring.caffemodel
qaffe ptq export --model net.prototxt --weights given.caffemodel --config calibration.json --record calibrated.txt
  --out new
qaffe ptq convert --model net.prototxt --weights given.caffemodel --record factors.txt --out new
qaffe ptq run --model net.prototxt --weights given.caffemodel --out new --test-iterations 1 --threads 1
qaffe ptq auto --model net.prototxt --weights given.caffemodel --config calibration.json --out new
  --test-iterations 1 --max-loss 0 --threads 1
qaffe ptq nuq --model net.prototxt --weights given.caffemodel --config few_codes.json --record new_record.txt --out new
  --test-iterations 1 --max-loss 0 --threads 1
qaffe equalise --model net.prototxt --weights given.caffemodel --out new.caffemodel
qaffe decompose --model net.prototxt --weights given.caffemodel --out-model new.prototxt --out-weights new.caffemodel
qaffe qat prepare --model net.prototxt --weights given.caffemodel --config config.json
  --out-model new.prototxt --out-weights new.caffemodel --record new.txt
qaffe qat prepare --model net.prototxt --weights given.caffemodel --config config.json --from-ptq learned/m_record.txt
  --adaround --bias-correction --out-model new.prototxt --out-weights new.caffemodel --record new.txt
qaffe qat export --model modified.prototxt --weights trained.caffemodel --record record.txt --config config.json
  --out new
qaffe qat export --checksum --model modified.prototxt --weights trained.caffemodel --record record.txt --out new
qaffe qat run --model net.prototxt --weights given.caffemodel --out new --iterations 2 --threads 1
qaffe qat bits --model net.prototxt --weights given.caffemodel --batches 1 --budget 100 --out new.cfg
  --json new.json --plot new.svg --threads 1
qaffe verify --model ready --iterations 1
qaffe export-onnx --model ready --out new.onnx --verify 1 --keep-shift
qaffe import-onnx --model given.onnx --out new
qaffe report --model net.prototxt --weights given.caffemodel --prefix ready --batches 1 --test-iterations 1
  --threads 1
qaffe ptq run --model net.prototxt --weights given.caffemodel --out new --test-iterations 1 --threads 1
  --report /dev/null
qaffe sensitivity --model net.prototxt --weights given.caffemodel --prefix ready --batches 1 --threads 1
  --skip-layers-out new.cfg
qaffe convert-idx --images images.idx --labels labels.idx --out new_lmdb
qaffe convert-images --list encoded.txt --out new_lmdb
tools/caffe train -solver=solver.prototxt
tools/caffe test -model=net.prototxt -weights=given.caffemodel -iterations=1
tools/caffe time -model=net.prototxt -iterations=1
tools/caffe device_query
tools/convert_imageset ./ list.txt new_lmdb
tools/convert_imageset --backend=leveldb --encode_type=png --resize_height=8 --resize_width=8 ./ list.txt new_leveldb
tools/convert_imageset --encode_type=jpg --gray ./ list.txt new_lmdb
tools/convert_annoset --anno_type=detection --label_map_file=labelmap.prototxt ./ annotated.txt new_lmdb
tools/create_annoset --anno_type=detection --label_map_file=labelmap.prototxt --redo ./ annotated.txt new_lmdb
tools/get_image_size ./ annotated.txt new.txt
tools/compute_image_mean train_lmdb mean.binaryproto
tools/compute_image_mean --backend=leveldb images_leveldb mean.binaryproto
tools/extract_features given.caffemodel net.prototxt c1,ip c1_lmdb,ip_lmdb 1 lmdb
tools/upgrade_net_proto_text old.prototxt new.prototxt
tools/upgrade_net_proto_binary given.caffemodel new.caffemodel
tools/upgrade_solver_proto_text solver.prototxt new.prototxt
examples/mnist/convert_mnist_data images.idx labels.idx new_lmdb --backend=lmdb
examples/siamese/convert_mnist_siamese_data images.idx labels.idx new_leveldb
examples/cifar10/convert_cifar_data . . lmdb
'''


def lines(text):
    return [words.split() for words in text.strip().replace('\n  ', ' ').split('\n')]


def write(folder, name, content):
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def bmp(seed):
    """A picture of 16 x 12 pixels."""
    pixels = bytes((i * 7 + seed * 31) % 256 for i in range(16 * 12 * 3))
    head = struct.pack('<2sIII IiiHHIIiiII', b'BM', 54 + len(pixels), 0, 54, 40, 16, 12, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return head + pixels


def png(seed):
    """The same size in grey."""
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    rows = b''.join(b'\0' + bytes((i * 5 + row + seed) % 256 for i in range(16)) for row in range(12))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 16, 12, 8, 0, 0, 0, 0)) + chunk(
        b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def loose(name):
    return name.endswith('.log') or 'leveldb' in name


def spared(command, way):
    words = ' '.join(command)
    return WAYS[way][1] + ''.join(more for word, more in BESIDES.items() if way == 'one' and word in words)


class Runner:
    def __init__(self, build):
        self.build = build
        self.library = os.path.join(build, 'tests', 'fail_allocations.so')
        self.folder = tempfile.mkdtemp(prefix='alloc-failures-')
        self.base = os.path.join(self.folder, 'base')

    def program(self, name):
        if name == 'mv':
            return name
        return os.path.join(self.build, name if name == 'qaffe' else 'caffe-home/build/' + name)

    def execute(self, command, folder, variables, limit=None):
        environment = dict(os.environ, GOMP_SPINCOUNT='1000', TMPDIR=folder, **variables)
        try:
            done = subprocess.run([self.program(command[0])] + command[1:], cwd=folder, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False,
                                  preexec_fn=limit)
        except subprocess.TimeoutExpired:
            return 'does not end', ''
        return done.returncode, done.stderr.decode(errors='replace')

    def make_inputs(self):
        os.mkdir(self.base)
        os.makedirs(os.path.join(self.base, 'checkout', 'python', 'caffe')) # of Caffe
        for name, source, backend in (('net', 'train_lmdb', 'LMDB'), ('level', 'images_leveldb', 'LEVELDB')):
            write(self.base, name + '.prototxt', NET % (source, backend))
        write(self.base, 'solver.prototxt', SOLVER % ('net.prototxt', 'float', 'BINARYPROTO'))
        write(self.base, 'hdf5.prototxt', SOLVER % ('net.prototxt', 'float', 'HDF5'))
        write(self.base, 'qat.prototxt', SOLVER % ('modified.prototxt', 'qat', 'BINARYPROTO'))
        write(self.base, 'old.prototxt', OLD_NET)
        write(self.base, 'few_codes.json', FEW_CODES)
        for name, more in (('calibrated.txt', 'shift_bit: 1'), ('factors.txt', '')):
            write(self.base, name, ''.join(FACTORS % (layer, more) for layer in ('c1', 'c2', 'ip')))
        for i in range(3):
            write(self.base, f'{i}.bmp', bmp(i))
        write(self.base, 'list.txt', ''.join(f'{i}.bmp {i}\n' for i in range(3)))
        write(self.base, 'encoded.txt', '0.png 0\n1.png 1\n')
        write(self.base, 'labelmap.prototxt', "item { name: 'cat' label: 1 }")
        write(self.base, '0.xml', '<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>'
              '<xmax>4</xmax><ymax>3</ymax></bndbox></object></annotation>')
        write(self.base, 'annotated.txt', '0.bmp 0.xml\n1.bmp 0.xml\n')
        for i in range(2):
            write(self.base, f'{i}.png', png(i))
        write(self.base, 'images.idx', struct.pack('>4i', 2051, 20, 28, 28) + bytes(i % 251 for i in range(20 * 784)))
        write(self.base, 'labels.idx', struct.pack('>2i', 2049, 20) + bytes(i % 10 for i in range(20)))
        for name in [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']:
            write(self.base, name + '.bin', bytes(i % 241 for i in range(2 * 3073)))
        for command in lines(PREPARATION):
            code, errors = self.execute(command, self.base, {})
            if code != 0:
                sys.exit(f'{" ".join(command)}: exit code {code}:\n{errors}')

    def listed(self, command, title, prefix):
        """The names in one list of what a command prints: "qat run" below "Commands:"."""
        printed = subprocess.run([self.program(command[0])] + command[1:], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, check=False).stdout.decode()
        found = re.search('^' + title + r'.*:\n((?:  .*\n)+)', printed, re.M)
        names = re.findall(r'^  (\S+(?: \S+)?)  ', found.group(1), re.M) if found else []
        if not names:
            sys.exit(f'{" ".join(command)} has no list "{title}":\n{printed}')
        return [prefix + name for name in names]

    def forgotten(self):
        """Commands and actions of commands that no row of COMMANDS runs."""
        known = (self.listed(['qaffe', 'help'], 'Commands', 'qaffe ') +
                 self.listed(['qaffe', 'help'], "Caffe's own programs", '') +
                 self.listed(['tools/caffe'], 'commands', 'caffe '))
        rows = [os.path.basename(row[0]) + ' ' + ' '.join(row[1:]) + ' ' for row in lines(COMMANDS)]
        return [name for name in known if not any(row.startswith(name + ' ') for row in rows)]

    def run(self, command, variables):
        """Exit code, errors, the report, and sizes of the files there are after."""
        folder = tempfile.mkdtemp(dir=self.folder)
        shutil.copytree(self.base, folder, dirs_exist_ok=True)
        report = os.path.join(self.folder, os.path.basename(folder) + '.report')
        code, errors = self.execute(command, folder, dict(variables, LD_PRELOAD=self.library, FAULT_REPORT=report))
        files = {os.path.relpath(os.path.join(at, name), folder): os.path.getsize(os.path.join(at, name))
                 for at, _, names in os.walk(folder) for name in names}
        shutil.rmtree(folder)
        counts = open(report, encoding='ascii').read().split() if os.path.exists(report) else []
        if counts:
            os.unlink(report)
        return code, errors, [int(count) for count in counts], files

    def fault(self, command, way, expected, number):
        """What is wrong with the run in which allocation or byte `number` is the last; None: nothing."""
        counted, _, more = WAYS[way]
        variables = dict(more, FAULT_SPARE=spared(command, way), **{counted: str(number)})
        code, errors, _, files = self.run(command, variables)
        said = [line for line in errors.strip().split('\n') if not re.match(r'[IWE]\d{4} ', line)]
        last = ' '.join(said[-2:]) # qat run names its log last
        if code == 0: # LevelDB and logs have files of any size and name
            lost = [name for name, size in expected.items() if not loose(name) and files.get(name) != size]
            return f'success, but {lost[0]} is not as it should be' if lost else None
        if code not in (1, 2) or not re.search('memory|cannot start a thread', last):
            return f'exit code {code}, "{last[:200]}"'
        for name, size in files.items():
            if name == RESUMED:
                continue
            if name not in expected or (size != expected[name] and not name.endswith(('.log', 'record.txt'))): # they grow
                return f'{name} is left behind with {size} bytes, "{last[:200]}"'
        return None

    def check(self, command, places):
        """Prints what is wrong; the number of runs, and of wrong ones."""
        runs = wrong = 0
        for way, (counted, _, _) in WAYS.items():
            code, errors, counts, expected = self.run(command, {'FAULT_SPARE': spared(command, way)})
            if code != 0 or not counts:
                print(f'{" ".join(command)}: exit code {code} where nothing fails:\n{errors}')
                return runs + 1, wrong + 1
            most = counts[0] if counted == 'FAULT_NUMBER' else counts[1]
            step = max(1, most / places) if places else 1 if counted == 'FAULT_NUMBER' else max(1, most / 1000)
            numbers = sorted({1 + int(i * step) for i in range(int(most / step))})
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
                found = list(threads.map(lambda number: self.fault(command, way, expected, number), numbers))
            kinds = {}
            for number, fault in zip(numbers, found):
                if fault:
                    kinds.setdefault(re.sub(r'\d+', '#', fault), (number, fault, []))[2].append(number)
            for number, fault, all_of_them in kinds.values():
                print(f'{" ".join(command)}: {way}, {number} of {most}: {fault} ({len(all_of_them)} of {len(numbers)})')
            runs += len(numbers)
            wrong += sum(fault is not None for fault in found)
        return runs, wrong


    def check_limits(self, command):
        """The same under what ulimit -v and ulimit -n set: the number of runs, and of wrong ones."""
        limits = [(resource.RLIMIT_AS, 'bytes of addresses', mega << 20) for mega in range(50, 250, 10)]
        limits += [(resource.RLIMIT_NOFILE, 'open files', count) for count in range(4, 14)]
        # A thread's first allocation takes 128 MiB of addresses for a moment, where arenas are many (malloc's new_heap):
        # what fails meanwhile in another thread would be a matter of luck, and oneDNN's writing of code does not look.
        variables = {'MALLOC_ARENA_MAX': '1'}
        wrong = 0
        for kind, name, value in limits:
            folder = tempfile.mkdtemp(dir=self.folder)
            shutil.copytree(self.base, folder, dirs_exist_ok=True)
            code, errors = self.execute(command, folder, variables, lambda: resource.setrlimit(kind, (value, value)))
            last = errors.strip().split('\n')[-1]
            if not (code == 0 or (code == 127 and 'shared libraries' in last) or
                    (code == 1 and re.search('memory|too many open files', last, re.IGNORECASE))):
                print(f'{" ".join(command)}: {value} {name}: exit code {code}, "{last}"')
                wrong += 1
            shutil.rmtree(folder)
        return len(limits), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--places', type=int, default=0)
    parser.add_argument('--only', default='')
    parser.add_argument('--build', default=os.path.join(SOURCE, 'build', 'release'))
    given = parser.parse_args()
    runner = Runner(os.path.abspath(given.build))
    try:
        forgotten = runner.forgotten()
        if forgotten:
            sys.exit('\n'.join(f'{name} has no row in COMMANDS' for name in forgotten))
        runner.make_inputs()
        total = bad = 0
        for command in lines(COMMANDS):
            if given.only in ' '.join(command):
                runs, wrong = runner.check(command, given.places)
                if command[1] == 'train':
                    runs, wrong = (sum(pair) for pair in zip((runs, wrong), runner.check_limits(command)))
                total, bad = total + runs, bad + wrong
                print(f'{" ".join(command)}: {runs} runs, {wrong} wrong', flush=True)
        print(f'{total} runs with failing allocations: {bad} did not end with a sentence or left files')
        return bad > 0 or total == 0
    finally:
        shutil.rmtree(runner.folder)


if __name__ == '__main__':
    sys.exit(main())
