// Drives the dashboard of a running server in headless Chromium: every page and every action, with and without JavaScript.
// What it needs is in the environment: BACKROOM_URL, BACKROOM_TOKEN, CHROMIUM, SHOTS (a folder), DATA (JSON: what was stored before), and
// BRIEF, not empty for a run without pictures.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { BACKROOM_URL: base, BACKROOM_TOKEN: token, CHROMIUM, SHOTS, BRIEF } = process.env;
const data = JSON.parse(process.env.DATA);
const require = createRequire(import.meta.url);
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const PAGE_BYTES_MAX = 50 * 1024;
const SHIFT_MAX = 0.1;
// A loaded machine is slow; what never happens still ends the test.
const PATIENCE_MS = 120_000;

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'], timeout: PATIENCE_MS });

/** One visitor: a context with its own cookies, and what went wrong in it. */
class Visit {
  static async begin(name, options) {
    const visit = new Visit();
    visit.name = name;
    visit.scripts = options.javaScriptEnabled !== false;
    visit.context = await browser.newContext({ baseURL: base, ...options });
    visit.context.setDefaultTimeout(PATIENCE_MS);
    visit.page = await visit.context.newPage();
    visit.wrong = [];
    visit.page.on('pageerror', (error) => visit.wrong.push(`${visit.page.url()}: ${error}`));
    visit.page.on('console', (message) => {
      // A page that says 403 or 404 is one of the tests.
      const text = message.text();
      if (message.type() === 'error' && !text.includes('the server responded with a status of')) {
        visit.wrong.push(`${visit.page.url()}: ${text}`);
      }
    });
    visit.page.on('dialog', (dialog) => {
      visit.wrong.push(`${visit.page.url()}: a dialog says ${dialog.message()}`);
      dialog.dismiss();
    });
    if (visit.scripts) {
      await visit.context.addInitScript(() => {
        globalThis.shift = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value;
        }).observe({ type: 'layout-shift', buffered: true });
      });
    }
    return visit;
  }

  async go(where) {
    const response = await this.page.goto(where);
    assert.equal(response.status(), 200, `${where}: ${response.status()}`);
    const bytes = (await response.body()).length;
    assert.ok(bytes < PAGE_BYTES_MAX, `${where} has ${bytes} bytes`);
    await this.check(where);
  }

  /** What every page must be. */
  async check(where) {
    const { page } = this;
    assert.equal(await page.locator('h1').count(), 1, `${where}: one heading`);
    assert.deepEqual(this.wrong, [], where);
    if (!this.scripts) return;
    const shift = await page.evaluate(() => globalThis.shift);
    assert.ok(shift <= SHIFT_MAX, `${where}: the layout shifts by ${shift}`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    const violations = found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(' | ')}`);
    assert.deepEqual(violations, [], where);
  }

  async shot(name, fullPage = true) {
    await this.page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage });
  }

  async login() {
    const { page } = this;
    await page.goto('/jobs?state=running');
    assert.equal(new URL(page.url()).pathname, '/login', 'a visitor without a session signs in first');
    await this.check('/login');
    await page.getByLabel('Token').fill('brm_wrong');
    await this.press('Sign in');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Token').fill(token);
    await this.press('Sign in');
    await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
    assert.ok(page.url().endsWith('/jobs?state=running'), `it goes on where it wanted to: ${page.url()}`);
    const [cookie] = await this.context.cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict', JSON.stringify(cookie));
  }

  /** Opens what a button with three dots hides, fills its fields, and sends it. */
  async open(name, fields, send) {
    const details = this.page.locator('details.act').filter({ has: this.page.locator('summary', { hasText: `${name}…` }) }).first();
    await details.locator('summary').click();
    for (const [label, value] of Object.entries(fields)) await details.getByLabel(label).fill(value);
    await this.follow(details.getByRole('button', { name: send, exact: true }));
  }

  async press(name) {
    await this.follow(this.page.getByRole('button', { name, exact: true }).first());
  }

  /** Clicks what leads to another page, and waits for it: the page before may say the same as the next one. */
  async follow(link) {
    await Promise.all([this.page.waitForEvent('load'), link.click()]);
  }

  async said(text) {
    await this.page.locator('[role=status]', { hasText: text }).first().waitFor();
    await this.check(`${this.page.url()} after an act`);
  }

  async end() {
    await this.context.close();
  }
}

const PAGES = [
  '/', '/?span=day', '/?span=week', '/jobs', '/jobs?state=discarded', '/queues', '/queues/browser', '/workers', '/schedules', '/calendar',
  '/schedules/nightly', '/triggers', '/triggers/inbox', '/dead-letters', `/dead-letters/${data.letters[0]}`, '/callbacks', '/replies',
  '/replies/answers', '/tokens', '/audit', '/settings', '/enqueue', `/enqueue?from=${data.done}`, `/jobs/${data.done}`, `/jobs/${data.failed}`,
  `/jobs/${data.evil}`, '/bulk?action=retry&state=discarded', '/batches', `/batches/${data.batch}`, `/batches/${data.batch}?state=discarded`,
  `/jobs/${data.after}`, `/jobs/${data.workflow}`, `/jobs?batch=${data.batch}`, '/triggers/spare-plain', '/?attention=all', '/jobs?lane=tenant-1&priority=5', '/jobs?error=it+broke&ended=1d', '/jobs?worker=none',
];

/** Every action, as an operator does it. */
async function act(visit, mark) {
  const { page } = visit;
  // One job.
  await visit.go('/enqueue');
  await page.getByLabel('Kind').fill(`idle-${mark}`);
  await page.getByLabel('Queue').fill('browser');
  await page.getByLabel('Args, as JSON').fill('{"a": 1}');
  await page.getByLabel('When:').fill('in 1h');
  await page.getByLabel('Tags').fill(`browser ${mark}`);
  await visit.press('Enqueue');
  await visit.said('The job is stored');
  const job = new URL(page.url()).pathname;
  await visit.open('Priority', { Priority: '1' }, 'Change the priority');
  await visit.said('The change is stored');
  assert.match(await page.locator('#facts').innerText(), /Priority\s+1/);
  await visit.open('Run at another time', { When: 'in 3h' }, 'Change the time');
  await visit.said('The change is stored');
  await visit.open('Move to a queue', { 'To the queue': 'elsewhere' }, 'Move the job');
  await visit.said('The job waits in the other queue');
  assert.match(await page.locator('#facts').innerText(), /Queue\s+elsewhere/);
  await visit.press('Run now');
  await visit.said('another attempt');
  await visit.open('Cancel', { Why: 'the browser wants it' }, 'Cancel the job');
  await visit.said('asked to stop');
  assert.match(await page.locator('#why').innerText(), /the browser wants it/);
  await visit.press('Retry');
  await visit.said('another attempt');
  await visit.follow(page.getByRole('link', { name: 'Enqueue again' }));
  await page.getByLabel('Args, as JSON').fill('{"a": 2}');
  await visit.press('Enqueue');
  await visit.said('The job is stored');
  assert.match(await page.locator('details.json').first().innerText(), /"a": 2/);
  await page.goto(job);
  await visit.open('Delete', {}, 'Delete the job');
  await visit.said('The job is deleted');
  // Wrong input is said, and nothing happens.
  await visit.go('/enqueue');
  await page.getByLabel('Kind').fill('x');
  await page.getByLabel('Args, as JSON').fill('{"a": ');
  await visit.press('Enqueue');
  await page.getByText('does not parse').waitFor();
  await visit.check('an error');
  // Downloads.
  for (const [name, where] of [['args', data.done], ['output', data.done], ['log', data.failed], ['attempts', data.failed]]) {
    const file = ['log', 'attempts'].includes(name) ? `${name}.txt` : `${name}.json`;
    const answer = await page.request.get(`/jobs/${where}/${file}`);
    assert.equal(answer.status(), 200, file);
    assert.match(answer.headers()['content-disposition'], /^attachment; filename="[0-9a-f-]+-[a-z]+\.(json|txt)"$/);
  }
  // A filter, and all that match.
  await visit.go('/jobs');
  await page.getByRole('textbox', { name: 'Tag' }).fill(mark);
  await visit.press('Filter');
  await page.locator('#list tbody tr').first().waitFor();
  assert.equal(await page.locator('#list tbody tr').count(), 1);
  const filtered = page.url();
  for (const [action, fill, name] of [
    ['Change the priority', { Priority: '7' }, 'Change the priority: 1 jobs'],
    ['Move to a queue', { 'To the queue': 'browser' }, 'Move to a queue: 1 jobs'],
    ['Cancel', { Why: 'all of them' }, 'Cancel: 1 jobs'],
    ['Retry', {}, 'Retry: 1 jobs'],
    ['Delete', {}, 'Delete: 1 jobs'],
  ]) {
    await page.goto(filtered);
    await visit.follow(page.getByRole('link', { name: `${action}…`, exact: true }));
    await page.getByText('1 jobs match').waitFor();
    await visit.check(`counting for ${action}`);
    for (const [label, value] of Object.entries(fill)) await page.getByLabel(label).fill(value);
    await visit.press(name);
    await visit.said('1 of 1 jobs');
  }
  // A filter by the text of an error finds the job that failed.
  await visit.go('/jobs');
  await page.getByLabel('Text of the error').fill('it broke');
  await page.getByLabel('Ended since').fill('1d');
  await visit.press('Filter');
  await page.locator('#list tbody tr', { hasText: 'broken' }).first().waitFor();
  // A batch, of which each visitor has its own.
  const made = await page.request.post('/v1/batches', {
    headers: { authorization: `Bearer ${token}` }, data: { description: `of ${mark}` },
  });
  const { id: batch } = await made.json();
  const member = await page.request.post('/v1/jobs', {
    headers: { authorization: `Bearer ${token}` }, data: { kind: 'nothing-runs-this', queue: 'browser', batch },
  });
  assert.equal(member.status(), 202, await member.text());
  await visit.go('/batches');
  await visit.follow(page.locator('tr', { hasText: `of ${mark}` }).getByRole('link'));
  assert.match(await page.locator('#progress').innerText(), /0 of 1 members have ended/);
  await visit.press('Close');
  await visit.said('The batch is closed');
  await visit.press('Open again');
  await visit.said('The batch is open again');
  await visit.open('Cancel', { Why: 'the browser wants it' }, 'Cancel the batch');
  await visit.said('The batch is cancelled');
  assert.match(await page.locator('#progress').innerText(), /1 of 1 members have ended/);
  await visit.press('Retry what failed');
  await visit.said('The members that failed get another attempt');
  // What runs before and after a job is a picture, with the same as a list.
  await visit.go(`/jobs/${data.after}`);
  assert.equal(await page.locator('svg.tree a').count(), 2);
  await page.getByText('The same as a list').click();
  await page.locator('#tree li', { hasText: 'runs after' }).first().waitFor();
  // A workflow that is parked, and a signal for it.
  await visit.go(`/jobs/${data.workflow}`);
  assert.match(await page.locator('#journal').innerText(), /order 21 costs 42[^]*waits for the signal approved/);
  await visit.open('Send a signal', { 'Name of the signal': `approved-${mark}`, 'What it carries': '"by the browser"' }, 'Send the signal');
  await visit.said('The signal is stored');
  await page.locator('#journal li', { hasText: `approved-${mark}` }).first().waitFor();
  // Queues.
  await visit.go('/queues/browser');
  await visit.press('Pause');
  await visit.said('It is paused');
  await visit.press('Resume');
  await visit.said('It goes on');
  await visit.open('Limit the depth', { 'Most jobs': '5000' }, 'Set the limit');
  await visit.said('The change is stored');
  assert.match(await page.locator('main').innerText(), /5,000/);
  await visit.open('Change the retention', { 'Completed jobs': '3d' }, 'Set the retention');
  await visit.said('The change is stored');
  // Schedules.
  await visit.go('/schedules/nightly');
  await visit.press('Pause');
  await visit.said('It is paused');
  await visit.press('Resume');
  await visit.said('It goes on');
  await visit.press('Run now');
  await visit.said('A run has begun');
  await visit.go('/schedules/nightly');
  await visit.open('Backfill', { From: '60d ago' }, 'Backfill');
  await page.getByText('occurrences').first().waitFor();
  await visit.check('the count of a backfill');
  await visit.press('Run all of them');
  await visit.said('The backfill has begun');
  await visit.press('Stop the backfill');
  await visit.said('The backfill is stopped');
  // Triggers.
  await visit.go('/triggers/inbox');
  await visit.press('Pause');
  await visit.said('It is paused');
  await visit.press('Resume');
  await visit.said('It goes on');
  const letter = data.letters.pop();
  await visit.go(`/dead-letters/${letter}`);
  await visit.press('Deliver again');
  await visit.said('still refused');
  await visit.open('Delete', {}, 'Delete the dead letter');
  await visit.said('It is deleted');
  await visit.go(`/triggers/spare-${mark}`);
  await visit.open('Forget', {}, 'Forget the trigger');
  await visit.said('It is deleted');
  await page.goto(`/triggers/spare-${mark}`);
  await page.getByRole('link', { name: 'Overview' }).first().waitFor();
  // A path that does not exist leads back.
  assert.equal((await page.goto('/no-such-page')).status(), 404);
  await page.getByRole('link', { name: 'Jobs', exact: true }).first().waitFor();
  await visit.check('no such page');
  // Callbacks.
  await visit.go('/callbacks');
  await visit.press('Send again');
  await visit.said('are sent again');
  // Tokens.
  await visit.go('/tokens');
  await page.getByLabel('Name').fill(`made-${mark}`);
  await page.getByLabel('read', { exact: true }).check();
  await visit.press('Make the token');
  await page.getByText('brm_').waitFor();
  await visit.check('a new token');
  await visit.go('/tokens');
  const row = page.locator('tr', { hasText: `made-${mark}` });
  await row.locator('summary').click();
  await visit.follow(row.getByRole('button'));
  await visit.said('The token is revoked');
  // What was done stands in the audit log, with who and from where.
  await visit.go('/audit');
  const log = await page.locator('main').innerText();
  for (const done of ['job.cancel', 'job.move', 'jobs.delete', 'queue.pause', 'schedule.backfill', 'trigger.pause', 'trigger.delete', 'job.signal', 'schedule.stop_backfill', 'token.revoke', 'batch.cancel']) {
    assert.ok(log.includes(done), `${done} is not in the audit log`);
  }
  assert.match(log, /on the pages from 127\.0\.0\.1/);
}

async function keyboard() {
  const visit = await Visit.begin('keyboard', {});
  await visit.login();
  const { page } = visit;
  await page.goto('/queues');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await visit.end();
}

/** A page refreshes by itself, and leaves alone what the visitor is using. */
async function refreshes() {
  const visit = await Visit.begin('live', {});
  await visit.login();
  const { page } = visit;
  await page.goto(`/jobs/${data.waiting}`);
  await page.locator('details.act summary', { hasText: 'Cancel…' }).click();
  await page.locator('#facts a').first().focus();
  const answer = await page.request.post(`/v1/jobs/${data.waiting}/cancel`, {
    headers: { authorization: `Bearer ${token}` }, data: { reason: 'cancelled elsewhere' },
  });
  assert.equal(answer.status(), 200);
  await page.locator('#why', { hasText: 'cancelled elsewhere' }).waitFor();
  assert.equal(await page.locator('details.act[open]').count(), 1, 'what is open stays open');
  assert.equal(await page.locator('#facts a:focus').count(), 1, 'what has the focus stays as it is');
  await page.locator('#facts a:focus').blur();
  await page.locator('#facts dt', { hasText: 'Ended' }).waitFor();
  await page.getByRole('button', { name: 'Stop refreshing' }).click();
  await page.getByRole('button', { name: 'Refresh by itself' }).waitFor();
  await visit.check('a live page');
  await visit.end();
}

const began = Date.now();
const say = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1)} s: ${text}`);

