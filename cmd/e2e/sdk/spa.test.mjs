// A script in a page: its browser keeps the cookies.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handleContinueWith, isRedirectBrowserTo, isShowSettingsUi, isShowVerificationUi } from '@ory/client-fetch';
import {
  atProvider, changesPassword, changesProfile, comesBack, csrf, goesInTwoSteps, hasMessage, login, mailedCode, moved, newAddress, newScript, newVerified, offers, profile, provider, recovers, refused, refusedAs, register, registration, seesToItsSessions, setting, signInAt, signInScript, signUpAt, verifies, whole, withAccount,
  withToken,
} from './client.mjs';

test('spa registration', async () => {
  const script = newScript();
  const address = newAddress();
  const begun = whole('RegistrationFlow', await script.createBrowserRegistrationFlow());
  whole('RegistrationFlow', await script.getRegistrationFlow({ id: begun.id }));
  await refusedAs(newScript().getRegistrationFlow({ id: begun.id }), 403, 'security_csrf_violation');
  await refusedAs(script.updateRegistrationFlow(registration(begun.id, address)), 403, 'security_csrf_violation');

  const made = await script.updateRegistrationFlow(registration(begun.id, address, csrf(begun.ui)));
  assert.equal(made.session_token, undefined);
  const [redirect, verification] = made.continue_with;
  assert(isRedirectBrowserTo(redirect));
  assert(isShowVerificationUi(verification));

  // The SDK's own choice among them is to verify.
  let to;
  handleContinueWith([...made.continue_with], { onRedirect: (url) => { to = url; } });
  assert.equal(new URL(to).searchParams.get('flow'), verification.flow.id);
  whole('VerificationFlow', await script.getVerificationFlow({ id: verification.flow.id }));
  assert.equal((await script.toSession()).id, made.session.id);
  await refusedAs(script.createBrowserRegistrationFlow(), 400, 'session_already_available');
});

test('spa two steps', async () => {
  const script = newScript();
  const address = newAddress();
  const begun = await script.createBrowserRegistrationFlow();
  await refusedAs(script.updateRegistrationFlow(profile(begun.id, address)), 403, 'security_csrf_violation');
  const made = await goesInTwoSteps(script, begun, address, csrf(begun.ui));
  assert.equal(made.session_token, undefined);
  assert.equal((await script.toSession()).identity.traits.email, address);
});

test('spa social sign-in', async () => {
  const user = newAddress();
  const first = newScript();
  const begun = await first.createBrowserRegistrationFlow();
  await refusedAs(first.updateRegistrationFlow(signUpAt(begun.id)), 403, 'security_csrf_violation');
  const callback = await atProvider(await moved(first.updateRegistrationFlow(signUpAt(begun.id, csrf(begun.ui)))), user);
  await comesBack(callback, first);
  const who = await first.toSession();
  assert.deepEqual(who.authentication_methods.map((m) => m.method), ['oidc']);

  const again = newScript();
  const { id, ui } = await again.createBrowserLoginFlow();
  await comesBack(await atProvider(await moved(again.updateLoginFlow(signInAt(id, csrf(ui)))), user), again);
  assert.equal((await again.toSession()).identity.id, who.identity.id);
});

test('spa settings', async () => {
  await refusedAs(newScript().createBrowserSettingsFlow(), 401, 'session_inactive');
  const { script, flow } = await withAccount();
  const submit = (body) => script.updateSettingsFlow(setting(flow.id, body), withToken(flow.ui));
  hasMessage((await refused(submit({}), 400)).ui, 4010004);
  const done = whole('SettingsFlow', await submit({ unlink: provider }));
  assert.equal(done.state, 'success');
  assert.deepEqual(done.continue_with.map((item) => item.action), ['redirect_browser_to']);
  assert(offers(done.ui, 'link'));
});

test('spa settings profile', async () => {
  const script = newScript();
  await signInScript(script, (await newVerified()).address);
  const begun = await script.createBrowserSettingsFlow();
  await changesProfile(script, begun, (body) => script.updateSettingsFlow(setting(begun.id, body), withToken(begun.ui)));
});

