// An operator walks through the console: sets the password, finds the toggle, sees
// what it does, saves it, and follows a registration; by mouse, by keyboard alone,
// and without JavaScript.
//
//   USHER_APIS  base URLs of all public listeners, with commas between

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { check, focused, long, look, main, open, quiet } from './browser.mjs';
import { consoleURL, lookAtAll, setUp, signIn, signOut, visit } from './console-pages.mjs';

const apis = process.env.USHER_APIS.split(',');

/** Registers as an app does; tells who it is, and whether the answer has a session. */
async function register(api) {
  const flow = await (await fetch(`${api}/self-service/registration/api`)).json();
  const answer = await fetch(`${api}/self-service/registration?flow=${flow.id}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      method: 'password', password: 'correct-horse-battery-staple', traits: { email: `ada.${randomUUID()}@example.com` },
    }),
  });
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return { id: body.identity.id, session: Boolean(body.session_token) };
}

/**
 * Asserts that each api process comes to answer with a session, or without. That it
 * does within a second is what TestTogglingUnderLoad measures.
 */
async function eachAnswers(session, message) {
  const until = Date.now() + 5000;
  for (const [n, api] of apis.entries()) {
    let got = await register(api);
    while (got.session !== session && Date.now() < until) {
      await pause(20);
      got = await register(api);
    }
    assert.equal(got.session, session, `process ${n + 1}: ${message}`);
  }
}

const toggle = (page) => page.getByRole('switch', { name: 'Sign In After Registration' });
const save = (page) => page.getByRole('button', { name: 'Save', exact: true });
const planned = (page) => page.getByRole('heading', { name: 'What your changes do' });
const saved = (page) => page.getByRole('status').getByText(/Saved as revision \d+/);

/** The user's story: sign in, open Authentication Settings, toggle, click Save. */
async function walks(browser) {
  const page = await open(browser);
  await check('the set-up link leads to a password, and that signs in', async () => {
    await page.goto(process.env.USHER_SETUP_LINK);
    assert.ok(!page.url().includes('link='), 'the link stays in the address');
    await setUp(page);
  });
  await check('the link works once', async () => {
    const other = await open(browser);
    await other.goto(process.env.USHER_SETUP_LINK);
    await other.getByText('This link was used or is over').waitFor();
    await other.context().close();
  });
  await check('the toggle is found', async () => {
    await page.getByRole('link', { name: 'Authentication Settings' }).click();
    await toggle(page).waitFor();
    assert.ok(!(await toggle(page).isChecked()), 'it is on');
    const box = await toggle(page).boundingBox();
    assert.ok(box.y < 900, `it is ${box.y} px down the page`);
  });
  await check('before, a registration carries no session', () => eachAnswers(false, 'it has a session before it was switched on'));
  await check('the toggle shows what it does before it is saved', async () => {
    await toggle(page).check();
    await planned(page).waitFor();
    await page.getByText(/asynchronous hooks affected: none/i).first().waitFor();
    await eachAnswers(false, 'it has a session before it was saved');
  });
  await look(page, 'console-settings-changed');
  await check('Save saves', async () => {
    await save(page).click();
    await saved(page).waitFor();
    assert.ok(await toggle(page).isChecked(), 'the toggle is off behind it');
  });
  await check('then a registration carries it at each process, without a restart', () => eachAnswers(true, 'it has no session'));
  await check('the registration can be followed', async () => {
    const { id } = await register(apis[1]);
    process.env.USHER_IDENTITY = id;
    await visit(page, `/console/registrations/${id}`);
    await page.getByText('session.issued').first().waitFor();
  });
  await check('whoever signs out is out', async () => {
    await visit(page, '/console/workers', 'Workers');
    await signOut(page);
    await page.goto(`${consoleURL}/console/settings`);
    await page.getByRole('heading', { name: 'Sign in to the console' }).waitFor();
  });
  await check('whoever signs in comes to where they wanted to go', async () => {
    await signIn(page, '/console/settings');
    await toggle(page).waitFor();
  });
  await lookAtAll(page, look, process.env.USHER_IDENTITY);
  await quiet(page, 'the console');
  await page.context().close();
}

/** Presses Tab until the cursor stands at an element. */
async function tabTo(page, element) {
  for (let n = 0; n < 80; n++) {
    if (await focused(element)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error('80 times Tab do not lead there');
}

/** Tab to the toggle, space, Tab to Save, Enter. */
async function withKeyboard(browser) {
  const page = await open(browser);
  await check('the keyboard is enough', async () => {
    await signIn(page, '/console/settings');
    await tabTo(page, toggle(page));
    await page.keyboard.press('Space');
    await planned(page).waitFor();
    await save(page).waitFor();
    await tabTo(page, save(page));
    await page.keyboard.press('Enter');
    await saved(page).waitFor();
    await eachAnswers(false, 'it has a session still');
  });
  await quiet(page, 'the keyboard');
  await page.context().close();
}

async function withoutJavaScript(browser) {
  const page = await open(browser, { javaScriptEnabled: false });
  await check('JavaScript is not needed', async () => {
    await signIn(page, '/console/settings');
    await toggle(page).check();
    await page.getByRole('button', { name: 'Show what changes' }).first().click();
    await planned(page).waitFor();
    await eachAnswers(false, 'it has a session before it was saved');
    await save(page).click();
    await saved(page).waitFor();
    await eachAnswers(true, 'it has no session');
  });
  await check('the lists are there without JavaScript', async () => {
    for (const path of ['registrations', 'identities', 'workers', 'dead-letters', 'audit']) await visit(page, `/console/${path}`);
  });
  await page.context().close();
}

/** Two save at once: the second sees the first's change, and overwrites nothing. */
async function twoAtOnce(browser) {
  const [first, second] = [await open(browser), await open(browser)];
  await check('who saves second sees what the first has saved', async () => {
    for (const page of [first, second]) {
      await signIn(page, '/console/settings');
      await toggle(page).waitFor();
    }
    const lasts = second.getByLabel('A session lasts');
    await toggle(first).uncheck();
    await lasts.fill('13h');
    await lasts.press('Tab');
    await planned(first).waitFor();
    await planned(second).waitFor();
    await save(first).click();
    await saved(first).waitFor();
    await save(second).click();
    await second.getByText('Somebody else has saved since').waitFor();
    await eachAnswers(false, 'the change of the first is gone');
    await save(second).click();
    await saved(second).waitFor();
    assert.ok(!(await toggle(second).isChecked()), 'the change of the first is gone');
    assert.match(await lasts.inputValue(), /^13h/);
  });
  for (const page of [first, second]) await page.context().close();
}

/** What a page holds: nodes of the document, listeners, and bytes of the heap. */
async function holds(page, devtools) {
  await devtools.send('HeapProfiler.collectGarbage');
  const { nodes, jsEventListeners } = await devtools.send('Memory.getDOMCounters');
  const { usedSize } = await devtools.send('Runtime.getHeapUsage');
  return { nodes, listeners: jsEventListeners, heap: usedSize };
}

/** A tab that is open for long does not grow: many renewals by a clock that is fast. */
async function staysSmall(browser) {
  const renewals = long ? 60 : 20;
  await Promise.all([['/console/', 30_000], ['/console/registrations', 1_000], ['/console/audit', 2_000]].map(async ([path, step]) => {
    const page = await open(browser);
    await check(`${path} does not grow in ${renewals} renewals`, async () => {
      await signIn(page);
      await page.clock.install();
      await visit(page, path);
      const devtools = await page.context().newCDPSession(page);
      let asked = 0;
      page.on('response', (r) => r.url().includes('/console/') && asked++);
      const renew = async (times) => {
        for (let n = 0; n < times; n++) {
          await Promise.all([register(apis[n % apis.length]), page.clock.runFor(step)]);
          await pause(path.endsWith('registrations') ? 1000 : 150);
        }
      };
      await renew(10); // until the list is as long as it may be
      const before = await holds(page, devtools);
      await renew(renewals);
      const after = await holds(page, devtools);
      console.log(`# ${path}: ${asked} answers, before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
      assert.ok(after.nodes < before.nodes * 1.5 + 2500, 'nodes of the document');
      assert.ok(after.listeners < before.listeners * 1.5 + 200, 'listeners');
      assert.ok(after.heap < before.heap * 1.5 + 2e6, 'bytes of the heap');
    });
    await page.context().close();
  }));
}

await main(async (browser) => {
  await walks(browser);
  const small = staysSmall(browser); // which waits most of the time
  await withKeyboard(browser);
  await withoutJavaScript(browser);
  await twoAtOnce(browser);
  await small;
});
