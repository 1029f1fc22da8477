// Refreshes the parts of a page. Without this script every page works, and shows what was so when it was loaded.
'use strict';
(() => {
  const status = document.getElementById('live-status');
  const units = [[86400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']];

  // How far a moment is, as the server says it: two figures at most.
  const far = (secs) => {
    if (Math.abs(secs) < 1) return 'now';
    let left = Math.floor(Math.abs(secs));
    const at = units.findIndex(([size]) => left >= size);
    const parts = [];
    for (const [size, name] of units.slice(at, at + 2)) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count > 0) parts.push(count + name);
    }
    return secs > 0 ? parts.join(' ') + ' ago' : 'in ' + parts.join(' ');
  };
  let ahead = 0;
  const tick = () => {
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll('time[datetime]:not([data-fixed])')) {
      const text = far((now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const copy = (root) => {
    if (!navigator.clipboard) return;
    for (const pre of root.querySelectorAll('pre[data-copy]')) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = 'Copy';
      button.addEventListener('click', async () => {
        await navigator.clipboard.writeText(pre.textContent);
        button.textContent = 'Copied';
      });
      pre.closest('details')?.querySelector('p')?.append(' ', button);
    }
  };
  copy(document);

  const of = document.body.dataset.live;
  if (!of || !window.EventSource) return;

  // A part that the visitor is in the middle of using stays as it is until then; what has arrived for it waits.
  const isUsed = (part) => part.contains(document.activeElement) || part.querySelector('details.act[open]');
  const opened = (part) => [...part.querySelectorAll('details')].map((details) => details.open);
  const seen = new Map();
  const waiting = new Map();
  const place = (part) => {
    waiting.delete(part.id);
    const old = document.getElementById(part.id);
    if (!old || seen.get(part.id) === part.outerHTML) return;
    if (isUsed(old)) { waiting.set(part.id, part); return; }
    seen.set(part.id, part.outerHTML);
    const were = opened(old);
    const now = document.importNode(part, true);
    [...now.querySelectorAll('details')].forEach((details, at) => { if (at in were) details.open = were[at]; });
    old.replaceWith(now);
    copy(now);
  };
  const show = (html) => {
    const fresh = new DOMParser().parseFromString(html, 'text/html');
    fresh.querySelectorAll('[data-part][id]').forEach(place);
    tick();
  };

  let source = null;
  const stop = () => { source?.close(); source = null; };
  const start = () => {
    if (source || document.hidden) return;
    source = new EventSource('/live?of=' + encodeURIComponent(of) + '&at=' + encodeURIComponent(document.body.dataset.at));
    source.addEventListener('now', (event) => { ahead = Date.parse(event.data) - Date.now(); });
    source.addEventListener('part', (event) => show(event.data));
    source.addEventListener('end', () => { stop(); status.textContent = 'Load the page again to go on.'; });
  };

  // What changes by itself can be stopped (WCAG 2.2.2).
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'link';
  let isPaused = false;
  const label = () => { button.textContent = isPaused ? 'Refresh by itself' : 'Stop refreshing'; };
  button.addEventListener('click', () => {
    isPaused = !isPaused;
    label();
    if (isPaused) stop(); else start();
  });
  label();
  status.after(button);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) stop(); else if (!isPaused) start();
  });
  window.addEventListener('pagehide', stop);
  setInterval(() => {
    if (source) [...waiting.values()].forEach(place);
    tick();
  }, 1000);
  start();
})();
