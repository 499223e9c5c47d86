package console

import "testing"

func TestShortVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0.0.0-20261126142736-617eb9df4149": "0.0.0-617eb9d", "v1.2.3-0.20261126142736-617eb9df4149+dirty": "v1.2.3-617eb9d",
		"1.4.0": "1.4.0", "1.4.0, 1.5.0, 1.6.0, 1.7.0": "1.4.0, 1.5.0, 1.6.0…", "": "",
	} {
		if got := shortVersion(text); got != want {
			t.Errorf("shortVersion(%q) = %q, want %q", text, got, want)
		}
	}
}
