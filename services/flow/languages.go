package flow

import (
	"strings"

	"golang.org/x/text/language"
)

const (
	// maxAccepted is room for what browsers say: none says more.
	maxAccepted = 256
	// maxLanguages is more than anybody reads.
	maxLanguages = 8
)

// Languages gives what an Accept-Language says as [Flow] keeps it: BCP 47 tags, best
// first, with commas between them, the first eight. It is "" where nothing is said, more
// than 256 bytes, or what no browser says.
func Languages(accepted string) string {
	if len(accepted) > maxAccepted { // before it is parsed: that may cost the square of it
		return ""
	}
	tags, _, err := language.ParseAcceptLanguage(accepted)
	if err != nil {
		return ""
	}
	var names []string
	for _, tag := range tags[:min(len(tags), maxLanguages)] {
		names = append(names, tag.String())
	}
	return strings.Join(names, ",")
}
