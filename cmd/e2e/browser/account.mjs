// A person's whole account, in each language: registers in two steps, is signed in,
// verifies with the code from the mail, logs out, logs in, changes the profile and the
// password, recovers the account, by a mail and by a code that was handed over, and looks
// where they are signed in.
//
// The server signs in at registration, shows the verification, and lets accounts be
// recovered; with USHER_BY_LINK by links instead of codes. What is to be seen is read
// from the pages' own texts.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, getsFocus, look, main, open, quiet } from './browser.mjs';

const admin = process.env.USHER_ADMIN_URL?.replace(/\/$/, '');
const byLink = Boolean(process.env.USHER_BY_LINK);
const password = 'correct-horse-battery-staple';
const changed = 'a-wholly-other-battery-staple';

const flowOf = (page) => new URL(page.url()).searchParams.get('flow');

/** Waits for the newest mail to an address that belongs to a flow. */
async function mailed(address, flow) {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(50)) {
    const response = await fetch(`${admin}/admin/courier/messages?recipient=${encodeURIComponent(address)}`);
    assert.equal(response.status, 200, 'the messages of the courier');
    const found = (await response.json()).filter((mail) => mail.body.includes(flow));
    if (found.length > 0) return found[0].body;
  }
  throw new Error(`no mail to ${address} for ${flow}`);
}

const codeIn = (mail) => mail.match(/\b\d{6}\b/)[0];
const linkIn = (mail) => mail.match(/https?:\/\/\S+\/self-service\/\w+\?\S+/)[0];

/** One person's browser, in one language. */
class Person {
  constructor(page, base, lang, locale, texts) {
    Object.assign(this, { page, base, lang, locale, say: texts.words, messages: texts.messages });
    this.address = `ada.${randomUUID()}@example.com`;
  }

  field(name) { return this.page.locator(`input[name="${name}"]:not([type=hidden])`); }
  press(id) { return this.page.getByRole('button', { name: this.messages[id], exact: true }).first().click(); }
  follow(name) { return this.page.getByRole('link', { name, exact: true }).click(); }
  part(name) { return this.page.getByRole('region', { name, exact: true }); }
  said(id) { return this.page.getByRole('status').getByText(this.messages[id]).waitFor(); }
  look(name) { return look(this.page, `account-${this.lang}${byLink ? '-link' : ''}-${name}`); }

  /** The same person in another browser. */
  async elsewhere() {
    const other = Object.create(this);
    other.page = await open(this.page.context().browser(), { locale: this.locale });
    return other;
  }

  /** Waits for a page, which is in the language. */
  async at(title) {
    await this.page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
    assert.equal(await this.page.locator('html').getAttribute('lang'), this.lang);
  }

  /** Asserts that a message is shown at a field, which has the cursor. */
  async wrong(field, message) {
    const text = message.split('{')[0];
    await this.page.getByRole('alert').getByText(text).waitFor();
    assert.ok(await getsFocus(field), 'the cursor is not where it is mended');
    assert.ok((await this.page.title()).startsWith(this.say.error.split('{')[0]));
  }

  async goOn(field, value) {
    assert.ok(await getsFocus(this.field(field)), `the cursor is not at ${field}`);
    await this.page.keyboard.type(value);
    await this.page.keyboard.press('Enter');
  }
}

async function registers(p) {
  await check(`${p.lang}: registering takes two steps`, async () => {
    await p.page.goto(`${p.base}/ui/registration`);
    await p.at(p.say.register);
    await p.field('traits.email').fill(p.address);
  });
  await p.look('1-registration');
  await check(`${p.lang}: the second asks for the password, where the cursor stands`, async () => {
    await p.press('1040001');
    await p.at(p.say.credential);
    assert.ok(await getsFocus(p.field('password')), 'the cursor is not at the password');
  });
  await p.look('2-password');
  await check(`${p.lang}: a password of another length is told`, async () => {
    await p.goOn('password', 'short');
    await p.wrong(p.field('password'), p.messages['4000032']);
  });
  await p.look('3-password-short');
  await check(`${p.lang}: going on leads to the verification`, async () => {
    await p.goOn('password', password);
    await p.at(byLink ? p.say.checkMail : p.say.enterCode);
    await p.page.getByRole('status').getByText(byLink ? p.say.registeredByLink : p.say.registered).waitFor();
  });
  await p.look('4-verification');
}

