package doctor

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Style is how a report is written for people.
type Style struct {
	// Width is that of a line; 0 does not break lines.
	Width int
	// Colour underlines with it what symbol and word say.
	Colour bool
}

// marks are a symbol and a colour for each status.
var marks = map[Status][2]string{
	Green: {"✓", "\x1b[32m"}, Yellow: {"!", "\x1b[33m"}, Red: {"✗", "\x1b[31m"}, Skipped: {"·", "\x1b[2m"},
}

const nameWidth = 18

// Write writes a report for people: groups with what is wrong are the last, since
// that is where a terminal stays.
func (r Report) Write(w io.Writer, s Style) {
	for _, group := range r.groups() {
		fmt.Fprintf(w, "%s\n", group[0].Group())
		for _, f := range folded(group) {
			s.write(w, f)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s in %.1f s: %d red, %d yellow, %d green, %d skipped\n",
		s.marked(r.Status, string(r.Status)), r.Seconds, r.Count(Red), r.Count(Yellow), r.Count(Green), r.Count(Skipped))
}

// groups are the findings by group, the worst group last.
func (r Report) groups() (groups [][]Finding) {
	for _, f := range r.Findings {
		if n := len(groups) - 1; n >= 0 && groups[n][0].Group() == f.Group() {
			groups[n] = append(groups[n], f)
			continue
		}
		groups = append(groups, []Finding{f})
	}
	worst := func(group []Finding) int {
		w := 0
		for _, f := range group {
			w = max(w, slices.Index(order, f.Status), slices.Index(order, Green))
		}
		return w
	}
	slices.SortStableFunc(groups, func(a, b []Finding) int { return worst(a) - worst(b) })
	return groups
}

// folded puts what was skipped for one reason into one finding.
func folded(group []Finding) (all []Finding) {
	at := map[string]int{}
	for _, f := range group {
		_, name, _ := strings.Cut(f.Check, ".")
		n, known := at[f.Seen]
		switch {
		case f.Status != Skipped:
		case known:
			all[n].Check += ", " + name
			continue
		default:
			at[f.Seen] = len(all)
		}
		all = append(all, f)
	}
	for _, n := range at {
		if _, names, _ := strings.Cut(all[n].Check, "."); strings.Contains(names, ",") {
			all[n].Check, all[n].Seen = ".", names+": "+all[n].Seen
		}
	}
	return all
}

func (s Style) write(w io.Writer, f Finding) {
	_, name, _ := strings.Cut(f.Check, ".")
	head := fmt.Sprintf("  %s %-*s ", s.marked(f.Status, fmt.Sprintf("%-7s", f.Status)), nameWidth, name)
	const indent = 2 + 2 + 7 + 1 + nameWidth + 1
	lines := s.wrap(f.Seen, indent)
	if f.Mend != "" {
		mend := s.wrap(f.Mend, indent+2)
		lines = append(lines, "→ "+mend[0])
		for _, l := range mend[1:] {
			lines = append(lines, "  "+l)
		}
	}
	fmt.Fprintf(w, "%s%s\n", head, lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(w, "%*s%s\n", indent, "", l)
	}
}

func (s Style) marked(status Status, word string) string {
	mark := marks[status]
	if !s.Colour {
		return mark[0] + " " + word
	}
	return mark[1] + mark[0] + " " + word + "\x1b[0m"
}

// wrap breaks a text at blanks, so that its lines fit behind an indent. A word
// that is longer than a line, such as a path, stays whole.
func (s Style) wrap(text string, indent int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		word = Visible(word)
		if line != "" && s.Width > 0 && indent+utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > s.Width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Visible writes what is no sign as its number, but for tabs and ends of lines: a name
// in the database, or what a server says, may hold what a terminal takes as an order,
// or as another direction.
func Visible(text string) string {
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r != '\n' && r != '\t' && !strconv.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