for (const scripts of [true, false]) {
  const mark = scripts ? 'script' : 'plain';
  const visit = await Visit.begin(mark, { javaScriptEnabled: scripts });
  await visit.login();
  for (const where of PAGES) await visit.go(where);
  say(`${mark}: every page`);
  await act(visit, mark);
  say(`${mark}: every action`);
  await visit.press('Sign out');
  await visit.page.goto('/');
  assert.equal(new URL(visit.page.url()).pathname, '/login', 'the session is over');
  await visit.end();
}
await keyboard();
await refreshes();
say('keyboard and refreshing');

for (const [name, options] of BRIEF ? [] : [
  ['light', { viewport: { width: 1440, height: 900 }, colorScheme: 'light' }],
  ['dark', { viewport: { width: 1440, height: 900 }, colorScheme: 'dark' }],
  ['narrow', { viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true }],
]) {
  const visit = await Visit.begin(name, options);
  await visit.login();
  for (const [page, where] of [['overview', '/'], ['jobs', '/jobs'], ['job', `/jobs/${data.failed}`], ['queues', '/queues'], ['schedules', '/schedules'], ['calendar', '/calendar'],
    ['batch', `/batches/${data.batch}`], ['dependencies', `/jobs/${data.after}`]]) {
    await visit.go(where);
    const { scroll, width } = await visit.page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
    assert.ok(scroll <= width, `${where} is wider than the screen (${name}): ${scroll} > ${width}`);
    await visit.shot(`${page}-${name}`);
  }
  await visit.end();
}
// The pictures of the documentation: the upper part of a page.
for (const colorScheme of BRIEF ? [] : ['light', 'dark']) {
  const visit = await Visit.begin(`docs-${colorScheme}`, { viewport: { width: 1100, height: 760 }, colorScheme });
  await visit.login();
  for (const [page, where] of [['overview', '/'], ['job', `/jobs/${data.after}`], ['batch', `/batches/${data.batch}`]]) {
    await visit.go(where);
    await visit.shot(`docs-${page}-${colorScheme}`, false);
  }
  await visit.end();
}
say('light, dark and narrow');
await browser.close();