async function verifies(p) {
  await check(`${p.lang}: the mail verifies`, async () => {
    const mail = await mailed(p.address, flowOf(p.page));
    if (byLink) await p.page.goto(linkIn(mail));
    else await p.goOn('code', codeIn(mail));
    await p.at(p.say.verified);
    await p.said('1080002');
  });
  await p.look('5-verified');
  await check(`${p.lang}: and leads on to who is signed in`, async () => {
    await p.follow(p.messages['1070009']);
    await p.at(p.say.signedIn);
    await p.page.getByText(p.address).first().waitFor();
  });
  await p.look('6-welcome');
}

const logOut = (p) => p.page.getByRole('button', { name: p.say.logOut, exact: true }).click();

async function logsIn(p) {
  await check(`${p.lang}: logging out leads to the way in`, async () => {
    await logOut(p);
    await p.at(p.say.signedOut);
  });
  await p.look('7-signed-out');
  await check(`${p.lang}: logging in leads in`, async () => {
    await p.follow(p.say.signIn);
    await p.at(p.say.signIn);
    await p.page.getByRole('link', { name: p.say.forgot, exact: true }).waitFor();
  });
  await p.look('8-login');
  await check(`${p.lang}: with the password`, async () => {
    await p.field('identifier').fill(p.address);
    await p.field('password').fill(password);
    await p.page.keyboard.press('Enter');
    await p.at(p.say.signedIn);
  });
}

async function changes(p) {
  await check(`${p.lang}: the settings are one page`, async () => {
    await p.follow(p.say.settings);
    await p.at(p.say.settings);
    for (const name of [p.say.profile, p.say.password, p.say.yourSessions]) await p.part(name).waitFor();
  });
  await p.look('9-settings');
  await check(`${p.lang}: a bad address is told at the address, and asks for no password`, async () => {
    await p.field('traits.email').fill('nothing');
    await p.page.keyboard.press('Enter');
    await p.wrong(p.field('traits.email'), p.messages['4000040']);
    assert.equal(await p.page.getByText(p.say.retype).count(), 0);
  });
  await p.look('10-settings-wrong');
  await check(`${p.lang}: a name is changed`, async () => {
    await p.field('traits.email').fill(p.address);
    await p.field('traits.name.first').fill('Ada');
    await p.page.keyboard.press('Enter');
    await p.said('1050001');
    assert.equal(await p.field('traits.name.first').inputValue(), 'Ada');
  });
  await p.look('11-settings-saved');
  await check(`${p.lang}: the old password is no new one`, async () => {
    await p.field('password').fill(password);
    await p.page.keyboard.press('Enter');
    await p.wrong(p.field('password'), p.messages['4000039']);
  });
  await p.look('12-settings-password-wrong');
  await check(`${p.lang}: the password is changed`, async () => {
    await p.goOn('password', changed);
    await p.said('1050001');
  });
}

async function recovers(p) {
  await check(`${p.lang}: the login leads to the recovery`, async () => {
    await p.follow(p.say.start);
    await logOut(p);
    await p.follow(p.say.signIn);
    await p.follow(p.say.forgot);
    await p.at(p.say.recover);
    await p.page.keyboard.press('Tab');
    assert.ok(await getsFocus(p.field('email')), 'the first Tab leads to the first field');
  });
  await p.look('13-recovery');
  await check(`${p.lang}: an address is sent a mail`, async () => {
    await p.goOn('email', p.address);
    await p.at(byLink ? p.say.checkMail : p.say.enterCode);
    await p.said(byLink ? '1060002' : '1060003');
  });
  await p.look('14-recovery-sent');
  const mail = await mailed(p.address, flowOf(p.page));
  await check(`${p.lang}: which is in the same language`, () => assert.match(mail, { en: /Hello,/, de: /Guten Tag,/ }[p.lang]));
  if (!byLink) {
    const code = codeIn(mail);
    await check(`${p.lang}: a wrong code is told where it is entered`, async () => {
      await p.goOn('code', code.slice(0, 5) + ((Number(code[5]) + 1) % 10));
      await p.wrong(p.field('code'), p.messages['4060006']);
    });
    await p.look('15-recovery-wrong');
    await check(`${p.lang}: the link in the mail fills the code in`, async () => {
      await p.page.goto(linkIn(mail));
      await p.at(p.say.enterCode);
      assert.equal(await p.field('code').inputValue(), code);
    });
  }
  await check(`${p.lang}: the mail leads to a new password`, async () => {
    if (byLink) await p.page.goto(linkIn(mail));
    else await p.press('1070009');
    await p.at(p.say.recovered);
    await p.said('1060001');
    assert.ok(await getsFocus(p.field('password')), 'the cursor is not at the password');
  });
  await p.look('16-recovered');
  await check(`${p.lang}: one that is too short changes nothing of the page`, async () => {
    await p.goOn('password', 'short');
    await p.wrong(p.field('password'), p.messages['4000032']);
    await p.at(p.say.recovered);
  });
  await p.look('16-recovered-short');
  await check(`${p.lang}: a good one is saved, and the page leads on`, async () => {
    await p.goOn('password', password);
    await p.said('1050001');
    await p.at(p.say.renewed);
    assert.equal(await p.page.locator('form').count(), 0, 'forms of the page that is done');
  });
  await p.look('16-renewed');
  await check(`${p.lang}: the link says to another browser that it is used`, async () => {
    const other = await p.elsewhere();
    await other.page.goto(linkIn(mail));
    await other.at(p.say.recover);
    await other.page.getByRole('alert').getByText(p.messages['4060004']).waitFor();
    await other.look('16-link-used');
    await other.page.context().close();
  });
  await check(`${p.lang}: the sessions are one step from there`, async () => {
    await p.follow(p.say.sessions);
    await p.at(p.say.yourSessions);
    await p.page.getByText(p.say.noOthers).waitFor(); // a recovery has ended all others
  });
  await p.look('17-sessions');
  await check(`${p.lang}: the new password leads in`, async () => {
    await logOut(p);
    await p.follow(p.say.signIn);
    await p.field('identifier').fill(p.address);
    await p.field('password').fill(password);
    await p.page.keyboard.press('Enter');
    await p.at(p.say.signedIn);
  });
}

