package identity_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/usher-auth/usher/services/identity"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		// as they are
		"a@b":                       "a@b",
		"ann@example.com":           "ann@example.com",
		"ann.lee@example.com":       "ann.lee@example.com",
		"ann+tag@example.com":       "ann+tag@example.com",
		"ann-lee_x@example.com":     "ann-lee_x@example.com",
		"o'hara@example.com":        "o'hara@example.com",
		"!#$%&'*+-/=?^_`{|}~@b.cd":  "!#$%&'*+-/=?^_`{|}~@b.cd",
		"1@2.example":               "1@2.example",
		"ann@mail.dept.example.com": "ann@mail.dept.example.com",
		"ann@r3---sn.example.com":   "ann@r3---sn.example.com",
		"ann@127.0.0.1":             "ann@127.0.0.1",

		// white space around
		" ann@example.com":            "ann@example.com",
		"ann@example.com ":            "ann@example.com",
		"\tann@example.com\r\n":       "ann@example.com",
		"\u00a0ann@example.com\u3000": "ann@example.com",

		// case
		"Ann@Example.COM":      "ann@example.com",
		"ANN@EXAMPLE.COM":      "ann@example.com",
		"ÄNNE@example.com":     "änne@example.com",
		"ΣΊΣΥΦΟΣ@example.com":  "σίσυφοσ@example.com",
		"σίσυφος@example.com":  "σίσυφοσ@example.com",
		"ЮЛИЯ@example.com":     "юлия@example.com",
		"STRASSE@example.com":  "strasse@example.com",
		"straße@example.com":   "straße@example.com",
		"straẞe@example.com":   "straße@example.com",
		"ǅ@example.com":        "ǆ@example.com",
		"ſam@example.com":      "sam@example.com", // long s folds to s
		"\u212aim@example.com": "kim@example.com", // Kelvin sign

		// the dotted and the dotless i stay what they are
		"I@example.com":       "i@example.com",
		"ı@example.com":       "ı@example.com",
		"İ@example.com":       "İ@example.com",
		"i\u0307@example.com": "i\u0307@example.com",

		// normal form C; compatibility forms stay apart
		"Andre\u0301@example.com": "andré@example.com",
		"andr\u00e9@example.com":  "andré@example.com",
		"\u212b@example.com":      "å@example.com",
		"ａｎｎ@example.com":         "ａｎｎ@example.com",
		"ＡＮＮ@example.com":         "ａｎｎ@example.com",
		"ﬁ@example.com":           "ﬁ@example.com",
		"аnn@example.com":         "аnn@example.com", // Cyrillic a
		"①@example.com":           "①@example.com",
		"用户@example.com":          "用户@example.com",

		// domains
		"ann@Bücher.example":                      "ann@xn--bcher-kva.example",
		"ann@BÜCHER.example":                      "ann@xn--bcher-kva.example",
		"ann@xn--bcher-kva.example":               "ann@xn--bcher-kva.example",
		"ann@XN--BCHER-KVA.example":               "ann@xn--bcher-kva.example",
		"ann@straße.example":                      "ann@xn--strae-oqa.example",
		"ann@strasse.example":                     "ann@strasse.example",
		"ann@ｅｘａｍｐｌｅ．ｃｏｍ":                         "ann@example.com",
		"ann@example。com":                         "ann@example.com",
		"ann@例え.テスト":                              "ann@xn--r8jz45g.xn--zckzah",
		"ann@münchen.DE":                          "ann@xn--mnchen-3ya.de",
		"ann@mu\u0308nchen.de":                    "ann@xn--mnchen-3ya.de",
		"ann@İstanbul.example":                    "ann@xn--istanbul-o0e.example",
		"ann@\u212aelvin.example":                 "ann@kelvin.example",
		"ann@exam\u00adple.com":                   "ann@example.com", // soft hyphen is ignored in names
		strings.Repeat("a", 242) + "@example.com": strings.Repeat("a", 242) + "@example.com",
	}
	for in, want := range tests {
		got, err := identity.Canonical(in)
		if err != nil || got != want {
			t.Errorf("Canonical(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	bad := []string{
		"", " ", "@", "a", "ann", "ann@", "@example.com", "ann.example.com",
		"ann@@example.com", "ann@b@example.com", "ann@example.com@", "a@b@c@d",
		"ann lee@example.com", "ann\tlee@example.com", "ann\u00a0lee@example.com", "ann\u3000@example.com",
		"ann @example.com", "ann@ example.com", "ann@exam ple.com", "ann@example.com\nbcc:x@y.z",
		"ann\x00@example.com", "ann\r\n@example.com", "ann\x7f@example.com", "ann\u0085@example.com", "ann\x1b@example.com",
		"ann@example\x00.com", "ann@exam\nple.com",
		"ann\u200b@example.com", "ann\u200d@example.com", "ann\u202e@example.com", "ann\ufeff@example.com", "ann\u2028@example.com",
		"ann\ue000@example.com", "ann\uffff@example.com", "ann\u2066@example.com", "an\u00adn@example.com",
		"ann\xff@example.com", "ann@ex\xffample.com", "\xc3@example.com",
		".ann@example.com", "ann.@example.com", "an..n@example.com", ".@example.com",
		`"ann"@example.com`, `"ann lee"@example.com`, `ann"@example.com`, `an\n@example.com`,
		"<ann@example.com>", "Ann <ann@example.com>", "ann(x)@example.com", "ann,lee@example.com", "ann;lee@example.com",
		"mailto:ann@example.com", "[ann]@example.com", "an:n@example.com",
		"ann@.example.com", "ann@example..com", "ann@example.com.", "ann@.", "ann@exam_ple.com", "ann@exam/ple.com",
		"ann@exam!ple.com", "ann@[127.0.0.1]", "ann@[IPv6:::1]", "ann@example.com:25", "ann@example,com",
		"ann@xn--a", "ann@xn--\u00fc.example", "ann@exam\u200bple.com\u202e", "ann@\u202eexample.com", "ann@ex\u2028ample.com",
		"ann@" + label + "a.com",
		"ann@" + strings.Repeat(label+".", 4) + "com",
		strings.Repeat("a", 243) + "@example.com",
		strings.Repeat("é", 122) + "@example.com",
		"ann@" + strings.Repeat("ü", 80) + ".com",
		"ann％40example.com", "ann%40example.com", "ann＠example.com", "ann﹫example.com",
		"ann@א1b.example", "ann;x@example.com", // the Greek question mark becomes a semicolon
	}
	for r := rune(0); r < 0xa0; r++ {
		if unicode.IsControl(r) || strings.ContainsRune(`"(),:;<>[\] @`, r) {
			bad = append(bad, "a"+string(r)+"b@example.com")
		}
		if unicode.IsControl(r) || strings.ContainsRune("!\"#$%&'()*+,/:;<=>?[\\]^_`{|}~ @", r) {
			bad = append(bad, "ann@ex"+string(r)+"ample.com")
		}
	}
	for _, in := range bad {
		got, err := identity.Canonical(in)
		if !errors.Is(err, identity.ErrNotAddress) {
			t.Errorf("Canonical(%q) = %q, %v, want ErrNotAddress", in, got, err)
		}
		if err != nil && len(in) > 2 && strings.Contains(err.Error(), strings.TrimSpace(in)) {
			t.Errorf("Canonical(%q) = %v, must not repeat the address", in, err)
		}
	}
}

// Every letter stays itself or becomes one that differs only in case, and
// folding it again changes nothing.
func TestCanonicalFoldsEveryLetter(t *testing.T) {
	t.Parallel()
	const beyondLetters = 0x20000 // only ideographs and tags follow
	for r := rune(0x21); r < beyondLetters; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		got, err := identity.Canonical(string(r) + "x@b")
		if err != nil {
			continue
		}
		if again, err := identity.Canonical(got); err != nil || again != got {
			t.Fatalf("Canonical(%q) = %q, and of that %q, %v: want the same", string(r), got, again, err)
		}
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			if other, err := identity.Canonical(string(o) + "x@b"); err != nil || other != got {
				t.Fatalf("Canonical of %q is %q, of %q is %q, %v: want one", string(r), got, string(o), other, err)
			}
		}
		if r < utf8.RuneSelf && got != strings.ToLower(string(r))+"x@b" {
			t.Fatalf("Canonical(%q) = %q, want lower case", string(r)+"x@b", got)
		}
	}
}

