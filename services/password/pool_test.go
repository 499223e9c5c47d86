package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/usher-auth/usher/services/password"
)

// cheap are algorithms that cost next to nothing.
var cheap = map[string]password.Algorithm{
	"argon2id": password.Argon2id{Memory: 64, Iterations: 1},
	"bcrypt":   password.Bcrypt{Cost: bcrypt.MinCost},
}

func newPool(t testing.TB, o password.PoolOptions, a password.Algorithm) *password.Pool {
	t.Helper()
	p, err := password.NewPool(o, a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHashAndVerify(t *testing.T) {
	t.Parallel()
	for name, algorithm := range cheap {
		for other := range cheap {
			t.Run(name+" verified beside "+other, func(t *testing.T) {
				t.Parallel()
				hash, err := newPool(t, password.PoolOptions{}, algorithm).Hash(t.Context(), password.New("correct horse"))
				if err != nil {
					t.Fatal(err)
				}
				if err := password.Recognise(hash); err != nil {
					t.Errorf("Recognise(%q) = %v, want nil", hash, err)
				}
				p := newPool(t, password.PoolOptions{}, cheap[other])
				if err := p.Verify(t.Context(), password.New("correct horse"), hash); err != nil {
					t.Errorf("Verify of the password = %v, want nil", err)
				}
				for _, wrong := range []string{"", "correct hors", "Correct horse", "correct horse ", strings.Repeat("x", 100)} {
					if err := p.Verify(t.Context(), password.New(wrong), hash); !errors.Is(err, password.ErrMismatch) {
						t.Errorf("Verify(%q) = %v, want ErrMismatch", wrong, err)
					}
				}
				if again, err := p.Hash(t.Context(), password.New("correct horse")); err != nil || again == hash {
					t.Errorf("Hash again = %q, %v, want another salt", again, err)
				}
			})
		}
	}
}

// The hashes were made by other programs.
func TestVerifyKnownHashes(t *testing.T) {
	t.Parallel()
	p := newPool(t, password.PoolOptions{}, password.Bcrypt{Cost: bcrypt.MinCost})
	for hash, text := range map[string]string{
		// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "password",
		// The vectors of OpenBSD's bcrypt.
		"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
		"$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a": "U*U*U",
	} {
		if err := p.Verify(t.Context(), password.New(text), hash); err != nil {
			t.Errorf("Verify(%q, %q) = %v, want nil", text, hash, err)
		}
	}
	if err := p.Verify(t.Context(), password.New("x"), "x"); !errors.Is(err, password.ErrUnknownHash) {
		t.Errorf("Verify(x, x) = %v, want ErrUnknownHash", err)
	}
}

func TestBcryptRefusesWhatItWouldCut(t *testing.T) {
	t.Parallel()
	p := newPool(t, password.PoolOptions{}, password.Bcrypt{Cost: bcrypt.MinCost})
	long := strings.Repeat("x", 73)
	if hash, err := p.Hash(t.Context(), password.New(long)); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("Hash of 73 bytes = %q, %v, want ErrTooLong", hash, err)
	}
	hash, err := p.Hash(t.Context(), password.New(long[:72]))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(t.Context(), password.New(long), hash); !errors.Is(err, password.ErrMismatch) {
		t.Errorf("Verify of 73 bytes against the hash of 72 = %v, want ErrMismatch", err)
	}
}

// A password that is too long for bcrypt is as wrong, and as slow, as any: the
// time must not tell that there is a hash to compare with.
func TestTooLongAPasswordTakesAsLongAsAny(t *testing.T) {
	t.Parallel()
	p := newPool(t, password.PoolOptions{}, password.Bcrypt{Cost: 10})
	hash, err := p.Hash(t.Context(), password.New("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	fastest := func(text string) time.Duration {
		least := time.Hour
		for range 3 {
			start := time.Now()
			if err := p.Verify(t.Context(), password.New(text), hash); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("Verify of %d bytes = %v, want ErrMismatch", len(text), err)
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	if short, long := fastest("wrong"), fastest(strings.Repeat("x", 100)); long < short/4 {
		t.Errorf("Verify of 100 bytes took %v, of 5 bytes %v, want about the same", long, short)
	}
}

func TestOutdated(t *testing.T) {
	t.Parallel()
	argon, crypt := password.Argon2id{Memory: 64, Iterations: 1}, password.Bcrypt{Cost: bcrypt.MinCost}
	made := func(a password.Algorithm) string {
		hash, err := newPool(t, password.PoolOptions{}, a).Hash(t.Context(), password.New("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	for name, c := range map[string]struct {
		now  password.Algorithm
		hash string
		want bool
	}{
		"argon2id as new":       {argon, made(argon), false},
		"argon2id spelled out":  {password.Argon2id{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}, made(argon), false},
		"argon2id, memory":      {argon, made(password.Argon2id{Memory: 128, Iterations: 1}), true},
		"argon2id, iterations":  {argon, made(password.Argon2id{Memory: 64, Iterations: 2}), true},
		"argon2id, parallelism": {argon, made(password.Argon2id{Memory: 64, Iterations: 1, Parallelism: 2}), true},
		"argon2id, salt":        {argon, made(password.Argon2id{Memory: 64, Iterations: 1, SaltLength: 8}), true},
		"argon2id, key":         {argon, made(password.Argon2id{Memory: 64, Iterations: 1, KeyLength: 16}), true},
		"argon2id for bcrypt":   {argon, made(crypt), true},
		"bcrypt as new":         {crypt, made(crypt), false},
		"bcrypt of PHP":         {crypt, "$2y$" + made(crypt)[4:], false},
		"bcrypt, cost":          {crypt, made(password.Bcrypt{Cost: bcrypt.MinCost + 1}), true},
		"bcrypt for argon2id":   {crypt, made(argon), true},
		"no hash":               {crypt, "", true},
		"nonsense":              {argon, "$argon2id$x", true},
	} {
		if got := newPool(t, password.PoolOptions{}, c.now).Outdated(c.hash); got != c.want {
			t.Errorf("%s: Outdated(%q) = %t, want %t", name, c.hash, got, c.want)
		}
	}
}

func TestNewPoolRefuses(t *testing.T) {
	t.Parallel()
	for name, algorithm := range map[string]password.Algorithm{
		"cheap bcrypt":        password.Bcrypt{Cost: 3},
		"endless bcrypt":      password.Bcrypt{Cost: 31},
		"large argon2id":      password.Argon2id{Memory: 1 << 20},
		"small argon2id":      password.Argon2id{Memory: 8, Parallelism: 2},
		"endless argon2id":    password.Argon2id{Iterations: 100},
		"argon2id, few bytes": password.Argon2id{KeyLength: 8},
		"argon2id, no salt":   password.Argon2id{SaltLength: 1},
	} {
		if _, err := password.NewPool(password.PoolOptions{}, algorithm); err == nil {
			t.Errorf("NewPool with %s = nil, want an error", name)
		}
	}
}

// No more run at a time than there are workers, no more wait than the queue
// holds, and who comes then is told at once.
func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers, queue, callers = 2, 3, 40
		gate := password.NewGate()
		p := newPool(t, password.PoolOptions{Workers: workers, Queue: queue}, gate)
		results := make(chan error, callers)
		for range callers {
			go func() {
				_, err := p.Hash(t.Context(), password.New("correct horse"))
				results <- err
			}()
		}
		synctest.Wait()
		if n := gate.Running(); n != workers {
			t.Errorf("%d hashes run, want %d", n, workers)
		}
		if s := p.Stats(); s.Workers != workers || s.Running != workers || s.Waiting != workers*queue {
			t.Errorf("Stats() = %+v, want %d running and %d waiting", s, workers, workers*queue)
		}
		if got, want := len(results), callers-workers-workers*queue; got != want {
			t.Errorf("%d were refused at once, want %d", got, want)
		}
		for range len(results) {
			if err := <-results; !errors.Is(err, password.ErrBusy) {
				t.Errorf("Hash = %v, want ErrBusy", err)
			}
		}

		gate.Open()
		for range workers + workers*queue {
			if err := <-results; err != nil {
				t.Errorf("Hash = %v, want nil", err)
			}
		}
		if s := p.Stats(); s.Running != 0 || s.Waiting != 0 {
			t.Errorf("Stats() afterwards = %+v, want nobody", s)
		}
	})
}

func TestPoolStopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := password.NewGate()
		p := newPool(t, password.PoolOptions{Workers: 1}, gate)
		go func() { _, _ = p.Hash(t.Context(), password.New("x")) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Hash(ctx, password.New("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Hash with an ended context = %v, want context.Canceled", err)
		}
		gate.Open()
	})
}

// Waiting ends after a second, or after eight hashes where these take longer.
func TestPoolDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	for average, want := range map[time.Duration]time.Duration{0: time.Second, 50 * time.Millisecond: time.Second, 2 * time.Second: 16 * time.Second} {
		t.Run(average.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := password.NewGate()
				p := newPool(t, password.PoolOptions{Workers: 1}, gate)
				if average > 0 {
					gate.Delay(average)
					if _, err := p.Hash(t.Context(), password.New("x")); err != nil {
						t.Fatal(err)
					}
				}
				gate.Delay(0)
				go func() { _, _ = p.Hash(t.Context(), password.New("x")) }()
				synctest.Wait()

				start := time.Now()
				_, err := p.Hash(t.Context(), password.New("x"))
				if waited := time.Since(start); !errors.Is(err, password.ErrBusy) || waited != want {
					t.Errorf("Hash behind one that does not end = %v after %v, want ErrBusy after %v", err, waited, want)
				}
				if s := p.Stats(); s.Running != 1 || s.Waiting != 0 {
					t.Errorf("Stats() = %+v, want one running and nobody waiting", s)
				}
				gate.Open()
			})
		})
	}
}