/** An administrator hands a code over: the person has lost the mailbox as well. */
async function isHandedACode(p) {
  const asked = async (path, body) => {
    const response = await fetch(`${admin}/admin/${path}`, body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    assert.ok(response.ok, `${path}: ${response.status}`);
    return response.json();
  };
  const [{ id }] = await asked(`identities?credentials_identifier=${encodeURIComponent(p.address)}`);
  const { recovery_link: link, recovery_code: code } = await asked('recovery/code', { identity_id: id });
  const [first, second] = [await p.elsewhere(), await p.elsewhere()];
  await check(`${p.lang}: a code that was handed over is asked for, and no address`, async () => {
    await first.page.goto(link);
    await first.at(p.say.enterCode);
    await first.page.getByRole('status').getByText(p.say.enterHanded).waitFor();
    assert.equal(await first.page.getByText(p.say.enterAnother).count(), 0);
  });
  await first.look('18-handed');
  await check(`${p.lang}: it leads to a new password`, async () => {
    await first.goOn('code', code);
    await first.at(p.say.recovered);
  });
  await check(`${p.lang}: and says to another browser that it is used`, async () => {
    await second.page.goto(link);
    await second.at(p.say.recoveryUsed);
  });
  await second.look('19-handed-used');
  for (const other of [first, second]) await other.page.context().close();
}

/** Nothing needs a script: a browser without any goes the same way. */
async function withoutScripts(p) {
  await check(`${p.lang}: a browser without scripts registers and recovers`, async () => {
    await p.page.goto(`${p.base}/ui/registration`);
    await p.field('traits.email').fill(p.address);
    await p.press('1040001');
    await p.field('password').fill(password);
    await p.press('1040001');
    await p.at(byLink ? p.say.checkMail : p.say.enterCode);
    await p.page.goto(`${p.base}/ui/welcome`);
    await logOut(p);
    await p.follow(p.say.signIn);
    await p.follow(p.say.forgot);
    await p.field('email').fill(p.address);
    await p.press('1070009');
    await p.at(byLink ? p.say.checkMail : p.say.enterCode);
    await p.page.goto(linkIn(await mailed(p.address, flowOf(p.page))));
    if (!byLink) await p.press('1070009');
    await p.at(p.say.recovered);
  });
}

await main(async (browser, base) => {
  assert.ok(admin, 'USHER_ADMIN_URL is the base URL of the admin listener');
  for (const [lang, locale] of [['en', 'en-GB'], ['de', 'de-AT']]) {
    const texts = JSON.parse(await readFile(new URL(`../../../services/pages/texts/${lang}.json`, import.meta.url), 'utf8'));
    const page = await open(browser, { locale });
    const p = new Person(page, base, lang, locale, texts);
    for (const step of [registers, verifies, logsIn, changes, recovers, isHandedACode]) await step(p);
    await quiet(page, `${lang}: the account`);
    await withoutScripts(new Person(await open(browser, { locale, javaScriptEnabled: false }), base, lang, locale, texts));
  }
});
