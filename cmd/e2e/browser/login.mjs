// A person registers and is signed in, once; signs in again only with a verified
// address; sees where they are signed in, ends that, and logs out.
//
// The server signs in at registration, shows the verification, and refuses
// logins without a verified address.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, faulty, getsFocus, look, main, open, openWithoutCookies, quiet, signedIn } from './browser.mjs';

const admin = process.env.USHER_ADMIN_URL?.replace(/\/$/, '');
const password = 'correct-horse-battery-staple';

const newAddress = () => `ada.${randomUUID()}@example.com`;

const email = (page) => page.getByRole('textbox', { name: 'Email' });
const secret = (page) => page.locator('input[type=password]');
const identifier = (page) => page.locator('input[name=identifier]');
const code = (page) => page.getByRole('textbox', { name: 'Verification code' });
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
const flowOf = (page) => new URL(page.url()).searchParams.get('flow');

/** The mails to an address that belong to a flow, newest first. */
async function mails(address, flow) {
  const response = await fetch(`${admin}/admin/courier/messages?recipient=${encodeURIComponent(address)}`);
  assert.equal(response.status, 200, 'the messages of the courier');
  return (await response.json()).filter((mail) => mail.body.includes(flow));
}

/** Waits until a flow has so many mails, and gives the newest. */
async function mailed(address, flow, count = 1) {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(50)) {
    const found = await mails(address, flow);
    if (found.length >= count) return found[0].body;
  }
  throw new Error(`fewer than ${count} mails to ${address}`);
}

const codeIn = (mail) => mail.match(/\b\d{6}\b/)[0];
const linkIn = (mail) => mail.match(/https?:\/\/\S+\/self-service\/verification\?\S+/)[0];
const another = (digits) => digits.slice(0, 5) + ((Number(digits[5]) + 1) % 10);

async function register(page, base, address) {
  await page.goto(`${base}/ui/registration`);
  await email(page).fill(address);
  await press(page, 'Sign up');
  await secret(page).fill(password);
  await press(page, 'Sign up');
  await heading(page, 'Enter your code');
}

async function signIn(page, base, address) {
  await page.goto(`${base}/ui/login`);
  await identifier(page).fill(address);
  await secret(page).fill(password);
  await page.locator('button.primary').click();
}

/** Registering signs in, once, and leads to the verification. */
async function registers(page, base, address) {
  await check('registering leads to the verification', async () => {
    await register(page, base, address);
    assert.match(page.url(), /\/ui\/verification\?flow=[0-9a-f-]{36}$/);
    assert.match(await page.title(), /^Enter your code/);
    await page.getByRole('status').getByText(/you are signed in already/).waitFor();
  });
  await look(page, 'verification-code');
  await check('whoever has registered is signed in', async () => {
    await page.goto(`${base}/ui/welcome`);
    await signedIn(page, address);
    await page.getByRole('link', { name: 'Verify it' }).waitFor();
  });
  await look(page, 'welcome-unverified');
}

/** The same person in another browser is refused until the address is verified. */
async function returns(page, base, address) {
  await check('who is not signed in is led to the login', async () => {
    await page.goto(`${base}/ui/welcome`);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await heading(page, 'Sign in');
    assert.match(page.url(), /\/ui\/login\?flow=[0-9a-f-]{36}$/);
    assert.equal(await identifier(page).getAttribute('autocomplete'), 'username');
  });
  await look(page, 'login');
  await check('a wrong password is told where it is entered again', async () => {
    await identifier(page).fill(address);
    await secret(page).fill('something-else-entirely');
    await secret(page).press('Enter');
    await saidAt(page, secret(page), /password is wrong/i);
    assert.equal(await identifier(page).inputValue(), address);
    assert.equal(await secret(page).inputValue(), '', 'a password must not come back');
  });
  await look(page, 'login-wrong');
  await check('the right password leads to the verification, and nobody in', async () => {
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await heading(page, 'Enter your code');
    await page.getByRole('status').getByText(/^You are not signed in yet/).waitFor();
    const whoami = await page.request.get(`${base}/sessions/whoami`);
    assert.equal(whoami.status(), 401);
  });
}

