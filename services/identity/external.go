package identity

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExternalID is how many bytes an external id may have.
const maxExternalID = 255

// CheckExternalID says what is wrong with an external id, nil if nothing is; the empty
// one is none. The error does not quote it.
func CheckExternalID(id string) error {
	switch {
	case len(id) > maxExternalID:
		return errors.New("external_id must have at most 255 bytes")
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("external_id must not hold control characters")
	}
	return nil
}

// ExternalHandle is the handle of an external id: apart from all that people sign in
// with, see [Handle].
func ExternalHandle(id string) string { return Handle("external_id", id) }
