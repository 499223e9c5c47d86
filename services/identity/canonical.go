package identity

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// ErrNotAddress says that something is not an email address.
var ErrNotAddress = errors.New("identity: not an email address")

// maxIdentifier is how many bytes an address or another identifier may have.
const maxIdentifier = 254

// domains maps and checks as browsers do, and takes only what the DNS could hold.
var domains = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	idna.CheckHyphens(false), // names such as r3---sn are in use
	idna.CheckJoiners(true),
	idna.BidiRule(),
	idna.VerifyDNSLength(true),
)

// Canonical is the form in which e-mail addresses are compared and stored, or
// [ErrNotAddress]. Surrounding white space is dropped; the domain is in ASCII
// and lower case; the local part is in Unicode's normal form C and lower case
// by simple folding, with its tags and dots. Letters that only look alike stay
// different. Canonical of its own result changes nothing.
func Canonical(address string) (string, error) {
	address = strings.TrimSpace(address)
	if len(address) > maxIdentifier || !utf8.ValidString(address) {
		return "", fmt.Errorf("%w: longer than %d bytes, or not UTF-8", ErrNotAddress, maxIdentifier)
	}
	local, domain, found := strings.Cut(norm.NFC.String(address), "@")
	if !found || strings.Contains(domain, "@") {
		return "", fmt.Errorf("%w: needs exactly one @", ErrNotAddress)
	}
	if err := checkLocal(local); err != nil {
		return "", err
	}
	domain, err := domains.ToASCII(domain)
	if err != nil || strings.HasSuffix(domain, ".") {
		// The library's error repeats the input, which is personal data.
		return "", fmt.Errorf("%w: no such domain is possible", ErrNotAddress)
	}
	canonical := fold(local) + "@" + domain
	if len(canonical) > maxIdentifier {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrNotAddress, maxIdentifier)
	}
	return canonical, nil
}

func checkLocal(local string) error {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return fmt.Errorf("%w: empty before the @, or between dots", ErrNotAddress)
	}
	for _, r := range local {
		if strings.ContainsRune(`"(),:;<>[\]`, r) || unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			return fmt.Errorf("%w: holds %U before the @", ErrNotAddress, r)
		}
	}
	return nil
}

// CanonicalIdentifier is the form in which sign-in identifiers are compared
// and stored: of an e-mail address its [Canonical], of anything else lower
// case by simple folding, without surrounding white space. It is empty for
// what cannot be an identifier: nothing, control characters, more than 254 bytes.
func CanonicalIdentifier(value string) string {
	if canonical, err := Canonical(value); err == nil {
		return canonical
	}
	value = strings.TrimSpace(value)
	if len(value) > maxIdentifier || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return ""
	}
	if value = fold(value); len(value) > maxIdentifier {
		return ""
	}
	return value
}

// fold lower-cases by Unicode's simple case folding. Unlike lower-casing it
// takes the dotted İ for no other letter, and unlike full folding ß for no ss.
func fold(s string) string {
	lower := func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}
		return simpleFold(r)
	}
	return norm.NFC.String(strings.Map(lower, norm.NFC.String(s)))
}

// simpleFold picks one of the runes that are equal under simple folding: the
// lower case of the first upper-case one, or the first.
func simpleFold(r rune) rune {
	first, upper := r, rune(-1)
	for next := unicode.SimpleFold(r); ; next = unicode.SimpleFold(next) {
		first = min(first, next)
		if unicode.IsUpper(next) && (upper < 0 || next < upper) {
			upper = next
		}
		if next == r {
			break
		}
	}
	if upper < 0 || first == upper && unicode.SimpleFold(upper) == upper {
		return first
	}
	return unicode.ToLower(upper)
}
