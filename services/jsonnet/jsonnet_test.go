package jsonnet_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/jsonnet"
)

func TestProgramReadsItsInput(t *testing.T) {
	t.Parallel()
	input := map[string]any{"sub": "anna"}
	for name, tc := range map[string]struct {
		source string
		run    func(*jsonnet.Program) ([]byte, error)
	}{
		"parameter": {`function(ctx) {id: ctx.sub}`, func(p *jsonnet.Program) ([]byte, error) { return p.Call("ctx", input) }},
		"variable":  {`local c = std.extVar('claims'); {id: c.sub}`, func(p *jsonnet.Program) ([]byte, error) { return p.Evaluate("claims", input) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := jsonnet.Compile("program", tc.source)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tc.run(p); err != nil || string(got) != `{"id":"anna"}` {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestProgramIsBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ source, want string }{
		"never ends":         {`local f(n) = if n < 0 then 0 else f(n + 1) tailstrict; f(0)`, "no result within 1s"},
		"recurses":           {`local f(n) = 1 + f(n + 1); f(0)`, "error in line 1"},
		"is large":           {`std.repeat('x', 2000000)`, "result is over"},
		"says a secret":      {"\nerror std.extVar('claims').sub", "error in line 2"},
		"has no such input":  {`std.extVar('other')`, "error in line 1"},
		"makes a function":   {`function(x) x`, "m: error in"},
		"asks to be dropped": {`error 'cancel'`, jsonnet.ErrCancelled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := jsonnet.Compile("m", tc.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Evaluate("claims", map[string]any{"sub": "hidden"})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("Evaluate = %.40s, %v, want an error with %q", got, err, tc.want)
			}
			if (name == "asks to be dropped") != errors.Is(err, jsonnet.ErrCancelled) {
				t.Errorf("errors.Is(%v, ErrCancelled) is wrong", err)
			}
		})
	}
}

func TestCompileRefusesImports(t *testing.T) {
	t.Parallel()
	for _, source := range []string{`import 'a'`, "{a:\n importstr '/etc/passwd'}", `importbin 'a'`, `{`} {
		if _, err := jsonnet.Compile("m", source); err == nil || !strings.HasPrefix(err.Error(), "m: ") {
			t.Errorf("Compile(%q) = %v, want an error that begins with m:", source, err)
		}
	}
}
