package password

import (
	_ "embed"
	"strings"
)

// listed holds well-known passwords in lower case, sorted, one a line; see
// listed.NOTICE. It is searched where it lies, so that it takes no heap.
//
//go:embed listed.txt
var listed string

// isListed tells whether a password, in lower case, is well known.
func isListed(lower string) bool {
	from, to := 0, len(listed)
	for from < to {
		middle := from + (to-from)/2
		start := from + strings.LastIndexByte(listed[from:middle], '\n') + 1
		length := strings.IndexByte(listed[start:], '\n')
		switch line := listed[start : start+length]; {
		case line == lower:
			return true
		case line < lower:
			from = start + length + 1
		default:
			to = start
		}
	}
	return false
}
