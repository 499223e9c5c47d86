// A person opens the browser, registers by typing, and is signed in.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { check, faulty, focused, getsFocus, look, main, open, openWithoutCookies, quiet, signedIn } from './browser.mjs';

const password = 'correct-horse-battery-staple';

const newAddress = () => `ada.${randomUUID()}@example.com`;

const email = (page) => page.getByRole('textbox', { name: 'Email' });
const secret = (page) => page.locator('input[type=password]');
const submit = (page) => page.getByRole('button', { name: 'Sign up' });
const second = (page) => page.getByRole('heading', { level: 1, name: 'Choose how you sign in' }).waitFor();

/** The form opens, asks for the password in a second step, and leads to a page that knows who came. */
async function registers(browser, base) {
  const page = await open(browser);
  const address = newAddress();

  await check('the form opens', async () => {
    await page.goto(`${base}/ui/registration`);
    assert.match(page.url(), /\/ui\/registration\?flow=[0-9a-f-]{36}$/);
    assert.match(await page.title(), /^Create your account/);
  });
  await look(page, 'registration');

  await check('the address leads to the password', async () => {
    await email(page).pressSequentially(address);
    assert.equal(await secret(page).count(), 0, 'the password comes later');
    await submit(page).click();
    await second(page);
    assert.match(await page.title(), /^Choose how you sign in/);
  });
  await look(page, 'registration-second-step');

  await check('a reload stays there', async () => {
    await page.reload();
    await second(page);
  });
  await check('registering leads to the welcome page', async () => {
    await secret(page).pressSequentially(password);
    await submit(page).click();
    await page.waitForURL(`${base}/ui/welcome`);
    await signedIn(page, address);
  });
  await look(page, 'welcome');

  await check('a reload keeps the person signed in', async () => {
    await page.reload();
    await signedIn(page, address);
  });
  await check('the session cookie cannot be read by scripts', async () => {
    const cookies = await page.context().cookies();
    assert.ok(cookies.length >= 2, `want a session and a CSRF cookie, got ${cookies.map((c) => c.name)}`);
    for (const cookie of cookies) assert.ok(cookie.httpOnly, `${cookie.name} is not HttpOnly`);
  });
  await check('who is signed in is not asked to register again', async () => {
    await page.goto(`${base}/ui/registration`);
    assert.equal(new URL(page.url()).pathname, '/ui/welcome');
  });
  await check('going back does not show a dead form', async () => {
    await page.goBack();
    await signedIn(page, address);
  });
  await quiet(page, 'registering');
}

/** What is wrong is said at its field, and what was entered stays. */
async function mends(browser, base) {
  const page = await open(browser);
  const address = newAddress();
  await page.goto(`${base}/ui/registration`);

  await check('a bad address is told at the address', async () => {
    await email(page).pressSequentially('not an address');
    await submit(page).click();
    await faulty(page, email(page), /not a valid email/i);
    assert.equal(await email(page).inputValue(), 'not an address');
  });
  await look(page, 'registration-bad-address');

  await check('a short password is told at the password', async () => {
    await email(page).fill(`x${address}`);
    await submit(page).click();
    await secret(page).pressSequentially('short');
    await submit(page).click();
    await faulty(page, secret(page), /at least \d+ characters/i);
    assert.equal(await secret(page).inputValue(), '', 'a password must not come back');
  });
  await look(page, 'registration-short-password');

  await check('back leads to what was entered', async () => {
    await page.getByRole('button', { name: 'Back' }).click();
    await email(page).waitFor();
    assert.equal(await email(page).inputValue(), `x${address}`);
    assert.equal(await page.getByRole('alert').count(), 0, 'what was wrong with the password is of the other step');
    await email(page).fill(address);
    await submit(page).click();
    await second(page);
  });
  await check('what was mended is accepted', async () => {
    await secret(page).pressSequentially(password);
    await submit(page).click();
    await page.waitForURL(`${base}/ui/welcome`);
    await signedIn(page, address);
  });
  await quiet(page, 'mending');
}

/** An address that is taken is told at the end, where it can be changed. */
async function meetsATakenAddress(browser, base) {
  const address = newAddress();
  for (const first of [true, false]) {
    const page = await open(browser);
    await page.goto(`${base}/ui/registration`);
    await email(page).fill(address);
    await submit(page).click();
    await secret(page).fill(password);
    await submit(page).click();
    if (first) {
      await signedIn(page, address);
      continue;
    }
    await check('a taken address can be changed', async () => {
      await page.getByRole('alert').getByText(/is an account with this/).waitFor();
      assert.equal(await email(page).inputValue(), address);
      await email(page).fill(newAddress());
      await submit(page).click();
      await secret(page).fill(password);
      await submit(page).click();
      await page.waitForURL(`${base}/ui/welcome`);
    });
    await quiet(page, 'a taken address');
  }
}

/** The whole way without a mouse: Enter in a field sends the form. */
async function withKeyboard(browser, base) {
  const page = await open(browser);
  const address = newAddress();
  await check('the keyboard is enough', async () => {
    await page.goto(`${base}/ui/registration`);
    await page.keyboard.press('Tab');
    assert.ok(await getsFocus(email(page)), 'the first Tab leads to the first field');
    await page.keyboard.type(address);
    await page.keyboard.press('Enter');
    await second(page);
    for (let n = 0; n < 20 && !(await focused(secret(page))); n++) await page.keyboard.press('Tab');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${base}/ui/welcome`);
    await signedIn(page, address);
  });
}

/** A browser that keeps no cookies is told so and not sent round in circles. */
async function withoutCookies(browser, base) {
  const { page, close } = await openWithoutCookies();
  try {
    await check('a browser without cookies is told so', async () => {
      await page.goto(`${base}/ui/registration`);
      await page.getByRole('heading', { name: 'Cookies are needed' }).waitFor();
    });
    await look(page, 'no-cookies');
  } finally {
    await close();
  }
}

async function errors(browser, base) {
  const page = await open(browser);
  await check('an error is explained', async () => {
    await page.goto(`${base}/ui/error?id=stub:500`);
    await page.getByRole('heading', { name: 'Something went wrong' }).waitFor();
  });
  await look(page, 'error');
  await check('who is not signed in is shown the way', async () => {
    await page.goto(`${base}/ui/welcome`);
    await page.getByRole('heading', { name: 'You are not signed in' }).waitFor();
  });
  await look(page, 'signed-out');
  await check('the way leads to the form', async () => {
    await page.getByRole('link', { name: 'Create an account' }).click();
    await email(page).waitFor();
  });
  await quiet(page, 'errors');
}

await main(async (browser, base) => {
  await registers(browser, base);
  await mends(browser, base);
  await meetsATakenAddress(browser, base);
  await withKeyboard(browser, base);
  await withoutCookies(browser, base);
  await errors(browser, base);
});