func BenchmarkBcryptBare(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := bcrypt.GenerateFromPassword([]byte("a long enough secret 7"), bcrypt.MinCost); err != nil {
				b.Error(err)
			}
		}
	})
}

// Eight in flight on the cores there are, as in the registration benchmark.
func BenchmarkBcryptPool(b *testing.B) {
	p := newPool(b, password.PoolOptions{}, password.Bcrypt{Cost: bcrypt.MinCost})
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Hash(b.Context(), password.New("a long enough secret 7")); err != nil {
				b.Error(err)
			}
		}
	})
}

// What the pool itself costs: its hashes take no time.
func BenchmarkPoolAlone(b *testing.B) {
	gate := password.NewGate()
	gate.Open()
	p := newPool(b, password.PoolOptions{}, gate)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Hash(b.Context(), password.New("x")); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkArgon2idPool(b *testing.B) {
	p := newPool(b, password.PoolOptions{}, password.Argon2id{})
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Hash(b.Context(), password.New("a long enough secret 7")); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPolicy(b *testing.B) {
	policy := password.Policy{Similarity: true, ServiceWords: []string{"usher"}}
	identifiers := []string{"ann.lee@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if v := policy.Check(password.New("a long enough secret 7"), identifiers); v != nil {
			b.Fatal(v)
		}
	}
}