func TestCanonicalIdentifier(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ann":                    "ann",
		" Ann Lee ":              "ann lee",
		"ANN@EXAMPLE.COM":        "ann@example.com",
		"ann@":                   "ann@",
		"Ä":                      "ä",
		"İ":                      "İ",
		"+49 30 123":             "+49 30 123",
		"":                       "",
		"  ":                     "",
		"an\x00n":                "",
		"an\nn":                  "",
		"\xff":                   "",
		strings.Repeat("a", 254): strings.Repeat("a", 254),
		strings.Repeat("a", 255): "",
	} {
		if got := identity.CanonicalIdentifier(in); got != want {
			t.Errorf("CanonicalIdentifier(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"a@b", "Ann@Bücher.example", "i\u0307@b", "ſ@xn--bcher-kva.example", "ann@example。com", "a b", "İ@İ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := identity.Canonical(in)
		if err != nil {
			return
		}
		if again, err := identity.Canonical(got); err != nil || again != got {
			t.Errorf("Canonical(%q) = %q, and of that %q, %v: want the same", in, got, again, err)
		}
		if strings.Count(got, "@") != 1 || len(got) > 254 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("Canonical(%q) = %q", in, got)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	for b.Loop() {
		if _, err := identity.Canonical("Ann.Lee@example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
