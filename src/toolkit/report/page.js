/* Sorting and finding layers, opening what a link names, copying commands, light and dark. The page
   can be read without. */
(function () {
  'use strict';
  var root = document.documentElement;

  function stored(value) { // a page from a file may have no storage
    try {
      if (value === undefined) return localStorage.getItem('qaffe-theme');
      localStorage.setItem('qaffe-theme', value);
    } catch (error) { /* it is as the system says then */ }
    return null;
  }

  function isDark() {
    var chosen = root.dataset.theme;
    return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  }

  function nameTheme() { theme.textContent = isDark() ? 'Light' : 'Dark'; }

  var theme = document.getElementById('theme');
  var before = stored();
  if (before === 'dark' || before === 'light') root.dataset.theme = before;
  theme.hidden = false;
  nameTheme();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', nameTheme);
  theme.addEventListener('click', function () {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    stored(root.dataset.theme);
    nameTheme();
  });

  /* ---- the table of layers ---- */

  var table = document.getElementById('layers');
  var body = table.tBodies[0];
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var words = new Intl.Collator(undefined, { numeric: true });
  var layers = Array.prototype.map.call(body.rows, function (row) { // read once: attributes are slow
    return {
      row: row,
      name: row.cells[0].dataset.v.toLowerCase(),
      values: Array.prototype.map.call(row.cells, function (cell, column) {
        var value = cell.dataset.v;
        return value === '' || heads[column].classList.contains('words') ? value : +value;
      })
    };
  });

  function order(column, sign) { // figures that do not apply come last, whichever way
    return function (a, b) {
      var x = a.values[column], y = b.values[column];
      if (x === '' || y === '') return (x === '') - (y === '');
      if (x === y) return 0; // Infinity, too
      return sign * (typeof x === 'string' ? words.compare(x, y) : x - y);
    };
  }

  function sortBy(head) {
    var falling = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach(function (other) { other.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
    layers.sort(order(heads.indexOf(head), falling ? -1 : 1));
    body.append.apply(body, layers.map(function (layer) { return layer.row; }));
    table.parentNode.scrollTop = 0; // what comes first now
  }

  heads.forEach(function (head) {
    var button = head.querySelector('button');
    if (button) button.addEventListener('click', function () { sortBy(head); });
  });

  var find = document.getElementById('find');
  find.parentNode.hidden = false;
  find.addEventListener('input', function () {
    var wanted = find.value.toLowerCase();
    layers.forEach(function (layer) { layer.row.hidden = layer.name.indexOf(wanted) < 0; });
  });

  /* ---- details and commands ---- */

  function openNamed() {
    var named = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!named || named.tagName !== 'DETAILS') return;
    named.open = true;
    named.scrollIntoView();
    named.querySelector('summary').focus({ preventScroll: true });
  }
  addEventListener('hashchange', openNamed);
  openNamed();

  Array.prototype.forEach.call(document.querySelectorAll('.command'), function (command) {
    if (!navigator.clipboard) return;
    var button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.addEventListener('click', function () {
      navigator.clipboard.writeText(command.querySelector('code').textContent).then(function () {
        button.textContent = 'Copied';
        setTimeout(function () { button.textContent = 'Copy'; }, 1500);
      });
    });
    command.appendChild(button);
  });
})();
