// The official SDK as apps and scripts have it, and what the tests share.
//
//   USHER_PUBLIC_URL, USHER_ADMIN_URL   the listeners of the server

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import * as sdk from '@ory/client-fetch';

const { USHER_PUBLIC_URL: publicURL, USHER_ADMIN_URL: adminURL } = process.env;
assert(publicURL && adminURL, 'USHER_PUBLIC_URL and USHER_ADMIN_URL say where the server is');

export const password = 'a long enough secret 7';
export const nowhere = '00000000-0000-4000-8000-000000000000';

/** An address that nobody else has. */
export const newAddress = () => `js-${randomUUID()}@example.org`;

// What was refused is seen in the output of a test that fails: the SDK's own error does not say.
const middleware = [{
  post: async ({ url, init, response }) => {
    if (response.status >= 400) console.log(init.method, url, response.status, await response.text());
  },
}];
const at = (basePath, more) => new sdk.Configuration({ basePath, middleware, ...more });

/** The SDK in an app, which keeps session tokens. */
export const newApp = () => new sdk.FrontendApi(at(publicURL));

/**
 * The SDK in a script of a page. It has to be told to ask for JSON: by itself it
 * sends no Accept, and a browser's flow begins with a redirect then. Node keeps
 * no cookies, whatever `credentials` says: `fetchApi` does what a browser would.
 */
export function newScript() {
  const jar = new Map();
  const fetchApi = async (url, init) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...init.headers, origin: publicURL, 'sec-fetch-site': 'same-origin', ...(cookie && { cookie }) };
    const response = await fetch(url, { ...init, headers });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/;\s*max-age=(0|-\d+)\s*(;|$)/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  };
  return new sdk.FrontendApi(at(publicURL, { credentials: 'include', headers: { accept: 'application/json' }, fetchApi }));
}

export const identities = new sdk.IdentityApi(at(adminURL));
export const courier = new sdk.CourierApi(at(adminURL));
export const metadata = new sdk.MetadataApi(at(adminURL));
export const schemas = new sdk.IdentityApi(at(publicURL));

/** Wants all that the SDK's type says is always there, and gives the value. */
export function whole(kind, value) {
  assert(sdk[`instanceOf${kind}`](value), `not a whole ${kind}: ${JSON.stringify(value)}`);
  return value;
}

/** Wants the call to be refused with a status, and gives the body of the answer. */
export async function refused(call, status) {
  const err = await call.then((value) => assert.fail(`not refused: ${JSON.stringify(value)}`), (e) => e);
  assert(err instanceof sdk.ResponseError, err);
  const body = await err.response.json();
  assert.equal(err.response.status, status, JSON.stringify(body));
  return body;
}

/** Wants the call to be refused with the error envelope, and gives the error in it. */
export async function refusedAs(call, status, id) {
  const { error } = whole('ErrorGeneric', await refused(call, status));
  assert.equal(error.id, id);
  assert(error.message, 'the error has no message');
  return error;
}

/** Wants the message with this id, at the form or at one of its nodes. */
export function hasMessage(ui, id) {
  const all = [...(ui.messages ?? []), ...ui.nodes.flatMap((node) => node.messages)];
  assert(all.some((message) => message.id === id), `no message ${id} in ${JSON.stringify(all)}`);
}

/** The token in the form of a browser's flow. */
export const csrf = (ui) => ui.nodes.find((node) => node.attributes.name === 'csrf_token').attributes.value;

/** Makes a person with a verified address and a password. */
export async function newVerified() {
  const address = newAddress();
  const person = await identities.createIdentity({
    createIdentityBody: {
      schema_id: 'default', traits: { email: address }, credentials: { password: { config: { password } } },
      verifiable_addresses: [{ value: address, via: 'email', verified: true, status: 'completed' }],
    },
  });
  return { address, person: whole('Identity', person) };
}

/** The form of a person. The token is of a browser's flow, an app has none. */
export const registration = (flow, address, csrf_token) => ({
  flow, updateRegistrationFlowBody: { method: 'password', password, traits: { email: address }, csrf_token },
});

/** The first of two steps, or with the screen "previous" back to it. */
export const profile = (flow, address, csrf_token, screen) => ({
  flow, updateRegistrationFlowBody: { method: 'profile', traits: { email: address }, csrf_token, screen },
});

/** Wants the second step with these traits hidden in it. */
export function isSecondStep(flow, address) {
  const nodes = whole('RegistrationFlow', flow).ui.nodes.map(({ attributes }) => attributes);
  const email = nodes.find(({ name }) => name === 'traits.email');
  assert.deepEqual([email.type, email.value], ['hidden', address]);
  assert(nodes.some(({ name, value }) => name === 'method' && value === 'password'));
  assert(nodes.some(({ name, value }) => name === 'screen' && value === 'previous'));
  hasMessage(flow.ui, 1040009);
}

