package console

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// sentence is a text as it stands in a page: with a capital and a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.ContainsAny(text[len(text)-1:], ".!?") {
		text += "."
	}
	return text
}

// reason is what an operator is told of an error.
func reason(err error) string {
	if refused, ok := asRefusal(err); ok && refused.Reason != "" && refused.Status != http.StatusInternalServerError {
		return join(refused.Reason, refused.Cause)
	} else if ok && refused.Cause != "" {
		return refused.Cause
	}
	return "something it needs does not answer"
}

// join puts sentences behind each other.
func join(sentences ...string) string {
	var all []string
	for _, text := range sentences {
		if text != "" {
			all = append(all, sentence(text))
		}
	}
	return strings.Join(all, " ")
}

// ago is how long a time is past, or to come, as people say it.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "never"
	case d < 0:
		return "in " + span(-d)
	case d < time.Second:
		return "just now"
	default:
		return span(d) + " ago"
	}
}

// span is a duration in its one or two largest units.
func span(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return units(d, time.Minute, "min", time.Second, "s")
	case d < 48*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "min")
	}
	return units(d, 24*time.Hour, "d", time.Hour, "h")
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// plural is so many of something.
func plural(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return count(n) + " " + what
}

// pseudoVersion is what Go calls a build of a commit that has no tag: the commit tells
// them apart.
var pseudoVersion = regexp.MustCompile(`^(v?\d+\.\d+\.\d+)-(?:[\w.]*\.)?\d{14}-([0-9a-f]{7})[0-9a-f]*`)

// shortVersion is a version in few letters.
func shortVersion(text string) string {
	if found := pseudoVersion.FindStringSubmatch(text); found != nil {
		return found[1] + "-" + found[2]
	}
	if runes := []rune(text); len(runes) > 20 {
		return string(runes[:19]) + "…"
	}
	return text
}

// count is a number with its thousands apart.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "\u202f" + text[at:] // a narrow space that breaks no line
	}
	return sign + text
}
