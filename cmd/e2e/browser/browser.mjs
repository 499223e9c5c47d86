// What all browser scripts share: a Chromium, checks that are counted and
// printed as TAP, accessibility by axe, and screenshots.
//
//   USHER_URL          base URL of the public listener
//   USHER_ADMIN_URL    base URL of the admin listener, where a script reads mails
//   USHER_CONSOLE_URL  base URL of the listener with the console
//   USHER_SCREENSHOTS  folder for screenshots; without it none are taken
//   CHROMIUM           the browser, default /usr/bin/chromium

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

export const widths = { phone: 390, desktop: 1440 };
export const schemes = ['light', 'dark'];

/** Whether to be thorough, in "make soak", or done soon. */
export const long = Boolean(process.env.USHER_TEST_SOAK);

const launch = {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
};

let passed = 0;
let failed = 0;

/** Runs one check. What it throws is what was wrong; the next one runs all the same. */
export async function check(name, run) {
  try {
    await run();
    passed++;
    console.log(`ok ${passed + failed} - ${name}`);
  } catch (err) {
    failed++;
    console.log(`not ok ${passed + failed} - ${name}`);
    console.log(String(err.stack ?? err).replace(/^/gm, '# '));
  }
}

/**
 * Runs a script against USHER_URL with a browser and ends the process: with
 * status 0 only if there were checks and none failed.
 */
export async function main(script) {
  const base = process.env.USHER_URL?.replace(/\/$/, '');
  if (!base) {
    console.error('USHER_URL is the base URL of the public listener');
    process.exit(2);
  }
  const browser = await chromium.launch(launch);
  await check('the script runs to its end', () => script(browser, base)).finally(() => browser.close());
  console.log(`1..${passed + failed}`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}

/**
 * Opens a page with cookies of its own. `page.complaints` collects what a
 * person does not see but a developer would: errors in the console (a blocked
 * style, a missing file) and requests that the server could not answer. What
 * somebody else's page has is not ours to mend.
 */
export async function open(browser, options = {}) {
  const context = await browser.newContext({
    viewport: { width: widths.desktop, height: 900 }, locale: 'en-GB', ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.complaints = [];
  const bases = [process.env.USHER_URL, process.env.USHER_CONSOLE_URL].filter(Boolean);
  const ours = (url) => !url || bases.some((base) => url.startsWith(base));
  page.on('console', (m) => m.type() === 'error' && ours(m.location().url) && page.complaints.push(m.text()));
  page.on('pageerror', (err) => page.complaints.push(String(err)));
  page.on('response', (r) => r.status() >= 500 && page.complaints.push(`${r.status()} ${r.url()}`));
  return page;
}

/** Opens a page in a browser whose owner has switched all cookies off. */
export async function openWithoutCookies() {
  const profile = await mkdtemp(path.join(tmpdir(), 'usher-browser-'));
  await mkdir(path.join(profile, 'Default'));
  const blocked = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(path.join(profile, 'Default', 'Preferences'), JSON.stringify(blocked));
  const context = await chromium.launchPersistentContext(profile, launch);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  return {
    page,
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/**
 * Looks at the page as it is, in light and dark, on a phone and on a desktop:
 * axe finds nothing, nothing is wider than the screen, no two buttons or fields of the
 * built-in pages lie over each other; and takes screenshots.
 * Without those, and when it is to be done soon, each is seen once: light on the
 * phone, dark on the desktop.
 */
export async function look(page, name) {
  const all = long || process.env.USHER_SCREENSHOTS;
  for (const scheme of schemes) {
    for (const [device, width] of Object.entries(widths)) {
      if (!all && (scheme === 'light') !== (device === 'phone')) continue;
      await page.setViewportSize({ width, height: device === 'phone' ? 844 : 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await shoot(page, `${name}-${scheme}-${device}`);
      await check(`${name}, ${scheme}, ${device}: accessible, and fits`, async () => {
        await accessible(page);
        const scroll = await page.evaluate(() => document.documentElement.scrollWidth);
        if (scroll > width) throw new Error(`the page is ${scroll} px wide on a screen of ${width} px`);
      await apart(page);
      });
    }
  }
}

/** Asserts that no two things to press or fill in lie over each other. */
async function apart(page) {
  if (!new URL(page.url()).pathname.startsWith('/ui/')) return;
  const over = await page.evaluate(() => {
    const boxes = [...document.querySelectorAll('main :is(.button, input:not([type=hidden]), select)')]
      .map((e) => [e.innerText || e.name, e.getBoundingClientRect()]);
    return boxes.flatMap(([a, x], n) => boxes.slice(n + 1)
      .filter(([, y]) => x.left < y.right && y.left < x.right && x.top < y.bottom && y.top < x.bottom)
      .map(([b]) => `${a} and ${b}`));
  });
  assert.deepEqual(over, [], 'what lies over each other');
}

/** Asserts that the page shows who is signed in. */
export async function signedIn(page, address) {
  await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
  await page.getByText(address).first().waitFor();
}

/** Asserts that a field is marked as wrong, described by its message, and has the focus. */
export async function faulty(page, field, message) {
  await page.getByRole('alert').getByText(message).waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  const described = await field.getAttribute('aria-describedby');
  assert.ok(described, 'the field is described by nothing');
  assert.match(await page.locator(`[id="${described}"]`).innerText(), message);
  assert.ok(await getsFocus(field), 'the cursor is not at the field');
  assert.match(await page.title(), /^Error: /);
}

/** Tells whether the cursor stands at an element. */
export const focused = (locator) => locator.evaluate((element) => element === document.activeElement);

/** Whether an element has the focus, or gets it soon: a page that is shown may not have put the cursor yet. */
export async function getsFocus(locator) {
  for (let n = 0; n < 50; n++) {
    if (await focused(locator)) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

/** Checks that nothing was blocked, missing or failing on the way. */
export function quiet(page, what) {
  return check(`${what}: nothing to complain about in the console`, async () => {
    assert.deepEqual(page.complaints, []);
  });
}

async function accessible(page) {
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(axe.source);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
  if (passes.length === 0) throw new Error('axe looked at nothing');
  if (violations.length === 0) return;
  throw new Error(violations.map((v) => {
    const places = v.nodes.map((n) => `  ${n.html}\n  ${n.failureSummary}`).join('\n');
    return `${v.id}: ${v.help}\n${places}`;
  }).join('\n'));
}

/** Takes a screenshot of a page that is not ours to look at, or of one as it is. */
export async function shoot(page, name) {
  const folder = process.env.USHER_SCREENSHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}
