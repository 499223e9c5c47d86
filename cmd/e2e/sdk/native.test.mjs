// An app: it keeps a session token and never has cookies.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSetOrySessionToken, isShowSettingsUi, isShowVerificationUi } from '@ory/client-fetch';
import {
  atProvider, changesPassword, changesProfile, comesBack, goesInTwoSteps, hasMessage, isSecondStep, login, mailedCode, moved, newAddress, newApp, newVerified, nowhere, offers, profile, provider, recovers, refused, refusedAs, register, registration, seesToItsSessions, setting, signIn, signInAt, signUpAt, verifies, whole, withAccount,
} from './client.mjs';

test('native registration', async () => {
  const app = newApp();
  const address = newAddress();
  const begun = whole('RegistrationFlow', await app.createNativeRegistrationFlow());
  assert.equal(begun.type, 'api');
  whole('RegistrationFlow', await app.getRegistrationFlow({ id: begun.id }));
  await refusedAs(app.getRegistrationFlow({ id: nowhere }), 404, undefined);

  const incomplete = whole('RegistrationFlow', await refused(app.updateRegistrationFlow(registration(begun.id, 'no address')), 400));
  hasMessage(incomplete.ui, 4000040);

  const made = await app.updateRegistrationFlow(registration(begun.id, address));
  assert.equal(whole('Session', made.session).active, true);
  assert.equal(whole('Identity', made.identity).verifiable_addresses[0].verified, false);
  const [verification, token] = made.continue_with;
  assert(isShowVerificationUi(verification));
  assert.equal(verification.flow.verifiable_address, address);
  assert(isSetOrySessionToken(token));
  assert.equal(token.ory_session_token, made.session_token);

  const other = await app.createNativeRegistrationFlow();
  hasMessage((await refused(app.updateRegistrationFlow(registration(other.id, address)), 400)).ui, 4000007);
});

test('native two steps', async () => {
  const app = newApp();
  const address = newAddress();
  const made = await goesInTwoSteps(app, await app.createNativeRegistrationFlow(), address);
  assert.equal(whole('Identity', made.identity).traits.email, address);
  assert.equal((await app.toSession({ xSessionToken: made.session_token })).id, made.session.id);

  const other = await app.createNativeRegistrationFlow();
  const taken = await refused(app.updateRegistrationFlow(profile(other.id, address)), 400);
  isSecondStep(taken, address); // nobody is told yet
  hasMessage((await refused(app.updateRegistrationFlow(registration(other.id, address)), 400)).ui, 4000007);
});

test('native social sign-in', async () => {
  const app = newApp();
  const user = newAddress();
  const exchange = (initCode, to) => app.exchangeSessionToken({ initCode, returnToCode: to.searchParams.get('code') });

  const begun = await app.createNativeRegistrationFlow({ returnSessionTokenExchangeCode: true });
  const initCode = begun.session_token_exchange_code;
  await refusedAs(app.updateRegistrationFlow(signUpAt(begun.id, undefined, 'nobody')), 404, undefined);
  const to = await comesBack(await atProvider(await moved(app.updateRegistrationFlow(signUpAt(begun.id))), user));
  const made = whole('SuccessfulNativeLogin', await exchange(initCode, to));
  const [method] = made.session.authentication_methods;
  assert.deepEqual([method.method, method.provider], ['oidc', provider]);
  const who = await app.toSession({ xSessionToken: made.session_token });
  await refusedAs(exchange(initCode, to), 404, undefined);

  const again = await app.createNativeLoginFlow({ returnSessionTokenExchangeCode: true });
  const back = await comesBack(await atProvider(await moved(app.updateLoginFlow(signInAt(again.id))), user));
  const { session } = await exchange(again.session_token_exchange_code, back);
  assert.equal(session.identity.id, who.identity.id);
});

test('native settings', async () => {
  const app = newApp();
  const { address, flow } = await withAccount();
  const { session_token: xSessionToken } = await signIn(address);
  await refusedAs(app.createNativeSettingsFlow(), 401, 'session_inactive');
  const begun = whole('SettingsFlow', await app.createNativeSettingsFlow({ xSessionToken }));
  assert.equal(begun.identity.id, flow.identity.id);
  assert(offers((await app.getSettingsFlow({ id: begun.id, xSessionToken })).ui, 'unlink'));
  const other = await signIn((await newVerified()).address);
  await refusedAs(app.getSettingsFlow({ id: begun.id, xSessionToken: other.session_token }), 403, 'security_identity_mismatch');

  const submit = (body) => app.updateSettingsFlow({ xSessionToken, ...setting(begun.id, body) });
  hasMessage((await refused(submit({ link: provider }), 400)).ui, 4000001);
  const done = whole('SettingsFlow', await submit({ unlink: provider }));
  assert.equal(done.state, 'success');
  assert(!offers(done.ui, 'unlink'));
});

