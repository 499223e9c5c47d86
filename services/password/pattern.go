package password

import "strings"

// similar tells whether a password is made of an identifier: fewer than five
// changes turn one into the other, or they share more than half of the
// password in one piece.
func similar(password, identifier string) bool {
	if identifier == "" {
		return false
	}
	return distanceBelow(password, identifier, 5) || 2*longestShared(password, identifier) > len(password)
}

// distanceBelow tells whether the Levenshtein distance of a and b, in bytes,
// is below limit.
func distanceBelow(a, b string, limit int) bool {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)] < limit
}

// longestShared is the length of the longest common substring, in bytes.
func longestShared(a, b string) int {
	longest := 0
	row := make([]int, len(b)+1)
	for i := range len(a) {
		// From the end, so that row[j] is still that of the byte before a[i].
		for j := len(b) - 1; j >= 0; j-- {
			row[j+1] = 0
			if a[i] == b[j] {
				row[j+1] = row[j] + 1
				longest = max(longest, row[j+1])
			}
		}
	}
	return longest
}

// isPart tells whether a password is an identifier, or what an identifier is
// made of: the sides of its @, and the words between dots and the like.
func isPart(password, identifier string) bool {
	local, domain, _ := strings.Cut(identifier, "@")
	if password == identifier || password == local || password == domain {
		return true
	}
	words := strings.FieldsFunc(identifier, func(r rune) bool { return strings.ContainsRune(".@+-_ ", r) })
	for _, word := range words {
		if password == word {
			return true
		}
	}
	return password == strings.Join(words, "")
}

// isRepeated tells whether one to four bytes repeated make the password.
func isRepeated(password string) bool {
	const longestUnit = 4
	for unit := 1; unit <= min(longestUnit, len(password)/2); unit++ {
		if password[unit:] == password[:len(password)-unit] {
			return true
		}
	}
	return false
}

// rings are rows of neighbours; after the last comes the first.
var rings = []string{
	"0123456789", "abcdefghijklmnopqrstuvwxyz",
	"qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
}

// isSequence tells whether the password is nothing but runs of three or more
// neighbours, upwards or downwards, or equals: "abcd4321", "qwertz111".
func isSequence(password string) bool {
	const shortestRun = 3
	for len(password) > 0 {
		n := longestRun(password)
		if n < shortestRun {
			return false
		}
		password = password[n:]
	}
	return true
}

// longestRun is the length of the longest run at the start of s.
func longestRun(s string) int {
	longest := run(s, func(a, b byte) bool { return a == b })
	for _, ring := range rings {
		for _, step := range []int{1, len(ring) - 1} {
			longest = max(longest, run(s, func(a, b byte) bool {
				at := strings.IndexByte(ring, a)
				return at >= 0 && ring[(at+step)%len(ring)] == b
			}))
		}
	}
	return longest
}

func run(s string, next func(a, b byte) bool) int {
	n := 1
	for n < len(s) && next(s[n-1], s[n]) {
		n++
	}
	return n
}
