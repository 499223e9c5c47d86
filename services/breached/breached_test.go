package breached_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/breached"
)

// made gives the path of a file of these sources.
func made(t testing.TB, b func(*breached.Builder), sources ...string) (path string, sum breached.Summary) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "breached.bin")
	builder := builderOf(t, path)
	if b != nil {
		b(builder)
	}
	for _, source := range sources {
		if _, err := builder.Add(t.Context(), strings.NewReader(source), ""); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := builder.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path, sum
}

func builderOf(t testing.TB, path string) *breached.Builder {
	t.Helper()
	b, err := breached.NewBuilder(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opened(t testing.TB, path string) *breached.Set {
	t.Helper()
	s, err := breached.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func holds(t testing.TB, s *breached.Set, password string) bool {
	t.Helper()
	found, err := s.Holds(password)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func lines(from, to int) string {
	var text strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&text, "password %d\n", n)
	}
	return text.String()
}

func TestMembersAreFoundAndOthersAreNot(t *testing.T) {
	t.Parallel()
	const members, others = 100_000, 200_000
	for _, tt := range []struct{ width, chunk, most int }{
		{8, 0, 0},
		{8, 7_001, 0}, // more runs than one
		{4, 7_001, 25},
	} {
		path, sum := made(t, func(b *breached.Builder) { b.Width, b.Chunk = tt.width, tt.chunk }, lines(0, members/2), lines(members/4, members))
		s := opened(t, path)
		if info := s.Info(); sum.Passwords != info.Passwords || members-info.Passwords > 5 || info.Bytes != tt.width || sum.Lines != members*5/4 {
			t.Errorf("width %d: Finish = %+v, Info = %+v, want %d passwords, each once", tt.width, sum, info, members)
		}
		for n := range members {
			if !holds(t, s, fmt.Sprintf("password %d", n)) {
				t.Fatalf("width %d: member %d is not found", tt.width, n)
			}
		}
		alarms := 0
		for n := range others {
			if holds(t, s, fmt.Sprintf("another %d", n)) {
				alarms++
			}
		}
		if expected := s.Info().FalseAlarms * others; alarms > tt.most {
			t.Errorf("width %d: %d of %d others are found, want about %.1f", tt.width, alarms, others, expected)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// A set whose digests are not spread evenly is only slower.
func TestUnevenDigestsAreFound(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for n := range 20_000 { // all begin alike, but for one at each end
		fmt.Fprintf(&text, "7777777777%06x%024x\n", n, n)
	}
	fmt.Fprintf(&text, "%040x\n%040x\n", 1, 2)
	text.WriteString(strings.Repeat("f", 40) + "\n")
	source := strings.TrimSuffix(text.String(), "\n")
	path, _ := made(t, nil, source)
	s := opened(t, path)
	for line := range strings.SplitSeq(source, "\n") {
		if found, err := breached.HoldsDigest(s, line); !found || err != nil {
			t.Fatalf("%s: found %v, %v", line, found, err)
		}
	}
	for _, absent := range []string{"7777777777" + strings.Repeat("f", 30), strings.Repeat("0", 15) + "1" + strings.Repeat("0", 24), strings.Repeat("e", 40)} {
		if found, err := breached.HoldsDigest(s, absent); found || err != nil {
			t.Errorf("%s: found %v, %v", absent, found, err)
		}
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	hash := func(password string) string { return fmt.Sprintf("%X", sha1.Sum([]byte(password))) }
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name, source    string
		minCount        int
		found, missing  []string
		rare, broken, n int64
	}{
		{name: "passwords", source: "one\r\nTwo\n\n  three \n" + long + "\nlast", found: []string{"one", "Two", "  three ", "last"}, missing: []string{"two", "three", long, ""}, broken: 2, n: 4},
		{name: "hashes", source: hash("one") + "\r\n" + strings.ToLower(hash("two")) + ":0\n" + "rubbish\n" + hash("four")[1:] + ":7", found: []string{"one", "two"}, missing: []string{"rubbish", "four"}, broken: 2, n: 2},
		{name: "how often", source: hash("once") + ":1\n" + hash("twice") + ":2\n" + hash("unknown") + "\n", minCount: 2, found: []string{"twice", "unknown"}, missing: []string{"once"}, rare: 1, n: 2},
		{name: "marked as UTF-8", source: "\xef\xbb\xbf" + hash("one") + ":3\n", found: []string{"one"}, n: 1},
		{name: "behind an empty line", source: "\n" + hash("one") + ":3\n", found: []string{"one"}, broken: 1, n: 1},
		{name: "a password that looks like a digest", source: "one\ntwo\n" + hash("three"), found: []string{"one", hash("three")}, missing: []string{"three"}, n: 3},
		{name: "one", source: "only", found: []string{"only"}, missing: []string{"onl"}, n: 1},
	} {
		path, sum := made(t, func(b *breached.Builder) { b.MinCount = tt.minCount }, tt.source)
		s := opened(t, path)
		if sum.Rare != tt.rare || sum.Broken != tt.broken || sum.Passwords != tt.n {
			t.Errorf("%s: %+v, want %d rare, %d broken, %d in all", tt.name, sum, tt.rare, tt.broken, tt.n)
		}
		for _, password := range tt.found {
			if !holds(t, s, password) {
				t.Errorf("%s: %q is not found", tt.name, password)
			}
		}
		for _, password := range tt.missing {
			if holds(t, s, password) {
				t.Errorf("%s: %.20q is found", tt.name, password)
			}
		}
	}
}

// A list that is hardly what it is taken for makes no file, and the one that is there stays.
func TestUnlikelySources(t *testing.T) {
	t.Parallel()
	path, _ := made(t, nil, "the former")
	hash := func(password string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(password))) }
	hashes := hash("one") + ":1\n" + hash("two") + ":2\n"
	for name, tt := range map[string]struct {
		source string
		format breached.Format
		says   string
	}{
		"nothing":               {"", "", "no password"},
		"empty lines":           {"\n\n", "", "no password"},
		"a title":               {"# of 2026\n" + hashes, "", "look like digests"},
		"NTLM":                  {strings.Repeat("0123456789abcdef0123456789abcdef:7\n", 3), "", "look like digests"},
		"UTF-16":                {"\xff\xfeo\x00n\x00e\x00\n\x00", "", "UTF-16"},
		"UTF-16 without a mark": {"o\x00n\x00e\x00\n\x00", "", "UTF-16"},
		"passwords as SHA-1":    {"one\ntwo\n", breached.SHA1, "no SHA-1"},
	} {
		b := builderOf(t, path)
		_, err := b.Add(t.Context(), strings.NewReader(tt.source), tt.format)
		if err == nil {
			_, err = b.Finish(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: Close = %v", name, err)
		}
	}
	if !holds(t, opened(t, path), "the former") {
		t.Error("the former file is gone")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What is no file is neither read nor replaced; a link is followed.
func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := breached.Open(pipe); err == nil {
		t.Error("a pipe is opened")
	}
	if _, err := breached.NewBuilder(pipe); err == nil {
		t.Error("a pipe is replaced")
	}
	path, _ := made(t, nil, "first password")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	b := builderOf(t, link)
	if _, err := b.Add(t.Context(), strings.NewReader("second one"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is, err := os.Lstat(link); err != nil || is.Mode()&os.ModeSymlink == 0 || !holds(t, opened(t, path), "second one") {
		t.Errorf("the link is %v, %v, want what it leads to written", is, err)
	}
}

// A build that is killed leaves nothing of what waited in files.
func TestRunsHaveNoNames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "set")
	b := builderOf(t, path)
	b.Chunk = 2
	if _, err := b.Add(t.Context(), strings.NewReader(lines(0, 9)), ""); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("files that wait: %q", left)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	t.Parallel()
	path, _ := made(t, nil, lines(0, 1000))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, with ...byte) []byte {
		return append(append(bytes.Clone(whole[:at]), with...), whole[at+len(with):]...)
	}
	swapped := append(append(append(bytes.Clone(whole[:64]), whole[72:80]...), whole[64:72]...), whole[80:]...)
	for name, tt := range map[string]struct {
		data []byte
		says string
	}{
		"empty":         {nil, "no file of"},
		"other":         {bytes.Repeat([]byte("password\n"), 100), "no file of"},
		"header only":   {whole[:64], "not whole"},
		"half a header": {whole[:30], "no password"},
		"cut off":       {whole[:len(whole)-1], "not whole"},
		"too long":      {append(bytes.Clone(whole), 0), "not whole"},
		"newer":         {change(7, '2'), "make it with this version"},
		"other digests": {change(8, 'm', 'd', '5', ' '), "want SHA-1"},
		"width":         {change(19, 9), "header is damaged"},
		"count":         {change(24, 0xff), "header is damaged"},
		"no password":   {append(bytes.Clone(whole[:24]), make([]byte, 40)...), "holds no password"},
		"one bit":       {change(len(whole)-1, whole[len(whole)-1]^1), "checksum"},
		"not ascending": {swapped, "does not come behind"},
		"one twice":     {change(72, whole[64:72]...), "does not come behind"},
	} {
		damaged := filepath.Join(t.TempDir(), "damaged")
		if err := os.WriteFile(damaged, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := breached.Open(damaged); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Count(err.Error(), damaged) != 1 {
			t.Errorf("%s: Open = %v, want the file and %q", name, err, tt.says)
		}
	}
	if _, err := breached.Open(t.TempDir()); err == nil {
		t.Error("a folder is opened")
	}
}

// A file that is replaced is another one; the open one goes on with what it was.
func TestReplacedFile(t *testing.T) {
	t.Parallel()
	path, _ := made(t, nil, "first password")
	s := opened(t, path)
	if !s.Is(path) || s.Is(path+"x") {
		t.Errorf("Is = %v, %v, want true, false", s.Is(path), s.Is(path+"x"))
	}
	b := builderOf(t, path)
	if _, err := b.Add(t.Context(), strings.NewReader("second one"), breached.Passwords); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Is(path) {
		t.Error("a replaced file is the same")
	}
	other := opened(t, path)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if other.Is(path) {
		t.Error("a file that was written to is the same")
	}
	if !holds(t, s, "first password") || !holds(t, opened(t, path), "second one") {
		t.Error("the open set or the new one does not hold what it should")
	}
}

func FuzzOpen(f *testing.F) {
	path, _ := made(f, nil, lines(0, 20))
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:70])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "set")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := breached.Open(path)
		if err != nil {
			return
		}
		if _, err := s.Holds("a password"); err != nil {
			t.Errorf("Holds in a file that was opened: %v", err)
		}
	})
}

// One look-up in ten million, which lie in the page cache.
func BenchmarkHolds(b *testing.B) {
	path := filepath.Join(b.TempDir(), "set")
	builder := builderOf(b, path)
	var text bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000_000 {
		fmt.Fprintf(&text, "%016x%016x%08x\n", random.Uint64(), random.Uint64(), random.Uint32())
	}
	if _, err := builder.Add(b.Context(), &text, breached.SHA1); err != nil {
		b.Fatal(err)
	}
	if _, err := builder.Finish(b.Context()); err != nil {
		b.Fatal(err)
	}
	s := opened(b, path)
	for n := 0; b.Loop(); n++ {
		holds(b, s, fmt.Sprint("password ", n))
	}
}
