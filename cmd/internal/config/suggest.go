package config

import (
	"slices"
	"strings"
)

// longestName is how long a name may be that is compared with others.
const longestName = 200

// suggest names the key that was probably meant by child below parent: one of
// its neighbours, else one that has a similar full name or the same last name.
func (k *key) suggest(parent *key, child, full string) string {
	var neighbours []string
	for name := range parent.kids {
		if name != anyName {
			neighbours = append(neighbours, name)
		}
	}
	if near := nearest(child, neighbours); near != "" {
		return "; did you mean " + strings.TrimSuffix(full, child) + near + "?"
	}
	all := k.names()
	if slices.Contains(all, child) {
		return "; write " + child + " as nested keys"
	}
	if near := nearest(full, all); near != "" {
		return "; did you mean " + near + "?"
	}
	elsewhere := slices.DeleteFunc(all, func(name string) bool { return !strings.HasSuffix("."+name, "."+child) })
	if len(elsewhere) == 0 || len(full) > longestName {
		return ""
	}
	return "; did you mean " + closest(full, elsewhere) + "?"
}

// nearest gives the candidate that name could be a misspelling or a shorter
// form of, or "".
func nearest(name string, candidates []string) string {
	if len(name) > longestName {
		return ""
	}
	best := closest(name, candidates)
	if d := distance(name, best); best != "" && d <= max(2, len(name)/4) && d < len(name) {
		return best
	}
	longer := slices.DeleteFunc(slices.Clone(candidates), func(c string) bool { return len(name) < 4 || !abbreviates(name, c) })
	return closest(name, longer)
}

// closest gives the candidate with the smallest distance; the first in
// alphabetical order if there are several, "" if there is none.
func closest(name string, candidates []string) string {
	best, smallest := "", 0
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(name, candidate); best == "" || d < smallest {
			best, smallest = candidate, d
		}
	}
	return best
}

// distance counts the edits between two texts, byte by byte: one inserted,
// left out or replaced, or two neighbours swapped.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// abbreviates tells whether text is what is left of whole when some of its
// bytes are left out.
func abbreviates(text, whole string) bool {
	for i := range len(text) {
		at := strings.IndexByte(whole, text[i])
		if at < 0 {
			return false
		}
		whole = whole[at+1:]
	}
	return true
}
