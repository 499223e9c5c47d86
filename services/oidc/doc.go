// Package oidc is the client of OpenID Connect and OAuth 2.0 providers. It knows
// providers, and nothing of routes, flows or the store:
//
//	Start → authorization URL with a sealed state → the person signs in there →
//	Open the state → Finish: code exchange → id_token or userinfo → mapper → Account
//
// [Client.Run] keeps discovery and keys fresh, so that no sign-in waits for them;
// [Provider.Check] says what is wrong with a provider before anybody signs in.
//
// Whoever calls it binds the attempt to the browser or the native flow
// ([Attempt.ID]) and sees to it that an attempt is finished once.
package oidc