test('spa settings password', async () => {
  const script = newScript();
  const { address } = await newVerified();
  await signInScript(script, address);
  const begun = await script.createBrowserSettingsFlow();
  await changesPassword(address, (body) => script.updateSettingsFlow(setting(begun.id, body), withToken(begun.ui)));
  await script.toSession();
});

test('spa login', async () => {
  const script = newScript();
  const { address, person } = await newVerified();
  const begun = whole('LoginFlow', await script.createBrowserLoginFlow());
  whole('LoginFlow', await script.getLoginFlow({ id: begun.id }));
  await refusedAs(newScript().getLoginFlow({ id: begun.id }), 403, 'security_csrf_violation');
  await refusedAs(script.updateLoginFlow(login(begun.id, address)), 403, 'security_csrf_violation');
  await refusedAs(script.createBrowserLoginFlow({ returnTo: 'https://elsewhere.example.net/' }), 400, 'self_service_flow_return_to_forbidden');
  const again = await refused(script.updateLoginFlow(login(begun.id, newAddress(), csrf(begun.ui))), 400);
  hasMessage(whole('LoginFlow', again).ui, 4000006);

  const made = whole('SuccessfulNativeLogin', await script.updateLoginFlow(login(begun.id, address, csrf(again.ui))));
  assert.equal(made.session_token, undefined);
  assert.deepEqual(made.continue_with.map((item) => item.action), ['redirect_browser_to']);
  assert.equal((await script.toSession()).identity.id, person.id);
});

test('spa login refresh', async () => {
  const script = newScript();
  const { address } = await newVerified();
  const { session } = await signInScript(script, address);
  const flow = await script.createBrowserLoginFlow({ refresh: true });
  assert.equal(flow.refresh, true);
  const again = await script.updateLoginFlow(login(flow.id, address, csrf(flow.ui)));
  assert.equal(again.session.id, session.id);
  assert(again.session.authenticated_at > session.authenticated_at);
});

test('spa login gate', async () => {
  const script = newScript();
  const address = newAddress();
  await register(address);
  const begun = await script.createBrowserLoginFlow();
  const { details } = await refusedAs(
    script.updateLoginFlow(login(begun.id, address, csrf(begun.ui))), 403, 'session_verified_address_required');
  const [next] = details.continue_with;
  assert(isShowVerificationUi(next));
  await refusedAs(script.toSession(), 401, undefined);
  const code = await mailedCode(address, next.flow.id);
  await script.updateVerificationFlow({ flow: next.flow.id, updateVerificationFlowBody: { method: 'code', code } });
  await signInScript(script, address);
  assert.equal((await script.toSession()).identity.verifiable_addresses[0].verified, true);
});

test('spa recovery', async () => {
  const script = newScript();
  const address = newAddress();
  await register(address);
  const begun = whole('RecoveryFlow', await script.createBrowserRecoveryFlow());
  const [settings] = await recovers(script, begun, address, csrf(begun.ui));
  assert(isShowSettingsUi(settings));
  assert(settings.flow.url);
  hasMessage(whole('SettingsFlow', await script.getSettingsFlow({ id: settings.flow.id })).ui, 1060001);
});

test('spa verification', async () => {
  const script = newScript();
  const address = newAddress();
  await register(address);
  const begun = whole('VerificationFlow', await script.createBrowserVerificationFlow());
  await verifies(script, begun, address, csrf(begun.ui));
});

test('spa whoami', async () => {
  const script = newScript();
  await refusedAs(script.toSession(), 401, undefined);
  const { address, person } = await newVerified();
  await signInScript(script, address);
  assert.equal(whole('Session', await script.toSession()).identity.id, person.id);
});

test('spa sessions', async () => {
  const script = newScript();
  const { address } = await newVerified();
  const { session } = await signInScript(script, address);
  await seesToItsSessions(script, {}, address, session.id);
});

test('spa logout', async () => {
  const script = newScript();
  await refusedAs(script.createBrowserLogoutFlow(), 401, 'session_inactive');
  const { address } = await newVerified();
  await signInScript(script, address);
  const flow = whole('LogoutFlow', await script.createBrowserLogoutFlow());
  await script.updateLogoutFlow({ token: flow.logout_token });
  await refusedAs(script.toSession(), 401, undefined);
});