/** Wrong code, another one by mail, the right one. */
async function verifies(page, base, address) {
  const flow = flowOf(page);
  const first = codeIn(await mailed(address, flow));
  await check('a wrong code is told at the code', async () => {
    assert.equal(await code(page).getAttribute('inputmode'), 'numeric');
    await code(page).pressSequentially(another(first));
    await press(page, 'Continue');
    await saidAt(page, code(page), /code is wrong/i);
  });
  await look(page, 'verification-wrong-code');
  let second = first;
  await check('resending sends a new code, whatever was entered', async () => {
    await code(page).fill('123');
    await press(page, 'Resend code');
    await page.getByRole('status').getByText(/on its way/).waitFor();
    second = codeIn(await mailed(address, flow, 2));
  });
  await check('the right code verifies', async () => {
    await code(page).fill(second);
    await code(page).press('Enter');
    await heading(page, 'Verification complete');
    await page.getByRole('status').getByText(/verified/).waitFor();
  });
  await look(page, 'verification-done');
  await check('the link leads on', async () => {
    await page.getByRole('link', { name: 'Continue' }).click();
    await page.waitForURL(/\/ui\/login\?flow=/);
    await heading(page, 'Sign in');
  });
}

/** The login succeeds; other sessions are seen and ended; logging out is the end. */
async function staysInCharge(browser, page, registered, base, address) {
  await check('now the login leads in', async () => {
    await signIn(page, base, address);
    await page.waitForURL(`${base}/ui/welcome`);
    await signedIn(page, address);
    assert.equal(await page.getByRole('link', { name: 'Verify it' }).count(), 0);
  });
  await look(page, 'welcome-back');
  await check('there are two sessions', async () => {
    await page.getByRole('link', { name: 'Where you are signed in' }).click();
    await heading(page, 'Your sessions');
    assert.equal(await page.getByText(/^Signed in/).count(), 2);
    assert.equal(await page.getByText('Chrome on Linux').count(), 2);
  });
  await look(page, 'sessions');
  await check('ending the other one signs that browser out', async () => {
    await press(page, 'Sign out');
    await page.getByRole('status').getByText('That session is over.').waitFor();
    await page.getByText('You are signed in nowhere else.').waitFor();
    await registered.goto(`${base}/ui/sessions`);
    await heading(registered, 'You are not signed in');
  });
  await look(page, 'sessions-none');
  await check('signing out everywhere else ends all others at once', async () => {
    const others = [await open(browser), await open(browser)];
    for (const other of others) {
      await signIn(other, base, address);
      await signedIn(other, address);
    }
    await page.goto(`${base}/ui/sessions`);
    await press(page, 'Sign out everywhere else');
    await page.getByRole('status').getByText('You are signed out everywhere else.').waitFor();
    for (const other of others) {
      await other.reload();
      await heading(other, 'You are not signed in');
      await other.context().close();
    }
  });
  await check('going back and again to the list does no harm', async () => {
    await page.reload(); // sends no form again
    await heading(page, 'Your sessions');
  });
  await check('who is signed in may have to confirm it', async () => {
    await page.goto(`${base}/ui/login?refresh=true`);
    await heading(page, 'Confirm that it is you');
    await secret(page).waitFor();
  });
  await look(page, 'login-refresh');
  await check('confirming leads on', async () => {
    await secret(page).fill(password);
    await secret(page).press('Enter');
    await page.waitForURL(`${base}/ui/welcome`);
  });
  await check('logging out is the end', async () => {
    await press(page, 'Log out');
    await heading(page, 'You are not signed in');
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
    const whoami = await page.request.get(`${base}/sessions/whoami`);
    assert.equal(whoami.status(), 401);
  });
  await look(page, 'logged-out');
}

