// Package sdk holds the tests that use a running Usher through the official
// SDKs, as its users do: in Go here, in JavaScript in the *.mjs beside it. It is
// a module of its own, so that nothing else depends on the SDK.
//
//	cmd/e2e: usher serve ◀─ proxy, holds all traffic against the document ◀─ go test, node --test
//
// The SDK of CloudEvents reads back what the server publishes.
//
// Where no SDK can go, as a browser that follows redirects, the tests use plain
// HTTP. What they need is in the environment: USHER_PUBLIC_URL and
// USHER_ADMIN_URL, the listeners of a server that has people verify before they
// sign in. TestSDKs in cmd/e2e starts one and runs both; README.md says which
// test covers which endpoint.
package sdk
