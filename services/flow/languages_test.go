package flow_test

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/flow"
)

func TestLanguages(t *testing.T) {
	t.Parallel()
	for accepted, want := range map[string]string{
		"":                                      "",
		"de":                                    "de",
		"de-AT,de;q=0.9,en;q=0.8":               "de-AT,de,en",
		"en;q=0.1, de-CH;q=0.9 , fr;q=0, *":     "mul,de-CH,en",
		"EN-us, iw":                             "en-US,he",
		"de\x80":                                "",
		"de <script>":                           "",
		"de;q=x":                                "",
		"nonsense!":                             "",
		strings.Repeat("de,", 85):               "de,de,de,de,de,de,de,de", // 255 bytes
		strings.Repeat("de,", 85) + "en":        "",                        // 257
		strings.Repeat("a-", 127) + "en":        "",
		"a,b,c":                                 "",
		"de-AT;q=0.9" + strings.Repeat(" ", 99): "de-AT",
	} {
		got := flow.Languages(accepted)
		if got != want {
			t.Errorf("Languages(%q) = %q, want %q", accepted, got, want)
		}
		if again := flow.Languages(got); again != got {
			t.Errorf("Languages(%q) = %q, want it as it is", got, again)
		}
	}
}
