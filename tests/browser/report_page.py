#!/usr/bin/env python3
"""The report's page in a real browser, headless Chromium, driven by the DevTools protocol through a pipe.

Makes a net of digits with a layer whose name is out to break the page, quantises it, and looks at the page: no message on the
console, every figure equal to the JSON's, sorting, finding, opening, light and dark, headings and labels for those who do not
see. The same with a net of a thousand layers. Ends with 77 where there is no Chromium.

    report_page.py --qaffe build/release/qaffe
    report_page.py --page report.html --json report.json --screenshots folder     # a page that is there
"""
import argparse
import base64
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
EVIL = '''</script><script>console.error("out")</script>"><img src=x onerror=console.error(1)>'''
NET = '''name: "digits <b>&amp;"
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { scale: 0.00390625 }
  data_param { source: "train_lmdb" batch_size: 20 backend: LMDB } }
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { scale: 0.00390625 }
  data_param { source: "test_lmdb" batch_size: 20 backend: LMDB } }
layer { name: "%s" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "msra" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "c1" bottom: "c2" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
DEEP = 1000
SOLVER = '''net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 60 snapshot_prefix: "float" random_seed: 1'''


def runner(qaffe, folder):
    def run(*words):
        done = subprocess.run([qaffe, *words], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f'qaffe {" ".join(words)}: {done.stderr}')
    return run


def write(folder, name, text):
    with open(os.path.join(folder, name), 'w') as file:
        file.write(text)


def make_report(qaffe, folder):
    """A page and its JSON, with curves, of a net that was retrained."""
    run = runner(qaffe, folder)
    write(folder, 'net.prototxt', NET % EVIL.replace('"', '\\"'))
    write(folder, 'solver.prototxt', SOLVER)
    run('digits', '--out', '.', '--train', '400', '--test', '100')
    run('train', '--solver', 'solver.prototxt')
    run('qat', 'run', '--model', 'net.prototxt', '--weights', 'float_iter_60.caffemodel', '--iterations', '40', '--out', 'q/m',
        '--report', 'run.html')
    run('ptq', 'run', '--model', 'net.prototxt', '--weights', 'float_iter_60.caffemodel', '--out', 'p/m', '--report', 'run.json')
    with open(os.path.join(folder, 'run.html')) as page, open(os.path.join(folder, 'run.json')) as figures:
        expect('the report of qat run has learned ranges', 'The clip range as it was learned' in page.read())
        expect('the report of ptq run', json.load(figures)['trained'], False)
    run('report', '--model', 'net.prototxt', '--weights', 'float_iter_60.caffemodel', '--prefix', 'q/m', '--retrained',
        'q/m_retrained_iter_40.caffemodel', '--log', 'q/m_run.log', '--out', 'report.html', '--json', 'report.json', '--sensitivity')
    return os.path.join(folder, 'report.html'), os.path.join(folder, 'report.json')


def deep_net():
    """A thousand quantised layers in blocks of four with sums around them, and a record of what their ranges might be."""
    text = [NET[NET.index('layer'):NET.index('layer { name: "%s"')],
            'layer { name: "block0/conv0" type: "Convolution" bottom: "data" top: "x0" convolution_param { num_output: 2 '
            'kernel_size: 7 stride: 7 weight_filler { type: "msra" } } }']
    last = start = 'x0'
    for i in range(1, DEEP - 1):
        text.append(f'layer {{ name: "block{i // 4}/conv{i}" type: "Convolution" bottom: "{last}" top: "x{i}" convolution_param {{ '
                    f'num_output: 2 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}\n'
                    f'layer {{ name: "block{i // 4}/relu{i}" type: "ReLU" bottom: "x{i}" top: "x{i}" }}')
        last = f'x{i}'
        if i % 4 == 0:
            text.append(f'layer {{ name: "block{i // 4}/sum" type: "Eltwise" bottom: "{start}" bottom: "{last}" top: "s{i}" '
                        'eltwise_param { coeff: 0.5 coeff: 0.5 } }')
            last = start = f's{i}'
    names = [f'block{i // 4}/conv{i}' for i in range(DEEP - 1)] + ['ip']
    text.append(NET[NET.index('layer { name: "ip"'):].replace('bottom: "sum"', f'bottom: "{last}"'))
    record = [f'record {{ key: "{name}" value {{ scale_d: {0.001 * (1 + i % 9)} offset_d: -128 ' + ''.join(
        'scale_w: 0.01 offset_w: 0 ' for _ in range(1 if name == 'ip' else 2)) + '} }' for i, name in enumerate(names)]
    return 'name: "deep"\n' + '\n'.join(text), '\n'.join(record)


def make_deep_report(qaffe, folder):
    run = runner(qaffe, folder)
    text, record = deep_net()
    write(folder, 'net.prototxt', text)
    write(folder, 'record.txt', record)
    write(folder, 'solver.prototxt', SOLVER.replace('max_iter: 60', 'max_iter: 1').replace('0.01', '0'))
    run('digits', '--out', '.', '--train', '20', '--test', '20')
    run('train', '--solver', 'solver.prototxt')
    run('ptq', 'convert', '--model', 'net.prototxt', '--weights', 'float_iter_1.caffemodel', '--record', 'record.txt', '--out', 'm')
    run('report', '--model', 'net.prototxt', '--weights', 'float_iter_1.caffemodel', '--prefix', 'm', '--batches', '1', '--out',
        'report.html', '--json', 'report.json')
    return os.path.join(folder, 'report.html'), os.path.join(folder, 'report.json')


class Browser:
    """One page; messages are JSON, each ended by a NUL, on file descriptors 3 and 4 of the browser."""

    def __init__(self, program, folder):
        to_read, self.out = os.pipe()
        self.inward, to_write = os.pipe()

        def into_places(): # first above 4, so that neither is overwritten
            moved = [os.dup2(fd, fd + 100) for fd in (to_read, to_write)]
            for place, fd in zip((3, 4), moved):
                os.dup2(fd, place)
        self.process = subprocess.Popen(
            [program, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe',
             f'--user-data-dir={folder}/profile', 'about:blank'],
            preexec_fn=into_places, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.rest, self.number, self.events, self.session = b'', 0, [], None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in 'Page', 'Runtime', 'Log', 'Network':
            self.call(domain + '.enable')
        self.call('Performance.enable', timeDomain='threadTicks')

    def _next(self):
        while b'\0' not in self.rest:
            part = os.read(self.inward, 1 << 20)
            if not part:
                sys.exit('the browser has gone')
            self.rest += part
        message, self.rest = self.rest.split(b'\0', 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': parameters}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.out, json.dumps(message).encode() + b'\0')
        while True:
            got = self._next()
            if got.get('id') == self.number:
                if 'error' in got:
                    sys.exit(f'{method}: {got["error"]}')
                return got['result']
            self.events.append(got)

    def wait_for(self, method):
        for event in self.events:
            if event.get('method') == method:
                return event
        while True:
            self.events.append(self._next())
            if self.events[-1].get('method') == method:
                return self.events[-1]

    def open(self, path):
        self.events.clear()
        self.call('Page.navigate', url='file://' + os.path.abspath(path))
        self.wait_for('Page.loadEventFired')

    def ask(self, expression):
        got = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in got:
            sys.exit(f'{expression}: {got["exceptionDetails"]}')
        return got['result'].get('value')

    def spent(self):
        """Seconds of processor time in scripts, styles and layout."""
        return sum(one['value'] for one in self.call('Performance.getMetrics')['metrics']
                   if one['name'] in ('ScriptDuration', 'RecalcStyleDuration', 'LayoutDuration'))

    def messages(self):
        """What the page complained of, and what it asked the network for."""
        said = []
        for event in self.events:
            method, what = event.get('method'), event.get('params', {})
            if method == 'Runtime.exceptionThrown' or method == 'Log.entryAdded' or method == 'Runtime.consoleAPICalled':
                said.append(json.dumps(what)[:300])
            if method == 'Network.requestWillBeSent' and not what['request']['url'].startswith('file:'):
                said.append('asked for ' + what['request']['url'])
        return said

    def screenshot(self, path, width, height):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        got = self.call('Page.captureScreenshot', format='png')
        with open(path, 'wb') as file:
            file.write(base64.b64decode(got['data']))

    def close(self):
        self.call('Page.close')
        self.session = None
        self.call('Browser.close')
        self.process.wait(30)


FAILURES = []


def expect(what, found, expected=True):
    if found != expected:
        FAILURES.append(f'{what}: {found!r:.300}, expected {expected!r:.300}')


def close_to(text, value):
    """A cell's value and the JSON's: null is '', "exact" is Infinity."""
    if value is None or text == '':
        return value is None and text == ''
    return math.isinf(float(text)) if value == 'exact' else abs(float(text) - value) <= 1e-6 * abs(value)


def same_figures(browser, report):
    rows = browser.ask('''Array.from(document.querySelectorAll('#layers tbody tr'), row => Object.fromEntries(
        Array.from(row.querySelectorAll('[data-key]'), cell => [cell.dataset.key, cell.dataset.v])))''')
    expect('rows', len(rows), len(report['layers']))
    for row, layer in zip(rows, report['layers']):
        expect('name', row['name'], layer['name'])
        for key in 'output_sqnr', 'input_sqnr', 'weight_sqnr', 'output_sqnr_all', 'saturated', 'alone_loss', 'float_gain':
            if key in row or layer[key] is not None: # the last two are there where sensitivity was measured
                expect(f'{layer["name"]:.20}: {key}', close_to(row.get(key, ''), layer[key]))
    shown = browser.ask('''Array.from(document.querySelectorAll('#models tbody tr'), row =>
        Array.from(row.querySelectorAll('[data-v]'), cell => cell.dataset.v))''')
    for row, kind in zip(shown, [k for k in ('float', 'calibrated', 'fake_quant', 'deploy')
                                 if k != 'calibrated' or any(s[k] is not None for s in report['summary']['scores'])]):
        for cell, score in zip(row, report['summary']['scores']):
            expect(f'{kind} {score["name"]}', close_to(cell, score[kind]))
    expect('advice', browser.ask('document.body.textContent.includes(%s)' % json.dumps(report['advice'][0]['finding'])))
    expect('heading', browser.ask('document.querySelector("h1").textContent'), report['name'] or report['prefix'])


def rows_out_of_view(browser, report):
    """Of hundreds of layers only those in view cost anything; all are rows of a table for those who hear it."""
    if len(report['layers']) < 200:
        return
    browser.call('Emulation.setDeviceMetricsOverride', width=1280, height=1000, deviceScaleFactor=1, mobile=False)
    browser.ask('document.getElementById("table").scrollIntoView(); new Promise(done => requestAnimationFrame(() => '
                'requestAnimationFrame(done)))')
    drawn = browser.ask("Array.from(document.querySelectorAll('#layers tbody td:last-child'), "
                        "cell => cell.checkVisibility({ contentVisibilityAuto: true }))")
    expect('rows in view are drawn', drawn[:5], [True] * 5)
    expect('rows out of view are not', sum(drawn) < 100)
    roles = [node.get('role', {}).get('value') for node in browser.call('Accessibility.getFullAXTree')['nodes']]
    expect('rows', roles.count('row') > len(report['layers']))
    expect('cells', roles.count('cell') >= 5 * 8)
    browser.call('Emulation.clearDeviceMetricsOverride')


def sorting_and_finding(browser, report):
    columns = browser.ask("document.querySelectorAll('#layers thead th').length")
    before = browser.spent()
    browser.ask("document.querySelectorAll('#layers thead button')[4].click(); document.body.offsetHeight")
    print(f'sorted in {1000 * (browser.spent() - before):.0f} ms of processor time')
    for column in range(columns):
        for order in 'ascending', 'descending':
            head = f"document.querySelectorAll('#layers thead th')[{column}]"
            if browser.ask(f'{head}.getAttribute("aria-sort")') != order:
                browser.ask(f'{head}.querySelector("button").click()')
            if browser.ask(f'{head}.getAttribute("aria-sort")') != order: # it was the other one before
                browser.ask(f'{head}.querySelector("button").click()')
            expect(f'column {column}', browser.ask(f'{head}.getAttribute("aria-sort")'), order)
            if browser.ask(f'{head}.classList.contains("words")'):
                continue
            values = [float(v) for v in browser.ask(
                f"Array.from(document.querySelectorAll('#layers tbody tr'), row => row.cells[{column}].dataset.v)") if v]
            expect(f'order of column {column}', values, sorted(values, reverse=order == 'descending'))
    name = report['layers'][-1]['name']
    typed = 'const find = document.getElementById("find"); find.value = %s; find.dispatchEvent(new Event("input"))'
    browser.ask('{ %s }' % (typed % json.dumps(name)))
    left = browser.ask("Array.from(document.querySelectorAll('#layers tbody tr:not([hidden]) th'), cell => cell.textContent)")
    expect('found', name in left and all(name.lower() in found.lower() for found in left))
    browser.ask('{ %s }' % (typed % '""'))


def opening(browser, report):
    link = browser.ask("document.querySelector('#layers tbody tr:last-child a').getAttribute('href')")
    browser.ask("document.querySelector('#layers tbody tr:last-child a').click()")
    browser.ask('new Promise(done => setTimeout(done, 100))')
    expect('opened', browser.ask(f'document.querySelector("{link}").open'))
    expect('focus', browser.ask(f'document.activeElement === document.querySelector("{link} summary")'))
    expect('drawn', browser.ask(f'document.querySelector("{link} svg").getBoundingClientRect().width > 100'))
    expect('details', browser.ask("document.querySelectorAll('details').length"), len(report['layers']))
    expect('links of the net', browser.ask("Array.from(document.querySelectorAll('.net a')).every(a => "
                                           "document.querySelector(a.getAttribute('href')))"))


def for_everybody(browser):
    expect('language', browser.ask('document.documentElement.lang'), 'en')
    levels = browser.ask("Array.from(document.querySelectorAll('h1, h2, h3'), h => +h.tagName[1])")
    expect('one h1, no level left out', levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:])))
    expect('pictures have words', browser.ask("Array.from(document.querySelectorAll('svg')).every(s => s.getAttribute('aria-label'))"))
    expect('heads of tables say of what', browser.ask("Array.from(document.querySelectorAll('th')).every(h => h.scope)"))
    expect('regions that scroll can be reached', browser.ask(
        "Array.from(document.querySelectorAll('.scroll')).every(s => s.tabIndex === 0 && s.getAttribute('aria-label'))"))
    expect('no two of one id', browser.ask("(ids => ids.length === new Set(ids).size)"
                                           "(Array.from(document.querySelectorAll('[id]'), e => e.id))"))


# One element of each kind and place: the others have their style from the same rules, and asking each of 1000 layers takes minutes.
CONTRAST = '''(() => {
  const light = text => { const c = text.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const place = e => [e, e.parentNode, e.parentNode.parentNode].map(n => n.tagName + '.' + n.className).join(' ');
  const kinds = new Map(Array.from(document.querySelectorAll('h1, p, td, th, a, dt, dd, figcaption, summary span'),
                                   e => [place(e), e]));
  return Array.from(kinds.values(), e => {
    const ink = light(getComputedStyle(e).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); }).reduce((a, b) => Math.min(a, b), 21);
})()'''


def light_and_dark(browser, report, folder):
    for scheme in 'light', 'dark':
        browser.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        paper = browser.ask('getComputedStyle(document.body).backgroundColor')
        expect(f'paper in {scheme}', (paper == 'rgb(255, 255, 255)') == (scheme == 'light'))
        expect(f'contrast in {scheme}', browser.ask(CONTRAST) >= 4.5)
        if folder:
            name = os.path.join(folder, f'{report["name"] or "net"}-{scheme}'.replace('/', '_'))
            browser.ask('scrollTo(0, 0)')
            browser.screenshot(name + '.png', 1280, 1300)
            browser.ask('document.querySelector(".graph").scrollIntoView()')
            browser.screenshot(name + '-net.png', 1280, 1300)
    browser.ask("document.getElementById('theme').click()")
    expect('light again', browser.ask('getComputedStyle(document.body).backgroundColor'), 'rgb(255, 255, 255)')
    browser.ask("localStorage.removeItem('qaffe-theme')")
    browser.call('Emulation.setDeviceMetricsOverride', width=390, height=800, deviceScaleFactor=1, mobile=True)
    expect('no wider than a telephone', browser.ask('document.documentElement.scrollWidth <= 390'))
    browser.call('Emulation.clearDeviceMetricsOverride')
    expect('prints', len(browser.call('Page.printToPDF')['data']) > 1000)


def look(browser, page, figures, folder):
    with open(figures, encoding='utf-8') as file:
        report = json.load(file)
    start = time.monotonic()
    browser.open(page)
    print(f'{len(report["layers"])} layers, {os.path.getsize(page)} bytes: loaded in {time.monotonic() - start:.2f} s')
    same_figures(browser, report)
    sorting_and_finding(browser, report)
    rows_out_of_view(browser, report)
    light_and_dark(browser, report, folder)
    opening(browser, report)
    for_everybody(browser)
    expect('messages of the page', browser.messages(), [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--qaffe')
    parser.add_argument('--page')
    parser.add_argument('--json')
    parser.add_argument('--screenshots')
    given = parser.parse_args()
    program = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser')
    if not program:
        print('skipped: there is no chromium')
        return SKIPPED
    folder = tempfile.mkdtemp()
    try:
        browser = Browser(program, folder)
        if given.page:
            look(browser, given.page, given.json, given.screenshots)
        else:
            for make in make_report, make_deep_report:
                place = os.path.join(folder, make.__name__)
                os.mkdir(place)
                look(browser, *make(os.path.abspath(given.qaffe), place), given.screenshots)
        browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for failure in FAILURES:
        print('failed:', failure)
    return 1 if FAILURES else 0


if __name__ == '__main__':
    sys.exit(main())