/** Goes through the two steps, back once, and gives what the end answers. */
export async function goesInTwoSteps(client, begun, address, token) {
  const step = async (...form) => refused(client.updateRegistrationFlow(profile(begun.id, ...form)), 400);
  assert(!begun.ui.nodes.some(({ attributes }) => attributes.name === 'password'));
  hasMessage((await step('no address', token)).ui, 4000040);
  isSecondStep(await step(address, token), address);
  isSecondStep(await client.getRegistrationFlow({ id: begun.id }), address);
  const back = whole('RegistrationFlow', await step(address, token, 'previous'));
  const email = back.ui.nodes.find(({ attributes }) => attributes.name === 'traits.email').attributes;
  assert.deepEqual([email.type, email.value], ['email', address]);
  isSecondStep(await step(address, token, 'credential-selection'), address);
  const { updateRegistrationFlowBody: weak, flow } = registration(begun.id, address, token);
  const refusal = await refused(client.updateRegistrationFlow({ flow, updateRegistrationFlowBody: { ...weak, password: 'short' } }), 400);
  isSecondStep(refusal, address);
  hasMessage(refusal.ui, 4000032);
  return client.updateRegistrationFlow(registration(begun.id, address, token));
}

/** The form of somebody who comes back. */
export const login = (flow, address, csrf_token) => ({
  flow, updateLoginFlowBody: { method: 'password', identifier: address, password, csrf_token },
});

/** The id of the provider that the server knows, and the form behind its button. */
export const provider = 'example';
export const signUpAt = (flow, csrf_token, id = provider) => ({
  flow, updateRegistrationFlowBody: { method: 'oidc', provider: id, csrf_token },
});
export const signInAt = (flow, csrf_token) => ({ flow, updateLoginFlowBody: { method: 'oidc', provider, csrf_token } });

/** The form of settings: `link` or `unlink` names the provider. */
export const setting = (flow, body) => ({ flow, updateSettingsFlowBody: { method: 'oidc', ...body } });

/** Says the token in a header: the SDK's form of settings has no place for it. */
export const withToken = (ui) => async ({ init }) => ({ headers: { ...init.headers, 'x-csrf-token': csrf(ui) } });

/**
 * Changes an address and verifies it, then the password; `submit` sends a form of the
 * settings that were begun.
 */
export async function changesProfile(api, begun, submit) {
  const inForm = (ui) => ui.nodes.find(({ group, attributes }) => group === 'profile' && attributes.name === 'traits.email').attributes.value;
  const form = (email) => submit({ method: 'profile', traits: { email } });
  const wrong = await refused(form('nobody'), 400);
  hasMessage(whole('SettingsFlow', wrong).ui, 4000040);
  assert.equal(inForm(wrong.ui), 'nobody');
  const address = newAddress();
  const changed = whole('SettingsFlow', await form(address));
  assert.equal(changed.state, 'success');
  hasMessage(changed.ui, 1050001);
  assert.equal(inForm(changed.ui), address);
  assert.equal(changed.identity.id, begun.identity.id);
  const next = changed.continue_with.at(-1);
  assert(sdk.isShowVerificationUi(next));
  assert.equal(next.flow.verifiable_address, address);
  const code = await mailedCode(address, next.flow.id);
  const passed = await api.updateVerificationFlow({ flow: next.flow.id, updateVerificationFlowBody: { method: 'code', code } });
  assert.equal(passed.state, 'passed_challenge');
}

export async function changesPassword(address, submit) {
  const form = (secret) => submit({ method: 'password', password: secret });
  hasMessage(whole('SettingsFlow', await refused(form('short'), 400)).ui, 4000032);
  hasMessage((await refused(form(password), 400)).ui, 4000039);
  const changed = whole('SettingsFlow', await form('another long secret 8'));
  assert.equal(changed.state, 'success');
  hasMessage(changed.ui, 1050001);
  await assert.rejects(signIn(address), sdk.ResponseError);
}

/** Whether a form has a button of this name for the provider. */
export const offers = (ui, name) => ui.nodes.some(({ attributes }) => attributes.name === name && attributes.value === provider);

/** A script of somebody with a password and an account at the provider, which was linked there. */
export async function withAccount() {
  const script = newScript();
  const { address } = await newVerified();
  await signInScript(script, address);
  const begun = whole('SettingsFlow', await script.createBrowserSettingsFlow());
  assert(offers(begun.ui, 'link'));
  await refusedAs(script.updateSettingsFlow(setting(begun.id, { link: provider })), 403, 'security_csrf_violation');
  const to = await moved(script.updateSettingsFlow(setting(begun.id, { link: provider }), withToken(begun.ui)));
  assert.equal((await comesBack(await atProvider(to, newAddress()), script)).searchParams.get('flow'), begun.id);
  const flow = whole('SettingsFlow', await script.getSettingsFlow({ id: begun.id }));
  assert.equal(flow.state, 'success');
  hasMessage(flow.ui, 1050001);
  assert(offers(flow.ui, 'unlink'));
  return { script, address, flow };
}

/** Where the browser has to go, as a refusal says. */
export async function moved(call) {
  const body = await refused(call, 422);
  assert.equal(body.error.id, 'browser_location_change_required');
  return body.redirect_browser_to;
}