/** The link in the mail works in any browser, and verifies only by the button. */
async function followsTheLink(browser, base) {
  const page = await open(browser);
  const elsewhere = await open(browser);
  const address = newAddress();
  await register(page, base, address);
  const mail = await mailed(address, flowOf(page));
  await check('the link in the mail fills the code in', async () => {
    await elsewhere.goto(linkIn(mail));
    await heading(elsewhere, 'Enter your code');
    assert.equal(await code(elsewhere).inputValue(), codeIn(mail));
  });
  await look(elsewhere, 'verification-link');
  await check('and the button verifies', async () => {
    await press(elsewhere, 'Continue');
    await heading(elsewhere, 'Verification complete');
    await page.goto(`${base}/ui/welcome`);
    await signedIn(page, address);
    assert.equal(await page.getByRole('link', { name: 'Verify it' }).count(), 0);
  });
  await quiet(elsewhere, 'the link');
}

/** A verification that was asked for by hand, without being signed in. */
async function asksForACode(browser, base) {
  const page = await open(browser);
  const address = page.getByRole('textbox', { name: 'Email' });
  await check('an address can be verified by hand', async () => {
    await page.goto(`${base}/ui/verification`);
    await heading(page, 'Verify your address');
    assert.match(page.url(), /\/ui\/verification\?flow=[0-9a-f-]{36}$/);
  });
  await look(page, 'verification');
  await check('no address is told at the address', async () => {
    await press(page, 'Continue');
    await faulty(page, address, /fill in/i);
  });
  await check('an address that is nobody\'s is answered like any other', async () => {
    await address.fill(newAddress());
    await press(page, 'Continue');
    await heading(page, 'Enter your code');
  });
  await check('another address can be entered instead', async () => {
    await page.getByRole('link', { name: 'Enter another one' }).click();
    await heading(page, 'Verify your address');
  });
  await quiet(page, 'verifying by hand');
}

/** Login and registration lead to each other, by keyboard too. */
async function findsTheWay(browser, base) {
  const page = await open(browser);
  await check('login and registration lead to each other', async () => {
    await page.goto(`${base}/ui/login`);
    await page.getByRole('link', { name: 'Create an account' }).click();
    await heading(page, 'Create your account');
    await page.getByRole('link', { name: 'Sign in' }).click();
    await heading(page, 'Sign in');
    await page.keyboard.press('Tab');
    assert.ok(await getsFocus(identifier(page)), 'the first Tab leads to the first field');
  });
  await quiet(page, 'finding the way');
}

/** A browser that keeps no cookies is told so and not sent round in circles. */
async function withoutCookies(base) {
  const { page, close } = await openWithoutCookies();
  try {
    for (const kind of ['login', 'verification']) {
      await check(`${kind}: a browser without cookies is told so`, async () => {
        await page.goto(`${base}/ui/${kind}`);
        await heading(page, 'Cookies are needed');
      });
    }
  } finally {
    await close();
  }
}

/** Asserts that what is wrong of the whole flow is read at a field that has the focus. */
async function saidAt(page, field, message) {
  await page.getByRole('alert').getByText(message).waitFor();
  assert.ok(await getsFocus(field), 'the cursor is not at the field');
  const ids = (await field.getAttribute('aria-describedby'))?.split(' ') ?? [];
  const said = await Promise.all(ids.map((id) => page.locator(`[id="${id}"]`).innerText()));
  assert.match(said.join(' '), message);
  assert.match(await page.title(), /^Error: /);
}

await main(async (browser, base) => {
  assert.ok(admin, 'USHER_ADMIN_URL is the base URL of the admin listener');
  const address = newAddress();
  const registered = await open(browser);
  const page = await open(browser);
  await registers(registered, base, address);
  await returns(page, base, address);
  await verifies(page, base, address);
  await staysInCharge(browser, page, registered, base, address);
  await quiet(registered, 'registering');
  await quiet(page, 'coming back');
  await followsTheLink(browser, base);
  await asksForACode(browser, base);
  await findsTheWay(browser, base);
  await withoutCookies(base);
});
