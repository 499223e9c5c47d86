// What the scripts about the console share: an operator who signs in, and all pages.
//
//   USHER_SETUP_LINK  the link that the console printed at its first start
//   USHER_IDENTITY    somebody who has registered

import assert from 'node:assert/strict';
import { check } from './browser.mjs';

export const operator = { password: 'an operator who reads long books 7' };

export const consoleURL = process.env.USHER_CONSOLE_URL?.replace(/\/$/, '');

/** The pages of the console by name, with their path and heading. */
export const pages = (identity) => [
  ['overview', '/console/', 'Overview'],
  ['settings', '/console/settings', 'Authentication Settings'],
  ['settings-history', '/console/settings/history', null],
  ['registrations', '/console/registrations', 'Registrations'],
  ['identities', '/console/identities', 'Identities'],
  ['sessions', '/console/sessions', null],
  ['identity', `/console/identities/${identity}`, null],
  ['timeline', `/console/registrations/${identity}`, null],
  ['workers', '/console/workers', 'Workers'],
  ['worker-new', '/console/workers/new', null],
  ['dead-letters', '/console/dead-letters', 'Dead letters'],
  ['mail', '/console/mail', 'Mail'],
  ['audit', '/console/audit', 'Audit'],
  ['audit-verify', '/console/audit/verify', null],
  ['audit-checkpoints', '/console/audit/checkpoints', null],
  ['operators', '/console/operators', 'Operators and tokens'],
];

/** Opens a page of the console; with a heading, only that one will do. */
export async function visit(page, path, heading) {
  await page.goto(consoleURL + path);
  await page.getByRole('heading', { level: 1, ...(heading && { name: heading, exact: true }) }).waitFor();
}

/** Sets the password with the link that was printed; that signs in. */
export async function setUp(page) {
  await page.goto(process.env.USHER_SETUP_LINK);
  operator.name = await page.getByLabel('Name').inputValue();
  await page.getByLabel('New password').fill(operator.password);
  await page.getByLabel('The same password again').fill(operator.password);
  await page.getByRole('button', { name: 'Set password and sign in' }).click();
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
}

/** Signs in by typing, and so comes to a page that wants it. */
export async function signIn(page, path = '/console/') {
  await page.goto(consoleURL + path);
  await page.getByLabel('Name').fill(operator.name);
  await page.getByLabel('Password', { exact: true }).fill(operator.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  assert.ok(page.url().startsWith(consoleURL + path), `signing in leads to ${page.url()}`);
}

/** Ends the session. */
export async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { level: 1, name: 'Sign in to the console' }).waitFor();
}

/** Looks at each page, see browser.mjs. */
export async function lookAtAll(page, look, identity) {
  for (const [name, path, heading] of pages(identity)) {
    await check(`${name} opens`, () => visit(page, path, heading));
    await look(page, `console-${name}`);
  }
}
