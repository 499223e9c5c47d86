// Package api is the edge: it turns HTTP requests into calls of the use cases
// and their results into the bytes of the contract.
//
//	request → endpoint (id, headers, method) → action → use case
//	answer  ← JSON, redirect or envelope ← result or error
//
// Two handlers come out of it, one per listener: [Server.Public] and
// [Server.Admin]. Nothing below this package sees a request or a response;
// nothing in it decides about people. An action returns what went wrong, and
// the table in errors.go says what the client is told.
package api
