package password_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/password"
)

func TestPlainIsHiddenHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	p := password.New(secret)
	type holder struct {
		P       password.Plain
		Pointer *password.Plain
		Any     any
		List    []password.Plain
		Map     map[string]password.Plain
	}
	h := holder{P: p, Pointer: &p, Any: p, List: []password.Plain{p}, Map: map[string]password.Plain{"p": p}}

	var all strings.Builder
	for _, v := range []any{p, &p, h, &h, h.List, h.Map, fmt.Errorf("wrap: %v", p), [1]password.Plain{p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%10.3v", "%o", "%U"} {
			fmt.Fprintf(&all, verb+"\n", v)
		}
		fmt.Fprintln(&all, fmt.Sprint(v), fmt.Sprintln(v))
		encoded, err := json.Marshal(v)
		fmt.Fprintln(&all, string(encoded), err)
		encoded, err = xml.Marshal(v)
		fmt.Fprintln(&all, string(encoded), err)
		var buffer bytes.Buffer
		err = gob.NewEncoder(&buffer).Encode(v)
		fmt.Fprintln(&all, buffer.String(), err)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
			slog.New(handler).Info("message", "value", v, slog.Group("g", "value", v))
		}
	}
	for _, form := range []string{secret, "correct", fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
		if strings.Contains(all.String(), form) {
			t.Errorf("printing shows %q", form)
		}
	}
	if !strings.Contains(all.String(), "[password]") {
		t.Error("printing does not show [password]")
	}
	if p.Reveal() != secret {
		t.Errorf("Reveal() = %q, want %q", p.Reveal(), secret)
	}
}