/**
 * Signs a user in with the provider's own form, and gives where the browser is
 * sent back to. Whoever is named there is a user.
 */
export async function atProvider(authorization, user) {
  const page = await fetch(authorization);
  const [, id] = /name="id" value="([^"]+)"/.exec(await page.text());
  const body = new URLSearchParams({ id, username: user, password: 'verysecure' });
  const inside = await fetch(page.url, { method: 'POST', body, redirect: 'manual' });
  const back = await fetch(new URL(inside.headers.get('location'), page.url), { redirect: 'manual' });
  return back.headers.get('location');
}

/** The browser's way back: that of a script, or the system's behind an app. Gives where it is sent. */
export async function comesBack(callback, api) {
  const answer = await (api?.configuration.fetchApi ?? fetch)(callback, { redirect: 'manual', headers: { accept: 'text/html' } });
  assert.equal(answer.status, 303, await answer.text());
  return new URL(answer.headers.get('location'));
}

/** Signs a person up in an app. */
export async function register(address) {
  const app = newApp();
  return app.updateRegistrationFlow(registration((await app.createNativeRegistrationFlow()).id, address));
}

/** Signs in with an app. */
export async function signIn(address) {
  const app = newApp();
  return app.updateLoginFlow(login((await app.createNativeLoginFlow()).id, address));
}

/** Signs in with a script, whose browser has the session's cookie from then on. */
export async function signInScript(script, address) {
  const flow = await script.createBrowserLoginFlow();
  return script.updateLoginFlow(login(flow.id, address, csrf(flow.ui)));
}

/** Waits for the code that is mailed for a flow: the only run of six digits in the mail. */
export async function mailedCode(address, flow) {
  for (const end = Date.now() + 30_000; Date.now() < end; await wait(20)) {
    for (const mail of await courier.listCourierMessages({ recipient: address })) {
      if (!mail.body.includes(flow)) continue;
      const found = new Set(mail.body.match(/\b\d{6}\b/g));
      assert.equal(found.size, 1, `six digits in the mail: ${[...found]}`);
      return [...found][0];
    }
  }
  assert.fail(`no mail to ${address} for the flow ${flow}`);
}

/** Goes through a verification to its end, and past it. */
export async function verifies(api, begun, address, csrf_token) {
  const submit = (body) => api.updateVerificationFlow({ flow: begun.id, updateVerificationFlowBody: { method: 'code', ...body } });
  assert.equal(whole('VerificationFlow', await api.getVerificationFlow({ id: begun.id })).type, begun.type);
  assert.equal((await submit({ email: address, csrf_token })).state, 'sent_email');
  const code = await mailedCode(address, begun.id);

  const still = await submit({ code: code === '000000' ? '000001' : '000000' });
  assert.equal(still.state, 'sent_email');
  hasMessage(still.ui, 4070006);

  const passed = await submit({ code });
  assert.equal(passed.state, 'passed_challenge');
  hasMessage(passed.ui, 1080002);

  const over = await refused(submit({ code }), 410);
  assert.equal(over.error.id, 'self_service_flow_replaced');
  whole('VerificationFlow', await api.getVerificationFlow({ id: over.use_flow_id }));
}

/** Goes through a recovery to its end, and gives what comes next. */
export async function recovers(api, begun, address, csrf_token) {
  const submit = (body) => api.updateRecoveryFlow({ flow: begun.id, updateRecoveryFlowBody: { method: 'code', csrf_token, ...body } });
  assert.equal(whole('RecoveryFlow', await api.getRecoveryFlow({ id: begun.id })).type, begun.type);
  hasMessage((await submit({ email: address })).ui, 1060003);
  const code = await mailedCode(address, begun.id);
  hasMessage((await submit({ code: code === '000000' ? '000001' : '000000' })).ui, 4060006);
  const passed = whole('RecoveryFlow', await submit({ code }));
  assert.equal(passed.state, 'passed_challenge');
  return passed.continue_with;
}

/**
 * Signs in three times more and ends these sessions again; `as` says who asks:
 * a session token in an app, nothing in a script.
 */
export async function seesToItsSessions(api, as, address, current) {
  const others = [];
  for (let i = 0; i < 3; i++) others.push(await signIn(address));
  const lives = (i) => newApp().toSession({ xSessionToken: others[i].session_token });

  const listed = await api.listMySessions(as);
  assert.deepEqual(new Set(listed.map((s) => whole('Session', s).id)), new Set(others.map((o) => o.session.id)));
  await api.disableMySession({ ...as, id: others[0].session.id });
  await refusedAs(lives(0), 401, undefined);
  await lives(1);
  await api.disableMySession({ ...as, id: nowhere });
  await refused(api.disableMySession({ ...as, id: current }), 400);

  assert.equal((await api.disableMyOtherSessions(as)).count, 2);
  await refusedAs(lives(1), 401, undefined);
  assert.deepEqual(await api.listMySessions(as), []);
}
