package api

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

const maxRequestID = 64

// requestID takes the id that a client or proxy gave, if it can stand in logs
// and events as it is, else makes one.
func requestID(given string) string {
	if given == "" || len(given) > maxRequestID || strings.ContainsFunc(given, notInRequestID) {
		return randomHex(16)
	}
	return given
}

func notInRequestID(r rune) bool {
	return notInLabel(r) && r != '.' && r != ':'
}

// traceParent takes a W3C trace context if it is valid, else begins one. A
// context of a later version is read as far as ours goes.
func traceParent(given string) string {
	const version, flags = 2, 55 // where they end and begin
	valid := len(given) >= flags &&
		lowerHex(given[:version]) && given[:version] != "ff" &&
		given[2] == '-' && lowerHex(given[3:35]) && strings.Trim(given[3:35], "0") != "" &&
		given[35] == '-' && lowerHex(given[36:52]) && strings.Trim(given[36:52], "0") != "" &&
		given[52] == '-' && lowerHex(given[53:flags]) &&
		(len(given) == flags || given[:version] != "00" && given[flags] == '-')
	if !valid {
		return "00-" + randomHex(16) + "-" + randomHex(8) + "-01"
	}
	return "00-" + given[3:flags]
}

// traceID is the part of a trace context that all its members share.
func traceID(parent string) string { return parent[3:35] }

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func randomHex(bytes int) string {
	var random [16]byte
	_, _ = rand.Read(random[:bytes]) // never fails, see crypto/rand
	return hex.EncodeToString(random[:bytes])
}