func TestPlainEmpty(t *testing.T) {
	t.Parallel()
	var zero password.Plain
	if !zero.Empty() || zero.Reveal() != "" || !password.New("").Empty() || password.New("x").Empty() {
		t.Error("Empty is true for the zero Plain and for no text, and only for them")
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	ann := []string{"ann.lee@example.com", "ann_lee"}
	breached := func(p password.Plain) bool { return p.Reveal() == "Kx9-breached one" }
	for _, test := range []struct {
		password string
		policy   password.Policy
		want     string // rule, and reason if there is one
	}{
		{"a long enough secret 7", password.Policy{Similarity: true}, ""},
		{"Tr0ub4dor&3x", password.Policy{Similarity: true}, ""},
		{"пароль-и-ещё", password.Policy{}, ""},

		{"short7!", password.Policy{}, "min_length"},
		{"ééé!", password.Policy{}, "min_length"}, // 7 bytes
		{"éééé", password.Policy{}, "reason it repeats a short pattern"},
		{"fourteen chars", password.Policy{MinLength: 15}, "min_length"},
		{strings.Repeat("ab7!x-", 43), password.Policy{}, "max_length"},
		{strings.Repeat("ab7!x-", 42) + "last", password.Policy{}, ""},
		{strings.Repeat("ab7!x-", 12) + "y", password.Policy{MaxLength: password.Bcrypt{}.MaxLength()}, "max_length"},
		{strings.Repeat("ab7!x-", 12), password.Policy{MaxLength: password.Bcrypt{}.MaxLength()}, ""},

		{"ann.lee@example.com", password.Policy{Similarity: true}, "similar"},
		{"Ann.Lee@Example.ORG", password.Policy{Similarity: true}, "similar"},
		{"bnn.lea@exbmple.con", password.Policy{Similarity: true}, "similar"}, // distance 4
		{"example.com!x9", password.Policy{Similarity: true}, "similar"},      // 11 of 14 shared
		{"exampl77Kq.Zr9w", password.Policy{Similarity: true}, ""},            // 6 of 15 shared
		{"ann_lee1", password.Policy{Similarity: true}, "similar"},
		{"ann_lee1", password.Policy{}, ""},

		{"password", password.Policy{}, "listed"},
		{"PassWord", password.Policy{}, "listed"},
		{"iloveyou1", password.Policy{}, "listed"},
		{"12345678", password.Policy{}, "listed"},
		{"dragon", password.Policy{MinLength: 6}, "listed"},
		{"password and more", password.Policy{}, ""},

		{"Kx9-breached one", password.Policy{Breached: breached}, "listed"},
		{"kx9-breached one", password.Policy{Breached: breached}, ""}, // another password
		{"zzzzzzzzzzzz", password.Policy{Breached: func(password.Plain) bool { panic("asked") }}, "reason it repeats a short pattern"},

		{"MyUsherApp", password.Policy{ServiceWords: []string{"myusherapp"}}, "reason it is a name of this service"},
		{"ann.lee@example.com", password.Policy{}, "reason it is part of the identifier"},
		{"example.com", password.Policy{}, "reason it is part of the identifier"},
		{"annleeexamplecom", password.Policy{}, "reason it is part of the identifier"},

		{"zzzzzzzzzzzz", password.Policy{}, "reason it repeats a short pattern"},
		{"k7k7k7k7k7", password.Policy{}, "reason it repeats a short pattern"},
		{"k7!k7!k7!k", password.Policy{}, "reason it repeats a short pattern"},
		{"k7!pk7!pk7!p", password.Policy{}, "reason it repeats a short pattern"},
		{"k7!pqk7!pq", password.Policy{}, ""},
		{"bcdefghijk", password.Policy{}, "reason it is a sequence of neighbours"},
		{"vutsrqponm", password.Policy{}, "reason it is a sequence of neighbours"},
		{"34567890123", password.Policy{}, "reason it is a sequence of neighbours"},
		{"poiuytrewq", password.Policy{}, "reason it is a sequence of neighbours"},
		{"Zuioplkjhg", password.Policy{}, "reason it is a sequence of neighbours"},
		{"wxyzabc7777890", password.Policy{}, "reason it is a sequence of neighbours"},
		{"wxyzabc77", password.Policy{}, ""},
	} {
		v := test.policy.Check(password.New(test.password), ann)
		got := ""
		if v != nil {
			got = v.Rule
			if reason, ok := v.Context["reason"].(string); ok {
				got += " " + reason
			}
		}
		if got != test.want {
			t.Errorf("%+v.Check(%q) = %q, want %q", test.policy, test.password, got, test.want)
		}
	}
}

func TestPolicyContext(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"short":                  `{"actual_length":5,"min_length":8}`,
		strings.Repeat("x", 257): `{"actual_length":257,"max_length":256}`,
		"password":               `{"breaches":1}`,
	} {
		v := password.Policy{}.Check(password.New(text), nil)
		if v == nil {
			t.Errorf("Check(%q) = nil, want a violation", text)
			continue
		}
		if got, err := json.Marshal(v.Context); err != nil || string(got) != want {
			t.Errorf("Check(%q) context = %s, %v, want %s", text, got, err, want)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("password", "ann@example.com")
	f.Add("\xff\xfe", "")
	f.Add("İİİİİ", "ı@b")
	f.Fuzz(func(t *testing.T, text, identifier string) {
		v := password.Policy{Similarity: true}.Check(password.New(text), []string{identifier})
		if len(text) < 8 && (v == nil || v.Rule != "min_length") {
			t.Errorf("Check(%q) = %v, want min_length", text, v)
		}
	})
}

func TestRecognise(t *testing.T) {
	t.Parallel()
	const (
		argon = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$QaVDSI0lTgs3hJ9y3BfzYwh9KXW8P1rSRPUFGS/eYaw"
		crypt = "$2a$04$abcdefghijklmnopqrstuuN5mlt8IgGwLLIyTkZkyEVFDPS4iTHTq"
	)
	for hash, known := range map[string]bool{
		argon: true, crypt: true,
		strings.Replace(crypt, "$2a$", "$2b$", 1):                      true,
		strings.Replace(crypt, "$2a$", "$2y$", 1):                      true,
		strings.Replace(crypt, "$04$", "$16$", 1):                      true,
		strings.Replace(argon, "m=19456,t=2", "m=262144,t=4", 1):       true,
		strings.Replace(argon, "m=19456,t=2", "m=65536,t=16", 1):       true,
		strings.Replace(argon, "m=19456,t=2,p=1", "m=512,t=1,p=64", 1): true,
		strings.Replace(crypt, "$2a$", "$2x$", 1):                      false,
		strings.Replace(crypt, "$04$", "$xx$", 1):                      false,
		crypt + "x":  false,
		"":           false,
		"plain":      false,
		"$1$abc$def": false,
		strings.Replace(argon, "argon2id", "argon2i", 1):        false,
		strings.Replace(argon, "v=19", "v=16", 1):               false,
		strings.Replace(argon, "m=19456", "m=1", 1):             false,
		strings.Replace(argon, "t=2", "t=0", 1):                 false,
		strings.Replace(argon, "p=1", "p=0", 1):                 false,
		strings.Replace(argon, "p=1", "p=1,x=2", 1):             false,
		strings.Replace(argon, "p=1$", "p=1$!", 1):              false,
		strings.Replace(argon, "p=1$", "p=1$$", 1):              false,
		strings.Replace(argon, "MDEyMzQ1Njc4OWFiY2RlZg", "", 1): false,
		argon[:len(argon)-40]:                                   false,
		argon + strings.Repeat("AAAA", 100):                     false,
	} {
		if err := password.Recognise(hash); (err == nil) != known || (err != nil && !errors.Is(err, password.ErrUnknownHash)) {
			t.Errorf("Recognise(%q) = %v, want known %v", hash, err, known)
		}
	}
}

// Whoever could have such a hash stored could take the server down by signing in.
func TestCostlyHashesAreNeverComputed(t *testing.T) {
	t.Parallel()
	const (
		argon = "$argon2id$v=19$m=%d,t=%d,p=%d$MDEyMzQ1Njc4OWFiY2RlZg$QaVDSI0lTgs3hJ9y3BfzYwh9KXW8P1rSRPUFGS/eYaw"
		crypt = "$2b$%d$abcdefghijklmnopqrstuuN5mlt8IgGwLLIyTkZkyEVFDPS4iTHTq"
	)
	pool, err := password.NewPool(password.PoolOptions{Workers: 1}, password.Bcrypt{Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{
		fmt.Sprintf(crypt, 17), fmt.Sprintf(crypt, 31),
		fmt.Sprintf(argon, 262_145, 1, 1), fmt.Sprintf(argon, 4_194_304, 1, 1), fmt.Sprintf(argon, uint64(math.MaxUint64), 1, 1),
		fmt.Sprintf(argon, 8, 17, 1), fmt.Sprintf(argon, 8, 4_294_967_295, 1), fmt.Sprintf(argon, 8, uint64(1<<32+1), 1),
		fmt.Sprintf(argon, 262_144, 5, 1), fmt.Sprintf(argon, 65_537, 16, 1),
		fmt.Sprintf(argon, 8*65, 1, 65), fmt.Sprintf(argon, 8*255, 1, 255), fmt.Sprintf(argon, 8, 1, 257),
	} {
		if err := password.Recognise(hash); !errors.Is(err, password.ErrCostlyHash) {
			t.Errorf("Recognise(%q) = %v, want ErrCostlyHash", hash, err)
			continue // it would take minutes
		}
		if err := pool.Verify(t.Context(), password.New("x"), hash); !errors.Is(err, password.ErrCostlyHash) {
			t.Errorf("Verify of %q = %v, want ErrCostlyHash", hash, err)
		}
	}
	if _, err := password.NewPool(password.PoolOptions{}, password.Argon2id{Memory: 256 << 10, Iterations: 5}); err == nil {
		t.Error("a pool makes hashes that it would not verify")
	}
}