test('native settings profile', async () => {
  const app = newApp();
  const { session_token: xSessionToken } = await signIn((await newVerified()).address);
  const begun = await app.createNativeSettingsFlow({ xSessionToken });
  await changesProfile(app, begun, (body) => app.updateSettingsFlow({ xSessionToken, ...setting(begun.id, body) }));
});

test('native settings password', async () => {
  const app = newApp();
  const { address } = await newVerified();
  const { session_token: xSessionToken } = await signIn(address);
  const begun = await app.createNativeSettingsFlow({ xSessionToken });
  await changesPassword(address, (body) => app.updateSettingsFlow({ xSessionToken, ...setting(begun.id, body) }));
  await app.toSession({ xSessionToken });
});

test('native login', async () => {
  const app = newApp();
  const { address, person } = await newVerified();
  const begun = whole('LoginFlow', await app.createNativeLoginFlow());
  whole('LoginFlow', await app.getLoginFlow({ id: begun.id }));
  await refusedAs(app.getLoginFlow({ id: nowhere }), 404, undefined);
  hasMessage((await refused(app.updateLoginFlow(login(begun.id, newAddress())), 400)).ui, 4000006);

  const made = whole('SuccessfulNativeLogin', await app.updateLoginFlow(login(begun.id, address)));
  assert.equal(made.session.identity.id, person.id);
  assert.equal((await app.toSession({ xSessionToken: made.session_token })).id, made.session.id);
  await refusedAs(app.createNativeLoginFlow({ xSessionToken: made.session_token }), 400, 'session_already_available');
});

test('native login refresh', async () => {
  const app = newApp();
  const { address } = await newVerified();
  const { session, session_token: xSessionToken } = await signIn(address);
  const flow = await app.createNativeLoginFlow({ refresh: true, xSessionToken });
  assert.equal(flow.refresh, true);
  const again = await app.updateLoginFlow({ ...login(flow.id, address), xSessionToken });
  assert.equal(again.session.id, session.id);
  assert(again.session.authenticated_at > session.authenticated_at);
});

test('native login gate', async () => {
  const app = newApp();
  const address = newAddress();
  await register(address);
  const { id } = await app.createNativeLoginFlow();
  const { details } = await refusedAs(app.updateLoginFlow(login(id, address)), 403, 'session_verified_address_required');
  const [next] = details.continue_with;
  assert(isShowVerificationUi(next));
  const code = await mailedCode(address, next.flow.id);
  await app.updateVerificationFlow({ flow: next.flow.id, updateVerificationFlowBody: { method: 'code', code } });
  assert.equal((await signIn(address)).session.identity.verifiable_addresses[0].verified, true);
});

test('native recovery', async () => {
  const app = newApp();
  const address = newAddress();
  await register(address);
  const [token, settings] = await recovers(app, whole('RecoveryFlow', await app.createNativeRecoveryFlow()), address);
  assert(isSetOrySessionToken(token));
  assert(isShowSettingsUi(settings));
  const flow = await app.getSettingsFlow({ id: settings.flow.id, xSessionToken: token.ory_session_token });
  hasMessage(whole('SettingsFlow', flow).ui, 1060001);
});

test('native verification', async () => {
  const app = newApp();
  const address = newAddress();
  await register(address);
  await verifies(app, whole('VerificationFlow', await app.createNativeVerificationFlow()), address);
});

test('native whoami', async () => {
  const app = newApp();
  await refusedAs(app.toSession(), 401, undefined);
  const { address, person } = await newVerified();
  const { session_token: xSessionToken } = await signIn(address);
  const session = whole('Session', await app.toSession({ xSessionToken }));
  assert.equal(session.identity.id, person.id);
  assert(session.expires_at instanceof Date && session.expires_at > new Date());
});

test('native sessions', async () => {
  const app = newApp();
  const { address } = await newVerified();
  const made = await signIn(address);
  await seesToItsSessions(app, { xSessionToken: made.session_token }, address, made.session.id);
  await refusedAs(app.listMySessions(), 401, undefined);
});

test('native logout', async () => {
  const app = newApp();
  const { address } = await newVerified();
  const { session_token } = await signIn(address);
  await app.performNativeLogout({ performNativeLogoutBody: { session_token } });
  await refusedAs(app.toSession({ xSessionToken: session_token }), 401, undefined);
  await refusedAs(app.performNativeLogout({ performNativeLogoutBody: { session_token: 'ory_st_nobody' } }), 403, undefined);
});

test('native flow error', async () => {
  const app = newApp();
  assert.equal(whole('FlowError', await app.getFlowError({ id: 'stub:500' })).error.code, 500);
  await refusedAs(app.getFlowError({ id: nowhere }), 404, undefined);
});
