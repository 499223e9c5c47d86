package password_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/password"
)

func TestListed(t *testing.T) {
	t.Parallel()
	if !strings.HasSuffix(password.Listed, "\n") {
		t.Fatal("the list does not end with a new line")
	}
	words := strings.Split(strings.TrimSuffix(password.Listed, "\n"), "\n")
	if !slices.IsSorted(words) {
		t.Fatal("the list is not sorted by bytes")
	}
	long := 0
	for _, w := range words {
		if len(w) >= 8 {
			long++
		}
		if w != strings.ToLower(w) || len(w) < 6 {
			t.Errorf("the list holds %q, want lower case and at least 6 bytes", w)
		}
		if !password.IsListed(w) {
			t.Errorf("isListed(%q) = false, want true", w)
		}
		for _, near := range []string{w + "\x01", w[:len(w)-1] + "\x01", "\x01" + w, w + "\n"} {
			if password.IsListed(near) {
				t.Errorf("isListed(%q) = true, want false", near)
			}
		}
	}
	if long < 10_000 {
		t.Errorf("the list holds %d entries of at least 8 characters, want 10000", long)
	}
	for _, no := range []string{"", "\n", "\x00", "\xff\xff", "a long enough secret 7", words[0][:1], words[0] + "\n" + words[1]} {
		if password.IsListed(no) {
			t.Errorf("isListed(%q) = true, want false", no)
		}
	}
}

func BenchmarkListed(b *testing.B) {
	for b.Loop() {
		password.IsListed("a long enough secret 7")
	}
}
