// Package apitest holds answers of the API against its description,
// schemas/openapi.yaml, and against the rules that every answer keeps: headers,
// cookies, caches, what must not be disclosed. Tests give it what they receive:
//
//	answer → path and method in the document → status, headers, body → rules → findings
//
// Requests are not judged, since tests send nonsense on purpose.
package apitest
