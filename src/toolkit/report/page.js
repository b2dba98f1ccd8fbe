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

  function valueOf(row, column) { return row.cells[column].dataset.v; }

  function compare(column, words) { // figures that do not apply come last, whichever way
    return function (a, b) {
      var x = valueOf(a, column), y = valueOf(b, column);
      if (x === '' || y === '') return (x === '') - (y === '');
      return words ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    };
  }

  function sortBy(head) {
    var column = heads.indexOf(head);
    var falling = head.getAttribute('aria-sort') === 'ascending';
    var rows = Array.prototype.slice.call(body.rows);
    var order = compare(column, head.classList.contains('words'));
    rows.sort(function (a, b) {
      var missing = valueOf(a, column) === '' || valueOf(b, column) === '';
      return falling && !missing ? order(b, a) : order(a, b);
    });
    heads.forEach(function (other) { other.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
    var all = document.createDocumentFragment();
    rows.forEach(function (row) { all.appendChild(row); });
    body.appendChild(all);
  }

  heads.forEach(function (head) {
    var button = head.querySelector('button');
    if (button) button.addEventListener('click', function () { sortBy(head); });
  });

  var find = document.getElementById('find');
  find.parentNode.hidden = false;
  find.addEventListener('input', function () {
    var wanted = find.value.toLowerCase();
    Array.prototype.forEach.call(body.rows, function (row) {
      row.hidden = row.cells[0].textContent.toLowerCase().indexOf(wanted) < 0;
    });
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
