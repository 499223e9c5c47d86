// A program of the operator, on the admin listener.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  courier, identities, mailedCode, metadata, newAddress, newApp, newVerified, nowhere, refused, refusedAs, register, schemas,
  signIn, whole,
} from './client.mjs';

test('admin identities', async () => {
  const { address, person: { id } } = await newVerified();
  const got = whole('Identity', await identities.getIdentity({ id, includeCredential: ['password'] }));
  assert.deepEqual(got.credentials.password.identifiers, [address]);
  assert(got.credentials.password.config.hashed_password);
  const found = await identities.listIdentities({ credentialsIdentifier: address });
  assert.deepEqual(found.map((i) => whole('Identity', i).id), [id]);
  const similar = await identities.listIdentities({ previewCredentialsIdentifierSimilar: address.slice(1, -1) });
  assert.deepEqual(similar.map((i) => i.id), [id]);
  assert.deepEqual(await identities.listIdentities({ organizationId: id }), []);

  const patched = await identities.patchIdentity({ id, jsonPatch: [{ op: 'replace', path: '/metadata_public', value: { plan: 'free' } }] });
  assert.deepEqual(patched.metadata_public, { plan: 'free' });
  const put = await identities.updateIdentity({
    id, updateIdentityBody: { schema_id: 'default', state: 'inactive', traits: { email: address }, metadata_admin: { note: 'left' } },
  });
  assert.equal(put.state, 'inactive');
  assert.deepEqual(put.metadata_admin, { note: 'left' });

  await identities.patchIdentity({ id, jsonPatch: [{ op: 'add', path: '/external_id', value: `crm/${id}` }] });
  assert.equal((await identities.getIdentityByExternalID({ externalID: `crm/${id}` })).external_id, `crm/${id}`);
  await identities.deleteIdentity({ id });
  await refusedAs(identities.getIdentity({ id }), 404, undefined);
});

test('admin credentials', async () => {
  const { person: { id } } = await newVerified();
  await refusedAs(identities.deleteIdentityCredentials({ id, type: 'password' }), 400, undefined);
  await refusedAs(identities.deleteIdentityCredentials({ id, type: 'oidc', identifier: 'example:7' }), 404, undefined);
});

test('admin batch', async () => {
  const create = { schema_id: 'default', traits: { email: newAddress() } };
  const batch = await identities.batchPatchIdentities({
    patchIdentitiesBody: { identities: [{ create, patch_id: 'a' }, { create, patch_id: 'b' }] },
  });
  const [made, refused] = batch.identities;
  assert.deepEqual([made.action, made.patch_id, refused.action, refused.patch_id], ['create', 'a', 'error', 'b']);
  assert.equal(refused.error.code, 409);
  assert.equal((await identities.getIdentity({ id: made.identity })).traits.email, create.traits.email);
});

test('admin identity refused', async () => {
  const { address } = await newVerified();
  const create = (schema_id, email) => identities.createIdentity({ createIdentityBody: { schema_id, traits: { email } } });
  await refused(create('default', address), 409);
  await refused(create('default', 'no address'), 400);
  await refused(create('no-such-schema', newAddress()), 400);
});

test('admin sessions', async () => {
  const { address, person } = await newVerified();
  const { session, session_token: xSessionToken } = await signIn(address);
  const { id } = session;
  assert.equal((await identities.getSession({ id, expand: ['identity'] })).identity.id, person.id);
  const listed = await identities.listSessions({ active: true, pageSize: 500 });
  assert(listed.some((s) => whole('Session', s).id === id));
  assert((await identities.extendSession({ id })).expires_at >= session.expires_at);
  await identities.disableSession({ id });
  await refusedAs(newApp().toSession({ xSessionToken }), 401, undefined);
  assert.equal((await identities.getSession({ id })).active, false);
});

test('admin identity sessions', async () => {
  const { address, person: { id } } = await newVerified();
  await signIn(address);
  assert.equal((await identities.listIdentitySessions({ id, active: true })).length, 1);
  await identities.deleteIdentitySessions({ id });
  await refusedAs(identities.deleteIdentitySessions({ id }), 404, undefined);
});

test('admin recovery', async () => {
  const { person: { id } } = await newVerified();
  const made = whole('RecoveryCodeForIdentity', await identities.createRecoveryCodeForIdentity({
    createRecoveryCodeForIdentityBody: { identity_id: id, expires_in: '30m', flow_type: 'api' },
  }));
  const flow = new URL(made.recovery_link).searchParams.get('flow');
  const passed = await newApp().updateRecoveryFlow({ flow, updateRecoveryFlowBody: { method: 'code', code: made.recovery_code } });
  assert.equal(whole('RecoveryFlow', passed).state, 'passed_challenge');
  const link = await identities.createRecoveryLinkForIdentity({ createRecoveryLinkForIdentityBody: { identity_id: id } });
  assert(new URL(whole('RecoveryLinkForIdentity', link).recovery_link).searchParams.get('token'));
  await refused(identities.createRecoveryCodeForIdentity({ createRecoveryCodeForIdentityBody: { identity_id: nowhere } }), 404);
});

test('admin courier', async () => {
  const address = newAddress();
  const made = await register(address);
  await mailedCode(address, made.continue_with[0].flow.id);
  const [mail] = await courier.listCourierMessages({ recipient: address });
  assert.equal(whole('Message', await courier.getCourierMessage({ id: whole('Message', mail).id })).recipient, address);
  await refused(courier.getCourierMessage({ id: nowhere }), 404);
});

test('schemas', async () => {
  const [schema] = await schemas.listIdentitySchemas();
  assert.equal(whole('IdentitySchemaContainer', schema).id, 'default');
  assert((await schemas.getIdentitySchema({ id: 'default' })).properties);
});

test('version', async () => {
  assert(whole('GetVersion200Response', await metadata.getVersion()).version);
});
