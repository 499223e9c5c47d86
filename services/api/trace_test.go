package api_test

import (
	"regexp"
	"testing"

	"github.com/usher-auth/usher/services/api"
)

const (
	goodTrace  = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unrecorded = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
)

func TestTraceParentIsPassedOn(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		goodTrace, unrecorded, goodTrace[:53] + "03",
		"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is",
		"fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		if got := api.TraceParent(in); got != unrecorded {
			t.Errorf("traceParent(%q) = %q, want %q", in, got, unrecorded)
		}
	}
}

var traceForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`)

func TestTraceParentBegins(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "00", "-", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
		"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473\n-00f067aa0ba902b7-01",
	} {
		got := api.TraceParent(in)
		if !traceForm.MatchString(got) || got[3:35] == goodTrace[3:35] {
			t.Errorf("traceParent(%q) = %q, want a new context", in, got)
		}
	}
}

func FuzzTraceParent(f *testing.F) {
	f.Add(goodTrace)
	f.Add("cc" + goodTrace[2:] + "-more")
	f.Fuzz(func(t *testing.T, in string) {
		got := api.TraceParent(in)
		if !traceForm.MatchString(got) {
			t.Errorf("traceParent(%q) = %q, want %v", in, got, traceForm)
		}
		if again := api.TraceParent(got); again != got {
			t.Errorf("traceParent(%q) = %q, want the same", got, again)
		}
	})
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for _, sane := range []string{"a", "req-1_2.3:4", "6f1c9e1e-2d30-4f5b-9a5c-0d8a0ad5a8b1"} {
		if got := api.RequestID(sane); got != sane {
			t.Errorf("requestID(%q) = %q, want it as it is", sane, got)
		}
	}
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for _, strange := range []string{"", "a b", "a\nb", "ü", `"`, "{}", string(make([]byte, 65)), "<script>", "a,b"} {
		if got := api.RequestID(strange); !made.MatchString(got) {
			t.Errorf("requestID(%q) = %q, want a new one", strange, got)
		}
	}
}
