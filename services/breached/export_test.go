package breached

import "fmt"

// HoldsDigest looks for a digest in hexadecimal digits.
func HoldsDigest(s *Set, digest string) (bool, error) {
	d, _, ok := parseSHA1([]byte(digest))
	if !ok {
		return false, fmt.Errorf("%q is no SHA-1", digest)
	}
	return s.holds(number(d[:s.head.width]))
}
