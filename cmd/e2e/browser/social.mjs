// A person signs up and in at a provider by its button, completes what the
// provider does not say, and adds the provider to an account with a password, by
// signing in or in the settings.
//
// The server knows a provider "Example", which runs at USHER_PROVIDER_URL; its
// users are made up as they come, and one that is named without an address has none.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { check, faulty, look, main, open, quiet, shoot, signedIn } from './browser.mjs';

const provider = process.env.USHER_PROVIDER_URL?.replace(/\/$/, '');
const password = 'correct-horse-battery-staple';

const newAddress = () => `ada.${randomUUID()}@example.com`;

const email = (page) => page.getByRole('textbox', { name: 'Email' });
const secret = (page) => page.locator('input[type=password]');
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();

/** Waits until a page of ours is there, and says which one it is otherwise. */
async function isHere(page, base, path) {
  const there = (url) => url.href.startsWith(base) && url.pathname === path;
  await page.waitForURL(there, { timeout: 10_000 }).catch(async () => {
    throw new Error(`the page is ${page.url()}, not ${path}: ${await page.locator('body').innerText()}`);
  });
}

/** Signs in on the provider's own page, to which a button has led. */
async function signInThere(page, user) {
  await page.waitForURL((url) => url.href.startsWith(provider));
  await page.getByLabel('Username').fill(user);
  await page.getByLabel('Password').fill('verysecure');
  await shoot(page, 'social-provider');
  await press(page, 'Login');
}

/** The button leads to the provider, and that back to a page that knows who came. */
async function registers(browser, base, address) {
  const page = await open(browser);
  await check('the form offers the provider', async () => {
    await page.goto(`${base}/ui/registration`);
    await page.getByRole('button', { name: 'Sign up with Example' }).waitFor();
  });
  await look(page, 'social-registration');
  await check('signing up at the provider leads to the welcome page', async () => {
    await press(page, 'Sign up with Example');
    await signInThere(page, address);
    await isHere(page, base, '/ui/welcome');
    await signedIn(page, address);
  });
  await look(page, 'social-welcome');
  await check('going back does not show a dead form', async () => {
    await page.goto(`${base}/ui/registration`);
    await isHere(page, base, '/ui/welcome');
  });
  await quiet(page, 'signing up at a provider');
}

/** The same person in another browser. */
async function returns(browser, base, address) {
  const page = await open(browser);
  await page.goto(`${base}/ui/login`);
  await look(page, 'social-login');
  await check('signing in at the provider leads in', async () => {
    await press(page, 'Sign in with Example');
    await signInThere(page, address);
    await isHere(page, base, '/ui/welcome');
    await signedIn(page, address);
  });
  await quiet(page, 'signing in at a provider');
}

/** What the provider does not say is asked for. */
async function completes(browser, base) {
  const page = await open(browser);
  const address = newAddress();
  const user = `nameless-${randomUUID()}`;
  await page.goto(`${base}/ui/registration`);
  await check('what is missing is told at its field', async () => {
    await press(page, 'Sign up with Example');
    await signInThere(page, user);
    await isHere(page, base, '/ui/registration');
    await faulty(page, email(page), /fill in/i);
  });
  await look(page, 'social-incomplete');
  await check('completing it leads in', async () => {
    await email(page).fill(address);
    await press(page, 'Continue');
    await signInThere(page, user);
    await isHere(page, base, '/ui/welcome');
    await signedIn(page, address);
  });
  await quiet(page, 'completing');
}

/** An address that has an account: its owner signs in and has both ways from then on. */
async function links(browser, base) {
  const first = await open(browser);
  const address = newAddress();
  await first.goto(`${base}/ui/registration`);
  await email(first).fill(address);
  await press(first, 'Sign up');
  await secret(first).fill(password);
  await press(first, 'Sign up');
  await signedIn(first, address);

  const page = await open(browser);
  await check('an address that has an account leads to its login', async () => {
    await page.goto(`${base}/ui/registration`);
    await press(page, 'Sign up with Example');
    await signInThere(page, address);
    await isHere(page, base, '/ui/login');
    await page.getByText(/already/).first().waitFor();
  });
  await look(page, 'social-link');
  await check('the password links the two', async () => {
    await secret(page).fill(password);
    await secret(page).press('Enter');
    await isHere(page, base, '/ui/welcome');
    await signedIn(page, address);
    const whoami = await (await page.request.get(`${base}/sessions/whoami`)).json();
    assert.deepEqual(whoami.authentication_methods.map((m) => m.method), ['password', 'oidc']);
  });
  await quiet(page, 'linking');
  await returns(browser, base, address);
}

/** Somebody who is signed in adds the provider, removes it again, and keeps the last way in. */
async function changesSettings(browser, base) {
  const page = await open(browser);
  const address = newAddress();
  await check('who is not signed in is led to the login', async () => {
    await page.goto(`${base}/ui/settings`);
    await isHere(page, base, '/ui/login');
  });
  await page.goto(`${base}/ui/registration`);
  await email(page).fill(address);
  await press(page, 'Sign up');
  await secret(page).fill(password);
  await press(page, 'Sign up');
  await signedIn(page, address);
  await check('the start page leads to the settings', async () => {
    await page.getByRole('link', { name: 'Your settings' }).click();
    await heading(page, 'Your settings');
    await page.getByRole('button', { name: 'Link Example' }).waitFor();
  });
  await look(page, 'settings');
  await check('linking at the provider leads back', async () => {
    await press(page, 'Link Example');
    await signInThere(page, newAddress());
    await isHere(page, base, '/ui/settings');
    await page.getByRole('status').getByText('Your changes are saved.').waitFor();
    await page.getByRole('button', { name: 'Unlink Example' }).waitFor();
  });
  await look(page, 'settings-linked');
  await check('unlinking leads back', async () => {
    await press(page, 'Unlink Example');
    await page.getByRole('button', { name: 'Link Example', exact: true }).waitFor();
    await page.getByRole('status').getByText('Your changes are saved.').waitFor();
  });
  await quiet(page, 'changing settings');
}

/** Whoever turns back at the provider stands before the form again. */
async function turnsBack(browser, base) {
  const page = await open(browser);
  await check('who turns back at the provider is told so', async () => {
    await page.goto(`${base}/ui/login`);
    const [request] = await Promise.all([
      page.waitForRequest((r) => r.url().startsWith(`${provider}/auth?`)),
      press(page, 'Sign in with Example'),
    ]);
    const state = new URL(request.url()).searchParams.get('state');
    await page.goto(`${base}/self-service/methods/oidc/callback/example?error=access_denied&state=${encodeURIComponent(state)}`);
    await isHere(page, base, '/ui/login');
    await page.getByRole('alert').waitFor();
  });
  await look(page, 'social-denied');
  await quiet(page, 'turning back');
}

await main(async (browser, base) => {
  assert.ok(provider, 'USHER_PROVIDER_URL is where the provider is');
  const address = newAddress();
  await registers(browser, base, address);
  await returns(browser, base, address);
  await completes(browser, base);
  await links(browser, base);
  await changesSettings(browser, base);
  await turnsBack(browser, base);
});
